"""What came in and where it got to, counted by project, so that each is told its own (§11)."""

from collections import Counter, deque
from collections.abc import Iterable

from taihu.things.batch import Batch

_PLACES_MAX = 4_096


class Tally:
    """Points made durable, and how many of them the worker has taken over."""

    def __init__(self) -> None:
        self.points: Counter[str] = Counter()
        self.stored: Counter[str] = Counter()
        self._on_the_way: deque[tuple[int, Counter[str]]] = deque()

    def durable(self, position: int, batches: Iterable[tuple[int, Batch]]) -> None:
        """The journal holds these batches, up to `position`."""
        fresh: Counter[str] = Counter()
        for _, batch in batches:
            fresh[batch.project] += len(batch) * len(batch.properties)
        if not fresh:
            return
        self.points.update(fresh)
        self._on_the_way.append((position, fresh))
        if len(self._on_the_way) > _PLACES_MAX:  # a worker that is away: tell half as finely
            places = list(self._on_the_way)
            pairs = zip(places[::2], places[1::2], strict=False)
            rest = places[len(places) // 2 * 2 :]
            self._on_the_way = deque([*((later, sooner + late) for (_, sooner), (later, late) in pairs), *rest])

    def taken_over(self, position: int) -> None:
        """The worker has all up to `position`."""
        while self._on_the_way and self._on_the_way[0][0] <= position:
            self.stored.update(self._on_the_way.popleft()[1])
