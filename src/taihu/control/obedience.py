"""Whether a device does what it is told."""

from collections import deque

from taihu.kernel.clock import NS_PER_S

_HOLDS_NS = 900 * NS_PER_S  # a setpoint that is not given again may end: the device goes by its own rule then
_TOLD_MAX = 1_000
_STRIKES_MAX = 6  # readings in a row
_FAR = 6  # times its settling: so far off a device's clock is not right
NEARLY_FULL, NEARLY_EMPTY = 0.8, 0.1
"""Charges beyond which a battery may do less than it is told."""


class Obedience:
    """Whether a device does what it is told: several readings in a row that are far off say that it does not.

    Args:
        tolerance_kw: how far its power may be from what it was told.
        settle_ns: how long a setpoint may take to show in a reading.
        lasting_ns: over how long a time, so that a machine which is busy for a moment accuses nobody.
    """

    def __init__(self, tolerance_kw: float, settle_ns: int, lasting_ns: int = 0) -> None:
        self._tolerance_kw = tolerance_kw
        self._settle_ns = settle_ns
        self._lasting_ns = lasting_ns
        self._strikes = self._struck_at = 0
        self._told: deque[tuple[int, float]] = deque(maxlen=_TOLD_MAX)
        self._seen = self._observed = 0

    @property
    def obeys(self) -> bool:
        """Whether it is to be told more."""
        return self._strikes < _STRIKES_MAX or self._seen - self._struck_at < self._lasting_ns

    def tell(self, at: int, kw: float) -> None:
        """It was told this setpoint (UTC ns, kW)."""
        while len(self._told) > 1 and self._told[1][0] < at - 2 * _FAR * self._settle_ns:
            self._told.popleft()
        self._told.append((at, kw))

    def see(self, now: int, observed: int, power_kw: float, charge: float) -> None:
        """Take over a reading of its power, and its state of charge (0 to 1).

        It was taken when it was observed by the device's clock, or, where that is too far off, when it came. It may lie
        anywhere between the setpoints that were in force while it was taken; where none was, it is not held against the
        device. A battery that is nearly full or empty may do less than it is told.
        """
        if observed == self._observed:
            return
        self._observed = observed
        at = observed if abs(now - observed) <= _FAR * self._settle_ns else now
        if at <= self._seen or not self._told or self._told[0][0] > at - self._settle_ns:
            return
        force, last = [], 0
        for told, kw in reversed(self._told):
            if told <= at:
                last = last or told
                force.append(kw)
            if told < at - self._settle_ns:
                break
        if last < at - _HOLDS_NS:
            return
        self._seen = at
        low, high = min(force) - self._tolerance_kw, max(force) + self._tolerance_kw
        if charge > NEARLY_FULL:
            low = min(low, 0.0)
        if charge < NEARLY_EMPTY:
            high = max(high, 0.0)
        if low <= power_kw <= high:
            self._strikes = 0
            return
        if not self._strikes:
            self._struck_at = at
        self._strikes += 1

    def forgive(self) -> None:
        """Try it again."""
        self._strikes = 0
        self._told.clear()
