"""The meter that a scheduler follows: its newest reading that can be true, and in words why there is none."""

from taihu.kernel.clock import NS_PER_S
from taihu.kernel.flexible import SchedulerConfig
from taihu.runtime.pilot.api import NodeApi

_ABSURD = 10.0  # times all that is known of a site: what its meter cannot see
_LASTS = 3.0  # times its age: a meter that speaks seldom is no news
_LEAST_KW = 100.0  # what any meter may see


class Metering:
    """Asked once a turn. A reading beyond `most_kw` is none. `trouble` says what has been wrong for a while."""

    def __init__(self, project: str, config: SchedulerConfig, api: NodeApi) -> None:
        self._project, self._path, self._api = project, config.net, api
        self._thing, _, self._name = config.net.rpartition("/")
        self._age_s = max(config.meter_age_s, 2 * config.reflex_s)
        self.most_kw = float("inf")
        self.trouble = ""
        self._observed = self._came = self._good = 0

    async def look(self, now: int) -> tuple[int, float] | None:
        """When it was observed and what the meter sees (kW); None where it says nothing, or what cannot be."""
        found = await self._api.reading(self._project, self._thing, self._name)
        if found is not None and found[0] != self._observed:
            self._came = now if self._observed else min(now, found[0])
            self._observed = found[0]
        self._came = min(self._came, now)  # the clock may be set back
        if found is None or now - self._came > self._age_s * NS_PER_S:
            trouble = f"{self._path} says nothing"
        elif not abs(found[1]) <= self.most_kw:
            trouble = f"{self._path} says {found[1]:g} kW, which cannot be"
        else:
            self._good, self.trouble = now, ""
            return found
        self._good = min(self._good or now, now)
        if now - self._good > _LASTS * self._age_s * NS_PER_S:
            self.trouble = trouble
        return None


def most_of(config: SchedulerConfig, load_kw: float) -> float:
    """More than a meter can see, or an hour can come to (kW), by the highest load that was known so far.

    >>> most_of(SchedulerConfig(name="a", net="m/p", base="m/b", import_max_kw=15), 3.0)
    180.0
    """
    flexible = sum(one.power_kw for one in config.assets)
    return max(_LEAST_KW, _ABSURD * (load_kw + flexible + max(config.import_max_kw, config.export_max_kw)))
