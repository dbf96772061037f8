"""How many commands were permitted in the last minute, by what they were for."""

from collections import deque

from taihu.kernel.clock import MINUTE_NS

Key = tuple[str, str, str]  # project, thing, and the name of what was commanded or of a standing permit


class Recent:
    """Counts a minute back, and forgets what is older: it holds no more than a minute's commands.

    >>> recent = Recent()
    >>> recent.add(("p", "heater", "power"), 0)
    >>> recent.count(("p", "heater", "power"), MINUTE_NS - 1), recent.count(("p", "heater", "power"), MINUTE_NS)
    (1, 0)
    """

    def __init__(self) -> None:
        self._times: dict[Key, deque[int]] = {}
        self._swept = 0

    def add(self, key: Key, now: int) -> None:
        """One was permitted (UTC ns)."""
        if now - self._swept >= MINUTE_NS:
            self._swept = now
            self._times = {key: times for key, times in self._times.items() if times[-1] > now - MINUTE_NS}
        times = self._times.setdefault(key, deque())
        times.append(now)
        _drop(times, now)

    def count(self, key: Key, now: int) -> int:
        """How many were permitted."""
        times = self._times.get(key)
        if times is None:
            return 0
        _drop(times, now)
        if not times:
            del self._times[key]
        return len(times)


def _drop(times: deque[int], now: int) -> None:
    while times and times[0] <= now - MINUTE_NS:
        times.popleft()
