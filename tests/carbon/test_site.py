"""A project's hours from its meters: load, matching, balance, and hours that cannot be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from taihu.carbon.figures import MeterHours
from taihu.carbon.matching import match
from taihu.carbon.rows import Role
from taihu.carbon.site import SiteHours, balances, score, site_hours
from taihu.sim.district import District, House

energies = st.lists(st.floats(0, 1e3), min_size=3, max_size=3)


def meter(
    name: str, role: Role, energy: ArrayLike, behind: str = "main", first: int = 0, gone: int = 10**6
) -> MeterHours:
    values = np.asarray(energy, np.float64)
    none = np.full(len(values), np.nan)
    return MeterHours(
        meter=name,
        role=role,
        behind="" if role is Role.GRID else behind,
        first=first,
        imported=none if role is Role.GENERATION else np.maximum(values, 0.0),
        exported=none if role is Role.GENERATION else np.maximum(-values, 0.0),
        generation=values if role is Role.GENERATION else none,
        certified=np.zeros(len(values)),
        carbon_free=np.full(len(values), 0.25),
        sure=~np.isnan(values),
        gone=np.arange(len(values)) >= gone,
    )


def at_rest(house: House) -> SiteHours:
    meters = [meter("main", Role.GRID, house.load - house.solar), meter("pv", Role.GENERATION, house.solar)]
    return site_hours(meters, len(house.load))


def test_the_17_houses_from_their_meters_alone() -> None:
    """As a running node has it: no meter knows the load, it is what was drawn and made less what was given."""
    houses = [at_rest(house) for house in District().houses]
    whole = match([one.load for one in houses], [one.made for one in houses])
    assert [round(100 * share, 1) for share in (whole.annual, whole.hourly, whole.shared)] == [61.0, 33.9, 44.3]
    assert whole.coverage == 1.0
    for house in houses:
        found = score(house)
        assert found.contracted == pytest.approx(found.hourly)  # what is kept is what was matched
        assert found.cfe == pytest.approx(found.hourly + (1 - found.hourly) * 0.25)


def test_a_house_with_battery_and_submeter_balances_9() -> None:
    house = District().houses[0]
    main = meter("main", Role.GRID, house.net)
    parts = [meter("load", Role.SUBMETER, house.load), meter("pv", Role.GENERATION, house.solar)]
    assert not balances([main, *parts])["main"].closed
    found = balances([main, *parts, meter("battery", Role.STORAGE, house.battery[0])])
    assert found["main"].closed and found["main"].worst == {}
    assert balances([main, parts[1]]) == {}  # what no meter counts is the load, and no error


@given(energies, energies, energies)
def test_load_is_never_below_zero_and_matching_never_above_it(
    drawn: list[float], made: list[float], gave: list[float]
) -> None:
    net = np.array(drawn) - np.array(gave)
    found = site_hours([meter("main", Role.GRID, net), meter("pv", Role.GENERATION, made)], 3)
    known = ~np.isnan(found.load)
    assert (found.load[known] >= 0).all()
    assert (found.matched[known] <= found.load[known]).all()
    assert (~known == found.impossible).all()
    impossible = np.maximum(-net, 0) > 1.01 * (np.maximum(net, 0) + made)
    assert (found.impossible == impossible).all()


def test_a_battery_may_give_what_was_made_before() -> None:
    mains, made = meter("main", Role.GRID, [0.0, -1.0]), meter("pv", Role.GENERATION, [2.0, 0.0])
    alone = site_hours([mains, made], 2)
    assert alone.impossible.tolist() == [False, True]
    stored = site_hours([mains, made, meter("battery", Role.STORAGE, [2.0, -1.0])], 2)
    assert stored.impossible.tolist() == [False, False]
    assert stored.load.tolist() == [2.0, 0.0]


def test_a_site_is_not_known_before_its_first_meter_3() -> None:
    later = meter("main", Role.GRID, [0.0, 0.0, 2.0], first=2)
    found = site_hours([later, meter("pv", Role.GENERATION, [0.0, 0.0, 1.0], first=2)], 3)
    assert np.isnan(found.load).tolist() == [True, True, False]
    assert score(found).coverage == pytest.approx(1 / 3)
    with_late_part = site_hours(
        [meter("main", Role.GRID, [1.0, 1.0]), meter("pv", Role.GENERATION, [0.0, 1.0], first=1)], 2
    )
    assert with_late_part.load.tolist() == [1.0, 2.0]
    assert np.isnan(site_hours([], 2).load).all()


def test_generation_that_is_not_behind_the_meter_is_matched_and_no_load() -> None:
    park = meter("park", Role.GENERATION, [3.0], behind="-")
    found = site_hours([meter("main", Role.GRID, [2.0]), park], 1)
    assert (found.load.tolist(), found.made.tolist(), score(found).hourly) == ([2.0], [3.0], 1.0)
