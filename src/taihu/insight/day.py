"""The next day of several houses: consumption less generation, hour by hour, and how far off that usually is.

Load is its hour's mean and how far from it a regression on the last hours says it will be; PV its hour's mean times how
the last hour compares with its own. The next hours are regressed alike: what is shifted from one to another is decided
by their difference, which is spoiled where one of them is foretold better than the other.
Nothing is fitted beforehand: all means, spreads and weights are learned from the first hour.
"""

from collections import deque

import msgspec
import numpy as np

from taihu.insight.ridge import OnlineRidge
from taihu.kernel.arrays import Ints, Numbers

HORIZON = 24
_LOAD_RATE, _SOLAR_RATE, _ERROR_RATE = 0.1, 0.15, 0.045  # shares by which a new day moves what was learned
_LOAD_CARRY, _LOAD_FADE = 0.65, 0.9  # of the last hour's departure: in the next hour, and from hour to hour
_SOLAR_CARRY, _SOLAR_FADE = 0.85, 0.95
_DAY = 24
_NEAR = 8  # hours that are regressed; those beyond keep the fading share
_SIGNAL_RATE, _SIGNAL_FADE = 0.3, 0.95
_DAYLIGHT = 0.08  # share of the day's best hour under which a ratio says nothing
_RATIO_MAX = 2.0
_USUAL_RATE = 0.002
_UNUSUAL = 5.0  # times the usual departure: beyond, an hour teaches no more than it would at that
_UNIT_MIN_KWH = 1e-6
_LOUDEST = 10.0  # units: a house that departs by more, as one that was empty so far, tells the others nothing
_GUESS = 0.5  # units that are off by, before anything is known; and how much more the errors of a mean, and of all
_NEAR_SHARE, _TOTAL_SHARE = 0.8, 1.2


class Outlook(msgspec.Struct, frozen=True):
    """The next 24 hours: expected kWh, houses by hours, and mean absolute errors, also those of all houses together.

    `unit_kwh` is the size of each house in an hour, to a power of ten: what is a little energy there is a part of it.
    Until a day of it has been seen, it is taken to be as large as the others.
    """

    net_kwh: Numbers
    spread_kwh: Numbers
    total_spread_kwh: Numbers
    unit_kwh: Numbers


class HouseForecast:
    """Learns one hour after the other."""

    def __init__(self, count: int) -> None:
        self._load = _HourMeans(count, _LOAD_RATE)
        self._solar = _HourMeans(count, _SOLAR_RATE)
        self._near, self._far = _Errors((24, count)), _Errors((24, count))
        self._near_total, self._far_total = _Errors((24,)), _Errors((24,))
        self._size, self._hours = np.zeros(count), 0
        self._departures = _Departures(count)
        self._last: Outlook | None = None

    def update(self, hour: int, load_kwh: Numbers, solar_kwh: Numbers) -> Outlook:
        """Take over the hour of the day (0 to 23) that ended, and look ahead."""
        self._judge(hour, load_kwh - solar_kwh)
        self._hours += 1
        self._size += (np.abs(load_kwh - solar_kwh) - self._size) / self._hours
        unit = decade(self._size if self._hours >= _DAY else np.full_like(self._size, self._size.mean()))
        above = load_kwh - self._load.at(hour) if self._load.known(hour) else np.zeros_like(load_kwh)
        ratio = self._ratio(hour, solar_kwh)
        self._load.learn(hour, load_kwh)
        self._solar.learn(hour, solar_kwh)
        ahead = (hour + 1 + np.arange(HORIZON)) % 24
        means = self._load.ahead(ahead)
        load = np.maximum(0.0, means + self._departures.update(load_kwh, above, means, unit))
        bent = 1 + _SOLAR_CARRY * _SOLAR_FADE ** np.arange(HORIZON)[:, None] * (ratio - 1)
        net = (load - np.maximum(0.0, self._solar.at(ahead) * bent)).T
        keep = _LOAD_FADE ** (2 * np.arange(HORIZON))
        far, all_of_them = _GUESS * unit, _GUESS * float((unit**2).sum()) ** 0.5
        near, far = self._near.at(ahead, _NEAR_SHARE * far).T, self._far.at(ahead, far).T
        near_total = self._near_total.at(ahead, all_of_them)
        far_total = self._far_total.at(ahead, _TOTAL_SHARE * all_of_them)
        self._last = Outlook(
            net,
            np.sqrt(keep * near**2 + (1 - keep) * far**2),
            np.sqrt(keep * near_total**2 + (1 - keep) * far_total**2),
            unit,
        )
        return self._last

    def _judge(self, hour: int, net: Numbers) -> None:
        """What the last outlook, and the hour's mean, were off by."""
        if self._last is None:
            return
        off = net - self._last.net_kwh[:, 0]
        self._near.learn(hour, off)
        self._near_total.learn(hour, np.asarray(off.sum()))
        if self._load.known(hour):
            off = net - (self._load.at(hour) - self._solar.at(hour))
            self._far.learn(hour, off)
            self._far_total.learn(hour, np.asarray(off.sum()))

    def _ratio(self, hour: int, solar: Numbers) -> Numbers:
        mean = self._solar.at(hour)
        bright = mean > _DAYLIGHT * self._solar.best
        return np.minimum(np.divide(solar, mean, out=np.ones_like(mean), where=bright), _RATIO_MAX)


def decade(size: Numbers) -> Numbers:
    """The power of ten that is nearest; 1 of nothing.

    >>> decade(np.array([0.0, 0.04, 1.7, 400.0])).tolist()
    [1.0, 0.1, 1.0, 1000.0]
    """
    return np.asarray(10.0 ** np.round(np.log10(np.where(size > 0, size, 1.0))))


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

    def at(self, hours: int | Ints) -> Numbers:
        return np.asarray(self._mean[hours])

    def ahead(self, hours: Ints) -> Numbers:
        """Means of the hours; those never seen get the mean of the others."""
        known = self._seen > 0
        return np.where(known[hours][:, None], self._mean[hours], self._mean[known].mean(axis=0))


class _Errors:
    """Mean absolute errors by hour of the day, in the place of a guess that fades as more is learned."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._learned = np.zeros(shape)
        self._guessed = np.ones(shape)

    def learn(self, hour: int, error: Numbers) -> None:
        self._learned[hour] += _ERROR_RATE * (np.abs(error) - self._learned[hour])
        self._guessed[hour] *= 1 - _ERROR_RATE

    def at(self, hours: Ints, guess: Numbers | float) -> Numbers:
        return np.asarray(self._learned[hours] + self._guessed[hours] * guess)


class _Departures:
    """How far from their hours' means loads will be, from how far they were in the last day."""

    def __init__(self, count: int) -> None:
        self._fading = _LOAD_CARRY * _LOAD_FADE ** np.arange(HORIZON)
        prior = np.zeros((8, _NEAR))
        prior[0] = self._fading[:_NEAR]
        self._ridge = OnlineRidge(count, prior)
        self._above = np.zeros((_DAY, count))  # the last hour first
        self._usual, self._hours = np.zeros(count), 0  # departures, of either sign
        self._loads: deque[Numbers] = deque(maxlen=_NEAR)
        self._asked: deque[tuple[Numbers, Numbers]] = deque(maxlen=_NEAR)

    def update(self, load: Numbers, above: Numbers, means: Numbers, sizes: Numbers) -> Numbers:
        """Take over an hour: loads, how far above their means; answers, as the `means` to come are, hours by houses."""
        departures = np.asarray(self._fading[:, None] * above)
        self._loads.append(load)
        self._hours += 1
        if self._hours <= _DAY:  # hours have no means yet
            return departures
        self._usual += max(1 / (self._hours - _DAY), _USUAL_RATE) * (np.abs(above) - self._usual)
        self._above = np.concatenate([above[None], self._above[:-1]])
        if len(self._asked) == _NEAR:
            features, expected = self._asked[0]
            came = (np.array(self._loads) - expected).T
            most = np.maximum(np.abs(features).max(axis=1), np.abs(came).max(axis=1))
            unit = np.maximum(np.maximum(self._usual, most / _UNUSUAL), _UNIT_MIN_KWH)[:, None]
            self._ridge.learn(features / unit, came / unit)
        if self._hours > 2 * _DAY:
            features = self._features(sizes)
            self._asked.append((features, means[:_NEAR]))
            departures[:_NEAR] = self._ridge.predict(features).T
        return departures

    def _features(self, sizes: Numbers) -> Numbers:
        """The last three hours, a day before the next, the last if it was high, the others' last, and means."""
        past = self._above
        last = past[0] / sizes
        last[np.abs(last) > _LOUDEST] = 0.0
        others = sizes * (last.sum() - last) / max(1, len(last) - 1)
        rows = [past[0], past[1], past[2], past[23], np.maximum(past[0], 0), others, past[:6].mean(axis=0)]
        return np.array([*rows, past.mean(axis=0)]).T
