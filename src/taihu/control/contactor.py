"""What takes nothing, or at least so much: a charger, a heat pump. It is not switched more often than it bears."""

import math

_KEEPS = 0.25  # of a power step: how far beyond it the wish must be for another step
_STAYS = 0.5  # of the least power: what is left of a wish when it goes off


class Contactor:
    """One of them, by its least power and its power steps (kW), and how long it stays on and off at least (ns).

    >>> charger = Contactor(1.4, 0.5, on_ns=180, off_ns=60)
    >>> for at, wish in [(100, 1.2), (101, 2.2), (102, 0.0), (281, 0.0), (282, 3.0)]:
    ...     charger.note(at, charger.follow(at, wish))
    ...     print(charger.kw)
    0.0
    1.9
    1.4
    0.0
    0.0
    """

    def __init__(self, minimum_kw: float, step_kw: float, on_ns: int, off_ns: int) -> None:
        self._minimum_kw, self._step_kw = minimum_kw, step_kw
        self._on_ns, self._off_ns = on_ns, off_ns
        self.kw = 0.0
        """What it takes now."""
        self._on_since = self._off_since = -(2**62)

    def follow(self, now: int, wish_kw: float) -> float:
        """What it takes of a wish that moves with the sun: in steps, and no sooner on or off than it may."""
        least = self._minimum_kw if self.kw <= 0 else _STAYS * self._minimum_kw
        return self.keep(now, self._step(wish_kw) if wish_kw > 0 and wish_kw >= least else 0.0)

    def keep(self, now: int, kw: float) -> float:
        """What it takes of what a plan says: that, but that it is no sooner on or off than it may."""
        if kw > 0 and self._rests(now):
            return 0.0
        if kw <= 0 and self.stays(now):
            return self._minimum_kw or self.kw
        return kw

    def note(self, now: int, kw: float) -> None:
        """It takes so much from now on, whoever decided it."""
        if (kw > 0) != (self.kw > 0):
            if kw > 0:
                self._on_since = now
            else:
                self._off_since = now
        self.kw = kw

    def stays(self, now: int) -> bool:
        """Whether it is on, and may not go off yet."""
        return self.kw > 0 and now - self._on_since < self._on_ns

    def _rests(self, now: int) -> bool:
        return self.kw <= 0 and now - self._off_since < self._off_ns

    def _step(self, wish_kw: float) -> float:
        """The highest step that is within a wish; the one it is at, while the wish is near."""
        near = _KEEPS * self._step_kw
        if self.kw > 0 and self.kw - near <= wish_kw < self.kw + self._step_kw + near:
            return self.kw
        return self._minimum_kw + self._step_kw * max(0, math.floor((wish_kw - self._minimum_kw) / self._step_kw))
