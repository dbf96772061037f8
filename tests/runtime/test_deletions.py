"""A node deletes exactly: at the receipt no question is answered with it, and soon no file of the data has it."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import msgspec
import pytest
from tests.faults.support import CLOCK, LiveNode, wait_until

from taihu.journal import JournalReader
from taihu.kernel.files import OsFiles
from taihu.protocols.mqtt.client import Client, State
from taihu.protocols.mqtt.packets import Publish, Subscription
from taihu.things.batch import KIND_BATCH, decode_batch

LIMITS = {"flush_rows": 20, "flush_s": 0.5, "snapshot_s": 3600, "journal_segment_bytes": 20_000}
NUMBER = 7316.42913
BASE_MS = CLOCK.now_ns() // 10**9 * 1_000 - 3_600_000


def traces(node: LiveNode, *wanted: Any) -> list[str]:
    """Where any of the values still is: as bytes, as values of Parquet files, in records of the journal."""
    found, data = [], node.site.data
    patterns = [str(each).encode() for each in wanted]
    for path in sorted(path for path in data.rglob("*") if path.is_file()):
        try:
            if any(pattern in path.read_bytes() for pattern in patterns):
                found.append(f"bytes of {path.relative_to(data)}")
            if path.suffix == ".parquet":
                rows = duckdb.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
                if {str(cell).strip('"') for row in rows for cell in row} & {str(each) for each in wanted}:
                    found.append(f"values of {path.relative_to(data)}")
        except (FileNotFoundError, duckdb.IOException):
            assert not path.exists()  # merged meanwhile
    reader, start, durable = (
        JournalReader(OsFiles(), data / "journal"),
        1,
        node.get("/node", token=admin(node)).body["journal_position"],
    )
    while records := reader.read(start, durable):
        start = records[-1].position + 1
        for record in records:
            if any(pattern in record.payload for pattern in patterns) or (
                record.kind == KIND_BATCH and msgspec.json.encode(NUMBER) in cells_of(record.payload)
            ):
                found.append(f"journal record {record.position}")
    assert reader.damage == []
    return found


def cells_of(payload: bytes) -> bytes:
    return b" ".join(
        msgspec.json.encode(value) for column in decode_batch(payload).columns for value in column.values()
    )


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """Project `plant`, and another one."""
    folder = tmp_path_factory.mktemp("deletions") / "site"
    things = ["annas-flat", "bens-flat", "cold-room", "pump"]
    other = '[[project]]\nname = "other"\n[[project.thing]]\nname = "pump"\n'
    live = LiveNode(folder, things, LIMITS, more=other)
    live.start()
    yield live
    live.stop()


def send(node: LiveNode, thing: str, first: int, count: int = 30, **fields: Any) -> None:
    """A batch of readings, each with its own time, as HTTP brings it."""
    rows = [{"ts": BASE_MS + n * 1000, "values": {"level": n, **fields}} for n in range(first, first + count)]
    body = msgspec.json.encode(rows)
    answer = node.ask("POST", f"/api/v1/{node.tokens[thing]}/telemetry", body, Content_Type="application/json")
    assert (answer.status, answer.body["accepted"]) == (200, count), answer


def admin(node: LiveNode) -> str:
    return (node.site.data / "admin.token").read_text().strip()


def delete(node: LiveNode, path: str, token: str | None = None) -> Any:
    answer = node.ask("DELETE", f"/api/v1/{path}", token=token)
    assert answer.status == 202, answer
    return answer.body


def erased(node: LiveNode, number: str) -> bool:
    return bool(node.get(f"/deletions/{number}", token=admin(node)).body["state"] == "erased")


def history(node: LiveNode, thing: str, name: str = "level") -> list[Any]:
    node.settle()
    answer = node.get("/projects/plant/history", thing=thing, property=name, start=0, end=2**62)
    return [one["value"] for one in answer.body["readings"]] if answer.status == 200 else [answer.status]


def test_a_range_is_in_no_answer_and_then_in_no_file(node: LiveNode) -> None:
    """§10: other times, other properties and other things stay as they are."""
    send(node, "annas-flat", 0)
    send(node, "annas-flat", 30, 2, secret=NUMBER, words="GEHEIM-range")
    send(node, "annas-flat", 32, 20)
    send(node, "pump", 0, 50)
    node.settle()
    where = {"thing": "annas-flat", "start": (BASE_MS + 30_000) * 10**6, "end": (BASE_MS + 32_000) * 10**6}
    receipt = delete(node, "projects/plant/readings?" + "&".join(f"{name}={value}" for name, value in where.items()))
    assert receipt["state"] == "hidden" and not receipt["removes"]
    rest = [n for n in range(52) if n not in (30, 31)]
    assert history(node, "annas-flat") == rest
    assert history(node, "annas-flat", "words") == []
    windows = node.get(
        "/projects/plant/history", thing="annas-flat", property="level", start=(BASE_MS + 29_000) * 10**6,
        end=(BASE_MS + 33_000) * 10**6, every="1s",
    ).body["windows"]  # fmt: skip
    assert [window["count"] for window in windows].count(0) == 2
    assert [window["gone"] for window in windows] == [not window["count"] for window in windows]
    values = node.get("/projects/plant/values", thing="annas-flat").body["values"]
    assert [(each["property"], each["value"]) for each in values] == [("level", 51)]
    at = (BASE_MS + 31_500) * 10**6
    assert node.get("/projects/plant/asof", thing="annas-flat", property="level", at=at).body["reading"]["value"] == 29
    wait_until(lambda: erased(node, receipt["id"]), "erased")
    assert traces(node, NUMBER, "GEHEIM-range") == []
    assert history(node, "annas-flat") == rest
    assert history(node, "pump") == list(range(50))


def test_a_removed_thing_leaves_nothing_and_cannot_come_in(node: LiveNode) -> None:
    """Its token is refused from the receipt on, and what is left of it is the receipt and the audit."""
    send(node, "bens-flat", 0, secret=NUMBER, words="GEHEIM-thing")
    send(node, "pump", 100)
    receipt = delete(node, "projects/plant/things/bens-flat")
    assert receipt["removes"] and receipt["state"] == "hidden"
    refused = node.ask("POST", f"/api/v1/{node.tokens['bens-flat']}/telemetry", b'{"level": 1}')
    assert refused.status == 401
    assert history(node, "bens-flat") == [404]
    assert "bens-flat" not in [one["name"] for one in node.get("/projects/plant/things").body["things"]]
    wait_until(lambda: erased(node, receipt["id"]), "erased")
    assert traces(node, NUMBER, "GEHEIM-thing") == []
    with_name = {trace.rpartition(" ")[2] for trace in traces(node, "bens-flat") if trace.startswith("bytes")}
    assert all(name.startswith(("metadata.db", "history/manifest.sqlite", "journal/")) for name in with_name), with_name
    audit = node.get("/audit", token=admin(node)).body
    assert any(entry["what"] == "deleted" and "plant/bens-flat" in entry["detail"] for entry in audit["entries"])


def test_who_may_not_administer_may_not_delete(node: LiveNode) -> None:
    before = history(node, "pump")
    for token in (node.viewer, node.tokens["pump"], node.strangers["other"]):
        for path in ("projects/plant/readings?thing=pump", "projects/plant/things/pump", "projects/plant"):
            assert node.ask("DELETE", f"/api/v1/{path}", token=token).status in (403, 404), path
    assert node.ask("DELETE", "/api/v1/projects/plant/readings").status == 400
    assert node.ask("DELETE", "/api/v1/projects/plant/readings?thing=none").status in (403, 404)
    assert node.get("/deletions", project="plant", token=node.strangers["other"]).status == 403
    assert node.get("/deletions", token=node.strangers["other"]).body == {"deletions": []}
    assert history(node, "pump") == before


def test_retained_and_queued_messages_go_too(node: LiveNode) -> None:
    """As far as they carry what is deleted: messages of other things and on free topics stay."""
    topics = {
        "taihu/plant/cold-room": "GEHEIM-mqtt",
        "taihu/plant/cold-room/words": "GEHEIM-mqtt",
        "taihu/plant/pump": "public",
    }

    async def publish() -> None:
        subscriber = Client("reader", username=node.operator, clean_start=False)
        await talk(node, subscriber, lambda client: client.subscribe([Subscription("taihu/#", 1)]))
        publisher = Client("writer", username=node.operator)

        def all_topics(client: Client) -> None:
            for topic, text in topics.items():
                payload = f'"{text}"' if topic.endswith("words") else f'{{"words": "{text}"}}'
                client.publish(topic, payload.encode(), qos=1, retain=True)

        await talk(node, publisher, all_topics)

    asyncio.run(publish())
    receipt = delete(node, "projects/plant/readings?thing=cold-room&property=words")

    async def collect() -> list[str]:
        again = Client("reader", username=node.operator, clean_start=False)
        queued = await talk(node, again, lambda client: None)
        fresh = await talk(
            node, Client("fresh", username=node.operator), lambda client: client.subscribe([Subscription("taihu/#", 1)])
        )
        return [*queued, "then", *fresh]

    assert asyncio.run(collect()) == ["taihu/plant/pump", "then", "taihu/plant/pump"]
    wait_until(lambda: erased(node, receipt["id"]), "erased")
    assert traces(node, "GEHEIM-mqtt") == []


async def talk(node: LiveNode, client: Client, say: Callable[[Client], object]) -> list[str]:
    """Connect, say something, and listen for a moment; the topics of what came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.mqtt_port)
    client.connect(CLOCK.monotonic())
    said, heard = False, []
    try:
        async with asyncio.timeout(0.7):
            while True:
                if client.state is State.CONNECTED and not said:
                    said = True
                    say(client)
                writer.write(client.take_output())
                data = await reader.read(65_536)
                if not data:
                    break
                heard += [
                    packet.topic for packet in client.receive(data, CLOCK.monotonic()) if isinstance(packet, Publish)
                ]
    except TimeoutError:
        pass
    client.connection_lost()
    writer.close()
    return heard


def test_a_removed_project_leaves_nothing(node: LiveNode) -> None:
    """§11: by the node's owner alone; the other project does not notice."""
    stranger, headers = node.strangers["other"], {"Content_Type": "application/json"}
    body = b'{"pump": [{"ts": %d, "values": {"level": 4, "secret": 7316.42913, "words": "GEHEIM-project"}}]}' % BASE_MS
    assert node.ask("POST", "/api/v1/projects/other/readings", body, stranger, **headers).status == 200
    assert node.ask("DELETE", "/api/v1/projects/other", token=stranger).status == 403
    assert node.ask("DELETE", "/api/v1/projects/other").status == 404
    before = history(node, "pump")
    receipt = delete(node, "projects/other", admin(node))
    assert node.get("/projects/other/things", token=stranger).status == 401
    assert node.get("/projects/other/things", token=admin(node)).status == 404
    wait_until(lambda: erased(node, receipt["id"]), "erased")
    assert traces(node, NUMBER, "GEHEIM-project") == []
    assert not (node.site.data / "history" / "other").exists()
    node.stop()
    node.start()
    assert history(node, "pump") == before
