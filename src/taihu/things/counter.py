"""What a counter counted: increases between successive register values, across resets, wraps and meter swaps.

An increase belongs to the span between two readings; `history.windows` shares it among the windows it crosses.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from taihu.things.property import Property, Swap

FLAG_RESET = 1  # the register fell: it started again from zero
FLAG_WRAP = 2  # the register fell from near `wrap`: it went round
FLAG_SWAP = 4  # a meter was swapped within the span

_WRAP_SHARE_MAX = 0.5  # a fall is a wrap when it means at most this share of the register's range, else a reset

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Flags = NDArray[np.int8]


def increases(
    observed: ArrayLike, values: ArrayLike, definition: Property, swaps: Sequence[Swap] = ()
) -> tuple[Floats, Flags]:
    """What was counted up to each reading since the one before it, times the transformer ratio, and FLAG_*.

    `observed` (UTC ns) must rise strictly; the first increase is 0, since nothing is known of what was before. A fall
    is a wrap when the definition has one and the increase that means is the smaller part of its range; any other fall
    is a reset, and the register's value since zero is the increase. Raises ValueError when times do not rise.
    """
    times = np.asarray(observed, np.int64)
    register = np.asarray(values, np.float64)
    if times.shape != register.shape or times.ndim != 1:
        raise ValueError(f"times and values differ in shape: {times.shape} and {register.shape}")
    if times.size > 1 and not (times[1:] > times[:-1]).all():
        raise ValueError("times must rise strictly: sort the readings and drop superseded ones first")
    grown, flags = np.zeros(times.size), np.zeros(times.size, np.int8)
    if times.size > 1:
        grown[1:], flags[1:] = _steps(register[:-1], register[1:], definition.wrap)
        _apply_swaps(times, register, definition.wrap, sorted(swaps, key=lambda swap: swap.at), grown, flags)
    return grown * definition.ratio, flags


def _steps(before: Floats, after: Floats, wrap: float | None) -> tuple[Floats, Flags]:
    step = after - before
    fell = step < 0
    grown = np.where(fell, after, step)
    flags = np.where(fell, FLAG_RESET, 0).astype(np.int8)
    if wrap is not None:
        around = step + wrap
        wrapped = fell & (around >= 0) & (around <= wrap * _WRAP_SHARE_MAX)
        grown = np.where(wrapped, around, grown)
        flags = np.where(wrapped, FLAG_WRAP, flags).astype(np.int8)
    return np.maximum(grown, 0.0), flags


def _apply_swaps(
    times: Times, register: Floats, wrap: float | None, swaps: Sequence[Swap], grown: Floats, flags: Flags
) -> None:
    """Replace the increase of each span that holds swaps: old meter to its end, then each new one from its start."""
    rows = np.searchsorted(times, [swap.at for swap in swaps], side="left")
    for row in np.unique(rows[(rows > 0) & (rows < times.size)]):
        within = [swap for swap, at in zip(swaps, rows, strict=True) if at == row]
        starts = [register[row - 1], *(swap.new_initial for swap in within)]
        ends = [*(swap.old_final for swap in within), register[row]]
        parts, part_flags = _steps(np.array(starts, np.float64), np.array(ends, np.float64), wrap)
        grown[row] = parts.sum()
        flags[row] = np.bitwise_or.reduce(part_flags) | FLAG_SWAP
