"""Increases of counters: resets, wrap, ratio, meter swaps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.things.counter import FLAG_RESET, FLAG_SWAP, FLAG_WRAP, increases
from taihu.things.property import Kind, Property, Swap

PLAIN = Property(name="energy", kind=Kind.COUNTER, unit="kW.h")
ROUND = Property(name="energy", kind=Kind.COUNTER, wrap=1000.0)

# Whole numbers, so that sums are exact.
registers = st.lists(st.integers(0, 999).map(float), min_size=1, max_size=40)
T0 = 1_700_000_000_000_000_000


def times(count: int) -> list[int]:
    return [T0 + 60_000_000_000 * row for row in range(count)]


@pytest.mark.parametrize(
    ("values", "definition", "grown", "flags"),
    [
        ([10, 12, 12, 15], PLAIN, [0, 2, 0, 3], [0, 0, 0, 0]),
        ([10, 12, 3, 4], PLAIN, [0, 2, 3, 1], [0, 0, FLAG_RESET, 0]),
        ([990, 5], ROUND, [0, 15], [0, FLAG_WRAP]),
        ([600, 550], ROUND, [0, 550], [0, FLAG_RESET]),
        ([5], PLAIN, [0], [0]),
        ([], PLAIN, [], []),
    ],
)
def test_increases(values: list[float], definition: Property, grown: list[float], flags: list[int]) -> None:
    got, got_flags = increases(times(len(values)), values, definition)
    assert (got.tolist(), got_flags.tolist()) == (grown, flags)


def test_transformer_ratio_multiplies() -> None:
    definition = Property(name="e", kind=Kind.COUNTER, ratio=40.0)
    assert increases(times(3), [1, 2, 0.5], definition)[0].tolist() == [0, 40, 20]


def test_a_meter_swap_keeps_one_history() -> None:
    """The old meter counts to its end, the new one from its start; no reset is seen."""
    at = times(4)
    swap = Swap(at=at[2] - 1, old_final=105.0, new_initial=7.0)
    grown, flags = increases(at, [100, 104, 8, 9], PLAIN, [swap])
    assert grown.tolist() == [0, 4, 1 + 1, 1]
    assert flags.tolist() == [0, 0, FLAG_SWAP, 0]


def test_two_swaps_in_one_span_and_swaps_outside() -> None:
    at = times(2)
    swaps = [
        Swap(at=at[0] + 2, old_final=3.0, new_initial=50.0),
        Swap(at=at[0] + 1, old_final=101.0, new_initial=0.0),
        Swap(at=at[0], old_final=1.0, new_initial=2.0),
        Swap(at=at[1] + 1, old_final=1.0, new_initial=2.0),
    ]
    grown, flags = increases(at, [100, 51], PLAIN, swaps)
    assert grown.tolist() == [0, 1 + 3 + 1]
    assert flags.tolist() == [0, FLAG_SWAP]


def test_a_swap_at_a_reading_makes_that_reading_the_new_meters() -> None:
    at = times(3)
    grown, _ = increases(at, [100, 5, 6], PLAIN, [Swap(at=at[1], old_final=102.0, new_initial=5.0)])
    assert grown.tolist() == [0, 2, 1]


@pytest.mark.parametrize("observed", [[2, 1], [1, 1]])
def test_unsorted_times_are_the_callers_fault(observed: list[int]) -> None:
    with pytest.raises(ValueError, match="rise strictly"):
        increases(observed, [1, 2], PLAIN)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shape"):
        increases([1, 2], [1], PLAIN)


@given(registers, st.sampled_from([PLAIN, ROUND]), st.data())
def test_adjacent_windows_add_up_to_the_whole(values: list[float], definition: Property, data: st.DataObject) -> None:
    """Cutting a history at a reading, which both parts hold, changes no increase."""
    at = times(len(values))
    cut = data.draw(st.integers(0, len(values) - 1))
    whole, flags = increases(at, values, definition)
    left, left_flags = increases(at[: cut + 1], values[: cut + 1], definition)
    right, right_flags = increases(at[cut:], values[cut:], definition)
    assert left.sum() + right.sum() == whole.sum()
    assert np.concatenate([left_flags, right_flags[1:]]).tolist() == flags.tolist()
    assert (whole >= 0).all()


@given(registers, st.data())
def test_late_readings_change_nothing_once_in_order(values: list[float], data: st.DataObject) -> None:
    """§5: what arrives late and is put in order gives what it would have given in time."""
    at = times(len(values))
    arrived = data.draw(st.permutations(list(zip(at, values, strict=True))))
    in_order = sorted(arrived)
    got, flags = increases([time for time, _ in in_order], [value for _, value in in_order], PLAIN)
    expected, expected_flags = increases(at, values, PLAIN)
    assert (got.tolist(), flags.tolist()) == (expected.tolist(), expected_flags.tolist())
