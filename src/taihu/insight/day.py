"""The next day of several houses: consumption less generation, hour by hour, and how far off that usually is.

Load is its hour's mean plus a fading share of how far the last hour was from its own; PV its hour's mean times how
the last hour compares with its own. The houses together get a regression of their own for the next hour, as their
errors do not simply add. Nothing is fitted beforehand: all means, spreads and weights are learned from the first hour.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.insight.ridge import OnlineRidge

Numbers = NDArray[np.float64]

HORIZON = 24
_LOAD_RATE, _SOLAR_RATE, _ERROR_RATE = 0.08, 0.15, 0.045  # shares by which a new day moves what was learned
_LOAD_CARRY, _SOLAR_CARRY, _FADE = 0.65, 0.85, 0.9
_SIGNAL_RATE, _SIGNAL_FADE = 0.3, 0.95
_DAYLIGHT = 0.08  # share of the day's best hour under which a ratio says nothing
_RATIO_MAX = 2.0


class Outlook(msgspec.Struct, frozen=True):
    """The next 24 hours: expected kWh, houses by hours, and mean absolute errors; `total` is of all houses."""

    net_kwh: Numbers
    spread_kwh: Numbers
    total_kwh: Numbers
    total_spread_kwh: Numbers


class HouseForecast:
    """Learns one hour after the other."""

    def __init__(self, count: int) -> None:
        self._load = _HourMeans(count, _LOAD_RATE)
        self._solar = _HourMeans(count, _SOLAR_RATE)
        guess = 0.5 * np.ones((24, count))
        self._near, self._far = _Errors(guess * 0.8), _Errors(guess)
        self._near_total = _Errors(guess[:, 0] * count**0.5)
        self._far_total = _Errors(1.2 * guess[:, 0] * count**0.5)
        self._total = _TotalLoad()
        self._last: Outlook | None = None

    def update(self, hour: int, load_kwh: Numbers, solar_kwh: Numbers) -> Outlook:
        """Take over the hour of the day (0 to 23) that ended, and look ahead."""
        self._judge(hour, load_kwh - solar_kwh)
        above = load_kwh - self._load.at(hour) if self._load.known(hour) else np.zeros_like(load_kwh)
        ratio = self._ratio(hour, solar_kwh)
        mean_before = float(self._load.at(hour).sum()) if self._load.known(hour) else float(load_kwh.sum())
        self._load.learn(hour, load_kwh)
        self._solar.learn(hour, solar_kwh)
        ahead = (hour + 1 + np.arange(HORIZON)) % 24
        fade = _FADE ** np.arange(HORIZON)
        load = np.maximum(0.0, self._load.ahead(ahead) + _LOAD_CARRY * fade[:, None] * above)
        solar = np.maximum(0.0, self._solar.at(ahead) * (1 + _SOLAR_CARRY * fade[:, None] * (ratio - 1)))
        net = (load - solar).T
        total = net.sum(axis=0)
        mean_next = float(self._load.ahead(ahead[:1]).sum())
        total[0] = self._total.update(float(load_kwh.sum()), mean_before, mean_next) - float(solar[0].sum())
        keep = fade**2
        self._last = Outlook(
            net,
            np.sqrt(keep * self._near.at(ahead).T ** 2 + (1 - keep) * self._far.at(ahead).T ** 2),
            total,
            np.sqrt(keep * self._near_total.at(ahead) ** 2 + (1 - keep) * self._far_total.at(ahead) ** 2),
        )
        return self._last

    def _judge(self, hour: int, net: Numbers) -> None:
        """What the last outlook, and the hour's mean, were off by."""
        if self._last is None:
            return
        self._near.learn(hour, net - self._last.net_kwh[:, 0])
        self._near_total.learn(hour, np.asarray(net.sum() - self._last.total_kwh[0]))
        if self._load.known(hour):
            off = net - (self._load.at(hour) - self._solar.at(hour))
            self._far.learn(hour, off)
            self._far_total.learn(hour, np.asarray(off.sum()))

    def _ratio(self, hour: int, solar: Numbers) -> Numbers:
        mean = self._solar.at(hour)
        bright = mean > _DAYLIGHT * self._solar.best
        return np.minimum(np.divide(solar, mean, out=np.ones_like(mean), where=bright), _RATIO_MAX)


class SignalForecast:
    """The next day of a signal with a daily shape, such as carbon intensity: its hours' means, bent to where it is."""

    def __init__(self) -> None:
        self._means = _HourMeans(1, _SIGNAL_RATE)

    def update(self, hour: int, value: float) -> Numbers:
        """Take over the hour of the day (0 to 23) that ended, and look 24 hours ahead."""
        self._means.learn(hour, np.array([value]))
        ahead = (hour + 1 + np.arange(HORIZON)) % 24
        off = value - float(self._means.at(hour)[0])
        return np.asarray(self._means.ahead(ahead)[:, 0] + off * _SIGNAL_FADE ** np.arange(HORIZON))


class _HourMeans:
    """Means by hour of the day that follow the season; arrays are hours by houses."""

    def __init__(self, count: int, rate: float) -> None:
        self._mean = np.zeros((24, count))
        self._seen = np.zeros(24)
        self._rate = rate

    @property
    def best(self) -> Numbers:
        return np.asarray(self._mean.max(axis=0))

    def known(self, hour: int) -> bool:
        return bool(self._seen[hour] > 0)

    def learn(self, hour: int, value: Numbers) -> None:
        self._seen[hour] += 1
        self._mean[hour] += max(1 / self._seen[hour], self._rate) * (value - self._mean[hour])

    def at(self, hours: int | NDArray[np.int64]) -> Numbers:
        return np.asarray(self._mean[hours])

    def ahead(self, hours: NDArray[np.int64]) -> Numbers:
        """Means of the hours; those never seen get the mean of the others."""
        known = self._seen > 0
        return np.where(known[hours][:, None], self._mean[hours], self._mean[known].mean(axis=0))


class _Errors:
    """Mean absolute errors by hour of the day."""

    def __init__(self, guess: Numbers) -> None:
        self._mean = guess.copy()

    def learn(self, hour: int, error: Numbers) -> None:
        self._mean[hour] += _ERROR_RATE * (np.abs(error) - self._mean[hour])

    def at(self, hours: NDArray[np.int64]) -> Numbers:
        return np.asarray(self._mean[hours])


class _TotalLoad:
    """All houses' load in the next hour, from the last two hours, the day before and the means of both hours."""

    _DAY = 24

    def __init__(self) -> None:
        self._ridge = OnlineRidge(np.array([_LOAD_CARRY, 0.0, 0.0, 1.0, -_LOAD_CARRY, 0.0]))
        self._past: list[float] = []
        self._features: Numbers | None = None

    def update(self, load: float, mean_now: float, mean_next: float) -> float:
        if self._features is not None:
            self._ridge.learn(self._features, load)
        self._past = [*self._past[1 - self._DAY :], load]
        before = self._past[-2] if len(self._past) > 1 else load
        self._features = np.array([load, before, self._past[0], mean_next, mean_now, 1.0])
        return self._ridge.predict(self._features)
