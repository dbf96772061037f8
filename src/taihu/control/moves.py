"""Whether what a store says of itself moves as energy flows.

A sensor that is frozen says the same for ever; one with a loose contact leaps to and fro.
"""

from taihu.kernel.clock import HOUR_NS, NS_PER_S

_GAP_NS = 900 * NS_PER_S  # over which nobody knows what flowed
_FADES_NS = 14_400 * NS_PER_S  # what flowed slowly may be what the store loses, or its sensor does not see
_AGAIN_NS = HOUR_NS


class Moves:
    """What a level should have moved by since it last did. All is believed again after an hour.

    Args:
        least: which no sensor fails to show, in the unit of the level.
        leap: which nothing moves by in a moment. Once, a sensor may have been set right; twice in an hour it was not.

    >>> tank, minute = Moves(5.0, 20.0), 60 * NS_PER_S
    >>> [tank.see(at * minute, at, 50.0, 30.0) for at in (1, 5, 13)]
    [0.0, 0.0, 5.9]
    >>> [tank.see(at * minute, at, level, 30.0) for at, level in ((14, 50.5), (15, 90.0), (16, 51.0))]
    [0.0, 0.0, 0.0]
    >>> tank.leaps(17 * minute), tank.leaps(80 * minute)
    (True, False)
    """

    def __init__(self, least: float, leap: float) -> None:
        self._least, self._leap = least, leap
        self._at = self._observed = self._stuck_at = 0
        self._level: float | None = None
        self._rate = self._moved = 0.0
        self._leapt: tuple[int, ...] = ()

    def see(self, now: int, observed: int, level: float | None, rate: float) -> float:
        """It holds this level now (UTC ns), as it said when it was `observed`, and should move at this rate (an hour).

        Returns by how much it should have moved when it is frozen, else 0.
        """
        gap, news, mean = now - self._at, observed != self._observed, (self._rate + rate) / 2
        self._at, self._observed, self._rate = now, observed, rate
        if level is None or self._level is None or not 0 <= gap <= _GAP_NS:
            self._begin(level)
            self._leapt = ()
        elif self._stuck_at:
            if level != self._level or now - self._stuck_at > _AGAIN_NS:
                self._begin(level)
        else:
            self._moved = self._moved * max(0.0, 1 - gap / _FADES_NS) + mean * gap / HOUR_NS
            by = level - self._level
            if by:
                if min(abs(by), abs(by - self._moved)) > self._leap:
                    self._leapt = (*self._leapt[-1:], now)
                self._begin(level)
            elif news and abs(self._moved) >= self._least:
                self._stuck_at = now
        return round(self._moved, 1) if self._stuck_at else 0.0

    def leaps(self, now: int) -> bool:
        """Whether it has leapt twice within the last hour."""
        return len(self._leapt) > 1 and now - self._leapt[0] <= _AGAIN_NS

    def _begin(self, level: float | None) -> None:
        self._level, self._moved, self._stuck_at = level, 0.0, 0
