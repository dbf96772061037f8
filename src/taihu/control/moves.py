"""Whether what a store says of itself moves as energy flows: a sensor that is frozen says the same for ever."""

from taihu.kernel.clock import NS_PER_S

_GAP_NS = 900 * NS_PER_S  # over which nobody knows what flowed
_FADES_NS = 14_400 * NS_PER_S  # what flowed slowly may be what the store loses, or its sensor does not see
_AGAIN_NS = 3_600 * NS_PER_S


class Moves:
    """What a level should have moved by since it last did.

    Args:
        least: which no sensor fails to show, in the unit of the level.

    >>> tank, minute = Moves(5.0), 60 * NS_PER_S
    >>> [tank.see(at * minute, at, 50.0, 30.0) for at in (1, 5, 13)]
    [0.0, 0.0, 5.9]
    >>> tank.see(14 * minute, 14, 50.5, 30.0)
    0.0
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._at = self._observed = self._stuck_at = 0
        self._level, self._rate, self._moved = 0.0, 0.0, 0.0

    def see(self, now: int, observed: int, level: float | None, rate: float) -> float:
        """It holds this level now (UTC ns), as it said when it was `observed`, and should move at this rate (an hour).

        Returns by how much it should have moved when it is frozen, else 0. After an hour it is believed again.
        """
        gap, news = now - self._at, observed != self._observed
        before, self._at, self._observed, self._rate = self._rate, now, observed, rate
        again = self._stuck_at and now - self._stuck_at > _AGAIN_NS
        if level is None or level != self._level or again or not 0 <= gap <= _GAP_NS:
            self._level, self._moved, self._stuck_at = level or 0.0, 0.0, 0
        elif not self._stuck_at:
            mean = (before + rate) / 2
            self._moved = self._moved * max(0.0, 1 - gap / _FADES_NS) + mean * gap / (3_600 * NS_PER_S)
            if news and abs(self._moved) >= self._least:
                self._stuck_at = now
        return round(self._moved, 1) if self._stuck_at else 0.0
