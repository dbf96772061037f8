"""What controllers decided and saved is kept, bounded, and goes with its project."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from taihu.kernel.clock import SimClock
from taihu.kernel.config import parse_site
from taihu.kernel.sections import Site
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.answers import PlanDesk
from taihu.runtime.pilot.decisions import Decisions, Errors
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
BRIEF = {"projects": ["home"], "controller": "", "limit": 1, "brief": True}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "data").mkdir()
    return parse_site(SITE, tmp_path)


def decision(at: int) -> dict[str, Any]:
    keys = ("controller", "mode", "reason", "guard", "binding", "why", "content_kwh", "notes")
    return {**dict.fromkeys(keys, ""), "at": at, "stages": [{"start": at}, {"start": at + 1}]}


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
    store.account("home", "b", 1, 3.0, 4.0, estimated=False)
    store.account("home", "b", 2, 0.0, 0.0, estimated=False)
    store.account("home", "b", 1, 3.0, 4.0, estimated=False)  # again: it counts once
    saved = store.saved("home", "b", Errors(0.02, 0.1))
    assert (saved.hours, saved.estimated) == (2, False)
    assert saved.kg == pytest.approx(1.0)
    assert saved.meter_kg == pytest.approx(0.02 * 5.0)
    assert saved.factor_kg == pytest.approx(0.1)
    assert saved.error_kg == pytest.approx((0.1**2 + 0.1**2) ** 0.5)
    store.close()


async def ask(desk: PlanDesk, **more: Any) -> Any:
    return await desk.answer(BRIEF | more)


async def answers(site: Site) -> list[Any]:
    store = Decisions(Paths(site.data).decisions)
    store.add("home", "b", 5, decision(5))
    store.account("home", "b", 1, 1.0, 3.0, estimated=True)
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
    assert whole["plans"][0]["decisions"][0]["inputs"]["net"] == "meter/power"
    assert elsewhere["plans"] == []
    assert gone["plans"][0]["decisions"] == []
    assert gone["saved"]["kg"] == 0
