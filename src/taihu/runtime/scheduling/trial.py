"""What a scheduler would have saved on the days that are stored, before it, or what it drives, is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from taihu.decide.guard import Verdict, interval
from taihu.kernel.clock import DAY_NS
from taihu.kernel.errors import RefusedError
from taihu.kernel.flexible import SchedulerConfig
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.units import check_units, currency_of
from taihu.runtime.scheduling.replay import Replay, local_days, stand_ins
from taihu.runtime.scheduling.stored import Stored

_LEARN_DAYS = 7


class NothingStored(RefusedError):
    """The history has no day that could be replayed; the message says what is missing."""

    code = "nothing-to-replay"


class Trial(msgspec.Struct, frozen=True):
    """The days with what each would have saved, their mean with its 90 % interval, and what was taken for the rest.

    `currency` is that of what was saved, where it is known to be money.
    """

    days: dict[str, float]
    verdict: Verdict
    stand_ins: list[str]
    currency: str = ""


class _There:
    """Units of what is there; what is to be bought has none yet."""

    def __init__(self, api: NodeApi) -> None:
        self._api = api

    async def unit(self, project: str, path: str) -> str | None:
        try:
            return await self._api.unit(project, path)
        except RefusedError:
            return None


class Bar:
    """Who shows how far it is: told how many days there are, and of each that is done."""

    def __init__(self, begin: Callable[[int], Any], advance: Callable[[], Any]) -> None:
        self.begin, self.advance = begin, advance


async def trial(
    api: NodeApi, project: str, zone: str, config: SchedulerConfig, folder: Path, now: int, count: int, bar: Bar
) -> Trial:
    """Replay the last `count` days that are stored before `now` (UTC ns); tariff files are in `folder`.

    Raises:
        NothingStored: there is no such day; UnitMismatch: a property that is there is of another sort.
    """
    await check_units(_There(api), project, config)
    start = (now // DAY_NS - count - _LEARN_DAYS) * DAY_NS
    stored = Stored(project, api)
    await stored.fetch(config, start, now)
    walk = Replay(project, zone, config, stored, folder)
    end = local_days(start, now, walk.zone)[-1][2]
    found = walk.days(start, end)[-count:]
    if not found:
        paths = ", ".join(dict.fromkeys([config.base, *([config.signal] if config.signal else [])]))
        raise NothingStored(
            f"Of {paths} and the generators no day can be replayed.",
            "It needs two days to learn from and 20 hours of a day: import more, or correct the names.",
        )
    bar.begin(len(found))
    days = {}
    async for day, saving in walk.run(start, end, frozenset(found)):
        days[day] = saving
        bar.advance()
    currency = await currency_of(_There(api), project, config) if config.cost_weight == 1 else ""
    return Trial(days, interval(list(days.values())), stand_ins(config, stored), currency)
