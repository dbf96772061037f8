"""What an edge node has sent of its journal: stretches of positions, and values counted by thing. No I/O."""

from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

Stretch = tuple[int, int]
"""Positions of the journal from the first to the last, both in it."""


class Record(msgspec.Struct, frozen=True):
    """A ledger as it is stored."""

    done: tuple[Stretch, ...] = ()
    sent: dict[str, int] = {}
    lost: tuple[Stretch, ...] = ()
    aside: tuple[int, ...] = ()


class Stretches:
    """A set of positions, as the few stretches it is made of."""

    def __init__(self, stretches: Iterator[Stretch] | tuple[Stretch, ...] = ()) -> None:
        self._stretches = sorted(stretches)

    def __iter__(self) -> Iterator[Stretch]:
        return iter(self._stretches)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._stretches)

    def add(self, first: int, last: int) -> None:
        """Add the positions from `first` to `last`."""
        if first > last:
            return
        apart = []
        for one in self._stretches:
            if one[1] < first - 1 or one[0] > last + 1:
                apart.append(one)
            else:
                first, last = min(first, one[0]), max(last, one[1])
        self._stretches = sorted([*apart, (first, last)])

    def missing(self, first: int, last: int) -> list[Stretch]:
        """What is not in it of the positions from `first` to `last`, the oldest first."""
        gaps, begin = [], first
        for low, high in self._stretches:
            if low > last:
                break
            if low > begin:
                gaps.append((begin, low - 1))
            begin = max(begin, high + 1)
        return [*gaps, (begin, last)] if begin <= last else gaps


class Ledger:
    """What the centre has acknowledged of one project.

    A position is done when the centre has its readings durably, or when it holds none of the project. `sent` counts
    values by thing; `lost` are positions that the journal no longer held, `aside` those that cannot be sent.
    """

    def __init__(self, record: Record | None = None) -> None:
        record = record or Record()
        self._done = Stretches(record.done)
        self._lost = Stretches(record.lost)
        self.sent: Counter[str] = Counter(record.sent)
        self.aside = list(record.aside)

    def acknowledged(self, first: int, last: int, values: Mapping[str, int]) -> None:
        """The centre has what the positions from `first` to `last` hold: so many values of these things."""
        self._done.add(first, last)
        self.sent.update(values)

    def lost(self, first: int, last: int) -> None:
        """The journal no longer holds these positions."""
        self._lost.add(first, last)
        self._done.add(first, last)

    def set_aside(self, position: int) -> None:
        """What the position holds cannot be sent."""
        self.aside.append(position)
        self._done.add(position, position)

    def gaps(self, until: int) -> list[Stretch]:
        """The positions up to `until` that the centre lacks, the oldest first."""
        return self._done.missing(1, until)

    @property
    def lost_count(self) -> int:
        """How many positions were lost."""
        return len(self._lost)

    def keep_from(self) -> int:
        """The first position that is still needed."""
        first = next(iter(self._done), None)
        return first[1] + 1 if first is not None and first[0] == 1 else 1

    def record(self) -> Record:
        """As it is stored."""
        return Record(tuple(self._done), dict(self.sent), tuple(self._lost), tuple(self.aside))
