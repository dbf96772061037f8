"""What controllers decided and saved is kept, bounded, and goes with its project."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from taihu.carbon.driven import Driven
from taihu.kernel.clock import HOUR_NS, SimClock
from taihu.kernel.config import parse_site
from taihu.kernel.sections import Site
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.answers import PlanDesk
from taihu.runtime.pilot.decisions import Decisions, Errors, ExpectedHour
from taihu.things.deletion import Deletion

SITE = """
[[project]]
name = "home"
[[project.controller]]
name = "b"
battery = "battery"
net = "meter/power"
load = "meter/load"
intensity = "meter/intensity"
cost_weight = 0
carbon_weight = 1
capacity_kwh = 5
power_kw = 2
meter_error = 0.02
factor_error = 0.1
"""
OTHER = SITE.partition("[[project.controller]]")[2].replace('"b"', '"c"')
BRIEF = {"projects": ["home"], "controller": "", "limit": 1, "brief": True}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "data").mkdir()
    return parse_site(f"{SITE}[[project.controller]]{OTHER}", tmp_path)


def decision(at: int) -> dict[str, Any]:
    keys = ("controller", "mode", "reason", "guard", "binding", "why", "content_kwh", "notes")
    return {**dict.fromkeys(keys, ""), "at": at, "stages": [{"start": at}, {"start": at + 1}]}


def test_why_a_controller_waits_is_kept_until_it_has_a_turn(tmp_path: Path) -> None:
    store = Decisions(tmp_path / "decisions.sqlite")
    assert store.waits("home", "battery") == ""
    store.wait("home", "battery", "home/meter/power has no declared unit")
    assert store.waits("home", "battery") == "home/meter/power has no declared unit"
    assert store.waits("home", "other") == ""
    store.wait("home", "battery", "")
    assert store.waits("home", "battery") == ""
    store.wait("home", "battery", "again")
    store.forget("home")
    assert store.waits("home", "battery") == ""
    store.close()


def test_only_the_newest_decisions_stay(tmp_path: Path) -> None:
    """§6: bounded by decisions_per_controller_max."""
    store = Decisions(tmp_path / "d.sqlite", 3)
    for at in range(10):
        store.add("home", "b", at, {"at": at})
        store.add("home", "other", at, {"at": at})
    assert [one["at"] for one in store.last("home", "b", 99)] == [9, 8, 7]
    store.close()


def test_savings_have_the_interval_of_the_stated_errors(tmp_path: Path) -> None:
    """§8, §10: meters err each on its own, the factor for both alike."""
    store = Decisions(tmp_path / "d.sqlite")
    store.account("home", "b", Driven(1, 6.0, 8.0, False, "meter/energy, shadow/energy"), 0.5)
    store.account("home", "b", Driven(2, -1.0, -2.0, False, ""), 0.5)  # what is fed in emits nothing
    store.account("home", "b", Driven(1, 6.0, 8.0, False, ""), 0.5)  # again: it counts once
    store.account("home", "b", Driven(3, 6.0, 8.0, True, ""), None)  # without an intensity only its energies are kept
    assert [one.start for one in store.driven("home", "b", 0, 9)] == [1, 2, 3]
    assert store.driven("home", "b", 2, 1) == [Driven(2, -1.0, -2.0, False, "")]
    saved = store.saved("home", "b", Errors(0.02, 0.1))
    assert (saved.hours, saved.estimated) == (2, False)
    assert saved.kg == pytest.approx(1.0)
    assert saved.meter_kg == pytest.approx(0.02 * 5.0)
    assert saved.factor_kg == pytest.approx(0.1)
    assert saved.error_kg == pytest.approx((0.1**2 + 0.1**2) ** 0.5)
    store.close()


def test_what_was_expected_of_an_hour_stands_beside_what_came(tmp_path: Path) -> None:
    """The last expectation before an hour began; it goes after a month."""
    store = Decisions(tmp_path / "d.sqlite")
    store.expect("home", "b", [ExpectedHour(10, 1.0, 0.5, 1.5), ExpectedHour(20, 2.0, 1.5, 2.5)])
    store.expect("home", "b", [ExpectedHour(20, 2.2, 2.0, 2.4)])
    store.came("home", "b", 10, 1.2)
    store.came("home", "b", 30, 9.9)
    assert store.outlook("home", "b", 0, 100) == [ExpectedHour(10, 1.0, 0.5, 1.5, 1.2), ExpectedHour(20, 2.2, 2.0, 2.4)]
    later = 40 * 86_400 * 1_000_000_000
    store.expect("home", "b", [ExpectedHour(later, 1.0, 1.0, 1.0)])
    assert [one.start for one in store.outlook("home", "b", 0, later + 1)] == [later]
    store.close()


def test_days_and_what_is_remembered_are_kept_over_a_restart(tmp_path: Path) -> None:
    store = Decisions(tmp_path / "d.sqlite")
    for day in range(20):
        store.add_day("home", "s", f"2026-03-{day + 1:02}", float(day))
    store.remember("home", "s", {"washer": {"done": 5}})
    store.close()
    again = Decisions(tmp_path / "d.sqlite")
    assert list(again.days("home", "s").values()) == [float(day) for day in range(6, 20)]
    assert again.days("home", "s", "2026-03-19") == {"2026-03-19": 18.0, "2026-03-20": 19.0}
    assert again.recall("home", "s") == {"washer": {"done": 5}}
    assert again.recall("home", "b") == {}
    again.forget("home")
    assert (again.days("home", "s"), again.recall("home", "s")) == ({}, {})
    again.close()


async def ask(desk: PlanDesk, **more: Any) -> Any:
    return await desk.answer(BRIEF | more)


async def answers(site: Site) -> list[Any]:
    store = Decisions(Paths(site.data).decisions)
    store.add("home", "b", 5, decision(5))
    store.account("home", "b", Driven(1, 1.0, 3.0, True, ""), 1.0)
    hour = SimClock().now_ns() // HOUR_NS * HOUR_NS
    store.expect("home", "b", [ExpectedHour(hour, 2.0, 1.0, 4.0), ExpectedHour(hour - 30 * HOUR_NS, 1.0, 1.0, 1.0)])
    store.expect("home", "c", [ExpectedHour(hour, 1.0, 1.0, 1.0)])
    store.expect("home", "b", [ExpectedHour(hour + HOUR_NS, 1.0, 1.0, 1.0)])  # of which the other says nothing
    desk = PlanDesk(site, SimClock())
    found = [await ask(desk), await ask(desk, brief=False, limit=5), await ask(desk, projects=["elsewhere"])]
    desk.deleted(Deletion(id="d", project="home", at=1, removes=True))
    found.append(await ask(desk))
    desk.close()
    store.close()
    return found


def test_the_worker_tells_what_was_decided_and_forgets_a_removed_project(site: Site) -> None:
    brief, whole, elsewhere, gone = asyncio.run(answers(site))
    assert brief["plans"][0]["decisions"][0]["at"] == 5
    assert len(brief["plans"][0]["decisions"][0]["stages"]) == 1
    assert brief["saved"]["kg"] == pytest.approx(2.0)
    assert brief["saved"]["estimated"] is True
    (hour,) = brief["outlook"]
    assert (hour["net_kwh"], hour["low_kwh"], hour["high_kwh"], hour["came_kwh"]) == (3.0, 2.0, 5.0, None)
    assert elsewhere["outlook"] == []
    assert whole["plans"][0]["decisions"][0]["inputs"]["net"] == "meter/power"
    assert elsewhere["plans"] == []
    assert gone["plans"][0]["decisions"] == []
    assert gone["saved"]["kg"] == 0
