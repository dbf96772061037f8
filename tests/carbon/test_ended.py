"""A meter whose account has ended is out of the hours after it, and makes none of them unknown (§3)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from tests.carbon.plant import HOUR, START, Plant, account
from tests.carbon.test_site import meter

from taihu.carbon.figures import MeterHours, hours
from taihu.carbon.ledger import NOW
from taihu.carbon.rows import Role
from taihu.carbon.site import balances, score, site_hours
from taihu.kernel.clock import NS_PER_S


def at(hour: float) -> datetime:
    return datetime.fromtimestamp(START / NS_PER_S, UTC) + timedelta(hours=hour)


def accounted(plant: Plant, count: int = 6, as_of: int = NOW) -> list[MeterHours]:
    return hours(plant.ledger, "plant", START, count, as_of)


def said(plants: Any, *accounts: Any, **until: int) -> Plant:
    """A plant whose meters say 1 kWh in each hour until they are gone."""
    plant: Plant = plants(*accounts)
    for hour in range(6):
        for name in ("main", "pv", "new"):
            if hour < until.get(name, 6):
                plant.say(name, "energy", START + hour * HOUR, 1.0)
    plant.account(START + 7 * HOUR)
    return plant


def test_a_generator_that_is_gone_takes_no_hour_with_it(plants: Callable[..., Plant]) -> None:
    pv = account("pv", generation="energy", behind="main", until=at(2))
    plant = said(plants, account(imported="energy", region="CN"), pv, pv=2)
    meters = accounted(plant)
    found = site_hours(meters, 6)
    assert found.load.tolist() == [2.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    assert found.made.tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert found.sure.all() and score(found).coverage == 1.0


def test_a_main_meter_that_was_replaced_and_a_site_that_is_none_any_more(plants: Callable[..., Plant]) -> None:
    old = account(imported="energy", region="CN", until=at(2))
    new = account("new", imported="energy", region="CN", since=at(2), until=at(4))
    plant = said(plants, old, new, main=2)
    assert [one.gone.tolist() for one in accounted(plant)] == [
        [False] * 2 + [True] * 4, [False] * 4 + [True] * 2
    ]  # fmt: skip
    drawn = site_hours(accounted(plant), 6).drawn
    assert np.isnan(drawn).tolist() == [False] * 4 + [True] * 2
    assert drawn[:4].tolist() == [1.0, 1.0, 1.0, 1.0]


def test_between_two_accounts_it_was_not_there_and_within_one_it_is_missing(plants: Callable[..., Plant]) -> None:
    parts = [
        account("pv", generation="energy", behind="main", until=at(1)),
        account("pv", generation="energy", behind="main", since=at(3)),
    ]
    plant = said(plants, account(imported="energy", region="CN"), *parts, pv=5)
    made = site_hours(accounted(plant), 6).made
    assert made[:5].tolist() == [1.0, 0.0, 0.0, 1.0, 1.0] and np.isnan(made[5])


def test_an_end_that_was_said_later_is_known_from_then_on(plants: Callable[..., Plant]) -> None:
    """§10: a report as of before is as it was."""
    main, pv = account(imported="energy", region="CN"), account("pv", generation="energy", behind="main")
    plant = said(plants, main, pv, pv=2)
    before = plant.clock.now_ns()
    assert np.isnan(site_hours(accounted(plant), 6).made).tolist() == [False] * 2 + [True] * 4
    plant.clock.advance(1)
    plant.accounts = [main, account("pv", generation="energy", behind="main", until=at(8))]
    plant.open()
    plant.account(START + 12 * HOUR)
    found = site_hours(accounted(plant, 10), 10)
    assert np.isnan(found.made).tolist() == [False] * 2 + [True] * 6 + [False] * 2
    assert np.isnan(site_hours(accounted(plant, 10, before), 10).made)[2:].all()


def test_a_balance_knows_nothing_of_a_main_meter_after_its_end_and_a_part_draws_nothing(plants: Any) -> None:
    main = meter("main", Role.GRID, [1.0, 1.0, 0.0], gone=2)
    part = meter("line", Role.SUBMETER, [1.0, 0.0, 0.0], gone=1)
    (found,) = balances([main, part]).values()
    assert (found.coverage, found.main_kwh, found.parts_kwh) == (2 / 3, 2.0, {"line": 1.0})
