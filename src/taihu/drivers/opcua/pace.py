"""The declared sampling: how the driver slows a server down that tells more than can be passed on.

When three quarters of a window went into passing readings on, the interval doubles: the server then keeps one value a
point, the newest, and tells it once an interval. When there has been room for a while, it halves, down to what was
asked for. Nothing is dropped here, and the session lives on: notifications are only asked for when there is room (§6).
"""

_WINDOW_S = 2.0
_BUSY, _CALM = 0.75, 0.25
_CALM_WINDOWS = 5
_INTERVAL_MAX_S = 60.0


class Pace:
    """Between what was asked for and one value a minute."""

    def __init__(self, asked_s: float) -> None:
        self.interval_s = asked_s
        self._asked_s = asked_s
        self._busy_s = self._waited_s = 0.0
        self._calm = 0

    @property
    def sampling(self) -> bool:
        """Whether the interval is longer than asked for."""
        return self.interval_s > self._asked_s

    def spend(self, busy_s: float, waited_s: float) -> bool:
        """Say how long a round was at work and how long it waited; whether the interval has changed."""
        self._busy_s += busy_s
        self._waited_s += waited_s
        window = self._busy_s + self._waited_s
        if window < _WINDOW_S:
            return False
        share = self._busy_s / window
        self._busy_s = self._waited_s = 0.0
        self._calm = self._calm + 1 if share < _CALM else 0
        before = self.interval_s
        if share > _BUSY:
            self.interval_s = max(before, min(2 * before, _INTERVAL_MAX_S))
        elif self._calm >= _CALM_WINDOWS:
            self._calm = 0
            self.interval_s = max(before / 2, self._asked_s)
        return self.interval_s != before
