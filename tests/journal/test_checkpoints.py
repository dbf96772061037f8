"""Positions of readers are kept whole through power loss, and damage is named."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.journal import Checkpoints
from taihu.kernel.errors import DamagedError
from taihu.sim.files import PowerLossFiles, PowerLost

FOLDER = Path("/site/journal")
PATH = FOLDER / "checkpoints.json"


def test_positions_are_kept_by_name() -> None:
    files = PowerLossFiles(0)
    checkpoints = Checkpoints(files, FOLDER)
    assert (checkpoints.get("twin"), checkpoints.lowest()) == (0, 0)
    checkpoints.set("twin", 7)
    checkpoints.set("broker", 5)
    checkpoints.set("gone", 1)
    checkpoints.remove("gone")
    again = Checkpoints(files.power_loss(), FOLDER)
    assert (again.get("twin"), again.get("broker"), again.get("gone"), again.lowest()) == (7, 5, 0, 5)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), operations=st.integers(0, 12), keep_some=st.booleans())
def test_a_power_loss_leaves_the_old_or_the_new_position(seed: int, operations: int, keep_some: bool) -> None:
    """§4: what `set` returned for is kept."""
    files = PowerLossFiles(seed)
    checkpoints = Checkpoints(files, FOLDER)
    files.lose_power_after(operations)
    done = 0
    try:
        for position in range(1, 5):
            checkpoints.set("twin", position)
            done = position
    except PowerLost:
        pass
    assert Checkpoints(files.power_loss(keep_some), FOLDER).get("twin") in (done, done + 1)


@settings(deadline=None)
@given(bit=st.integers(0, 8 * 60))
def test_a_flipped_bit_is_found(bit: int) -> None:
    """§13."""
    files = PowerLossFiles(0)
    checkpoints = Checkpoints(files, FOLDER)
    checkpoints.set("twin", 123_456)
    files.flip_bit(PATH, bit % (8 * files.size(PATH)))
    with pytest.raises(DamagedError, match="remove it"):
        Checkpoints(files, FOLDER)
