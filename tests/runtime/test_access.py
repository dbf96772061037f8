"""§11 on the MQTT endpoint: nothing crosses a project, and a thing stays itself, whatever is sent."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taihu.identity.directory import Directory
from taihu.identity.principal import CredentialKind
from taihu.kernel.clock import SimClock
from taihu.kernel.config import parse_site
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.kernel.sections import Site
from taihu.protocols.mqtt.broker import Broker, Connection
from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.packets import Connect, Packet, Publish, Suback, Subscribe, Subscription
from taihu.runtime.apply import apply_site
from taihu.runtime.ingest.access import Access, Identity
from taihu.runtime.ingest.intake import Intake
from taihu.runtime.ingest.quota import Quota
from taihu.runtime.ingest.registry import ThingRegistry
from taihu.runtime.retention import SiteRules
from taihu.things.batch import Batch
from taihu.things.property import Thing
from taihu.twin.twin import Twin

PROJECTS = ("a", "b")
THINGS = ("meter", "fan")
SITE = "".join(
    f'[[project]]\nname = "{project}"\nfree_topics = ["free/#"]\ndeny_subscribe = ["secret/#"]\n'
    'mappings = ["own.toml"]\n[[project.thing]]\nname = "meter"\n[[project.thing]]\nname = "fan"\n'
    '[[project.thing]]\nname = "gate"\nrole = "gateway"\n'
    for project in PROJECTS
)
MAPPING = """
[[mapping]]
name = "by-topic"
topic = "floor/{thing}/{property}"
format = "scalar"
[[mapping]]
name = "by-connection"
topic = "mine/{property}"
format = "scalar"
"""


class Actor(NamedTuple):
    project: str
    kind: CredentialKind
    thing: str
    token: str


class World(NamedTuple):
    site: Site
    directory: Directory
    actors: list[Actor]
    clock: SimClock


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("access")
    (folder / "own.toml").write_text(MAPPING)
    (folder / "data").mkdir()
    site, clock = parse_site(SITE, folder), SimClock()
    directory = Directory(folder / "data" / "metadata.db", clock)
    apply_site(site, directory, OsFiles())
    actors = []
    for project in PROJECTS:
        for thing in ("meter", "fan", "gate"):
            _, token = directory.issue_token(CredentialKind.THING, project, thing)
            actors.append(Actor(project, CredentialKind.THING, thing, token))
        for kind in (CredentialKind.OPERATOR, CredentialKind.VIEWER):
            actors.append(Actor(project, kind, "", directory.issue_token(kind, project)[1]))
    yield World(site, directory, actors, clock)
    directory.close()


class Stage:
    """One broker with every actor connected to it, and an intake behind it; no sockets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.access = Access(world.site, world.directory, Twin(), world.clock, DEFAULT)
        self.broker = Broker(self.access, DEFAULT, lambda: "id")
        registry = ThingRegistry(
            world.directory, SiteRules(world.site), Quota(world.site, DEFAULT, lambda project: None)
        )
        self.intake = Intake(registry, world.clock, DEFAULT, lambda refused: None)
        self.connections: list[Connection] = []
        self.decoders: list[Decoder] = []
        for number, actor in enumerate(world.actors):
            connection = self.broker.open("test", world.clock.monotonic())
            self.connections.append(connection)
            self.decoders.append(Decoder(4))
            self.send(number, Connect(4, f"{actor.project}-{number}", True, 60, actor.token))
            assert self.received(number)

    def send(self, number: int, packet: Packet) -> None:
        connection = self.connections[number]
        self.broker.receive([(connection, encode(packet, 4))], self.world.clock.monotonic(), self.world.clock.now_ns())

    def received(self, number: int) -> list[Packet]:
        decoder = self.decoders[number]
        decoder.feed(self.connections[number].take_output())
        found = []
        while (packet := decoder.next()) is not None:
            found.append(packet)
        return found

    def batches(self) -> list[Batch]:
        lot = self.broker.take_lot()
        self.intake.add(lot.readings)
        self.broker.committed(lot)
        return self.intake.finish()


LEVELS = st.sampled_from(
    ["taihu", "senml", "influx", "v1", "devices", "me", "telemetry", "gateway", "attributes", "floor", "mine", "free",
     "secret", *PROJECTS, *THINGS, "power", "$SYS", "$share", "group", "+", "#", ""]
)  # fmt: skip
KNOWN = st.sampled_from(
    [
        *(f"taihu/{name}/{thing}{rest}" for name in PROJECTS for thing in THINGS for rest in ("", "/power", "/#")),
        "influx/a", "influx/b",
        *(f"senml/{project}{rest}" for project in PROJECTS for rest in ("", "/meter", "/fan", "/+")),
        "v1/devices/me/telemetry", "v1/devices/me/#", "v1/gateway/telemetry", "v1/gateway/#", "v1/#", "#", "+/+",
        "floor/meter/power", "floor/fan/power", "floor/+/power", "mine/power", "mine/+", "free/x", "free/#", "secret/x",
        "$share/group/#", "$share/group/taihu/a/#", "$SYS/#", "+/+/+", "taihu/+/+/power", "/provision/request",
    ]
)  # fmt: skip
TOPICS = st.one_of(KNOWN, st.lists(LEVELS, min_size=1, max_size=5).map("/".join))
PAYLOADS = st.sampled_from(
    [
        b'{"power": 1}', b"2", b'{"meter": {"power": 3}, "fan": {"power": 3}}', b"{",
        b'[{"bn": "meter/", "n": "power", "v": 4}]', b"power,thing=fan kw=6\nb,host=meter x=7\nplain x=8",
        b'[{"bn": "b/fan/", "n": "power", "v": 4}]', b'{"meter": [{"ts": 1700000000000, "values": {"power": 5}}]}',
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_nothing_crosses_whatever_is_published_and_subscribed(world: World, data: st.DataObject) -> None:
    stage = Stage(world)
    everyone = range(len(world.actors))
    for number in everyone:
        for name in data.draw(st.lists(TOPICS.filter(_is_filter), max_size=3)):
            stage.send(number, Subscribe(1, (Subscription(name),)))
            stage.received(number)
    for _ in range(data.draw(st.integers(1, 5))):
        sender = data.draw(st.sampled_from(list(everyone)))
        actor = world.actors[sender]
        topic = data.draw(TOPICS.filter(lambda name: _is_filter(name) and "+" not in name and "#" not in name))
        stage.send(sender, Publish(topic, data.draw(PAYLOADS), 0))
        for batch in stage.batches():
            assert batch.project == actor.project
            if actor.kind is CredentialKind.THING and actor.thing != "gate":
                assert set(batch.things) == {actor.thing}, f"{actor.thing} spoke for {batch.things} on {topic}"
            assert actor.kind is not CredentialKind.VIEWER
        for number in everyone:
            for packet in stage.received(number):
                if isinstance(packet, Publish) and not packet.topic.startswith("$SYS"):
                    assert world.actors[number].project == actor.project, f"{topic} crossed the border"
                    assert number == sender or _may_hear(world.actors[number], packet.topic)


def _is_filter(name: str) -> bool:
    levels = name.split("/")
    return bool(name) and "#" not in levels[:-1] and name.count("$") <= 1


def _may_hear(actor: Actor, topic: str) -> bool:
    """A thing hears what is free and what is its own."""
    if actor.kind is not CredentialKind.THING or actor.thing == "gate" or (topic + "/").startswith("free/"):
        return True
    return f"/{actor.thing}" in topic


@pytest.mark.parametrize(
    ("thing", "name", "granted"),
    [
        ("meter", "taihu/a/meter/#", True),
        ("meter", "taihu/a/meter", True),
        ("meter", "v1/devices/me/rpc/request/+", True),
        ("meter", "free/news", True),
        ("meter", "$share/g/free/news", True),
        ("meter", "taihu/a/fan/#", False),
        ("meter", "taihu/a/+/power", False),
        ("meter", "taihu/a/meter2", False),
        ("meter", "$share/g/taihu/a/fan/power", False),
        ("meter", "#", False),
        ("meter", "+/+/+", False),
        ("meter", "senml/a", False),
        ("meter", "mine/power", False),
        ("meter", "v1/gateway/+", False),
        ("gate", "v1/gateway/+", True),
        ("gate", "taihu/a/fan/power", True),
        ("gate", "taihu/ab/fan/power", False),
        ("gate", "senml/ab", False),
        ("", "secret/x", False),
        ("", "#", True),
    ],
)
def test_who_may_subscribe_to_what(world: World, thing: str, name: str, granted: bool) -> None:
    stage = Stage(world)
    number = next(place for place, actor in enumerate(world.actors) if (actor.project, actor.thing) == ("a", thing))
    stage.send(number, Subscribe(9, (Subscription(name),)))
    suback = next(packet for packet in stage.received(number) if isinstance(packet, Suback))
    assert (suback.reasons[0] < 0x80) is granted


@pytest.mark.parametrize("token", ["", "x" * 43, "0", "\N{GRINNING FACE}" * 10])
def test_no_token_no_connection(world: World, token: str) -> None:
    access = Access(world.site, world.directory, Twin(), world.clock, DEFAULT)
    assert isinstance(access.authenticate(Connect(4, "x", True, 60, token or None), "test", None), int)
    assert isinstance(access.authenticate(Connect(4, "x", True, 60, "user", token.encode()), "test", None), int)


def test_an_admin_is_no_device(world: World) -> None:
    token = (world.site.data / "admin.token").read_text()
    access = Access(world.site, world.directory, Twin(), world.clock, DEFAULT)
    assert isinstance(access.authenticate(Connect(4, "x", True, 60, token), "test", None), int)


def test_a_revoked_token_is_disconnected_at_once(world: World) -> None:
    number, token = world.directory.issue_token(CredentialKind.OPERATOR, "a")
    stage = Stage(world)
    connection = stage.broker.open("test", 0.0)
    connection.receive(encode(Connect(4, "x", True, 60, token), 4), 0.0, world.clock.now_ns())
    assert connection.closing is None
    world.directory.revoke(number)
    stage.broker.disconnect(lambda identity: getattr(identity, "key", "") == number)
    assert connection.closing


def test_a_gateway_stays_in_its_project(world: World) -> None:
    """§11: it may bring new things, and only into its own."""
    stage = Stage(world)
    number = next(place for place, actor in enumerate(world.actors) if (actor.project, actor.thing) == ("b", "gate"))
    payload = msgspec.json.encode({"a/meter": {"power": 1}, "newcomer": {"power": 1}, "fan": {"power": 2}})
    stage.send(number, Publish("v1/gateway/telemetry", payload, 0))
    batches = stage.batches()
    assert {batch.project for batch in batches} == {"b"}
    assert {name for batch in batches for name in batch.things} == {"newcomer", "fan"}
    assert isinstance(world.directory.thing("b", "newcomer"), Thing)
    assert world.directory.thing("a", "newcomer") is None


def test_a_mapping_gives_nobody_the_voice_of_another(tmp_path: Path) -> None:
    """A site's own mapping may claim topics below a thing's own for another thing: that one does not speak there."""
    (tmp_path / "own.toml").write_text(
        '[[mapping]]\nname = "spare"\ntopic = "taihu/a/{thing}/spare"\nthing = "fan"\nformat = "flat-json"\n'
    )
    site = parse_site('[[project]]\nname = "a"\nmappings = ["own.toml"]\n', tmp_path)
    (tmp_path / "data").mkdir()
    directory = Directory(tmp_path / "data" / "metadata.db", SimClock())
    try:
        apply_site(site, directory, OsFiles())
        access = Access(site, directory, Twin(), SimClock(), DEFAULT)
        meter = Identity("a", "1", CredentialKind.THING, "meter")
        fan = Identity("a", "2", CredentialKind.THING, "fan")
        gateway = Identity("a", "3", CredentialKind.THING, "gate", gateway=True)
        topics = ("taihu/a/meter/spare", "taihu/a/meter/power", "taihu/a/fan/spare")
        allowed = {
            who.thing: [access.may_publish(who, topic, False) == 0 for topic in topics] for who in (meter, fan, gateway)
        }
        assert allowed == {"meter": [False, True, False], "fan": [True, False, True], "gate": [True, True, True]}
    finally:
        directory.close()


def test_a_wide_filter_does_not_hear_what_is_denied(world: World) -> None:
    """`deny_subscribe` holds on delivery too, for an operator's `#` as for anybody's."""
    stage = Stage(world)
    number = next(place for place, actor in enumerate(world.actors) if actor.kind is CredentialKind.OPERATOR)
    stage.send(number, Subscribe(9, (Subscription("#"),)))
    stage.received(number)
    for topic in ("secret/x", "open/x"):
        stage.send(number, Publish(topic, b"1"))
    assert [packet.topic for packet in stage.received(number) if isinstance(packet, Publish)] == ["open/x"]
