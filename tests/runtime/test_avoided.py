"""What the pilot keeps of the hours that it drove is in the worker's ledger, its report and its pages (§8, §10)."""

import asyncio
from array import array
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taihu.carbon.driven import Driven
from taihu.history.history import History
from taihu.identity.directory import Directory
from taihu.identity.principal import Project
from taihu.kernel.clock import HOUR_NS, SimClock
from taihu.kernel.config import parse_site
from taihu.kernel.files import OsFiles
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.decisions import Decisions
from taihu.runtime.questions import Definitions
from taihu.runtime.worker.carbon.service import CarbonDesk
from taihu.things.batch import Batch, Column
from taihu.things.property import Property, Signal, Thing

SITE = """
[[project]]
name = "home"
[[project.account]]
avoided = "b"
marginal = "grid/margin"
[[project.controller]]
name = "b"
battery = "battery"
net = "meter/power"
load = "meter/load"
intensity = "grid/average"
cost_weight = 0
carbon_weight = 1
capacity_kwh = 5
power_kw = 2
"""
MARGIN = Property(name="margin", unit="kg/(kW.h)", signal=Signal.MARGINAL, max_age_s=3_600)


def test_what_the_pilot_kept_is_reported_beside_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    site, clock = parse_site(SITE, tmp_path), SimClock()
    start = clock.now_ns() // HOUR_NS * HOUR_NS
    directory = Directory(tmp_path / "metadata.sqlite", clock)
    directory.create_project(Project(name="home"))
    directory.create_thing("home", Thing(name="grid", properties={"margin": MARGIN}))
    definitions = Definitions(directory)
    history = History(tmp_path / "history", OsFiles(), clock, site.limits, definitions.of)
    desk = CarbonDesk(site, history, directory, definitions, clock)
    hours = [Driven(start + place * HOUR_NS, 1.0, 3.0, place == 1, "meter/energy, shadow/energy") for place in range(3)]
    for place in range(2):  # of the third nothing is said
        times, values = array("q", [hours[place].start]).tobytes(), array("d", [0.8]).tobytes()
        batch = Batch("home", "", ("margin",), ("grid",), b"", hours[place].start, times, b"", (Column("d", values),))
        history.apply(place + 1, batch)
    store = Decisions(Paths(site.data).decisions)
    for hour in hours:
        store.account("home", "b", hour, 0.2)
    store.close()
    clock.advance(5 * 3_600)
    while desk._step():
        pass
    body: dict[str, Any] = {
        "project": "home", "start": start, "end": start + 4 * HOUR_NS, "by": "1d", "as_of": 0, "language": "en",
        "rows": "rows", "factors": "factors", "format": "json", "ask": "report", "projects": ["home"],
    }  # fmt: skip
    report = msgspec.json.decode(asyncio.run(desk.answer(body))["body"])
    total = report["avoided"]["total"]
    assert [total[name] for name in ("measured", "estimated", "missing")] == [1, 1, 1]
    assert total["avoided_kg"] == pytest.approx(2 * 2.0 * 0.8)
    assert [one["id"] for one in report["avoided_by"]] == ["home/grid/margin"]
    assert report["meters"] == [] and report["total"]["location_kg"] is None
    for form, says in (("html", "not in the inventory"), ("csv", ",avoided,")):
        assert says in asyncio.run(desk.answer(body | {"format": form}))["body"].decode()
    summary = msgspec.json.decode(asyncio.run(desk.answer(body | {"ask": "summary"}))["body"])
    same = summary["projects"]["home"]["avoided"]["total"]
    assert {name: total[name] for name in same} == same
    asyncio.run(desk.stop())
    history.close()
    desk.close()
    directory.close()
