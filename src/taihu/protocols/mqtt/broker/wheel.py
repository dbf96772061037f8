"""Timers of many thousand connections and sessions: one slot each in coarse buckets, moved when they are due."""

import heapq
import math
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

GRANULARITY_S = 0.25
HORIZON_S = 3_600.0  # a later timer comes due early and is set again by its owner, so the buckets stay few


class Timed(Protocol):
    """What can be scheduled, at one time only. `slot` belongs to the wheel and is 0 when nothing is scheduled."""

    slot: int


Item = TypeVar("Item", bound=Timed)


class Wheel(Generic[Item]):
    """Buckets of `GRANULARITY_S`; a timer comes due up to that much late, never early (but for the horizon)."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Item, None]] = {}
        self._slots: list[int] = []

    def schedule(self, item: Item, when: float, now: float) -> None:
        """Have `due` yield `item` at monotonic `when`, instead of any time set before."""
        self.cancel(item)
        item.slot = max(math.ceil(min(when, now + HORIZON_S) / GRANULARITY_S), int(now / GRANULARITY_S) + 1)
        bucket = self._buckets.get(item.slot)
        if bucket is None:
            bucket = self._buckets[item.slot] = {}
            heapq.heappush(self._slots, item.slot)
        bucket[item] = None

    def cancel(self, item: Item) -> None:
        """Forget what was scheduled for `item`."""
        if item.slot:
            self._buckets[item.slot].pop(item, None)
            item.slot = 0

    def next_timer(self) -> float | None:
        """When `due` has something to yield; None for never."""
        while self._slots and not self._buckets[self._slots[0]]:
            del self._buckets[heapq.heappop(self._slots)]
        return self._slots[0] * GRANULARITY_S if self._slots else None

    def due(self, now: float) -> Iterator[Item]:
        """Take what is due; what is cancelled meanwhile is left out."""
        while self._slots and self._slots[0] * GRANULARITY_S <= now:
            bucket = self._buckets[self._slots[0]]
            while bucket:
                item, _ = bucket.popitem()
                item.slot = 0
                yield item
            del self._buckets[heapq.heappop(self._slots)]
