"""Annual against hourly matching, on the 17 houses and in general."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.carbon.matching import ShapesDiffer, cfe_score, match
from taihu.sim.district import District

energies = st.floats(0, 1e3)
tables = st.integers(1, 6).flatmap(
    lambda hours: st.lists(
        st.tuples(
            st.lists(energies, min_size=hours, max_size=hours), st.lists(energies, min_size=hours, max_size=hours)
        ),
        min_size=1,
        max_size=4,
    )
)


def test_the_17_houses_without_their_batteries() -> None:
    district = District()
    found = match([house.load for house in district.houses], [house.solar for house in district.houses])
    assert round(100 * found.annual, 1) == 61.0
    assert round(100 * found.hourly, 1) == 33.9
    assert round(100 * found.shared, 1) == 44.3
    assert found.coverage == 1.0


@given(tables)
def test_sharing_never_matches_less_and_hours_never_more_than_the_year(
    sites: list[tuple[list[float], list[float]]],
) -> None:
    load, generation = (np.array([site[which] for site in sites]) for which in (0, 1))
    found = match(load, generation)
    if load.sum() == 0:
        assert np.isnan(found.hourly)
        return
    assert found.hourly <= found.shared + 1e-9
    assert found.shared <= min(1.0, found.annual) + 1e-9
    score = cfe_score(load.sum(axis=0), generation.sum(axis=0), 0.0)
    assert score == pytest.approx(found.shared, abs=1e-9)


def test_missing_hours_take_no_part_and_show_3() -> None:
    found = match([1.0, np.nan, 1.0, 1.0], [1.0, 5.0, np.nan, 0.0])
    assert (found.hourly, found.coverage) == (0.5, 0.5)
    assert cfe_score([1.0, np.nan], [0.5, 1.0], [0.5, 0.5]) == 0.75
    assert np.isnan(cfe_score([np.nan], [1.0], [0.5]))


def test_shapes_must_agree() -> None:
    with pytest.raises(ShapesDiffer):
        match([1.0, 2.0], [1.0])
