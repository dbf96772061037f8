"""The mean of a billing interval, held under a peak while the interval runs."""


class Demand:
    """What a meter has taken since the interval began, and what it may take until it ends, on the mean.

    A reading holds until the next; what was not seen of an interval was as its first reading. `lag_ns` is within which
    the meter shows what was told: so near to the end nothing is decided anew.

    >>> demand = Demand(0, interval_ns=900)
    >>> demand.see(0, 4.0), demand.most_kw(0, 4.0)
    (None, 4.0)
    >>> demand.see(300, 4.0), demand.most_kw(300, 3.0)  # a third is over: 1 kW more was taken in it
    (None, 2.5)
    """

    def __init__(self, lag_ns: int, interval_ns: int) -> None:
        self._lag_ns, self._interval_ns = lag_ns, interval_ns
        self._begin = -1
        self._taken = 0.0  # kW ns, until `_at`
        self._at, self._kw = 0, 0.0
        self._most_kw = 0.0

    def see(self, now: int, kw: float) -> None:
        """The meter said so."""
        begin = now // self._interval_ns * self._interval_ns
        if begin == self._begin:
            self._taken += self._kw * (now - self._at)
        else:
            known = self._begin >= 0 and begin - self._begin == self._interval_ns
            self._taken = (self._kw if known else kw) * (now - begin)
            self._begin = begin
        self._at, self._kw = now, kw

    def most_kw(self, now: int, peak_kw: float) -> float:
        """What the meter may see until the interval ends, so that its mean is no more than a peak; at least 0."""
        left = self._begin + self._interval_ns - now
        if left >= max(self._lag_ns, 1):
            taken = self._taken + self._kw * (now - self._at)
            self._most_kw = max(0.0, (peak_kw * self._interval_ns - taken) / left)
        return self._most_kw if left > 0 else peak_kw
