"""Series as forecasts need them, read from the history: the last months whole once, then only what is new."""

from collections.abc import Sequence

import numpy as np

from taihu.history.history import History
from taihu.identity.directory import Directory
from taihu.insight.forecast.series import Regressor, Series
from taihu.insight.forecast.store import Key
from taihu.insight.forecast.trained import HISTORY_DAYS
from taihu.kernel.arrays import Ints, Numbers
from taihu.kernel.clock import DAY_NS, HOUR_NS, NS_PER_S
from taihu.kernel.limits import Limits
from taihu.runtime.forecast.kept import Kept, Source
from taihu.runtime.forecast.steps import steps_of

_HISTORY_NS = HISTORY_DAYS * DAY_NS
_AGAIN_NS = 6 * HOUR_NS  # readings may come so late and still count before the next training


class ForecastReading:
    """Reads on one thread; keeps the steps that were read."""

    def __init__(self, history: History, directory: Directory, limits: Limits) -> None:
        self._history = history
        self._directory = directory
        self._limits = limits
        self._read: dict[Key, tuple[int, Numbers]] = {}
        self._forgotten = False
        self.lacking: dict[Key, int] = {}
        """How many of its newest steps are not known of each regressor."""

    def forget(self) -> None:
        """Read everything anew the next time; any thread may say so, also in the middle of a reading."""
        self._forgotten = True

    def known(self, key: Key) -> int:
        """How many steps of a series that was read are known."""
        found = self._read.get(key)
        return 0 if found is None else int(np.isfinite(found[1]).sum())

    def series(self, batch: Sequence[Kept], end: int, *, anew: bool) -> list[Series]:
        """The series of a batch that is alike, up to `end`; `anew` reads all of it."""
        first = batch[0]
        start = end - _HISTORY_NS
        if self._forgotten:
            self._forgotten = False
            self._read.clear()
        with self._history.within(self._limits.query_timeout_s):
            if anew:
                for one in batch:
                    self._read.pop(one.key, None)
            self._advance([one.key for one in batch], first.every, start, end)
            regressors = tuple(self._regressor(first, source, start, end) for source in first.regressors)
        project = self._directory.project(first.key.project)
        zone = project.timezone if project else "UTC"
        return [self._one(one.key, start, zone, regressors) for one in batch]

    def steps(self, key: Key, every: str, start: int, end: int) -> Numbers:
        """The steps of a series between two ends of steps."""
        with self._history.within(self._limits.query_timeout_s):
            return steps_of(self._history, key.project, [key.thing], key.property, start, end, every)[key.thing]

    def _advance(self, keys: Sequence[Key], every: str, start: int, end: int) -> None:
        """Bring what was read to [start, end): one query for those never read, one for what is new of the others."""
        fresh = [key for key in keys if key not in self._read or self._end(key) <= start]
        for key in fresh:
            self._read[key] = (start, np.empty(0))
        for some, since in ((fresh, start), ([key for key in keys if key not in fresh], 0)):
            if not some:
                continue
            begin = since or max(start, min(self._end(key) for key in some) - _AGAIN_NS)
            found = steps_of(
                self._history, some[0].project, [key.thing for key in some], some[0].property, begin, end, every
            )
            for key in some:
                self._join(key, begin, found[key.thing], start)

    def _end(self, key: Key) -> int:
        start, values = self._read[key]
        return start + len(values) * key.step_s * NS_PER_S

    def _join(self, key: Key, begin: int, values: Numbers, start: int) -> None:
        """Put newer steps over older ones, and let go what is before `start`."""
        step_ns = key.step_s * NS_PER_S
        first, known = self._read[key]
        kept = known[: max(0, (begin - first) // step_ns)]
        whole = np.concatenate((kept, values))
        first = first if len(kept) else begin
        gone = max(0, (start - first) // step_ns)
        self._read[key] = (first + gone * step_ns, whole[gone:])

    def _one(self, key: Key, start: int, zone: str, regressors: tuple[Regressor, ...]) -> Series:
        """The series from its first known step on."""
        _, values = self._read[key]
        known: Ints = np.flatnonzero(np.isfinite(values))
        skipped = int(known[0]) if len(known) else len(values)
        cut = tuple(Regressor(one.values[skipped:], one.ahead) for one in regressors)
        return Series(start + skipped * key.step_s * NS_PER_S, key.step_s, values[skipped:], zone, cut)

    def _regressor(self, kept: Kept, source: Source, start: int, end: int) -> Regressor:
        """Another property on the same steps, `ahead` of them known beyond the end."""
        key = Key(kept.key.project, source.thing, source.property, kept.key.step_s)
        ahead = source.ahead_s // kept.key.step_s
        shift = ahead * kept.key.step_s * NS_PER_S
        values = self.steps(key, kept.every, start - shift, end)
        known = np.flatnonzero(np.isfinite(values))
        self.lacking[key] = len(values) - 1 - int(known[-1]) if len(known) else len(values)
        return Regressor(values, ahead)
