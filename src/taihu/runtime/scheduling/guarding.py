"""Whether a scheduler may drive: what its last days saved, lived or replayed from the stored history.

Days that are not known yet are replayed in the background, the oldest first; one of all schedulers at a time. A day
that the running twins did not see whole is replayed when it is over. Other settings begin anew.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from taihu.decide.guard import DAYS, Verdict, verdict
from taihu.kernel.clock import DAY_NS, HOUR_NS, from_datetime, to_datetime
from taihu.kernel.errors import TaihuError
from taihu.kernel.flexible import SchedulerConfig
from taihu.kernel.limits import Limits
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.decisions import Decisions, DecisionsUnkept
from taihu.runtime.scheduling.fleet import Fleet
from taihu.runtime.scheduling.replay import SETTLE_NS, Replay, stand_ins
from taihu.runtime.scheduling.stored import Stored, hourly, quarterly

log = logging.getLogger("taihu.pilot")

_BACK_DAYS = 28  # days that are older do not count
_LEARN_DAYS = 7  # read before those
_AGAIN_NS = HOUR_NS
_NEUTRAL = (
    "mode",
    "every",
    "reflex_s",
    "lag_s",
    "meter_age_s",
    "import_max_kw",
    "export_max_kw",
    "groups",
    "solver_s",
    "meter_error",
    "factor_error",
)  # of which no day depends, or that hold from now on
_PLANS = 25  # of a day, about


class Guard:
    """The guard of one scheduler. `news` is called when the verdict may have changed."""

    def __init__(
        self, project: str, zone: str, config: SchedulerConfig, api: NodeApi, store: Decisions, folder: Path,
        limits: Limits, news: Callable[[], None],
    ) -> None:  # fmt: skip
        self._project, self._config, self._api, self._store = project, config, api, store
        self._zone_name, self._zone = zone, ZoneInfo(zone)
        self._folder, self._limits, self._news = folder, limits, news
        self._task: asyncio.Task[None] | None = None
        self._looked, self._again = "", 0
        self._today = date.min
        self._progress: dict[str, int] = {}
        self._trouble = ""
        if store.set_up(project, config.name, _print_of(config, zone)):
            log.info("%s/%s begins anew to reckon what its days save", project, config.name)
        self._notes: list[str] = store.reported(project, config.name).get("stand_ins", [])

    @property
    def verdict(self) -> Verdict:
        """What the guard says."""
        return verdict(tuple(self._days().values()))

    def lived(self, ended: Sequence[tuple[str, float]]) -> None:
        """Keep days that the twins of the running site went through."""
        for day, saving in ended:
            self._store.add_day(self._project, self._config.name, day, saving)
        if ended:
            self._tell()

    def attend(self, now: int) -> None:
        """Replay in the background what is not known of the last days; asked for again and again."""
        midnight = self._midnight(now)
        today = to_datetime(midnight).astimezone(self._zone).date()
        settled = now >= midnight + HOUR_NS + SETTLE_NS or not self._looked
        if self._task is None and now >= self._again and settled and self._looked != today.isoformat():
            self._today = today
            self._task = asyncio.create_task(self._replay(now, midnight, today))

    def report(self) -> dict[str, Any]:
        """The verdict with what it stands on: days, how far a replay is, what was taken for what is not stored."""
        found, said = list(self._days()), self.verdict
        return {
            **msgspec.to_builtins(said), "text": said.text, "drives": said.drives, "needs": DAYS,
            "first": found[0] if found else "", "last": found[-1] if found else "", "replaying": self._progress,
            "stand_ins": self._notes, "trouble": self._trouble,
        }  # fmt: skip

    async def close(self) -> None:
        """End a replay that is on its way; its days so far are kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _days(self) -> dict[str, float]:
        since = (self._today - timedelta(days=_BACK_DAYS)).isoformat() if self._today > date.min else ""
        return self._store.days(self._project, self._config.name, since)

    def _midnight(self, now: int) -> int:
        local = to_datetime(now).astimezone(self._zone)
        return from_datetime(local.replace(hour=0, minute=0, second=0, microsecond=0))

    async def _replay(self, now: int, midnight: int, today: date) -> None:
        try:
            yesterday = (today - timedelta(days=1)).isoformat()
            known = self._days()
            if len(known) < DAYS or yesterday not in known:
                async with self._api.replaying:
                    await self._walk(midnight, known)
            self._looked, self._trouble = today.isoformat(), ""
        except Exception as error:
            if str(error) != self._trouble:
                defect = not isinstance(error, TaihuError | OSError)
                log.warning(
                    "%s/%s cannot replay its history: %s", self._project, self._config.name, error, exc_info=defect
                )
            self._trouble, self._again = str(error), now + _AGAIN_NS
        self._task, self._progress = None, {}
        self._tell()
        self._news()

    async def _walk(self, midnight: int, known: dict[str, float]) -> None:
        config, loop = Fleet(self._config).whole(self._config)[0], asyncio.get_running_loop()
        start = midnight - self._days_back() * DAY_NS
        stored = Stored(self._project, self._api)
        await stored.fetch(config, start, midnight)
        self._notes = stand_ins(config, stored)
        found = Replay(self._project, self._zone_name, config, stored, self._folder).days(start, midnight)
        newest = sorted({*found, *known})[-DAYS:]
        wanted = [day for day in newest if day not in known]
        if not wanted:
            return
        began, budget_s = loop.time(), self._limits.replay_s
        each_s = min(config.solver_s, budget_s / (_PLANS * len(wanted)))
        quick = msgspec.structs.replace(config, solver_s=each_s)
        self._progress = {"done": 0, "of": len(wanted)}
        self._tell()
        walk = Replay(self._project, self._zone_name, quick, stored, self._folder)
        async with aclosing(walk.run(start, midnight, frozenset(wanted))) as ended:
            async for day, saving in ended:
                self._store.add_day(self._project, config.name, day, saving)
                self._progress["done"] += 1
                self._tell()
                if loop.time() - began > budget_s:
                    self._notes.append(f"the replay ended after {budget_s:g} s (replay_s); the rest follows tomorrow")
                    break

    def _days_back(self) -> int:
        """So many days are read, as far as there is room for what they hold."""
        rows = 24 * len(hourly(self._config)) + 96 * len(quarterly(self._config))
        return min(_BACK_DAYS + _LEARN_DAYS, max(DAYS + 3, self._limits.replay_rows_max // rows))

    def _tell(self) -> None:
        with suppress(DecisionsUnkept):
            self._store.report(self._project, self._config.name, self.report())


def _print_of(config: SchedulerConfig, zone: str) -> str:
    """A name for the settings that a day's saving depends on."""
    neutral = SchedulerConfig(name=config.name, net=config.net, base=config.base)
    same = msgspec.structs.replace(config, **{name: getattr(neutral, name) for name in _NEUTRAL})
    return hashlib.sha256(msgspec.json.encode((zone, same))).hexdigest()
