"""Readings out of one node and into another by the commands: equal there, twice the same, resumable, refusals told."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars
import pytest
from tests.faults.support import CLOCK, PROJECT, LiveNode
from tests.runtime.conftest import MODEL

from taihu.cli import export
from taihu.cli.client import NodeAway, NodeRefused
from taihu.cli.main import EXIT_REFUSED, EXIT_TRY_AGAIN, run
from taihu.cli.transfer import slices
from taihu.cli.transfer.sink import Sink
from taihu.kernel.clock import NS_PER_S
from taihu.things.property import Property

ALL = (
    "SELECT thing, property, epoch_ns(observed_at), value, text, unit, kind FROM readings "
    "WHERE thing <> 'elsewhere' ORDER BY ALL"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """Modelled and plain things with values of every type, corrections, in files and in the head."""
    folder = tmp_path_factory.mktemp("from") / "site"
    folder.mkdir()
    (folder / "meter.tm.json").write_text(MODEL)
    meter = '[[project.thing]]\nname = "meter"\ntitle = "Main"\nsite = "north"\nmodel = "meter.tm.json"\n'
    node = LiveNode(folder, ["pump", "it's 泵"], {"flush_rows": 300}, things=meter)
    node.start()
    start = CLOCK.now_ns() // NS_PER_S * NS_PER_S - 5 * 3_600 * NS_PER_S
    moment = [start + n * 41 * NS_PER_S + n for n in range(400)]
    send(node, {"meter": [(t, {"power_kw": n / 8, "energy_kwh": n, "mode": "on"}) for n, t in enumerate(moment)]})
    mixed = [
        (t, {"level": n * 1.1, "on": n % 3 == 0, "note": str(n), "tree": {"n": [n]}}) for n, t in enumerate(moment)
    ]
    send(node, {"pump": mixed, "it's 泵": [(t, {"on": n, "level": "full"}) for n, t in enumerate(moment[:50])]})
    send(node, {"pump": [(moment[7], {"level": -1.0}), (moment[8], {"level": 9.0})]})
    send(node, {"pump": [(moment[8], {"level": 10.0})]})
    node.settle()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """A fresh site."""
    node = LiveNode(tmp_path_factory.mktemp("into") / "site", ["elsewhere"])
    node.start()
    yield node
    node.stop()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def send(node: LiveNode, things: dict[str, Any]) -> None:
    body = {thing: [{"ts": t, "values": values} for t, values in rows] for thing, rows in things.items()}
    path = f"/api/v1/projects/{PROJECT}/readings"
    answer = node.ask("POST", path, msgspec.json.encode(body), Content_Type="application/json")
    assert (answer.status, answer.body["refused"]) == (200, []), answer


def taihu(node: LiveNode, *words: str, token: str | None = None) -> int:
    return run([*words, "--url", f"http://127.0.0.1:{node.http_port}", "--token", token or node.operator])


def rows(node: LiveNode, sql: str = ALL) -> list[Any]:
    node.settle()
    answer = node.ask("POST", f"/api/v1/projects/{PROJECT}/sql", msgspec.json.encode({"sql": sql}))
    assert answer.status == 200, answer
    return list(answer.body["rows"])


def refusals() -> list[list[str]]:
    with Path("import-refused.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


@pytest.mark.parametrize("files_as", ["parquet", "csv"])
def test_a_round_trip(
    source: LiveNode,
    target: LiveNode,
    files_as: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All readings with their units and kinds, whichever the format, and however often (§1)."""
    monkeypatch.setattr(slices, "ROWS_MAX", 90)
    assert taihu(source, "export", PROJECT, "out", "--format", files_as, "--json") == 0
    manifest = msgspec.json.decode(capsys.readouterr().out)
    assert sum(len(view["files"]) for view in manifest["views"]) > 10
    assert all(Path("out", one["file"]).exists() for view in manifest["views"] for one in view["files"])
    for _ in range(2):
        assert taihu(target, "import", PROJECT, "out", "--create") == 0
        assert rows(target) == rows(source)
    things = "SELECT thing, title, site FROM things WHERE thing <> 'elsewhere' ORDER BY thing"
    assert rows(target, things) == rows(source, things)
    assert list(Path().glob(".taihu-import-*")) == []


def test_the_files_are_plain(source: LiveNode) -> None:
    assert taihu(source, "export", PROJECT, "out", "--thing", "me*", "--property", "power_kw") == 0
    frame = polars.read_parquet("out/meter/*.parquet")
    assert frame.columns == ["thing", "observed_at", "received_at", "seq", "quality", "power_kw"]
    assert frame["power_kw"].to_list() == [n / 8 for n in range(400)]
    assert taihu(source, "export", PROJECT, "out", "--thing", "pump") == EXIT_REFUSED
    Path("other").mkdir()
    Path("other/x").touch()
    assert taihu(source, "export", PROJECT, "other") == EXIT_REFUSED


def test_an_interrupted_export_goes_on(source: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "ROWS_MAX", 200)
    assert taihu(source, "export", PROJECT, "out", "--start", "-4h") == 0
    files = sorted(Path("out").rglob("*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in files}
    content = files[0].read_bytes()
    files[0].unlink()
    Path(f"{files[1]}.part").write_bytes(b"half")
    assert taihu(source, "export", PROJECT, "out", "--start", "-4h") == 0
    assert files[0].read_bytes() == content
    assert all(path.stat().st_mtime_ns == before[path] for path in files[1:])


def test_a_slice_beyond_an_answer_is_cut(
    source: LiveNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """§6: the node's limit is met by asking for less."""
    whole = export._fetch

    def limited(node: Any, manifest: Any, sql: str, one: Any, folder: Path) -> None:
        if one.rows > 150:
            raise NodeRefused("The answer has more than 150 rows (sql_rows_max):", "", "limit")
        whole(node, manifest, sql, one, folder)

    monkeypatch.setattr(export, "_fetch", limited)
    assert taihu(source, "export", PROJECT, "out", "--thing", "meter", "--json") == 0
    manifest = msgspec.json.decode(capsys.readouterr().out)
    assert manifest == msgspec.json.decode(Path("out/manifest.json").read_bytes())
    assert len(manifest["views"][0]["files"]) >= 3
    assert sorted(polars.read_parquet("out/meter/*.parquet")["power_kw"].to_list()) == [n / 8 for n in range(400)]


def test_an_interrupted_import_goes_on(
    source: LiveNode, target: LiveNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """§4: what was answered is there; the next one begins after it."""
    start = CLOCK.now_ns() // NS_PER_S - 10_000
    lines = [f"resumed,{start + n},{n}" for n in range(5_000)]
    Path("x.csv").write_text("\n".join(["thing,time,level", *lines, "resumed,never,1"]))
    sent: list[int] = []
    whole = Sink.send

    def broken(self: Sink, batch: Any) -> int:
        sent.append(len(batch))
        if len(sent) == 2:
            raise NodeAway("gone", "")
        return whole(self, batch)

    monkeypatch.setattr(Sink, "send", broken)
    assert taihu(target, "import", PROJECT, "x.csv", "--create") == EXIT_TRY_AGAIN
    assert taihu(target, "import", PROJECT, "x.csv") == EXIT_REFUSED
    assert sent == [2_000, 2_000, 2_000, 1_000]
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1].split() == ["5000", "1", "0", "0"]
    assert "1 rows or values were refused" in shown.err
    assert [where for where, *_ in refusals()] == ["line 5002"]
    found = rows(
        target, "SELECT count(*), count(DISTINCT observed_at), sum(value) FROM readings WHERE thing = 'resumed'"
    )
    assert found == [[5_000, 5_000, sum(range(5_000))]]
    assert list(Path().glob(".taihu-import-*")) == []


def test_refusals_have_their_line_and_reason(target: LiveNode) -> None:
    """§2: by the definitions of the node, and by what only the node itself can know."""
    Path("x.csv").write_text(
        "thing,time,level,mode\n"
        "tank,2026-01-31T12:00:00Z,1,on\n"
        "tank,2026-01-31T12:00:01Z,much,on\n"
        "tank,2099-01-31T12:00:00Z,1,on\n"
        "tank,2026-01-31,1,on\n"
        "ta/nk,2026-01-31T12:00:00Z,1,on\n"
        "tank,2026-01-31T12:00:02Z,2\n"
        "tank,1999-06-01T00:00:00Z,2,on\n"
    )
    assert taihu(target, "import", PROJECT, "x.csv") == EXIT_REFUSED
    assert {(where, reason.split(".")[0]) for where, _, _, reason in refusals()} >= {
        ("line 2", "There is no such thing in the project"),
        ("line 7", "it has 3 cells, the first line 4"),
    }
    assert taihu(target, "import", PROJECT, "x.csv", "--create", "--dry-run") == EXIT_REFUSED
    dry = refusals()
    assert rows(target, "SELECT count(*) FROM things WHERE thing = 'tank'") == [[0]]
    assert taihu(target, "import", PROJECT, "x.csv", "--create") == EXIT_REFUSED
    found = refusals()
    assert [row[:3] for row in found if row[0] != "line 8"] == [row[:3] for row in dry]
    reasons = {where: (thing, name, reason) for where, thing, name, reason in found}
    assert reasons["line 3"] == ("tank", "level", "'much' where a number is defined")
    assert "ahead" in reasons["line 4"][2] or "future" in reasons["line 4"][2]
    assert "has no offset" in reasons["line 5"][2] and "cannot name a thing" in reasons["line 6"][2]
    assert reasons["line 8"][0] == "tank"
    levels = "SELECT epoch(observed_at), value FROM readings WHERE thing = 'tank' AND property = 'level'"
    assert rows(target, levels) == [[1769860800.0, 1.0]]
    modes = "SELECT count(*) FROM readings WHERE thing = 'tank' AND property = 'mode'"
    assert rows(target, modes) == [[2]]  # line 3 was refused its level alone


def test_units_are_converted_or_refused(target: LiveNode) -> None:
    """§2: once, at the edge."""
    Path("w.csv").write_text("time,P\n2026-01-31T12:00:00Z,1500\n")
    Path("k.csv").write_text("time,P\n2026-01-31T12:00:01Z,2\n")
    meter = ("--thing", "meter-7", "--create")
    assert taihu(target, "import", PROJECT, "k.csv", "--column", "P=power:kW", *meter) == 0
    assert taihu(target, "import", PROJECT, "w.csv", "--column", "P=power:W", *meter) == 0
    found = rows(target, "SELECT value, unit FROM readings WHERE thing = 'meter-7' ORDER BY observed_at")
    assert found == [[1.5, "kW"], [2.0, "kW"]]
    assert taihu(target, "import", PROJECT, "w.csv", "--column", "P=power:Cel", *meter) == EXIT_REFUSED


def test_who_may_import(target: LiveNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A viewer makes no things and sends nothing; a node's owner lets an operator do it, for as long as it takes."""
    Path("x.csv").write_text("thing,time,level\nelsewhere,2026-01-31T12:00:00Z,1\n")
    assert taihu(target, "import", PROJECT, "x.csv", token=target.viewer) == EXIT_REFUSED
    assert rows(target, "SELECT count(*) FROM readings WHERE thing = 'elsewhere'") == [[0]]
    assert run(["import", PROJECT, "x.csv", "--site", str(target.folder)]) == 0
    assert rows(target, "SELECT count(*) FROM readings WHERE thing = 'elsewhere'") == [[1]]
    capsys.readouterr()
    assert run(["token", "list", PROJECT, "--site", str(target.folder), "--json"]) == 0
    tokens = msgspec.json.decode(capsys.readouterr().out)["tokens"]
    assert [token["label"] for token in tokens if token["label"] == "taihu import" and not token["revoked_at"]] == []


def test_lines_go_through_the_projects_mapping(target: LiveNode) -> None:
    start = (CLOCK.now_ns() // NS_PER_S - 100) * NS_PER_S
    good = "".join(f"cpu,host=press usage={n} {start + n}\n" for n in range(100))
    Path("x.lp").write_text(f'# DML\n{good}cpu,host=press usage=oops\ncpu,host=press usage="text" {start + 200}\n')
    assert taihu(target, "import", PROJECT, "x.lp") == EXIT_REFUSED
    assert [where for where, *_ in refusals()] == ["line 102", "line 103"]
    assert rows(target, "SELECT count(*), sum(value) FROM readings WHERE thing = 'press'") == [[100, 4950.0]]


def test_hourly_tables_hold_between_their_readings(target: LiveNode) -> None:
    """§3, §4: what is new is declared as far apart as its rows are, else each hour would be a quarter known."""
    start = CLOCK.now_ns() // NS_PER_S - 30 * 3_600
    lines = [f"{start + hour * 3_600},{hour},{hour},{hour},{hour}" for hour in range(30) if hour != 9]
    Path("hours.csv").write_text("\n".join(("time,register,amount,power,plain", *lines)))
    columns = ("register=register:kW.h:counter", "amount=amount:kW.h:interval", "power=power:kW", "plain=plain")
    words = (word for column in columns for word in ("--column", column))
    assert taihu(target, "import", PROJECT, "hours.csv", "--thing", "hourly", "--create", *words) == 0
    sql = "SELECT property, definition FROM properties WHERE thing = 'hourly' ORDER BY property"
    found = {name: msgspec.json.decode(text, type=Property) for name, text in rows(target, sql)}
    assert found["amount"].interval_s == 3_600
    assert {found[name].max_age_s for name in ("register", "power", "plain")} == {5_400}
    assert not any(one.inferred for one in found.values())
    for name in found:
        span = f"start={start * NS_PER_S}&end={(start + 29 * 3_600) * NS_PER_S}&every=1h"
        answer = target.ask("GET", f"/api/v1/projects/{PROJECT}/history?thing=hourly&property={name}&{span}")
        known = [window["coverage"] for window in answer.body["windows"][1:-1]]
        assert sum(known) == pytest.approx(len(known) - {"register": 2, "amount": 1}.get(name, 0.5)), name
