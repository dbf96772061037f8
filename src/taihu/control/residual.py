"""The load that nobody moves, out of a meter that lags behind what was told by a time that nobody knows exactly.

A meter shows what assets took some moments ago. Who takes that for now corrects twice what was corrected already, and
swings. So for each asset the least and the most are kept that the meter may have seen of it, and of the load the least
and the most that explain the reading; the estimate moves only as far as it must to lie between them. The true load
always does, so the estimate comes nearer with each reading, never passes it, and is exact once what was told has shown.
"""

from collections import deque

_KEPT_MAX = 1_000


class Trace:
    """What one asset was told and what it said that it takes (kW, positive from the meter), for a while.

    Args:
        lag_ns: within which the asset's own readings, and the meter, show what it was told.
    """

    def __init__(self, lag_ns: int) -> None:
        self._lag_ns = lag_ns
        self._told: deque[tuple[int, float]] = deque(maxlen=_KEPT_MAX)
        self._read: deque[tuple[int, float]] = deque(maxlen=_KEPT_MAX)
        self._observed = 0

    @property
    def told(self) -> float | None:
        """What it was told last."""
        return self._told[-1][1] if self._told else None

    @property
    def last(self) -> float | None:
        """What it said last."""
        return self._read[-1][1] if self._read else None

    def tell(self, now: int, kw: float) -> None:
        """It was told so (UTC ns)."""
        _append(self._told, now, kw, now - 2 * self._lag_ns)

    def read(self, now: int, observed_at: int, kw: float) -> bool:
        """It said so; by when it came, for clocks of devices differ. A reading that was there before is none: False."""
        news = observed_at != self._observed
        if news:
            self._observed = observed_at
            _append(self._read, now, kw, now - 2 * self._lag_ns)
        return news

    def follows(self, now: int) -> tuple[float, float]:
        """The least and the most of what it was told that a reading of its own which comes now may follow."""
        begin = now - self._lag_ns
        found = [kw for told, kw in self._told if told > begin]
        before = _before(self._told, begin)
        found += [0.0] if before is None else [before[1]]
        return min(found), max(found)

    def between(self, now: int) -> tuple[float, float]:
        """The least and the most of it that a meter's reading which comes now can hold."""
        begin = now - self._lag_ns
        found = [kw for told, kw in self._told if told > begin]
        found += [kw for read, kw in self._read if read > begin]
        told, read = _before(self._told, begin), _before(self._read, begin)
        if told is not None and (read is None or read[0] < told[0] + self._lag_ns):
            found.append(told[1])
        if read is not None and (told is None or read[0] > told[0]):  # what was read with a turn was before it told
            found.append(read[1])
        return (min(found), max(found)) if found else (0.0, 0.0)

    def off(self, now: int) -> float:
        """By how much it takes more than it was told; 0 while that may not show yet, or where nobody knows."""
        if not self._told or not self._read or now < self._told[-1][0] + self._lag_ns:
            return 0.0
        read, kw = self._read[-1]
        return kw - self._told[-1][1] if read >= self._told[-1][0] + self._lag_ns else 0.0


class Residual:
    """What the meter sees without the assets.

    >>> load = Residual()
    >>> load.see(3.0, 1.0, 1.0)
    2.0
    >>> load.see(3.0, 1.0, 2.5), load.see(6.0, 2.5, 2.5)
    (2.0, 3.5)
    """

    def __init__(self) -> None:
        self._kw: float | None = None

    def see(self, net_kw: float, least_kw: float, most_kw: float) -> float:
        """The load (kW) by a reading of the meter, of which assets are at least and at most so much."""
        low, high = net_kw - most_kw, net_kw - least_kw
        self._kw = (low + high) / 2 if self._kw is None else min(max(self._kw, low), high)
        return self._kw

    def forget(self) -> None:
        """Begin anew: the meter was not seen for a while."""
        self._kw = None


def _append(kept: deque[tuple[int, float]], now: int, kw: float, begin: int) -> None:
    """Keep what came after `begin`, and the last before it."""
    while len(kept) > 1 and kept[1][0] <= begin:
        kept.popleft()
    kept.append((now, kw))


def _before(kept: deque[tuple[int, float]], at: int) -> tuple[int, float] | None:
    return next((one for one in reversed(kept) if one[0] <= at), None)
