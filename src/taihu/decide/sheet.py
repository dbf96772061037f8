"""A linear program that is written down part by part, and what it has become: plain arrays for the solver."""

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from taihu.kernel.arrays import Numbers

Index = NDArray[np.int32]

CONTINUOUS, INTEGER, SEMICONTINUOUS = 0, 1, 2


class Program(msgspec.Struct, frozen=True):
    """min cost x, where lower <= x <= upper and row_lower <= A x <= row_upper; A by rows, compressed."""

    cost: Numbers
    lower: Numbers
    upper: Numbers
    kinds: Index
    row_lower: Numbers
    row_upper: Numbers
    starts: Index
    indices: Index
    values: Numbers

    @property
    def integral(self) -> bool:
        """Whether any column is not continuous."""
        return bool(self.kinds.any())

    def with_bounds(self, lower: Numbers, upper: Numbers) -> "Program":
        """The same with other bounds, all columns continuous."""
        kinds = np.full_like(self.kinds, CONTINUOUS)
        return msgspec.structs.replace(self, kinds=kinds, lower=lower, upper=upper)

    def relaxed(self) -> "Program":
        """Without whole numbers and least powers: nothing costs less."""
        return self.with_bounds(np.where(self.kinds == SEMICONTINUOUS, 0.0, self.lower), self.upper)

    def same_form(self, other: "Program | None") -> bool:
        """Whether only costs and bounds differ, so that a solver can go on from its last answer."""
        return (
            other is not None
            and np.array_equal(self.starts, other.starts)
            and np.array_equal(self.indices, other.indices)
            and np.array_equal(self.values, other.values)
            and np.array_equal(self.kinds, other.kinds)
        )

    def extends(self, other: "Program | None") -> bool:
        """Whether only bounds and costs differ in what is common, and there are rows more."""
        if other is None or len(self.starts) <= len(other.starts):
            return False
        common = len(other.indices)
        return (
            np.array_equal(self.starts[: len(other.starts)], other.starts)
            and np.array_equal(self.indices[:common], other.indices)
            and np.array_equal(self.values[:common], other.values)
            and np.array_equal(self.kinds, other.kinds)
        )


class Sheet:
    """Columns and rows as they are added; `put` fills in coefficients, which add up."""

    def __init__(self) -> None:
        self._columns: list[tuple[Numbers, Numbers, Numbers, Index]] = []
        self._rows: list[tuple[Numbers, Numbers]] = []
        self._entries: list[tuple[Index, Index, Numbers]] = []
        self._column_count = self._row_count = 0

    def columns(self, count: int, lower: ArrayLike, upper: ArrayLike, cost: ArrayLike, kind: int = CONTINUOUS) -> Index:
        """Add columns; bounds and costs are one for all or one for each."""
        kinds = np.full(count, kind, np.int32)
        self._columns.append((_each(lower, count), _each(upper, count), _each(cost, count), kinds))
        self._column_count += count
        return np.arange(self._column_count - count, self._column_count, dtype=np.int32)

    def rows(self, count: int, lower: ArrayLike, upper: ArrayLike) -> Index:
        """Add rows, empty so far."""
        self._rows.append((_each(lower, count), _each(upper, count)))
        self._row_count += count
        return np.arange(self._row_count - count, self._row_count, dtype=np.int32)

    def put(self, rows: ArrayLike, columns: ArrayLike, values: ArrayLike) -> None:
        """Add to coefficients: rows, columns and values are matched as numpy broadcasts them."""
        one, other, value = np.asarray(rows, np.int32), np.asarray(columns, np.int32), np.asarray(values, np.float64)
        if one.shape != other.shape or one.shape != value.shape:  # for arrays so small sums are the fastest broadcast
            none = np.zeros((one + other + value).shape, np.int32)
            one, other, value = one + none, other + none, value + none
        self._entries.append((one.ravel(), other.ravel(), value.ravel()))

    def program(self) -> Program:
        """What was written down."""
        rows, columns, values = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        order = np.argsort(rows.astype(np.int64) * self._column_count + columns, kind="stable")
        rows, columns, values = rows[order], columns[order], values[order]
        first = np.ones(len(rows), bool)
        first[1:] = (np.diff(rows) != 0) | (np.diff(columns) != 0)
        if not first.all():
            values = np.add.reduceat(values, np.flatnonzero(first))
            rows, columns = rows[first], columns[first]
        starts = np.searchsorted(rows, np.arange(self._row_count + 1)).astype(np.int32)
        lower, upper, cost, kinds = (np.concatenate(part) for part in zip(*self._columns, strict=True))
        row_lower, row_upper = (np.concatenate(part) for part in zip(*self._rows, strict=True))
        return Program(cost, lower, upper, kinds, row_lower, row_upper, starts, columns, values)


def _each(value: ArrayLike, count: int) -> Numbers:
    return np.asarray(value, np.float64) if np.ndim(value) else np.full(count, value, np.float64)
