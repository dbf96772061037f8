"""A margin out of generation by source is what a regression finds, and an estimate (§8)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.carbon.plant import HOUR, PROPERTIES, START, Plant, account

from taihu.carbon.driven import Driven
from taihu.carbon.margin import WINDOW, margins
from taihu.carbon.rows import Role, RowQuality
from taihu.things.property import Kind, Property

COAL, GAS, OIL = 0.82, 0.49, 0.65
FACTORS = np.array([COAL, GAS, OIL])


def generation(seed: int, hours: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Three sources that share what demand changes, each by its own mind."""
    rng = np.random.default_rng(seed)
    demand = np.cumsum(rng.normal(0.0, 5.0, hours)) + 500.0
    share = rng.dirichlet([2.0, 5.0, 1.0])
    return share[:, None] * demand + rng.normal(0.0, 0.2, (3, hours))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 40))
def test_it_is_the_slope_that_least_squares_find(seed: int, lost: int) -> None:
    made = generation(seed, WINDOW + 5)
    holes = np.random.default_rng(seed).choice(WINDOW + 5, lost, replace=False)
    made[0, holes] = np.nan
    found = margins(made, FACTORS)
    assert len(found) == 5
    for place, value in enumerate(found):
        change = np.diff(made[:, place : place + WINDOW + 1], axis=1)
        change = change[:, ~np.isnan(change).any(axis=0)]
        (slope,), *_ = np.linalg.lstsq(change.sum(axis=0)[:, None], FACTORS @ change, rcond=None)
        assert value == pytest.approx(slope, rel=1e-9)
        assert GAS <= value <= COAL


@given(st.integers(0, 10_000), st.floats(0.01, 100.0))
def test_it_knows_no_size_and_scales_with_the_factors(seed: int, factor: float) -> None:
    made = generation(seed, WINDOW + 2)
    found = margins(made, FACTORS)
    assert margins(factor * made, FACTORS) == pytest.approx(found)
    assert margins(made, factor * FACTORS) == pytest.approx(factor * found)
    assert margins(made + 100.0, FACTORS) == pytest.approx(found)  # what runs always is at no margin


def test_too_little_is_missing_and_so_is_what_no_mixture_has_3() -> None:
    still = np.ones((2, WINDOW + 1))
    assert np.isnan(margins(still, FACTORS[:2])).all()
    rarely = np.full((2, WINDOW + 1), np.nan)
    rarely[:, :20] = generation(1, 20)[:2]
    assert np.isnan(margins(rarely, FACTORS[:2])).all()
    against = np.array([np.arange(WINDOW + 1.0) % 5, -0.9 * (np.arange(WINDOW + 1.0) % 5)])  # one replaces the other
    assert np.isnan(margins(against, FACTORS[:2])).all()


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    for name in ("coal", "gas", "wind"):
        monkeypatch.setitem(PROPERTIES, name, Property(name=name, kind=Kind.INTERVAL, unit="MW.h", interval_s=3_600))
    found = Plant(tmp_path, [account("", avoided="battery", mix="grid")])
    yield found
    found.close()


def test_an_account_by_a_mix_is_estimated_and_says_what_it_is_of_10(plant: Plant) -> None:
    hours = WINDOW + 4
    for place in range(hours):
        plant.say("grid", "coal", START + place * HOUR, 50.0)
        plant.say("grid", "gas", START + place * HOUR, 20.0 + place % 7)
        plant.say("grid", "wind", START + place * HOUR, 30.0 - place % 11)  # follows the weather
    at = START + (WINDOW + 2) * HOUR
    plant.drove = [Driven(START, 1.0, 3.0, False, "a"), Driven(at, 1.0, 3.0, False, "a")]
    early, late = (row for row in plant.account(START + (hours + 2) * HOUR) if row.role is Role.AVOIDED)
    assert (early.quality, early.avoided_kg) == (RowQuality.MISSING, None)  # there was no week before it
    assert late.quality is RowQuality.ESTIMATED
    assert late.avoided_kg == pytest.approx(2 * GAS)
    assert late.factors == ("plant/grid", "ipcc-2014-coal", "ipcc-2014-gas")
