"""One controller at work: it learns hours as they end, plans every few minutes, and follows the meter in between.

It is a client of the node: what it sees, and what it commands, goes through the public API, under a standing permit.
"""

import logging

import msgspec
import numpy as np

from taihu.carbon.driven import Driven
from taihu.control.obedience import Obedience
from taihu.control.reflex import setpoint
from taihu.control.residual import Residual, Trace
from taihu.control.steady import SAME_KW
from taihu.decide.controller import Controller, Decision, Foreseen, Seen, Setup, Stage
from taihu.decide.guard import DAYS
from taihu.decide.problem import Battery, Objective
from taihu.insight.day import HORIZON
from taihu.kernel.clock import DAY_NS, HOUR_NS, MINUTE_NS, NS_PER_S, Clock, format_iso
from taihu.kernel.errors import TaihuError
from taihu.kernel.sections import ControllerConfig
from taihu.runtime.forecast.foretold import foretold
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.crew import Steering
from taihu.runtime.pilot.decisions import Decisions, ExpectedHour
from taihu.runtime.pilot.hand import WITHDRAWN_NS, Hand, renew, withdrawn
from taihu.runtime.pilot.held import Written
from taihu.runtime.pilot.meanwhile import meanwhile
from taihu.runtime.pilot.units import currency_of

log = logging.getLogger("taihu.pilot")

_SETTLE_NS = MINUTE_NS
_SHOWN_NS = 26 * HOUR_NS  # of which it is kept what was expected in the replay
_HISTORY_NS = (DAYS + 2) * DAY_NS
_TOGETHER = 24  # hours of stored days that are replayed at once
_EVERY_NS = {"5m": 300, "10m": 600, "15m": 900, "30m": 1_800}
_SETTLE_S = 10.0  # in which a battery comes to its setpoint ...
_DELAY_S = 2.0  # ... of the machine's time: in which a command and a reading are on their way
_LASTING_S = 10.0  # of the machine's time: for which a battery is off before it is said not to obey
_LAG_S, _LAG_REAL_S = 3.0, 0.5  # in which a setpoint shows at the meter: the site's time, and the machine's
_TOLERANCE = 0.05  # of the battery's power: how far it may be from what it is told
_FORGIVE_NS = HOUR_NS


class Loop(Steering):
    """A controller of one project, with its own knowledge."""

    config: ControllerConfig

    def __init__(
        self, project: str, zone: str, config: ControllerConfig, api: NodeApi, store: Decisions, clock: Clock
    ) -> None:
        self.project, self.config = project, config
        self._api, self._store, self._clock = api, store, clock
        flat = ((0.0, config.one_way), (1.0, config.one_way))
        battery = Battery(
            name=config.battery, capacity_kwh=config.capacity_kwh, content_kwh=0.0, charge_kw=config.power_kw,
            discharge_kw=config.power_kw, one_way=config.one_way, curve=flat, low_kwh=config.low * config.capacity_kwh,
        )  # fmt: skip
        objective = Objective(cost=config.cost_weight, carbon=config.carbon_weight)
        self._controller = Controller(
            Setup(
                battery=battery, objective=objective, export_price=config.export_price, zone=zone,
                by_margin=config.carbon_signal == "marginal",
            )
        )  # fmt: skip
        settle_ns = int(max(_SETTLE_S, _DELAY_S * clock.speed) * NS_PER_S)
        lasting_ns = int(_LASTING_S * clock.speed * NS_PER_S)
        self._obedience = Obedience(_TOLERANCE * config.power_kw + SAME_KW, settle_ns, lasting_ns=lasting_ns)
        self._trace = Trace(int(max(_LAG_S, _LAG_REAL_S * clock.speed) * NS_PER_S))
        self._residual = Residual()
        self._metered, self._load_kw = 0, 0.0
        self._decision: Decision | None = None
        self._planned_at = self._disobeyed_at = self._withdrawn_until = 0
        corridor = (-config.power_kw, config.power_kw)
        self._hand = Hand(api, project, config.battery, config.setpoint, *corridor, 0.0, store.permits)
        self._driving = self._replayed = False
        self._drove_since = 0
        self._blind = False

    @property
    def writes(self) -> frozenset[Written]:
        """What it may write."""
        return frozenset({self._hand.what})

    @property
    def waits(self) -> str:
        """Why it plans nothing new now; empty when it does, and until it has replayed its stored days."""
        config = self.config
        if not self._replayed:
            return ""
        if not self._controller.learned_until:
            named = (config.load, config.generation, config.price, config.signal)
            return f"of {', '.join(one for one in named if one)} no hour is known whole yet"
        return f"{config.battery} does not say its {config.charge}" if self._decision is None else ""

    async def turn(self, now: int) -> None:
        """What is due now: learn, plan, and follow the meter, also while the others take their time."""
        try:
            if now >= self._learns_at or now >= self._plans_at:
                await meanwhile(self._think(now), self.reflex_s / self._clock.speed, self._follow)
        except TaihuError:  # the history is away: the plan holds for its day
            await self._follow()
            raise
        await self._follow()

    @property
    def _learns_at(self) -> int:
        return self._controller.learned_until + HOUR_NS + _SETTLE_NS

    @property
    def _plans_at(self) -> int:
        return self._planned_at + _EVERY_NS[self.config.every] * NS_PER_S

    async def _think(self, now: int) -> None:
        if not self._controller.learned_until:
            async with self._api.learning:
                await self.learn(self._clock.now_ns())
            self._replayed = True
            now = self._clock.now_ns()  # it took a while
        if now >= self._learns_at:
            await self.learn(now)
        if now >= self._plans_at:
            await self._plan(now)

    async def close(self, *, leave: bool = False) -> None:
        """Those who `leave` let the battery rest, and give their permit back."""
        if leave:
            await self._leave(self._clock.now_ns())

    async def learn(self, now: int) -> None:
        """Take over the hours that have ended since the last time."""
        config, end = self.config, (now - _SETTLE_NS) // HOUR_NS * HOUR_NS
        start = max(self._controller.learned_until, end - _HISTORY_NS)
        if start >= end:
            return
        columns = {}
        for name in ("load", "generation", "price", "intensity", "marginal", "energy", "shadow"):
            path = getattr(config, name)
            columns[name] = await self._api.hours(self.project, path, start, end) if path else {}
        known, signal = [], columns["marginal" if config.carbon_signal == "marginal" else "intensity"]
        for hour in range(start, end, HOUR_NS):
            load, intensity = columns["load"].get(hour), signal.get(hour)
            made = columns["generation"].get(hour) if config.generation else 0.0
            price = columns["price"].get(hour) if config.price else 0.0
            if not (load is None or intensity is None or made is None or price is None):
                known.append(Seen(hour, load, made, price, intensity))
        for first in range(0, len(known), _TOGETHER):
            hours = known[first : first + _TOGETHER]
            for seen, stage in zip(hours, self._controller.learn(hours), strict=True):
                hour, net = seen.start, seen.load_kwh - seen.generation_kwh
                self._store.came(self.project, config.name, hour, net)
                if hour >= end - _SHOWN_NS:
                    self._store.expect(self.project, config.name, [_expected(stage)])
                average, energy, shadow = (columns[name].get(hour) for name in ("intensity", "energy", "shadow"))
                self._account(hour, net, average, energy, shadow)
            await self._api.breathe()

    def _account(
        self, hour: int, net: float, average: float | None, energy: float | None, shadow: float | None
    ) -> None:
        """What an hour that it drove came to, against the shadow, or else against load less generation."""
        if not self._drove_since or hour < self._drove_since or energy is None:
            return
        config = self.config
        other = config.shadow if shadow is not None else " less ".join(filter(None, (config.load, config.generation)))
        driven = Driven(hour, energy, net if shadow is None else shadow, shadow is None, f"{config.energy}, {other}")
        self._store.account(self.project, config.name, driven, average)

    async def _plan(self, now: int) -> None:
        charge = await self._value(self.config.battery, self.config.charge)
        if charge is None:
            return
        self._controller.foresee(await self._foreseen(now))
        decision = self._controller.decide(now, charge / 100 * self.config.capacity_kwh)
        if decision is None:
            return
        self._planned_at, self._decision = now, decision
        hours = [_expected(one) for one in decision.stages if one.start % HOUR_NS == 0]
        self._store.expect(self.project, self.config.name, hours)
        self._judge(now)
        verdict = self._controller.verdict
        body = {
            "controller": self.config.name,
            "mode": "drives" if self._driving else "advises",
            "reason": self._reason(),
            "carbon_signal": self.config.carbon_signal,
            "guard": msgspec.to_builtins(verdict) | {"text": verdict.text},
            "currency": await currency_of(self._api, self.project, self.config),
            **msgspec.to_builtins(decision),
        }
        self._store.add(self.project, self.config.name, now, body)

    async def _foreseen(self, now: int) -> Foreseen:
        """What the node's forecasts say of the coming hours."""
        config, start = self.config, now // HOUR_NS * HOUR_NS
        edges = start + HOUR_NS * np.arange(HORIZON + 1, dtype=np.int64)
        load = await foretold(self._api, self.project, config.load, edges)
        if not config.generation or not load.known:
            return Foreseen(start, load.middle, load.spread, load.how)
        made = await foretold(self._api, self.project, config.generation, edges)
        spread = np.hypot(load.spread, made.spread)
        how = f"{load.how}; {made.how}" if made.known else made.how
        return Foreseen(start, load.middle - made.middle, spread, how)

    def _judge(self, now: int) -> None:
        """Whether it drives from now on; a change is logged once."""
        if not self._obedience.obeys and now - self._disobeyed_at > _FORGIVE_NS:
            self._obedience.forgive()
        may = self._obedience.obeys and not self._withdrawn_until
        drives = self.config.mode == "auto" and self._controller.verdict.drives and may
        if drives != self._driving:
            log.info("%s %s", self.label, self._reason())
            self._drove_since = -(-now // HOUR_NS) * HOUR_NS if drives else 0
        self._driving = drives

    def _reason(self) -> str:
        if self.config.mode == "advise":
            return "advises, as it is configured"
        if self._withdrawn_until:
            again = f"another is asked for at {format_iso(self._withdrawn_until)}"
            return f"advises: somebody withdrew the standing permit of {self.config.battery}; {again}"
        if not self._obedience.obeys:
            return f"advises: {self.config.battery} does not do what it is told; it is tried again after an hour"
        return self._controller.verdict.text

    async def _follow(self) -> None:
        """The reflex: from what the meter sees now, what the battery shall do."""
        if self._decision is None:
            return
        now = self._clock.now_ns()
        await self._look_at_permit(now)
        stage = self._stage(now)
        meter, _, name = self.config.net.rpartition("/")
        net = await self._api.reading(self.project, meter, name)
        reading = await self._api.reading(self.project, self.config.battery, self.config.power)
        charge = await self._value(self.config.battery, self.config.charge)
        blind = net is None or reading is None or charge is None or stage is None
        if blind != self._blind:
            self._blind = blind
            say = "cannot see its meter or battery, and waits" if blind else "sees its meter and battery again"
            log.warning("%s %s", self.label, say)
        if not self._driving:
            if self._obedience.obeys:  # who does not is told nothing more
                await self._leave(now)
            return
        if net is None or reading is None or charge is None or stage is None:
            if self._hand.holds and await self._hand.write(now, 0.0, f"{self.config.name}: it sees nothing"):
                self._note(now, 0.0)
            return
        observed, power = reading
        self._obedience.see(now, observed, power, charge / 100)
        self._trace.read(now, observed, power)
        if net[0] != self._metered:
            self._metered = net[0]
            self._load_kw = self._residual.see(net[1], *self._trace.between(now))
        if not self._obedience.obeys:
            self._disobeyed_at = now
            self._judge(now)
            return
        wanted = setpoint(self._load_kw, stage.low_kw, stage.high_kw)
        why = f"{stage.low_kw:.2f} to {stage.high_kw:.2f} kW, plan of {format_iso(self._planned_at)}"
        if await self._hand.write(now, wanted, f"{self.config.name}: {why}"):
            self._note(now, wanted)
        await renew(self._api, self.project, now, [self._hand])

    async def _look_at_permit(self, now: int) -> None:
        """A permit that somebody withdrew is asked for anew after a while; until then it advises, as plans say."""
        if await withdrawn(self._api, self.project, [self._hand]):
            self._withdrawn_until = now + WITHDRAWN_NS
            self._note(now, 0.0)
            self._judge(now)
            self._planned_at = 0
        elif self._withdrawn_until and not 0 < self._withdrawn_until - now <= WITHDRAWN_NS:
            self._withdrawn_until = self._planned_at = 0

    async def _leave(self, now: int) -> None:
        """A battery that was driven rests when it is no longer."""
        if self._hand.holds:
            await self._hand.leave(now, f"{self.config.name}: it no longer drives")
            self._note(now, 0.0)

    def _note(self, now: int, told_kw: float) -> None:
        self._obedience.tell(now, told_kw)
        self._trace.tell(now, told_kw)

    def _stage(self, now: int) -> Stage | None:
        """The step of the plan that now is in; a plan holds for its whole day, should no newer one come."""
        assert self._decision is not None
        return next((one for one in self._decision.stages if now < one.end), None)  # the clock may be set back

    async def _value(self, thing: str, name: str) -> float | None:
        return await self._api.value(self.project, thing, name)


def _expected(stage: Stage) -> ExpectedHour:
    """What a whole hour is expected to be without the battery."""
    return ExpectedHour(stage.start, stage.net_kw, stage.net_low_kw, stage.net_high_kw)
