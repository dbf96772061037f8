"""The ledger of what was sent: stretches are a set of positions, whatever the order in which they come."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from taihu.runtime.edge.ledger import Ledger, Stretches

STRETCH = st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(STRETCH, max_size=30), STRETCH)
def test_stretches_are_a_set(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    stretches, known = Stretches(), set()
    for first, last in added:
        stretches.add(first, last)
        known |= set(range(first, last + 1))
    kept = list(stretches)
    assert {at for low, high in kept for at in range(low, high + 1)} == known
    assert all(before[1] + 1 < after[0] for before, after in pairwise(kept))
    assert len(stretches) == len(known)
    missing = {at for low, high in stretches.missing(*asked) for at in range(low, high + 1)}
    assert missing == set(range(asked[0], asked[1] + 1)) - known


@given(st.lists(STRETCH, max_size=10), st.lists(STRETCH, max_size=4), st.integers(1, 80))
def test_what_is_kept_is_the_same_ledger(sent: list[tuple[int, int]], lost: list[tuple[int, int]], until: int) -> None:
    ledger = Ledger()
    for first, last in sent:
        ledger.acknowledged(first, last, {"pump": 2})
    for first, last in lost:
        ledger.lost(first, last)
    again = Ledger(ledger.record())
    assert again.gaps(until) == ledger.gaps(until)
    assert again.record() == ledger.record()
    assert again.sent["pump"] == 2 * len(sent)
    needed = ledger.keep_from()
    assert not ledger.gaps(needed - 1)
    assert needed == 1 + sum(1 for _ in range(1, needed))
    assert ledger.gaps(needed)  # the first that is needed is one that the centre lacks
