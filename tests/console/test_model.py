"""What the pages show of the API's answers: what is missing stays missing, and is never zero (§3)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.console.answers import Newest, NodeStatus, Project, Thing
from taihu.console.model import View, district_of, house_of, page_of, total

UNITS = {"power": "kW", "state_of_charge": "%", "carbon_intensity": "kg/(kW.h)"}
NOW = 1_470_168_000 * 10**9


def newest(thing: str, name: str, value: Any, *, age_s: float = 60.0, stale: bool = False) -> Newest:
    return Newest(thing=thing, property=name, value=value, unit=UNITS.get(name), age_s=age_s, stale=stale)


def house(number: int, net_kw: float | None, *, stale: bool = False, charge: float = 50.0) -> View:
    project = Project(f"house-{number:02d}", f"House {number}", granted=True)
    things = tuple(Thing(name, state="online") for name in ("battery", "meter", "pv"))
    if net_kw is None:
        return View(project, tuple(Thing(thing.name) for thing in things), ())
    values = (
        newest("meter", "power", net_kw, stale=stale, age_s=7_200 if stale else 60),
        newest("pv", "power", 1.5, stale=stale, age_s=7_200 if stale else 60),
        newest("battery", "state_of_charge", charge, stale=stale, age_s=7_200 if stale else 60),
        newest("battery", "mode", "idle", stale=stale, age_s=7_200 if stale else 60),
    )
    return View(project, things, values)


def grid(intensity: float | None = 0.25, *, stale: bool = False) -> View:
    values = () if intensity is None else (newest("grid", "carbon_intensity", intensity, stale=stale),)
    return View(Project("district", "Lakeside"), (Thing("grid", state="online"),), values)


def test_a_district_adds_its_houses() -> None:
    district = district_of([grid(), house(1, 3.0, charge=20.0), house(2, -1.0, charge=60.0)])
    assert district is not None
    assert (district.net_kw.value, district.net_kw.complete) == (2.0, True)
    assert district.pv_kw.value == 3.0
    assert district.charge_percent.value == 40.0
    assert district.carbon_kg_h.value == pytest.approx(0.5)
    assert (district.importing, district.exporting, district.even) == (1, 1, 0)


def test_a_house_that_is_missing_or_stale_is_left_out_and_said_so() -> None:
    """§3: a stale value does not hold any more."""
    district = district_of([grid(), house(1, 3.0), house(2, None), house(3, 9.0, stale=True)])
    assert district is not None
    assert district.net_kw == district.net_kw.__class__(3.0, 1, 3)
    assert (district.carbon_kg_h.known, district.carbon_kg_h.of) == (1, 3)
    missing, stale = district.houses[1], district.houses[2]
    assert (missing.net_kw, missing.age_s, missing.stale) == (None, None, False)
    assert (stale.net_kw, stale.pv_kw, stale.charge_percent, stale.mode, stale.stale) == (None, None, None, "", True)
    assert stale.age_s == 7_200


def test_a_district_of_which_nothing_is_known_has_no_figures() -> None:
    district = district_of([grid(None), house(1, None)])
    assert district is not None
    assert (district.net_kw.value, district.charge_percent.value, district.carbon_kg_h.value) == (None, None, None)
    assert district.intensity is None


@pytest.mark.parametrize("signal", [grid(None), grid(0.25, stale=True)])
def test_without_an_intensity_that_holds_there_is_no_carbon(signal: View) -> None:
    district = district_of([signal, house(1, 3.0)])
    assert district is not None
    assert district.carbon_kg_h.value is None
    assert district.houses[0].carbon_kg_h is None


def test_export_earns_no_carbon_credit() -> None:
    assert house_of(house(1, -2.0), 0.25).carbon_kg_h == 0.0


def test_words_and_booleans_are_no_numbers() -> None:
    view = View(Project("p"), (), (newest("meter", "power", "on"), newest("pv", "power", True)))
    assert (view.number("meter", "power", "kW"), view.number("pv", "power", "kW")) == (None, None)


def test_a_site_without_grid_or_houses_has_no_district() -> None:
    assert district_of([house(1, 3.0)]) is None
    assert district_of([grid()]) is None
    assert district_of([]) is None


@given(st.lists(st.one_of(st.none(), st.floats(-50, 50)), max_size=17))
def test_a_total_is_missing_exactly_when_no_house_is_known(values: list[float | None]) -> None:
    houses = [house_of(house(number, value), None) for number, value in enumerate(values, 1)]
    figure = total(houses, lambda known: known.net_kw)
    assert (figure.value is None) == all(value is None for value in values)
    assert (figure.known, figure.of) == (sum(value is not None for value in values), len(values))


def test_the_page_counts_devices_by_state_and_says_how_far_the_history_is_behind() -> None:
    status = NodeStatus(NOW, clock_speed=600.0, acked=5, points=9, stored=8, journal_position=4, history_position=1)
    page = page_of(status, [grid(), house(1, 3.0), house(2, None)], machine_ns=NOW)
    assert page.states == {"online": 4, "late": 0, "silent": 0, "never": 3}
    assert (page.flow.behind, page.age_s, page.title, page.demo) == (3, 60.0, "Lakeside", True)


def test_only_a_clock_that_is_not_the_machines_is_a_demo() -> None:
    status = NodeStatus(NOW, clock_speed=1.0)
    assert not page_of(status, [], machine_ns=NOW + 10**9).demo
    assert page_of(status, [], machine_ns=NOW + 10**18).demo


def test_a_state_of_a_later_version_counts_as_never_heard() -> None:
    view = msgspec.structs.replace(grid(), things=(Thing("grid", state="asleep"),))
    assert page_of(NodeStatus(NOW), [view], NOW).states["never"] == 1


def test_units_are_converted_and_an_undeclared_one_takes_no_part_in_sums() -> None:
    """§2."""
    watts = msgspec.structs.replace(house(1, 0.0), values=(Newest("meter", "power", 1_500, unit="W"),))
    bare = msgspec.structs.replace(house(2, 0.0), values=(Newest("meter", "power", 99.0),))
    district = district_of([grid(), watts, bare])
    assert district is not None
    assert (district.net_kw.value, district.net_kw.known, district.net_kw.of) == (1.5, 1, 2)
