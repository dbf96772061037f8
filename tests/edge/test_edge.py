"""An edge node and its centre over a link that is cut: both sides end equal, and the ledger proves it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.support import CLOCK, PROJECT, LiveNode, wait_until
from tests.link import Link
from tests.waiting import WAIT_S

from taihu.cli.main import EXIT_REFUSED, run
from taihu.drivers.files import FOLDER, write_keyring
from taihu.kernel.clock import NS_PER_S
from taihu.runtime.edge.state import KEYS, State, read_state
from taihu.runtime.paths import Paths

MODEL = """{
  "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"taihu": "urn:taihu:ns#"}],
  "@type": "tm:ThingModel", "title": "Meter",
  "properties": {
    "power": {"type": "number", "unit": "kW"},
    "energy": {"type": "number", "unit": "kW.h", "taihu:kind": "counter"},
    "mode": {"type": "string", "enum": ["on", "off"], "taihu:kind": "state"}
  }
}
"""
METERS = ("meter-1", "meter-2")
MINUTES = 24 * 60


class Pair:
    """An edge node, its centre, and the link between them."""

    def __init__(self, folder: Path) -> None:
        self.centre = LiveNode(folder / "centre", [])
        self.link = Link(self.centre.mqtt_port)
        (folder / "edge").mkdir()
        (folder / "edge" / "meter.tm.json").write_text(MODEL)
        self.edge = LiveNode(
            folder / "edge",
            [],
            {"journal_segment_bytes": 65_536, "journal_retention_bytes": 131_072, "snapshot_s": 0.5},
            things="".join(f'[[project.thing]]\nname = "{name}"\nmodel = "meter.tm.json"\n' for name in METERS),
            more=f'[upstream]\nurl = "mqtt://127.0.0.1:{self.link.port}"\nshare = 1.0\n',
        )
        write_keyring(self.edge.folder / FOLDER, KEYS, {PROJECT: self.centre.operator})
        self.first = CLOCK.now_ns() // NS_PER_S - MINUTES * 60 - 7_200

    def state(self) -> State:
        return read_state(Paths(self.edge.site.data).upstream)

    def behind(self) -> int:
        sent = self.state().projects.get(PROJECT)
        return -1 if sent is None else sent.behind

    def send(self, minutes: range) -> None:
        """A reading a minute of each meter, in batches of an hour."""
        for begin in range(minutes.start, minutes.stop, 60):
            body: dict[str, list[Any]] = {name: [] for name in METERS}
            for minute in range(begin, min(begin + 60, minutes.stop)):
                for number, name in enumerate(METERS):
                    mode = "on" if minute // 30 % 2 else "off"
                    values = {"power": minute % 7 + number, "energy": minute * (number + 1) / 60, "mode": mode}
                    body[name].append({"ts": (self.first + minute * 60) * 1_000, "values": values})
            for name, rows in body.items():
                path = f"/api/v1/projects/{PROJECT}/readings?thing={name}"
                answer = self.edge.ask("POST", path, json.dumps(rows).encode(), Content_Type="application/json")
                assert answer.status == 200, answer

    def ledger(self, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = run([
            "upstream", "ledger", PROJECT, "--json", "--centre", f"http://127.0.0.1:{self.centre.http_port}",
            "--url", f"http://127.0.0.1:{self.edge.http_port}", "--token", self.edge.operator,
        ])  # fmt: skip
        return code, json.loads(capsys.readouterr().out)

    def windows(self, node: LiveNode, name: str) -> Any:
        start = self.first // 3_600 * 3_600 * NS_PER_S
        end = start + MINUTES // 60 * 3_600 * NS_PER_S
        answer = node.get(
            f"/projects/{PROJECT}/history", thing="meter-2", property=name, start=start, end=end, every="1h"
        )
        assert answer.status == 200, answer
        return answer.body["windows"]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    one = Pair(tmp_path)
    one.centre.start()
    one.edge.start()
    yield one
    edge = one.edge.processes.get("edge")
    if edge is not None:
        edge.terminate()
        assert edge.wait(WAIT_S) == 0
    one.link.close()
    one.edge.stop()
    one.centre.stop()


def test_a_day_without_the_link_leaves_no_gap(
    pair: Pair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late readings, a crash of the sender and cuts in the middle included (§5)."""
    monkeypatch.setenv("TAIHU_CENTRE_TOKEN", pair.centre.operator)
    pair.edge.start("edge")
    pair.send(range(2))
    wait_until(lambda: pair.behind() == 0, "the first readings to arrive")

    pair.link.cut()
    pair.send(range(2, 700))
    pair.send(range(760, MINUTES))
    pair.send(range(700, 760))  # an hour that comes late
    pair.edge.kill("edge")
    pair.edge.start("edge")
    wait_until(lambda: pair.behind() > 0, "the sender to see what the centre lacks")
    code, before = pair.ledger(capsys)
    assert (code, before["equal"]) == (EXIT_REFUSED, False)
    assert sum(line["gaps"] for line in before["things"]) == (MINUTES - 2) * len(METERS) * 3

    for _ in range(3):
        pair.link.mend()
        wait_until(lambda: pair.state().projects[PROJECT].connected or pair.behind() == 0, "the link")
        pair.link.cut()
    pair.link.mend()
    wait_until(lambda: pair.behind() == 0, "the gaps to be filled", 60)
    pair.edge.settle()
    pair.centre.settle()

    code, after = pair.ledger(capsys)
    expected = MINUTES * 3
    assert (code, after["equal"]) == (0, True), after
    assert [(line["here"], line["centre"], line["gaps"]) for line in after["things"]] == [(expected, expected, 0)] * 2
    sent = pair.state().projects[PROJECT].ledger
    assert sent.sent == dict.fromkeys(METERS, expected)
    assert not sent.lost
    assert not sent.aside
    for name in ("power", "energy", "mode"):  # by kind: the definitions have come along
        for there, here in zip(pair.windows(pair.centre, name), pair.windows(pair.edge, name), strict=True):
            assert there == here


def test_what_the_journal_no_longer_holds_is_told_and_the_rest_is_sent(pair: Pair) -> None:
    """A node that has been without a centre does not keep its journal for one."""
    for begin in range(0, MINUTES, 120):
        pair.send(range(begin, begin + 120))
    segments = sorted(pair.edge.site.data.glob("journal/*.seg"))
    assert len(segments) > 1
    segments[0].unlink()
    pair.edge.start("edge")
    wait_until(lambda: pair.behind() == 0, "what there is to arrive")
    sent = pair.state().projects[PROJECT].ledger
    assert [first for first, _ in sent.lost] == [1]
    assert len(pair.edge.log_lines("edge", "are gone before")) == 1
    assert 0 < sum(sent.sent.values()) < MINUTES * 3 * len(METERS)
