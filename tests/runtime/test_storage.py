"""What projects store is counted, and limited for each: at the limit its readings are refused, and no others (§6)."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from tests.faults.support import CLOCK, Answer, LiveNode, wait_until
from tests.runtime.test_deletions import admin
from tests.waiting import WAIT_S

from taihu.cli.main import run
from taihu.protocols.mqtt.client import Client
from taihu.protocols.mqtt.packets import Connack, Puback
from taihu.protocols.mqtt.reasons import Reason
from taihu.runtime.doctor.case import Case
from taihu.runtime.doctor.examine import CHECKS, open_case

LIMITS = {"flush_rows": 200, "flush_s": 0.3, "snapshot_s": 0.5}
OTHER = '[[project]]\nname = "other"\n[[project.thing]]\nname = "meter"\n'
MOST = 20_000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    folder = tmp_path_factory.mktemp("storage") / "site"
    live = LiveNode(folder, ["big", "small"], LIMITS, project=f"storage_bytes_max = {MOST}", more=OTHER)
    live.start()
    yield live
    live.stop()


def send(node: LiveNode, thing: str, first: int, count: int = 200) -> Answer:
    rows = [
        {"ts": 1_760_000_000_000 + n * 1_000, "values": {"level": n * 1.37**3}} for n in range(first, first + count)
    ]
    path = f"/api/v1/{node.tokens[thing]}/telemetry"
    return node.ask("POST", path, msgspec.json.encode(rows), Content_Type="application/json")


def publish(node: LiveNode) -> int:
    """The reason of a PUBACK in MQTT 5."""
    return asyncio.run(_publish(node))


async def _publish(node: LiveNode) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.mqtt_port)
    client = Client("probe", version=5, username=node.tokens["small"])
    client.connect(CLOCK.monotonic())
    try:
        while True:
            writer.write(client.take_output())
            for packet in client.receive(await asyncio.wait_for(reader.read(65_536), WAIT_S), CLOCK.monotonic()):
                if isinstance(packet, Connack):
                    client.publish("v1/devices/me/telemetry", b'{"level": 1.5}', qos=1)
                elif isinstance(packet, Puback):
                    return packet.reason
    finally:
        writer.close()


def test_a_project_at_its_limit_is_refused_and_comes_back(node: LiveNode, capsys: pytest.CaptureFixture[str]) -> None:
    count = steady = 0

    def fill() -> bool:
        """Until merging makes no room any more."""
        nonlocal count, steady
        count += 1
        full = send(node, "big" if count % 4 else "small", count * 200).status == 429
        steady = steady + 1 if full else 0
        return steady > 40

    wait_until(fill, "the project is full", 60)
    refused = send(node, "small", 0)
    assert refused.status == 429 and refused.body["type"] == "urn:taihu:problem:storage-full"
    assert publish(node) == Reason.QUOTA_EXCEEDED
    said = node.get("/projects/plant/quarantine").body
    assert "stores all that it may" in msgspec.json.encode(said).decode()
    line = node.ask("POST", "/api/v2/write?bucket=other", b"level,thing=meter v=1.5", token=node.strangers["other"])
    assert line.status in (200, 204), line
    status = node.status()
    assert status["storage_full"] == status["storage_nearly_full"] == 1 and status["storage_bytes"] >= MOST
    looked_at(node, capsys)
    path = "/api/v1/projects/plant/readings?thing=big"
    assert node.ask("DELETE", path, token=admin(node)).status < 300
    wait_until(lambda: send(node, "small", 0).status == 200, "there is room again", 60)
    assert publish(node) == Reason.SUCCESS
    assert node.log_lines("ingest", "has room again")


def looked_at(node: LiveNode, capsys: pytest.CaptureFixture[str]) -> None:
    """By HTTP, the command and the doctor."""
    one = node.get("/projects/plant/storage", things=1).body
    size = one["projects"][0]
    assert size["full"] and size["readings_bytes"] + size["rollups_bytes"] >= size["bytes_max"] == MOST
    assert size["journal_bytes"] > 0 and size["rows"] > 1_000
    assert [each["thing"] for each in one["things"]] == ["big"]
    assert one["disk"] is None, "of the node, not of a project"
    assert node.get("/projects/other/storage").status in (403, 404)
    whole = node.get("/storage", token=admin(node)).body
    assert {each["project"] for each in whole["projects"]} == {"plant", "other"} and whole["disk"]["free_bytes"] > 0
    capsys.readouterr()
    options = ["--url", f"http://127.0.0.1:{node.http_port}", "--token", admin(node)]
    assert run(["storage", *options]) == 0
    shown = capsys.readouterr().out
    assert "plant" in shown and "free" in shown
    case = open_case(node.folder, quick=True)
    assert isinstance(case, Case)
    assert ["plant" in each.what for each in CHECKS["storage"](case)] == [True]
