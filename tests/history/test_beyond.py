"""Numbers that do not add up are in no window, whatever the kind (§3): one must not take all others with it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.history.frame import Cells
from taihu.history.windowing import roll
from taihu.history.windows import CounterWindows, GaugeWindows, IntervalWindows
from taihu.kernel.clock import NS_PER_S
from taihu.things.property import Kind, Property

KINDS = {
    kind: Property(name="x", kind=kind, interval_s=1.0 if kind is Kind.INTERVAL else None)
    for kind in (Kind.GAUGE, Kind.COUNTER, Kind.INTERVAL)
}
EDGES = np.array([0, 4, 8]) * NS_PER_S


def rolled(kind: Kind, values: list[float]) -> GaugeWindows | CounterWindows | IntervalWindows:
    observed = np.arange(len(values), dtype=np.int64) * NS_PER_S
    found = roll(KINDS[kind], EDGES, observed, Cells(number=np.array(values)), 100 * NS_PER_S)
    assert isinstance(found, GaugeWindows | CounterWindows | IntervalWindows)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", [1.7e308, -1e250])
def test_what_is_beyond_any_sum_is_as_if_it_had_not_come(kind: Kind, odd: float) -> None:
    with_it, without = rolled(kind, [1.0, 2.0, odd, 3.0, 4.0]), rolled(kind, [1.0, 2.0, np.nan, 3.0, 4.0])
    for name in ("covered", "time_mean", "increase", "amount"):
        if hasattr(without, name):
            np.testing.assert_array_equal(getattr(with_it, name), getattr(without, name))


@given(st.sampled_from(list(KINDS)), st.lists(st.floats(), max_size=8))
def test_any_numbers_have_windows(kind: Kind, values: list[float]) -> None:
    """No warning, and no error, which a test would see."""
    found = rolled(kind, values)
    assert (found.covered <= found.elapsed).all()
