"""§11 through the MQTT door: what a grant opens is told to the other project's clients, and nothing beside it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import msgspec
import pytest
from tests.faults.support import CLOCK, PROJECT, Answer, LiveNode, wait_until
from tests.waiting import WAIT_S

OTHERS = "".join(f'[[project]]\nname = "{name}"\n' for name in ("district", "part", "nobody"))
GRANTS = """
[[grant]]
from = "plant"
to = "part"
things = ["meter-1"]
properties = ["power"]
"""
OWN = ["meter-1", "meter-2"]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """`plant` grants one property of one meter to `part`; to `district` only what a test asks for."""
    node = LiveNode(tmp_path_factory.mktemp("granted") / "site", OWN, more=OTHERS + GRANTS)
    try:
        node.start()
        send(node)
        yield node
    finally:
        node.stop()


def send(node: LiveNode, thing: str = "meter-1", **values: Any) -> None:
    body = msgspec.json.encode({"power": 1.5, "secret": 7} | values)
    assert node.ask("POST", f"/api/v1/{node.tokens[thing]}/telemetry", body).status == 200


def act(node: LiveNode, action: str, **arguments: Any) -> Answer:
    owner = (node.site.data / "admin.token").read_text()
    answer = node.ask("POST", f"/api/v1/admin/{action}", msgspec.json.encode(arguments), owner)
    assert answer.status == 200, answer
    return answer


class Listener:
    """A client, and what came to it."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def listen(self) -> None:
        async for message in self.client.messages:
            await self.heard.put((str(message.topic), msgspec.json.decode(bytes(message.payload))))

    async def subscribe(self, topic_filter: str, qos: int = 1) -> int:
        """The reason code of the answer."""
        (code,) = await self.client.subscribe(topic_filter, qos=qos)
        return int(code.value)

    async def next(self) -> tuple[str, Any]:
        return await asyncio.wait_for(self.heard.get(), WAIT_S)

    async def silent(self, node: LiveNode) -> bool:
        """Whether nothing waits after a message of one's own has made its way there and back."""
        await self.client.subscribe("mark")
        await self.client.publish("mark", b"0", qos=1)
        return await self.next() == ("mark", 0)


@asynccontextmanager
async def listener(node: LiveNode, token: str) -> AsyncIterator[Listener]:
    port, version = node.mqtt_port, aiomqtt.ProtocolVersion.V5
    async with aiomqtt.Client("127.0.0.1", port, username=token, protocol=version) as client:
        found = Listener(client)
        task = asyncio.create_task(found.listen())
        try:
            yield found
        finally:
            task.cancel()


Scene = Callable[[Listener], Awaitable[None]]


def play(node: LiveNode, token: str, scene: Scene) -> None:
    async def run() -> None:
        async with listener(node, token) as found:
            await scene(found)

    asyncio.run(run())


def test_what_is_granted_is_told_and_nothing_beside_it(live: LiveNode) -> None:
    async def scene(part: Listener) -> None:
        assert await part.subscribe("$granted/plant/#") == 1
        await asyncio.to_thread(send, live, "meter-1", power=2.5)
        topic, body = await part.next()
        assert topic == "$granted/plant/meter-1/power"
        assert (body["value"], body["quality"]) == (2.5, "stamped")
        assert abs(body["received_at"] - CLOCK.now_ns()) < 60 * 10**9 and body["seq"] > 0
        await asyncio.to_thread(send, live, "meter-2")
        assert await part.silent(live)
        await asyncio.to_thread(send, live, "meter-1", power=3.5)
        assert (await part.next())[1]["value"] == 3.5

    play(live, live.strangers["part"], scene)


@pytest.mark.parametrize(
    "topic_filter",
    [
        "$granted/plant/meter-1/secret", "$granted/plant/meter-2/#", "$granted/plant/meter-2/power", "$granted/#",
        "$granted/+/meter-1/power", "$granted/nobody/#", "$granted/absent/#", "$granted/part/#",
        "$granted/plant/meter-1/power/more", "$granted/", "$share/g/$granted/plant/meter-1/secret",
    ],
)  # fmt: skip
def test_what_is_not_granted_is_refused(live: LiveNode, topic_filter: str) -> None:
    """Of whom there is no grant, or who is not there at all: with one answer."""

    async def scene(part: Listener) -> None:
        assert await part.subscribe(topic_filter) == 0x87

    play(live, live.strangers["part"], scene)


@pytest.mark.parametrize("topic_filter", ["$granted/plant/#", "$granted/plant/meter-1/power"])
def test_without_a_grant_there_is_nothing(live: LiveNode, topic_filter: str) -> None:
    async def scene(nobody: Listener) -> None:
        assert await nobody.subscribe(topic_filter) == 0x87
        for each in ("#", "+/+/+/+", "taihu/plant/#", "$SYS/#"):
            await nobody.subscribe(each)
        await nobody.client.unsubscribe("$SYS/#")
        await asyncio.to_thread(send, live)
        while not nobody.heard.empty():
            assert nobody.heard.get_nowait()[0].startswith("$SYS/")
        assert await nobody.silent(live)

    play(live, live.strangers["nobody"], scene)


def test_all_that_is_told_is_not_told_to_wide_filters(live: LiveNode) -> None:
    """`#` of the project that was granted something stays what it was."""

    async def scene(part: Listener) -> None:
        await part.subscribe("#")
        await asyncio.to_thread(send, live)
        assert await part.silent(live)

    play(live, live.strangers["part"], scene)


@pytest.mark.parametrize("how", ["thing", "narrow", "ingest"])
def test_who_may_not_read_in_its_own_project_reads_nothing(live: LiveNode, how: str) -> None:
    """A thing is only itself; a token for some things reads of those alone, one without `read` nothing."""
    if how == "thing":
        act(live, "thing-create", project="part", name="pump")
        token = act(live, "token-issue", project="part", kind="thing", thing="pump").body["token"]
    else:
        limits = {"scopes": ["read"], "things": ["meter-2"]} if how == "narrow" else {"scopes": ["ingest"]}
        token = act(live, "token-issue", project="part", kind="operator", **limits).body["token"]

    async def scene(part: Listener) -> None:
        for each in ("$granted/plant/#", "$granted/plant/meter-1/power", "$granted/plant/+/power"):
            assert await part.subscribe(each) == 0x87

    play(live, token, scene)


def test_nobody_speaks_in_the_name_of_another_project(live: LiveNode) -> None:
    async def scene(part: Listener) -> None:
        await part.subscribe("$granted/plant/#")
        await part.client.publish("$granted/plant/meter-1/power", b'{"value": 9}', qos=1)
        assert await part.silent(live)

    play(live, live.strangers["part"], scene)


def test_a_grant_that_ends_ends_it_at_once(live: LiveNode) -> None:
    """By revocation, and by its own time; a new one goes on where a client still listens."""

    async def scene(district: Listener) -> None:
        grant = act(live, "grant-add", **{"from": PROJECT, "to": "district", "things": ["meter-*"]}).body
        assert await district.subscribe("$granted/plant/+/power") == 1
        await asyncio.to_thread(send, live, "meter-2", power=4.5)
        assert (await district.next())[0] == "$granted/plant/meter-2/power"
        act(live, "grant-remove", id=grant["id"])
        await asyncio.to_thread(send, live, "meter-2")
        assert await district.silent(live)
        assert await district.subscribe("$granted/plant/+/power") == 0x87
        ends = CLOCK.now_ns() + 3 * 10**9
        act(live, "grant-add", **{"from": PROJECT, "to": "district", "things": ["meter-2"], "ends_at": ends})
        await asyncio.to_thread(send, live, "meter-2", power=5.5)
        assert (await district.next())[1]["value"] == 5.5
        await asyncio.sleep(max(0.0, (ends - CLOCK.now_ns()) / 10**9) + 0.05)
        await asyncio.to_thread(send, live, "meter-2")
        assert await district.silent(live)

    play(live, live.strangers["district"], scene)


def test_both_audits_say_who_reads(live: LiveNode) -> None:
    async def scene(part: Listener) -> None:
        await part.subscribe("$granted/plant/meter-1/power")

    play(live, live.strangers["part"], scene)
    for project in (PROJECT, "part"):
        token = live.operator if project == PROJECT else live.strangers[project]

        def found(project: str = project, token: str = token) -> list[Any]:
            entries = live.get("/audit", token, project=project).body["entries"]
            return [one for one in entries if one["what"] == "granted readings" and one["detail"].startswith("part ")]

        wait_until(lambda found=found: len(found()) >= 1, "audited")
        assert "$granted/plant" in found()[0]["detail"] and len(found()) <= 3
