"""Calculated properties of a real node: declared, read, observed and asked of the past (§3, §5, §10, §11)."""

from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import polars as pl
import pytest
from tests.faults.support import CLOCK, PROJECT, Answer, LiveNode, wait_until
from tests.runtime.streams import stream
from tests.runtime.test_courtesy import ask
from tests.runtime.test_http import BASE, newest, post

from taihu.cli.main import run

MAIN, SUBS = "mains", ("sub-1", "sub-2")
THINGS = f"/api/v1{BASE}/things"


def act(node: LiveNode, action: str, token: str | None = None, **arguments: Any) -> Answer:
    return node.ask("POST", f"/api/v1/admin/{action}", msgspec.json.encode({"project": PROJECT} | arguments), token)


def calculate(node: LiveNode, name: str, formula: str, **more: Any) -> Answer:
    wanted = {"thing": MAIN, "name": name, "formula": formula, "unit": "kW"} | more
    return act(node, "property-calculate", **wanted)


def send(node: LiveNode, thing: str, at_ms: int | None = None, **values: float) -> None:
    body = values if at_ms is None else {"ts": at_ms, "values": values}
    assert post(node, body, thing).status == 200


@pytest.fixture(scope="module", autouse=True)
def start(node: LiveNode) -> int:
    """UTC ms of the first reading: an hour of three meters, one a minute, and what is made of them."""
    for name in (MAIN, *SUBS):
        place = {} if name == MAIN else {"parent": MAIN, "role": "submeter"}
        assert act(node, "thing-create", name=name, model="meter", **place).status == 200
    first = (CLOCK.now_ns() // 3_600_000_000_000 - 2) * 3_600_000
    for thing, power in zip((MAIN, *SUBS), (6.0, 1.0, 2.0), strict=True):
        rows = [
            {"ts": first + minute * 60_000, "values": {"power_kw": power, "energy_kwh": power * minute / 60}}
            for minute in range(61)
        ]
        assert post(node, rows, thing).status == 200
    assert calculate(node, "unmetered", "power_kw - sum(power_kw of submeters)").status == 200
    assert (
        calculate(node, "losses", "100 * (energy_kwh - sum(energy_kwh of submeters)) / energy_kwh", unit="1").status
        == 200
    )
    amount = {"unit": "kW.h", "kind": "interval", "interval_s": 900.0}
    assert calculate(node, "lost", "energy_kwh - sum(energy_kwh of submeters)", **amount).status == 200
    node.settle()
    return first


def history(node: LiveNode, start: int, name: str, **query: Any) -> Any:
    wanted: dict[str, Any] = {
        "thing": MAIN,
        "property": name,
        "start": start * 1_000_000,
        "end": (start + 3_600_000) * 1_000_000,
    }
    answer = node.get(f"{BASE}/history", **(wanted | query))
    assert answer.status == 200, answer
    return answer.body


def test_history_is_worked_out_of_its_inputs(node: LiveNode, start: int) -> None:
    """§10: windows say their inputs."""
    body = history(node, start, "unmetered", every="15m")
    assert body["inputs"] == [f"{PROJECT}/{name}/power_kw" for name in (MAIN, *SUBS)]
    assert [window["time_mean"] for window in body["windows"]] == [3.0] * 4
    assert [window["coverage"] for window in body["windows"]] == [1.0] * 4
    assert [round(one["time_mean"], 9) for one in history(node, start, "losses", every="1h")["windows"]] == [50.0]
    assert [round(one["sum"], 9) for one in history(node, start, "lost", every="30m")["windows"]] == [1.5, 1.5]
    assert [one["value"] for one in history(node, start, "unmetered")["readings"]] == [3.0] * 60
    assert [round(one["value"], 9) for one in history(node, start, "lost")["readings"]] == [0.75] * 4


def test_every_form_of_the_history_has_them(node: LiveNode, start: int) -> None:
    query = f"start={start * 1_000_000}&end={(start + 3_600_000) * 1_000_000}&thing={MAIN}&property=unmetered"
    path = f"/api/v1{BASE}/history?{query}"
    table = pl.read_csv(BytesIO(ask(node, "GET", f"{path}&format=csv&every=1h").body))
    assert table["time_mean"].to_list() == [3.0]
    frame = pl.read_ipc_stream(BytesIO(ask(node, "GET", f"{path}&format=arrow").body))
    assert frame["value"].to_list() == [3.0] * 60
    at = f"time={start // 1000 + 1800}&query=" + quote(f'max(unmetered{{thing="{MAIN}"}})')
    told = msgspec.json.decode(ask(node, "GET", f"/prometheus/{PROJECT}/api/v1/query?{at}").body)
    assert [line["value"][1] for line in told["data"]["result"]] == ["3"], told
    asof = node.get(f"{BASE}/asof", thing=MAIN, property="unmetered", at=(start + 90_000) * 1_000_000).body
    assert (asof["reading"]["value"], asof["reading"]["observed_at"]) == (3.0, (start + 60_000) * 1_000_000)


def test_the_newest_value_holds_as_long_as_all_of_its_inputs(node: LiveNode) -> None:
    """§3: what is missing is not there; it is never zero."""
    assert "unmetered" not in newest(node, MAIN)
    for thing, power in zip((MAIN, *SUBS), (5.0, 1.5, 2.0), strict=True):
        send(node, thing, power_kw=power)
    found = newest(node, MAIN)["unmetered"]
    assert (found["value"], found["unit"], found["quality"], found["stale"]) == (1.5, "kW", "stamped", False)
    value = node.ask("GET", f"{THINGS}/{MAIN}/properties/unmetered")
    assert value.body == 1.5
    assert "lost" not in newest(node, MAIN)


def test_who_observes_it_is_told_when_an_input_changes(node: LiveNode) -> None:
    for thing, power in zip((MAIN, *SUBS), (5.0, 1.0, 1.0), strict=True):
        send(node, thing, power_kw=power)
    with stream(node.http_port, f"{THINGS}/{MAIN}/properties/unmetered/observe", node.viewer) as told:
        assert told.next().data == 3.0
        send(node, SUBS[1], power_kw=2.5)
        assert told.next().data == 1.5
        assert act(node, "thing-create", name="sub-3", model="meter", parent=MAIN, role="submeter").status == 200
        send(node, "sub-3", power_kw=0.25)
        assert told.next().data == 1.25
    explained = node.ask("GET", f"{THINGS}/{MAIN}/properties/unmetered/calculation").body
    assert [one["thing"] for one in explained["inputs"]] == [MAIN, *SUBS, "sub-3"]
    assert node.ask("DELETE", f"{THINGS}/sub-3").status in (200, 202, 204)


def test_late_readings_count_as_those_in_time(node: LiveNode, start: int) -> None:
    """§5"""
    earlier = start - 7_200_000
    assert history(node, earlier, "unmetered", every="1h")["windows"][0]["time_mean"] is None
    for minute in range(59, -1, -1):
        for thing in (MAIN, *SUBS):
            send(node, thing, earlier + minute * 60_000, power_kw=4.0 if thing == MAIN else 1.0)
    node.settle()
    window = history(node, earlier, "unmetered", every="1h")["windows"][0]
    assert (window["time_mean"], window["coverage"]) == (2.0, 1.0)


def test_nothing_is_sent_of_it(node: LiveNode) -> None:
    answer = post(node, {"unmetered": 1.0}, MAIN)
    assert answer.status == 400
    assert "calculated" in answer.body["refused"][0]


def test_deleted_inputs_are_told_of(node: LiveNode, start: int) -> None:
    """§10"""
    query = f"thing={SUBS[0]}&property=power_kw&start={start * 1_000_000}&end={(start + 900_000) * 1_000_000}"
    assert node.ask("DELETE", f"/api/v1{BASE}/readings?{query}").status in (200, 202)
    windows = history(node, start, "unmetered", every="15m")["windows"]
    assert [window["gone"] for window in windows] == [True, False, False, False]
    assert windows[0]["time_mean"] is None
    assert windows[1]["time_mean"] == 3.0


def test_a_formula_that_means_nothing_is_refused_with_its_place(node: LiveNode) -> None:
    for formula, place in (("power_kw + energy_kwh", 0), ("power_kw - 5", 0), ("power_kw ! 2", 9), ("bad", 0)):
        answer = calculate(node, "bad", formula)
        assert (answer.status, answer.body["type"]) == (400, "urn:taihu:problem:formula"), formula
        assert answer.body["title"].startswith(f"At {place + 1} of ")
    answer = calculate(node, "some", "power_kw + {nobody/power_kw}", dry_run=True)
    assert (answer.status, answer.body["declared"]) == (200, False)
    assert answer.body["lacking"] == [f"{PROJECT}/nobody/power_kw is not known or not granted"]
    assert node.ask("GET", f"{THINGS}/{MAIN}/properties/some/calculation").status == 404


def test_a_thing_reads_no_other_by_a_formula_of_its_own(node: LiveNode) -> None:
    """§11: a thing may describe itself; formulas take who administers."""
    _, token = issue(node, "fan")
    spy = {"type": "number", "unit": "kW", "taihu:kind": "gauge", "readOnly": True, "observable": True}
    spy |= {"taihu:formula": f"{{{MAIN}/power_kw}}", "forms": [{"href": "x"}]}
    patch = msgspec.json.encode({"properties": {"spy": spy}})
    path = f"/api/v1{BASE}/directory/things/" + quote(f"urn:taihu:{PROJECT}:fan", safe="")
    refused = node.ask("PATCH", path, patch, token, Content_Type="application/merge-patch+json")
    assert refused.status == 403, refused
    assert node.ask("PATCH", path, patch, Content_Type="application/merge-patch+json").status == 204
    assert newest(node, "fan")["spy"]["value"] == newest(node, MAIN)["power_kw"]["value"]
    patch = msgspec.json.encode({"properties": {"spy": {"unit": "V"}}})
    answer = node.ask("PATCH", path, patch, Content_Type="application/merge-patch+json")
    assert (answer.status, answer.body["validationErrors"][0]["field"]) == (400, "/properties/spy/taihu:formula")
    patch = msgspec.json.encode({"properties": {"spy": None}})
    assert node.ask("PATCH", path, patch, Content_Type="application/merge-patch+json").status == 204
    assert "spy" not in newest(node, "fan")


def test_nothing_crosses_a_border_by_a_formula(node: LiveNode) -> None:
    """§11: a grant lets it, and ends it, at once."""
    stranger = node.strangers["other"]
    wanted = {
        "project": "other",
        "thing": "pump",
        "name": "theirs",
        "unit": "kW",
        "formula": f"{{{PROJECT}/{MAIN}/power_kw}}",
    }
    assert act(node, "property-calculate", stranger, **wanted).body["lacking"]
    path = "/api/v1/projects/other/values?thing=pump"

    def seen() -> list[Any]:
        return [
            one["value"] for one in node.ask("GET", path, token=stranger).body["values"] if one["property"] == "theirs"
        ]

    def past() -> Any:
        query = f"thing=pump&property=theirs&start={(CLOCK.now_ns() - 7_200_000_000_000)}&every=1h"
        answer = node.ask("GET", f"/api/v1/projects/other/history?{query}", token=stranger)
        return [window["time_mean"] for window in answer.body["windows"] if window["time_mean"] is not None]

    send(node, MAIN, power_kw=5.0)
    node.settle()
    assert (seen(), past()) == ([], [])
    grant = {"from": PROJECT, "to": "other", "things": [MAIN], "properties": ["power_kw"]}
    offered = node.ask("POST", "/api/v1/admin/grant-add", msgspec.json.encode(grant))
    assert offered.status == 200, offered
    number = msgspec.json.encode({"id": offered.body["id"]})
    assert seen() == []
    assert node.ask("POST", "/api/v1/admin/grant-accept", number, stranger).status == 200
    assert seen() == [5.0]
    assert past()
    assert node.ask("POST", "/api/v1/admin/grant-remove", number).status == 200
    assert (seen(), past()) == ([], [])


def issue(node: LiveNode, thing: str) -> tuple[str, str]:
    body = act(node, "token-issue", kind="thing", thing=thing).body
    return body["id"], body["token"]


def test_nothing_of_it_was_a_defect(node: LiveNode) -> None:
    wait_until(lambda: node.status()["worker"] == "running", "the worker")
    assert not node.log_lines("ingest", "Traceback")
    assert not node.log_lines("worker", "Traceback")


def test_sql_and_export_have_it(node: LiveNode, start: int, tmp_path: Path) -> None:
    """§5: late readings and corrections included. An import leaves it to be worked out again."""
    assert act(node, "thing-create", name="hall", model="meter").status == 200
    rows = [{"ts": start + minute * 60_000, "values": {"power_kw": 2.0}} for minute in range(60)]
    assert post(node, rows, "hall").status == 200
    assert calculate(node, "twice", "2 * power_kw", thing="hall").status == 200
    amount = {"unit": "kW.h", "kind": "interval", "interval_s": 900.0}
    assert calculate(node, "used", "integral(power_kw)", thing="hall", **amount).status == 200
    sql = (
        "SELECT property, count(*), round(sum(value), 6), min(coverage), max(unit), bool_or(gone) FROM calculated "
        "WHERE thing = 'hall' GROUP BY property ORDER BY property"
    )
    bounds = f"?start={start * 1_000_000}&end={(start + 3_600_000) * 1_000_000}"

    def asked() -> Any:
        node.settle()
        answer = node.ask("POST", f"/api/v1{BASE}/sql{bounds}", msgspec.json.encode({"sql": sql}))
        assert answer.status == 200, answer
        return answer.body["rows"]

    assert asked() == [["twice", 60, 240.0, 1.0, "kW", False], ["used", 4, 2.0, 1.0, "kW.h", False]]
    send(node, "hall", start + 30_000, power_kw=8.0)
    assert asked() == [["twice", 61, 256.0, 1.0, "kW", False], ["used", 4, 2.05, 1.0, "kW.h", False]]
    send(node, "hall", start + 30_000, power_kw=2.0)
    assert asked() == [["twice", 61, 244.0, 1.0, "kW", False], ["used", 4, 2.0, 1.0, "kW.h", False]]

    own = ["--url", f"http://127.0.0.1:{node.http_port}", "--token", node.operator]
    out = tmp_path / "out"
    assert (
        run(["export", PROJECT, str(out), "--thing", "hall", "--property", "used", "--property", "power_kw", *own]) == 0
    )
    frame = pl.read_parquet(out / "calculated" / "*.parquet")
    whole = frame.filter(pl.col("coverage") == 1)
    assert (set(frame["property"]), whole["value"].round(9).to_list()) == ({"used"}, [0.5] * 4)
    manifest = msgspec.json.decode((out / "manifest.json").read_bytes())
    assert [view["name"] for view in manifest["views"] if view["calculated"]] == ["calculated"]
    assert sum(one["rows"] for one in manifest["views"][-1]["files"]) == len(frame)
    assert run(["import", PROJECT, str(out), "--dry-run", *own]) == 0
