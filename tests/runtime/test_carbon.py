"""The ledger of a running node: accounts from site.toml, reports by every door, nothing across a border (§11)."""

import csv
import io
import json
import os
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest
from tests.carbon.walk import Page, check_answer, check_figures
from tests.supervised import SupervisedNode, until
from tests.waiting import WAIT_S

from taihu.carbon.factors import Factor
from taihu.cli.client import NodeClient, NodeRefused
from taihu.cli.main import EXIT_REFUSED, run
from taihu.kernel.clock import NS_PER_S, format_iso, parse_iso

HOUR_NS = 3_600 * NS_PER_S
START = parse_iso("2022-10-29T00:00:00Z")
NOW = "2022-11-01T00:00:00Z"
SITE = f"""
[clock]
start = {NOW}
speed = 1
[mqtt]
port = 0
[http]
port = 0
[carbon]
factors = "factors.csv"
settle_s = 0
[[project]]
name = "plant"
title = "A plant"
[[project.thing]]
name = "main"
model = "meter.tm.json"
[[project.thing]]
name = "pv"
model = "meter.tm.json"
[[project.account]]
meter = "main"
net = "energy"
region = "CN"
[[project.thing]]
name = "park"
model = "meter.tm.json"
[[project.account]]
meter = "pv"
generation = "energy"
certificates = true
[[project.account]]
meter = "park"
generation = "energy"
behind = "-"

[[project]]
name = "hall"
[[project.thing]]
name = "main"
model = "meter.tm.json"
site = "hall"
role = "main_meter"
[[project.thing]]
name = "line"
model = "meter.tm.json"
parent = "main"
[[project.thing]]
name = "battery"
model = "meter.tm.json"
parent = "main"
[[project.thing]]
name = "roof"
model = "meter.tm.json"
parent = "main"
[[project.thing]]
name = "boiler"
model = "meter.tm.json"
[[project.account]]
meter = "main"
net = "energy"
mix = "grid/mix"
upstream = "hall-upstream"
[[project.account]]
meter = "line"
import = "energy"
mix = "grid/mix"
[[project.account]]
meter = "main"
name = "lights"
import = "lights"
behind = "main"
mix = "grid/mix"
[[project.account]]
meter = "roof"
generation = "energy"
[[project.account]]
meter = "battery"
storage = "energy"
[[project.thing]]
name = "spare"
model = "meter.tm.json"
[[project.account]]
meter = "spare"
import = "energy"
region = "CN"
[[project.account]]
meter = "boiler"
import = "energy"
fuel = "natural-gas"

[[project]]
name = "grid"
[[project.thing]]
name = "mix"
model = "mix.tm.json"
[[grant]]
from = "grid"
to = "hall"
rights = ["read"]

[[project]]
name = "berlin"
timezone = "Europe/Berlin"
[[project.thing]]
name = "main"
model = "meter.tm.json"
[[project.account]]
meter = "main"
import = "energy"
region = "LOCAL"

[[project]]
name = "sydney"
timezone = "Australia/Sydney"
[[project.thing]]
name = "main"
model = "meter.tm.json"
[[project.account]]
meter = "main"
import = "energy"
region = "LOCAL"

[[project]]
name = "neighbour"
[[grant]]
from = "plant"
to = "neighbour"
rights = ["read"]
things = ["park"]
"""
INTERVAL = {"type": "number", "unit": "kW.h", "taihu:kind": "interval", "taihu:interval": 3_600}
MEGAWATTS = {"type": "number", "unit": "MW", "taihu:kind": "gauge", "taihu:maxAge": 3_600}
MODELS: dict[str, Any] = {
    "meter": {"properties": {"energy": INTERVAL, "lights": INTERVAL}},
    "mix": {"properties": {"coal": MEGAWATTS, "wind": MEGAWATTS, "frequency": {"type": "number", "unit": "Hz"}}},
}
FACTORS = (
    ",".join(Factor.__struct_fields__)
    + """
hall-upstream,,2022,upstream,electricity,0.05,kg/(kW.h),a study,2022-01-01,,
local-2022,LOCAL,2022,average,electricity,0.4,kg/(kW.h),the grid company,2023-01-01,2022-01-01,2023-01-01
"""
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupervisedNode]:
    node = SupervisedNode(tmp_path_factory.mktemp("plant"), SITE, MODELS, factors_csv=FACTORS)
    yield node
    node.stop()


def send(client: NodeClient, project: str, start: int = START, **things: dict[str, list[float | None]]) -> None:
    """Of each thing and property an hour's value each; None is left out."""
    body = {
        thing: [
            {"ts": (start + hour * HOUR_NS) // 10**6, "values": {name: value}}
            for name, values in found.items()
            for hour, value in enumerate(values)
            if value is not None
        ]
        for thing, found in things.items()
    }
    count = sum(map(len, body.values()))
    assert client.post("projects", project, "readings", body=body)["accepted"] == count


def rows_when(
    client: NodeClient, project: str, ready: Any, start: int = START, hours: int = 24
) -> list[dict[str, Any]]:
    period = {"start": format_iso(start), "end": format_iso(start + hours * HOUR_NS)}
    found: list[dict[str, Any]] = until(
        lambda: client.get("projects", project, "carbon", "rows", **period)["rows"], ready
    )
    return found


def period(hours: int, start: int = START) -> dict[str, str]:
    return {"start": format_iso(start), "end": format_iso(start + hours * HOUR_NS)}


def test_hours_reports_certificates_and_the_border(node: SupervisedNode, tmp_path: Path, capsys: Any) -> None:
    plant = node.operator("plant")
    send(plant, "plant", main={"energy": [2.0, 1.0, None, -1.0]}, pv={"energy": [1.5, 0.5, None, 2.0]})
    rows = rows_when(plant, "plant", lambda found: len(found) == 48)
    given = until(lambda: plant.get("projects", "plant", "carbon", "certificates", **period(4))["bundles"])
    assert [(one["device"], one["start"], one["issued_wh"]) for one in given] == [("pv", START + 3 * HOUR_NS, 1_000)]
    send(plant, "plant", park={"energy": [1.5, 0.0, 0.0, 0.0]})
    rows_when(plant, "plant", lambda found: len(found) == 72)
    first = {(row["meter"], (row["start"] - START) // HOUR_NS): row for row in rows}
    assert first["main", 0]["location_kg"] == 2 * 0.5366
    assert first["main", 2]["quality"] == "missing"

    send(plant, "plant", START + 2 * HOUR_NS, main={"energy": [4.0]})  # late (§5)
    rows = rows_when(plant, "plant", lambda found: any(row["version"] == 2 for row in found))
    assert [row["reason"] for row in rows if row["version"] == 2] == ["late readings"]

    report = plant.get("projects", "plant", "carbon", "report", **period(4))
    assert report["total"]["import_kwh"] == 7.0
    assert report["total"]["export_kwh"] == 1.0
    assert report["total"]["generation_kwh"] == 5.5
    assert [(one["reason"], one["intervals"]) for one in report["restated"]] == [("late readings", 1)]
    assert report["restated"][0]["location_kg"] == pytest.approx(4 * 0.5366)
    for words in (("report",), ("matching",)):
        for kind, head in (("html", b"<!doctype html>"), ("csv", b"project,"), ("pdf", b"%PDF-"), ("json", b"{")):
            if kind == "pdf":
                pytest.importorskip("reportlab", reason="reportlab is not installed: pip install 'taihu[pdf]'")
            target = tmp_path / f"{words[0]}.{kind}"
            place = ["--site", str(node.folder), "plant", "--start", period(4)["start"], "--end", period(4)["end"]]
            assert run(["carbon", *words, *place, "--out", str(target)]) == 0
            assert target.read_bytes().startswith(head)
    page = (tmp_path / "report.html").read_text()
    assert f"/api/v1/projects/plant/carbon/rows?start={START}&amp;" in page

    found = plant.get("matching", project=["plant"], **period(2))
    assert found["projects"]["plant"]["hourly"] == pytest.approx(3.5 / 5.0)

    issue = {"type": "issue", "bundle": "b1", "device": "park", "owner": "plant", "start": START,
             "end": START + HOUR_NS, "amount_wh": 1_500}  # fmt: skip
    plant.post("projects", "plant", "carbon", "certificates", body=issue)
    cancel = {"type": "cancel", "bundle": "b1", "owner": "plant", "consumer": "main", "amount_wh": 1_000}
    plant.post("projects", "plant", "carbon", "certificates", body=cancel)
    with pytest.raises(NodeRefused, match="holds 500 Wh"):
        plant.post("projects", "plant", "carbon", "certificates", body=cancel)
    rows = rows_when(plant, "plant", lambda found: any(row["reason"] == "certificates" for row in found))
    row = next(row for row in rows if row["reason"] == "certificates")
    assert (row["market_kg"], row["location_kg"], row["certified_kwh"]) == (1 * 0.5856, 2 * 0.5366, 1.0)
    matched = plant.get("projects", "plant", "carbon", "hourly", **period(1))
    assert matched["score"]["contracted"] == pytest.approx(2.5 / 3.5)  # what the roof made, and the park's certificate
    kept = plant.get("projects", "plant", "carbon", "certificates", **period(4))
    assert kept["held"]["plant"]["b1"] == 500
    assert plant.get("projects", "plant", "carbon", "certificates", start="-1h")["bundles"] == []
    pass_on = {"type": "transfer", "bundle": "b1", "owner": "plant", "to": "them", "amount_wh": 200}
    plant.post("projects", "plant", "carbon", "certificates", body=pass_on | {"project": "neighbour"})
    with pytest.raises(NodeRefused, match="granted hall nothing"):  # §11
        plant.post("projects", "plant", "carbon", "certificates", body=pass_on | {"project": "hall"})
    received = node.operator("neighbour").get("projects", "neighbour", "carbon", "certificates", **period(4))
    assert (received["held"], received["bundles"][0]["device"]) == ({"them": {"plant/b1": 200}}, "plant/park")
    lived(plant)
    capsys.readouterr()
    assert run(["carbon", "certificates", "--site", str(node.folder), "plant", "--start", period(4)["start"]]) == 0
    assert "b1" in capsys.readouterr().out

    ends = {"start": "-400d", "end": format_iso(START + 10**5 * HOUR_NS)}
    whole = node.owner.get("carbon", project=["plant", "neighbour"], **ends)
    assert whole["projects"]["plant"]["score"]["coverage"] == pytest.approx(3 / 72)  # of the hours that are accounted
    both = node.owner.get("carbon", project=["plant", "neighbour"], **period(4))
    assert (
        both["shared"]["coverage"] == both["projects"]["plant"]["score"]["coverage"] > 0
    )  # what has no meter is no part

    neighbour = node.operator("neighbour")
    for path in (("projects", "plant", "carbon", name) for name in ("rows", "report", "hourly", "certificates")):
        with pytest.raises(NodeRefused, match="There is no project"):
            neighbour.get(*path)
    for name in ("matching", "carbon"):
        with pytest.raises(NodeRefused, match="There is no project"):
            neighbour.get(name, project=["neighbour", "plant"])
    with pytest.raises(NodeRefused):
        neighbour.post("projects", "plant", "carbon", "certificates", body=issue)
    whose = {one["id"]: one["own"] for one in neighbour.get("factors")["factors"]}
    assert (whose["cn-2022-average"], whose["local-2022"]) == (False, True)


def test_a_site_of_many_meters_balances_or_says_by_how_much_not_9(node: SupervisedNode, capsys: Any) -> None:
    hall, grid = node.operator("hall"), node.operator("grid")
    send(grid, "grid", mix={"coal": [1.0, 3.0, None, 1.0, 1.0], "wind": [1.0, 1.0, 1.0, 1.0, 1.0]})
    send(
        hall,
        "hall",
        line={"energy": [5.0, 5.0, 5.0, 5.0]},
        battery={"energy": [1.0, -1.0, 0.0, 0.0]},
        roof={"energy": [2.0, 1.0, 0.0, -0.5]},
        boiler={"energy": [10.0, 10.0, 10.0, -10.0]},
    )
    send(hall, "hall", main={"energy": [5.0, 4.0, 6.0, 6.0], "lights": [1.0, 1.0, 1.0, 1.0]})
    ready = until(
        lambda: hall.get("projects", "hall", "carbon", "rows", **period(4))["rows"], lambda rows: len(rows) == 24
    )
    rows = {(row["meter"], (row["start"] - START) // HOUR_NS): row for row in ready}
    assert {name: rows[name, 0]["role"] for name in ("main", "line", "lights", "roof", "battery", "boiler")} == {
        "main": "grid", "line": "submeter", "lights": "submeter", "roof": "generation", "battery": "storage",
        "boiler": "fuel",
    }  # fmt: skip
    assert {rows[name, 0]["behind"] for name in ("line", "lights", "roof", "battery")} == {"main"}
    main = rows["main", 0]
    assert main["location_kg"] == pytest.approx(5 * (0.820 + 0.011) / 2)  # generation by source gives the intensity
    assert main["factors"] == ["grid/mix", "ipcc-2014-coal", "ipcc-2014-wind", "hall-upstream"]
    assert (main["carbon_free"], main["upstream_kg"]) == (0.5, pytest.approx(0.25))
    assert rows["main", 2]["quality"] == "missing"  # a source is missing, and there is no factor of the year (§3)
    assert (rows["main", 2]["import_kwh"], rows["main", 2]["location_kg"]) == (6.0, None)
    assert rows["boiler", 3]["quality"] == "missing"  # no less than nothing is burnt
    assert rows["roof", 3]["generation_kwh"] == 0.0

    report = hall.get("projects", "hall", "carbon", "report", **period(3))
    assert report["total"]["import_kwh"] == 15.0  # of the main meter: what is behind it is in it
    assert {line["meter"] for line in report["inside"]} == {"line", "lights", "battery"}
    (balance,) = report["balances"]
    assert (balance["meter"], balance["closed"], balance["share"]) == ("main", True, 0.0)
    assert balance["parts_kwh"] == {"battery": 0.0, "lights": 3.0, "line": 15.0, "roof": -3.0}
    direct, location, _, other = report["iso_14064"]
    assert direct["kg"] == pytest.approx(30 * 3.6e-6 * (56_100 + 27.0 + 0.1 * 273))
    assert (location["measured"], location["missing"]) == (2, 1)
    assert other["kg"] == pytest.approx(15 * 0.05)

    hourly = hall.get("projects", "hall", "carbon", "hourly", **period(2))
    contracted, rest = 2.0 + 1.0, 5.0 * 0.5 + 4.0 * 0.25
    assert hourly["score"]["cfe"] == pytest.approx((contracted + rest) / 12.0)

    send(hall, "hall", START + 3 * HOUR_NS, line={"energy": [2.0]})  # a meter that misreads
    until(
        lambda: hall.get("projects", "hall", "carbon", "report", **period(4))["balances"],
        lambda found: found[0]["share"] > 0.1,
    )
    assert run(["carbon", "report", "--site", str(node.folder), "hall", *_words(4)]) == 0
    out = capsys.readouterr().out
    assert "main: does not close: 14.286% apart, +3.00 kWh, 100%" in out
    silent = "nothing was read of it yet"  # and no report is silent about that
    assert f"spare is not accounted: {silent}" in out
    assert [(one["meter"], one["why"]) for one in report["lacking"]] == [("spare", silent)]
    page, table = node.folder / "hall.html", node.folder / "hall.csv"
    for file in (page, table):
        assert run(["carbon", "report", "--site", str(node.folder), "hall", "--out", str(file), *_words(4)]) == 0
    assert silent in page.read_text()
    assert any(line.startswith("hall,spare,,,") for line in table.read_text().splitlines())
    capsys.readouterr()
    assert run(["carbon", "summary", "--site", str(node.folder), "hall", "plant", *_words(4)]) == 0
    assert "does not close: 14.286%" in capsys.readouterr().out


def lived(plant: NodeClient) -> None:
    """From what certificates cover to the life of each of them: in a row, as JSON and as a page."""
    asked: dict[str, Any] = {"start": START, "end": START + 4 * HOUR_NS, "role": "grid", "figure": "certified_kwh"}
    answer = plant.get("projects", "plant", "carbon", "rows", **asked)
    (life,) = answer["certificates"]
    assert (answer["figure"], life["bundle"]) == (1.0, "b1")
    steps = [(one["event"]["type"], one["event"]["amount_wh"]) for one in life["steps"]]
    assert steps == [("issue", 1_500), ("cancel", 1_000), ("transfer", 200)]
    assert [one["at"] for one in life["steps"]] == sorted(one["at"] for one in life["steps"])
    before = plant.get("projects", "plant", "carbon", "rows", **asked, as_of=life["steps"][1]["at"] - 1)
    assert before.get("certificates", []) == []
    page = plant.get_bytes("projects", "plant", "carbon", "rows", **asked, format="html").decode()
    assert "passed on" in page and "neighbour/them" in page and "1.500" in page
    shown = plant.get_bytes("projects", "plant", "carbon", "rows", **asked, format="html", language="zh").decode()
    assert "注销" in shown and "passed on" not in shown


def test_every_figure_of_a_report_leads_to_its_rows_through_the_door(node: SupervisedNode) -> None:
    """After what the tests above have sent, restated, certified and granted."""
    owner, token = node.owner, node.token("hall", "viewer")
    for project, kind in (("hall", "report"), ("hall", "hourly"), ("plant", "report"), ("plant", "hourly")):
        client = NodeClient(owner.url, token if project == "hall" else node.token("plant", "viewer"))
        page = client.get_bytes("projects", project, "carbon", kind, format="html", **period(4)).decode()
        assert check_figures(page, partial(fetch, client)) > 25
        said = client.get("projects", project, "carbon", kind, **period(4))
        assert check_answer(said, partial(fetch, client)) > 25
        first = Page(page).links[0][1]
        assert read(first, f"Bearer {token}")[0] == (200 if project == "hall" else 404)
    password = "Basic " + b64encode(f"x:{token}".encode()).decode()  # as a browser asks for it
    status, headers, shown = read(first.replace("/plant/", "/hall/"), password, "text/html,*/*;q=0.8")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "A dash is missing, not zero." in shown and 'format=csv">All of it as CSV' in shown
    status, headers, shown = read(first, "", "text/html,application/xml;q=0.9,*/*;q=0.8")
    asked = ["Bearer", 'Basic realm="a token as password"']  # a browser takes one challenge from each line
    assert (status, headers.get_all("WWW-Authenticate")) == (401, asked)
    assert shown.startswith("<!doctype html>") and "This needs a valid token." in shown


def fetch(client: NodeClient, address: str) -> Any:
    parts = urlsplit(address)
    assert address.startswith(client.url)
    return client.get(*parts.path.removeprefix("/api/v1/").split("/"), **parse_qs(parts.query, keep_blank_values=True))


def read(address: str, authorization: str, accept: str = "*/*") -> tuple[int, Any, str]:
    headers = {"Accept": accept} | ({"Authorization": authorization} if authorization else {})
    try:
        with urlopen(Request(address, headers=headers), timeout=WAIT_S) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def test_days_of_23_and_25_hours_have_every_hour_once(node: SupervisedNode) -> None:
    berlin, sydney = node.operator("berlin"), node.operator("sydney")
    autumn, spring = parse_iso("2022-10-29T22:00:00Z"), parse_iso("2022-10-01T14:00:00Z")
    send(berlin, "berlin", autumn, main={"energy": [1.0] * 49})
    send(sydney, "sydney", spring, main={"energy": [1.0] * 47})
    for client, project, start, lengths in ((berlin, "berlin", autumn, (25, 24)), (sydney, "sydney", spring, (23, 24))):
        rows_when(client, project, lambda found: len(found) == 47, start, 47)
        until(
            lambda: client.get("projects", project, "carbon", "rows", **period(49, start))["rows"],  # noqa: B023
            lambda found: len(found) == 49,
        )
        report = client.get("projects", project, "carbon", "report", **period(sum(lengths), start), by="1d")
        assert [line["figures"]["import_kwh"] for line in report["parts"]] == list(lengths)
        assert report["total"]["missing"] == 0
        hourly = client.get("projects", project, "carbon", "hourly", **period(sum(lengths), start), by="1d")
        assert [part["score"]["load_kwh"] for part in hourly["parts"]] == list(lengths)
        assert sum(hour["load_kwh"] for hour in hourly["by_hour"]) == sum(lengths)


def test_what_is_not_known_is_marked_and_takes_no_part_3(node: SupervisedNode) -> None:
    """A meter that is silent, a load below zero, an hour that nobody can explain."""
    plant = node.operator("plant")
    start = START + 30 * HOUR_NS
    send(plant, "plant", start, main={"energy": [1.0, -3.0, None, 2.0]}, pv={"energy": [1.0, 1.0, 1.0, None]})
    send(plant, "plant", start, park={"energy": [0.0] * 4})
    rows_when(plant, "plant", lambda found: sum(row["quality"] == "measured" for row in found) >= 10, start, 4)
    text = plant.get_bytes("projects", "plant", "carbon", "hourly", **period(4, start), format="csv").decode()
    table = list(csv.DictReader(io.StringIO(text)))
    assert [row["quality"] for row in table] == ["measured", "impossible", "missing", "missing"]
    assert [row["load_kwh"] for row in table] == ["2.0", "", "", ""]  # three were given, and one was made
    score = plant.get("projects", "plant", "carbon", "hourly", **period(4, start))["score"]
    assert (score["load_kwh"], score["coverage"], score["impossible"]) == (2.0, 0.25, 1)


def test_a_corrected_factor_restates_and_what_was_said_stays_10(node: SupervisedNode, capsys: Any) -> None:
    berlin = node.operator("berlin")
    start = parse_iso("2022-10-29T22:00:00Z")
    before = rows_when(berlin, "berlin", lambda found: len(found) == 24, start)
    assert {row["location_kg"] for row in before} == {0.4}
    then = max(row["written_at"] for row in before)
    (node.folder / "factors.csv").write_text(FACTORS + "half a row\n")
    assert run(["reload", "--site", str(node.folder)]) == EXIT_REFUSED
    assert "factors.csv, line 4" in capsys.readouterr().err
    corrected = "local-2022-b,LOCAL,2022,average,electricity,0.5,kg/(kW.h),the company again,2024-01-01,2022-01-01,\n"
    (node.folder / "factors.csv").write_text(FACTORS + corrected)
    assert run(["reload", "--site", str(node.folder)]) == 0
    after = rows_when(berlin, "berlin", lambda found: all(row["version"] == 2 for row in found), start)
    assert {(row["location_kg"], row["reason"]) for row in after} == {(0.5, "factors local-2022-b")}
    assert {row["import_kwh"] for row in after} == {1.0}

    report = berlin.get("projects", "berlin", "carbon", "report", **period(24, start))
    (restated,) = report["restated"]
    assert (restated["reason"], restated["intervals"]) == ("factors local-2022-b", 24)
    assert restated["location_kg"] == pytest.approx(2.4)
    assert [used["id"] for used in report["factors"]] == ["local-2022-b"]
    old = berlin.get("projects", "berlin", "carbon", "report", **period(24, start), as_of=str(then))
    assert old["total"]["location_kg"] == pytest.approx(9.6)
    assert ([used["id"] for used in old["factors"]], old["restated"]) == (["local-2022"], [])
    capsys.readouterr()
    words = ["carbon", "report", "--site", str(node.folder), "berlin", "--start", format_iso(start)]
    assert run([*words, "--end", format_iso(start + 24 * HOUR_NS)]) == 0
    assert "restated for factors local-2022-b, 24 intervals: location +2.40 kg" in capsys.readouterr().out
    assert run([*words, "--end", format_iso(start + 24 * HOUR_NS), "--as-of", str(then), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == old["total"]


def test_only_whoever_runs_the_node_reads_the_ledgers_file(node: SupervisedNode) -> None:
    assert os.stat(node.folder / "data" / "carbon.sqlite").st_mode & 0o077 == 0


def _words(hours: int) -> list[str]:
    return ["--start", period(hours)["start"], "--end", period(hours)["end"]]
