"""A scheduler at work: all flexible loads behind one meter, planned every few minutes and driven in between.

A client of the node like the controller of one battery (`steering`): what it sees goes through the public API, what it
commands under standing permits. Plans are made on a thread, so that other loops go on meanwhile.
"""

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from msgspec.structs import replace

from taihu.carbon.driven import Driven
from taihu.decide.flexible import Grid, State
from taihu.decide.notes import likewise
from taihu.decide.planner import Planner
from taihu.decide.problem import Asset, ProblemRefused
from taihu.decide.scheduling import Expected, Scheduled, asset_reason, reason, schedule
from taihu.decide.twins import Twins
from taihu.kernel.clock import DAY_NS, HOUR_NS, NS_PER_S, Clock
from taihu.kernel.errors import TaihuError
from taihu.kernel.flexible import SchedulerConfig
from taihu.kernel.limits import DEFAULT, Limits
from taihu.kernel.sections import Site
from taihu.runtime.pilot.api import NodeApi, Said
from taihu.runtime.pilot.crew import Steering
from taihu.runtime.pilot.decisions import Decisions, DecisionsUnkept, ExpectedHour
from taihu.runtime.pilot.held import Written
from taihu.runtime.pilot.meanwhile import meanwhile
from taihu.runtime.pilot.units import currency_of
from taihu.runtime.scheduling.driving import Driving
from taihu.runtime.scheduling.expecting import Expecting
from taihu.runtime.scheduling.fleet import Fleet
from taihu.runtime.scheduling.guarding import Guard
from taihu.runtime.scheduling.replay import SETTLE_NS
from taihu.runtime.scheduling.seeing import Ran, Seeing, signs

log = logging.getLogger("taihu.pilot")

_HISTORY_NS = 16 * DAY_NS
_EVERY_NS = {"5m": 300 * NS_PER_S, "10m": 600 * NS_PER_S, "15m": 900 * NS_PER_S, "30m": 1_800 * NS_PER_S}
_AGAIN_NS = 300 * NS_PER_S  # after which an hour that is not known whole is asked for again
_NEWS_NS = 30 * NS_PER_S  # no plan follows another sooner
_STARTS_NS = 600 * NS_PER_S  # in which a load that is told to begin is seen to run
_RETRY_S = 2.0  # of the machine's time, after which who was away is asked again
_OLD_S = 0.5  # of the machine's time: what things said before is not followed
_FIRST_STEPS = 4  # for which what does not obey is taken to go on as it is


def schedulers_of(site: Site, api: NodeApi, store: Decisions, clock: Clock) -> "list[Scheduler]":
    """One for each `[[project.scheduler]]` of a site."""
    return [
        Scheduler(project.name, site.timezone_of(project), config, api, store, clock, site.folder, site.limits)
        for project in site.projects
        for config in project.schedulers
    ]


class Scheduler(Steering):
    """One scheduler of one project, with its own knowledge."""

    config: SchedulerConfig

    def __init__(
        self, project: str, zone: str, config: SchedulerConfig, api: NodeApi, store: Decisions, clock: Clock,
        folder: Path, limits: Limits = DEFAULT,
    ) -> None:  # fmt: skip
        self.project, self.config = project, config
        self._api, self._store, self._clock = api, store, clock
        self._zone = ZoneInfo(zone)
        ran = store.recall(project, config.name)
        self._seeing = Seeing(project, config, api, msgspec.convert(ran, dict[str, Ran]))
        self._expecting = Expecting(project, zone, config, api, folder)
        self._fleet = Fleet(config)
        self._twins = Twins(self._fleet.whole(config)[0])
        self._guard = Guard(project, zone, config, api, store, folder, limits, self._plan_anew)
        self._driving = Driving(project, config, api, clock, self._begins, store.permits)
        self._planner = Planner()
        self._things = sorted({config.net.partition("/")[0], *(one.thing for one in config.assets)})
        self._slot = self._planned_at = self._settled_until = self._learn_at = 0
        self._retry_at, self._retry_ns = 0, int(_RETRY_S * clock.speed * NS_PER_S)
        self._complaint = ""
        self._forgetful = False
        self._drives, self._judged, self._asked = False, False, False
        self._metered, self._planned_blind = "", False
        self._drove_since = 0
        self._before: dict[str, State] = {}
        self._notes: dict[str, int] = {}  # what happened between plans, and when

    @property
    def writes(self) -> frozenset[Written]:
        """What it may write."""
        return self._driving.writes

    @property
    def waits(self) -> str:
        """Why it plans nothing new now; empty when it does."""
        if not self._expecting.learned_until and not self._complaint:
            return f"of {self.config.base} no hour is known whole yet"
        return self._complaint

    async def turn(self, now: int) -> None:
        """What is due now: learn, plan, and follow the meter, which waits for nothing."""
        said, clock = await self._api.look(self.project, self._things), asyncio.get_running_loop().time
        looked = clock()
        self._forgetful |= await self._seeing.watch(Grid(now, self._zone))
        if not 0 < self._retry_at - now <= self._retry_ns:
            await self._decide(now)
        if clock() - looked > _OLD_S:
            said = await self._api.look(self.project, self._things)
        await self._follow(self._clock.now_ns(), said)

    async def _decide(self, now: int) -> None:
        """Learn and plan, if it is due."""
        try:
            if self._forgetful:
                self._remember()
            if not now < self._learn_at <= now + HOUR_NS + SETTLE_NS:  # beyond, the clock was set back
                await self._meanwhile(self._learn(now))
                self._asked, now = True, self._clock.now_ns()
            slot = now // _EVERY_NS[self.config.every]
            if self._expecting.learned_until and (slot != self._slot or await self._has_news(now)):
                self._slot = slot  # first: what the guard says meanwhile calls for another plan
                await self._meanwhile(self._plan(now))
                self._guard.attend(now)
                self._complaint = ""
            elif not self._expecting.learned_until:
                self._complaint = ""
        except ProblemRefused as error:  # the last plan holds for its day
            self._complaint = f"it plans nothing new: {error}"
        except DecisionsUnkept as error:  # what was decided holds all the same; no sooner than it is due the next is
            self._complaint = str(error)
        except TaihuError as error:  # who answers for the history is away
            self._asked = True
            self._slot, self._retry_at = 0, now + self._retry_ns
            self._complaint = str(error)

    async def _follow(self, now: int, said: Mapping[str, Said]) -> None:
        if self._drives and self._driving.has_plan:
            for found in await self._driving.follow(now, said):
                log.warning("%s: %s", self.label, found)
                self._plan_anew()
        else:
            await self._driving.metering.look(now)
            ends = self._judged and not self._drives
            if self._driving.drove and (ends or (self._asked and self.waits)):  # else the first plan may drive it on
                await self._driving.leave(now)
        trouble, before = self._driving.metering.trouble, self._metered
        if trouble and trouble != before:
            log.warning("%s: %s: it is not followed", self.label, trouble)
        elif before and not trouble:
            log.info("%s: the meter is followed again", self.label)
        self._metered = trouble

    async def close(self, *, leave: bool = False) -> None:
        """End what goes on in the background; those who `leave` bring to rest what they drove."""
        await self._guard.close()
        if leave and self._driving.drove:
            await self._driving.leave(self._clock.now_ns())

    def _plan_anew(self) -> None:
        """There is news: plan in the next turn."""
        self._slot = 0

    async def _meanwhile(self, work: Coroutine[Any, Any, None]) -> None:
        """Follow the meter, by the plan that there is, while something takes its time."""
        await meanwhile(work, self.reflex_s / self._clock.speed, self._look_and_follow)

    async def _look_and_follow(self) -> None:
        with suppress(TaihuError):  # the turn says so, and what goes on meanwhile goes on
            said = await self._api.look(self.project, self._things)
            await self._follow(self._clock.now_ns(), said)

    def _begins(self, name: str, now: int) -> None:
        """A load is told to begin: whoever comes after a crash knows since when it runs."""
        self._seeing.ran[name].told, self._forgetful = now, True
        with suppress(DecisionsUnkept):
            self._remember()

    def _remember(self) -> None:
        self._store.remember(self.project, self.config.name, msgspec.to_builtins(self._seeing.ran))
        self._forgetful = False

    async def _has_news(self, now: int) -> bool:
        """Whether a car or work came or went, or something is known again: no reason to wait for the next plan."""
        if now - self._planned_at < _NEWS_NS:
            return False
        states = await self._seeing.states(Grid(now, self._zone))
        return signs(states) != signs(self._before) or bool(self._metered) != self._planned_blind

    async def _learn(self, now: int) -> None:
        """Take over the hours that have ended since the last time."""
        config, end = self.config, (now - SETTLE_NS) // HOUR_NS * HOUR_NS
        start = max(self._settled_until, end - _HISTORY_NS)
        self._learn_at = end + HOUR_NS + SETTLE_NS
        if start >= end:
            return
        self._twins.go_on(now)
        paths = {"load": config.base, "net": config.net}
        signals = {"average": config.intensity, "marginal": config.marginal}
        paths |= {name: path for name, path in signals.items() if path}
        paths |= {one.name: one.energy_path for one in config.solars}
        hours = {name: await self._api.hours(self.project, path, start, end) for name, path in paths.items()}
        for hour in range(start, end, HOUR_NS):
            load = hours["load"].get(hour)
            solar = {one.name: hours[one.name].get(hour) for one in config.solars}
            carbon = hours[config.carbon_signal].get(hour) if config.signal else None
            self._expecting.learn(hour, load, solar, carbon)
            if load is not None and abs(load) > self._expecting.most_kw:  # it cannot be: no twin lives it either
                load = None
            if load is None or None in solar.values() or (config.signal and carbon is None):
                continue
            self._settled_until = hour + HOUR_NS
            made = {name: kwh for name, kwh in solar.items() if kwh is not None}
            without = self._twins.settle(hour, load, sum(made.values()), carbon)
            self._store.came(self.project, config.name, hour, load - sum(made.values()))
            net = hours["net"].get(hour)
            drove = self._drove_since and hour >= self._drove_since
            if drove and net is not None and without is not None:
                driven = Driven(hour, net, without, True, f"{config.net}, its twin that is left alone")
                average = hours["average"].get(hour) if config.intensity else None
                self._store.account(self.project, config.name, driven, average)
            await self._api.breathe()
        if self._settled_until < end:  # the last hour may still come
            self._learn_at = now + _AGAIN_NS
        self._driving.metering.most_kw = self._expecting.most_kw
        self._guard.lived(self._twins.ended(now))

    async def _plan(self, now: int) -> None:
        config, grid = self.config, Grid(now, self._zone)
        self._planned_at, self._planned_blind = now, bool(self._metered)
        states = await self._seeing.states(grid)
        self._compare(states, now)
        met = await self._driving.metering.look(now)
        net = None if met is None else met[1]
        expected = await self._expecting.ahead(grid, net)
        await asyncio.to_thread(self._twins.plan, self._fleet.whole(config, states)[1], grid, expected)
        self._guard.lived(self._twins.ended(now))
        lost, takers = self._driving.lost(now), self._driving.takers
        self._judge(now)
        more = _with(expected, states, lost)
        site = _as_is(config, lost, takers)
        joined, able = self._fleet.able(site, states)
        found = await asyncio.to_thread(schedule, joined, able, grid, more, self._planner)
        planned = self._fleet.split(found, site, states, grid)
        self._driving.take(planned, grid, states)
        self._store.expect(self.project, config.name, _hours(grid, expected))
        currency = {"currency": await currency_of(self._api, self.project, config)}
        self._store.add(self.project, config.name, now, self._body(now, planned, states, lost) | currency)
        self._remember()

    def _compare(self, states: dict[str, State], now: int) -> None:
        """What happened since the last plan and was not foreseen."""
        for vehicle in self.config.vehicles:
            state, before = states[vehicle.name], self._before.get(vehicle.name)
            if before is None or not before.present or state.present or state.notes:  # if it left, nobody said so
                continue
            short = vehicle.target * vehicle.capacity_kwh - (before.level or 0.0)
            if before.level is not None and short > 0.01 * vehicle.capacity_kwh:
                early = " before its time" if now < before.until else ""
                self._notes[f"{vehicle.name} left{early}, {short:.1f} kWh short"] = now
        for name, ran in self._seeing.ran.items():
            if ran.told and now - ran.told > _STARTS_NS:
                self._notes[f"{name} was told to begin, and does not run"] = now
        self._before = states
        self._notes = {note: at for note, at in self._notes.items() if now - at < DAY_NS}

    def _judge(self, now: int) -> None:
        self._judged = True
        drives = self.config.mode == "auto" and self._guard.verdict.drives
        if drives != self._drives:
            log.info("%s %s", self.label, self._reason())
            self._drove_since = -(-now // HOUR_NS) * HOUR_NS if drives else 0
        self._drives = drives

    def _unseen(self) -> tuple[str, ...]:
        """That the meter is not followed, and what comes of it."""
        if not self._metered:
            return ()
        limits = [name for name in ("import_max_kw", "export_max_kw") if getattr(self.config, name)]
        unheld = f", and {' and '.join(limits)} cannot be held" if limits else ""
        return (f"{self._metered}: all do as planned without it{unheld}",)

    def _reason(self) -> str:
        return "advises, as it is configured" if self.config.mode == "advise" else self._guard.verdict.text

    def _body(self, now: int, planned: Scheduled, states: dict[str, State], lost: Mapping[str, str]) -> dict[str, Any]:
        binding, why = reason(planned)
        verdict, plan, without = self._guard.verdict, planned.plan, planned.without
        dull = [f"{name} {why}" for name, why in sorted(lost.items())]
        dull += [f"{name} does not give back: it is only charged until it leaves" for name in self._driving.takers]
        notes = (*planned.notes, *dull, *self._unseen(), *self._notes)
        kinds = {asset.name: type(asset).__name__.removesuffix("Config").lower() for asset in self.config.assets}
        assets = [
            {
                "name": name, "kind": kinds[name], "thing": config.thing, "power_kw": planned.first(name),
                "now_kw": states[name].power_kw, "level": states[name].level,
                "why": lost[name].rpartition(":")[0] if name in lost else asset_reason(planned, name),
                "powers_kw": np.round(plan.powers.get(name, ()), 3).tolist(),
            }
            for config in self.config.assets
            for name in [config.name]
        ]  # fmt: skip
        knows = self._expecting.knows_carbon
        stored = sum(states[one.name].level or 0.0 for one in self.config.batteries)
        return {
            "controller": self.config.name, "mode": "drives" if self._drives else "advises", "reason": self._reason(),
            "guard": msgspec.to_builtins(verdict) | {"text": verdict.text}, "at": now, "content_kwh": stored,
            "stages": _stages(planned, [one.name for one in self.config.batteries], knows),
            "binding": binding, "why": why, "carbon_signal": self.config.carbon_signal,
            "with_money": plan.money, "without_money": without.money, "with_kg": plan.carbon_kg if knows else None,
            "without_kg": without.carbon_kg if knows else None, "notes": likewise(notes), "method": str(plan.method),
            "breaches": msgspec.to_builtins(plan.breaches), "assets": assets,
        }  # fmt: skip


def _hours(grid: Grid, expected: Expected) -> list[ExpectedHour]:
    """Load less generation of the whole hours to come."""
    nets = [load.copy() for load in expected.load_kw]
    for solar in expected.solar_kw.values():
        for net, made in zip(nets, (solar[2], solar[1], solar[0]), strict=True):  # much sun is little net
            net -= made
    begins = [step for step in range(len(grid.hours) - 3) if grid.edges[step] % HOUR_NS == 0]
    low, middle, high = ([float(net[step : step + 4].mean()) for step in begins] for net in nets)
    return [
        ExpectedHour(int(grid.edges[step]), one, least, most)
        for step, one, least, most in zip(begins, middle, low, high, strict=True)
    ]


def _as_is(config: SchedulerConfig, lost: Collection[str], takers: Collection[str]) -> SchedulerConfig:
    """Without what does not obey; what the sun gives there is as it is. Takers give nothing."""
    cars = [replace(one, discharge_kw=0.0) if one.name in takers else one for one in config.vehicles]
    return replace(
        config,
        batteries=tuple(one for one in config.batteries if one.name not in lost),
        vehicles=tuple(one for one in cars if one.name not in lost),
        heats=tuple(one for one in config.heats if one.name not in lost),
        loads=tuple(one for one in config.loads if one.name not in lost),
        jobs=tuple(one for one in config.jobs if one.name not in lost),
        solars=tuple(replace(one, limit="") if one.name in lost else one for one in config.solars),
    )


def _with(expected: Expected, states: dict[str, State], lost: Collection[str]) -> Expected:
    """What does not obey goes on as it is for a while: a load like any other."""
    kw = sum(states[name].power_kw or 0.0 for name in lost if name not in expected.solar_kw)
    if not kw:
        return expected
    loads = []
    for load in expected.load_kw:
        more = load.copy()
        more[:_FIRST_STEPS] += kw
        loads.append(more)
    low, middle, high = loads
    return msgspec.structs.replace(expected, load_kw=(low, middle, high))


def _stages(planned: Scheduled, batteries: list[str], knows: bool) -> list[dict[str, Any]]:
    """The steps of a plan: what all assets take together, the net of the meter, prices, and what batteries hold.

    The grid's intensity is None unless somebody `knows` it.
    """
    meter = planned.problem.meters[0]
    edges = planned.edges
    assets: tuple[Asset, ...] = planned.problem.assets
    power = sum((planned.plan.powers[one.name] for one in assets), 0.0 * planned.problem.step_h)
    held = sum(
        (planned.plan.content[name] for name in batteries if name in planned.plan.content), 0.0 * planned.problem.step_h
    )
    carbon = 0.0 * planned.problem.step_h if meter.carbon is None else meter.carbon
    return [
        {
            "start": int(edges[step]), "end": int(edges[step + 1]), "low_kw": round(float(power[step]), 3),
            "high_kw": round(float(power[step]), 3), "power_kw": round(float(power[step]), 3),
            "content_kwh": round(float(held[step]), 3), "net_kw": round(float(meter.load_kw[step]), 3),
            "price": float(meter.import_price[step]), "intensity": float(carbon[step]) if knows else None,
            "net_low_kw": float(meter.load_kw[step] - planned.spread_kw[step] / 2),
            "net_high_kw": float(meter.load_kw[step] + planned.spread_kw[step] / 2),
        }
        for step in range(planned.problem.steps)
    ]  # fmt: skip
