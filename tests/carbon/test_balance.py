"""A site's balance closes, or says by how much it does not (§9)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from taihu.carbon.balance import balance
from taihu.carbon.quantity import Energy
from taihu.sim.district import District

series = st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4)


@given(series, series)
def test_a_main_meter_that_sees_the_sum_closes(one: list[float], other: list[float]) -> None:
    parts = {"one": Energy(one), "other": Energy(other)}
    found = balance(parts["one"] + parts["other"], parts)
    assert found.closed or found.main_kwh == 0
    assert abs(found.residual_kwh) < 1e-9


def test_errors_of_opposite_sign_do_not_hide_each_other() -> None:
    found = balance(Energy([10.0, 10.0]), {"line": Energy([9.0, 11.0])})
    assert found.residual_kwh == 0
    assert found.share == 0.1
    assert not found.closed
    assert found.worst == {0: 1.0, 1: -1.0}  # and it says where


def test_missing_parts_show_as_coverage_3() -> None:
    found = balance(Energy([1.0, 2.0, np.nan]), {"line": Energy([1.0, np.nan, 1.0])})
    assert (found.main_kwh, found.parts_kwh, found.residual_kwh) == (1.0, {"line": 1.0}, 0.0)
    assert found.coverage == 1 / 3
    assert not found.closed
    assert np.isnan(balance(Energy([np.nan]), {"line": Energy([1.0])}).share)


def test_the_houses_close() -> None:
    for house in District().houses:
        parts = {"load": Energy(house.load), "pv": Energy(-house.solar), "battery": Energy(house.battery[0])}
        assert balance(Energy(house.net), parts).closed


def test_hours_of_a_gap_are_compared_together_9() -> None:
    """The main meter was silent in the middle two hours: what it drew in each is not known, of both together it is."""
    main, line = Energy([2.0, 3.0, 3.0, 2.0]), Energy([2.0, 1.0, 5.0, 2.5])
    sure = np.array([True, False, False, True])
    assert balance(main, {"line": line}).worst == {1: 2.0, 2: -2.0, 3: -0.5}
    found = balance(main, {"line": line}, sure)
    assert (found.worst, found.share) == ({3: -0.5}, 0.05)
