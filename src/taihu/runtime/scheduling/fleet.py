"""Many batteries planned as few: those that are alike as one of their size, whose power is then shared among them.

A plan of a thousand batteries has a thousand times the unknowns of a plan of one, and says the same: batteries of one
kind that take in proportion to their room, and give in proportion to what they hold, become full and empty together.
Up to `FEW` each is planned by itself. Those of a group, which has a limit of its own, are too.
"""

import math
from collections.abc import Mapping

import msgspec
import numpy as np
from msgspec.structs import replace

from taihu.decide.flexible import Grid, State, sight
from taihu.decide.scheduling import Scheduled
from taihu.kernel.arrays import Numbers
from taihu.kernel.flexible import BatteryConfig, SchedulerConfig

FEW = 20
_NOTHING = 1e-9
_ALIKE = 1.5  # between the shares of its capacity that one and another take in an hour

States = Mapping[str, State]


class _Kind(msgspec.Struct, frozen=True):
    """Batteries that are alike, and the one that stands for them."""

    joined: BatteryConfig
    members: tuple[BatteryConfig, ...]


class Fleet:
    """The batteries of a scheduler."""

    def __init__(self, config: SchedulerConfig) -> None:
        grouped = {name for group in config.groups for name in group.members}
        found: dict[tuple[float, ...], list[BatteryConfig]] = {}
        for one in config.batteries if len(config.batteries) > FEW else ():
            if one.name not in grouped:
                hours = round(math.log(one.power_kw / one.capacity_kwh, _ALIKE))
                found.setdefault((one.one_way, one.wear_price, one.low, hours), []).append(one)
        self._kinds = [_Kind(_joined(members), tuple(members)) for members in found.values() if len(members) > 1]
        self._of = {one.name: kind for kind in self._kinds for one in kind.members}

    def whole(self, config: SchedulerConfig, states: States | None = None) -> tuple[SchedulerConfig, dict[str, State]]:
        """The site with all its batteries joined; who does not say what it holds is taken for one of the others."""
        said = dict(states or {})
        for kind in self._kinds:
            known = [(one, level) for one in kind.members if (level := said.get(one.name, State()).level) is not None]
            share = sum(level for _, level in known) / sum(one.capacity_kwh for one, _ in known) if known else 0.0
            said[kind.joined.name] = State(level=share * kind.joined.capacity_kwh if known else None)
        return self._with(config, [kind.joined for kind in self._kinds]), said

    def able(self, config: SchedulerConfig, states: States) -> tuple[SchedulerConfig, dict[str, State]]:
        """The site with those batteries joined that say what they hold; the others are left out of it."""
        said, joined = dict(states), []
        for kind, here in self._here(config):
            known = [one for one in here if states.get(one.name, State()).level is not None]
            if known:
                joined.append(replace(_joined(known), name=kind.joined.name))
                said[kind.joined.name] = State(level=sum(states[one.name].level or 0.0 for one in known))
        return self._with(config, joined), said

    def split(self, planned: Scheduled, config: SchedulerConfig, states: States, grid: Grid) -> Scheduled:
        """The plan with each battery's own part of it."""
        if not self._kinds:
            return planned
        sights, notes = dict(planned.sights), list(planned.notes)
        powers, content = dict(planned.plan.powers), dict(planned.plan.content)
        for kind, here in self._here(config):
            sights.pop(kind.joined.name, None)
            seen = {one.name: sight(one, states.get(one.name, State()), grid, grid.hours) for one in here}
            able = [one for one in here if seen[one.name].asset is not None]
            notes += [one.note for one in seen.values() if one.note]
            sights |= seen
            if able:
                held = np.array([states[one.name].level or 0.0 for one in able])
                parts, holds = _shared(content[kind.joined.name], held, able, grid.hours)
                powers |= zip([one.name for one in able], parts, strict=True)
                content |= zip([one.name for one in able], holds, strict=True)
        plan = replace(planned.plan, powers=powers, content=content)
        return replace(planned, plan=plan, sights=sights, notes=tuple(notes))

    def _here(self, config: SchedulerConfig) -> list[tuple[_Kind, list[BatteryConfig]]]:
        """Of each kind those that a site still has."""
        names = {one.name for one in config.batteries}
        return [(kind, [one for one in kind.members if one.name in names]) for kind in self._kinds]

    def _with(self, config: SchedulerConfig, joined: list[BatteryConfig]) -> SchedulerConfig:
        alone = [one for one in config.batteries if one.name not in self._of]
        return replace(config, batteries=(*alone, *joined)) if self._kinds else config


def _joined(members: list[BatteryConfig]) -> BatteryConfig:
    """One of the size of all of them."""
    return replace(
        members[0], name=f"{len(members)} batteries as {members[0].name}",
        power_kw=sum(one.power_kw for one in members), capacity_kwh=sum(one.capacity_kwh for one in members),
    )  # fmt: skip


def _shared(
    stored_kwh: Numbers, held_kwh: Numbers, members: list[BatteryConfig], hours: Numbers
) -> tuple[list[Numbers], list[Numbers]]:
    """What each takes, step by step, and what it holds after each, so that all hold together what was planned.

    By its room, or by what it holds. What they cannot in a step, because some are full before others, they do next.
    """
    power = np.array([one.power_kw for one in members])
    full = np.array([one.capacity_kwh for one in members])
    least, one_way = members[0].low * full, members[0].one_way
    powers, holds = np.zeros((len(hours), len(members))), np.zeros((len(hours), len(members)))
    for step, (wanted, span) in enumerate(zip(stored_kwh, hours, strict=True)):
        more = float(wanted) - float(held_kwh.sum())
        weight = np.maximum(full - held_kwh if more > 0 else held_kwh - least, 0.0)
        kwh = _fill(abs(more), np.minimum(power * span * (one_way if more > 0 else 1 / one_way), weight), weight)
        held_kwh = held_kwh + (kwh if more > 0 else -kwh)
        powers[step] = (kwh / one_way if more > 0 else 0.0 - kwh * one_way) / span
        holds[step] = held_kwh
    return list(powers.T), list(holds.T)


def _fill(total: float, most: Numbers, weight: Numbers) -> Numbers:
    """A total in proportion to weights, as far as each can (`control.share`, of arrays)."""
    able = (weight > _NOTHING) & (most > _NOTHING)
    taken = np.zeros(len(most))
    if not able.any() or total <= 0:
        return taken
    caps, weights = most[able], weight[able]
    level = caps / weights
    order = np.argsort(level)
    before = np.concatenate([[0.0], np.cumsum(caps[order])[:-1]])  # what those take who are at their limit sooner
    after = np.cumsum(weights[order][::-1])[::-1]
    share = (total - before) / after  # of a weight, were this one the first that is not at its limit
    free = np.flatnonzero(share <= level[order])
    taken[able] = caps if not len(free) else np.minimum(caps, weights * max(0.0, float(share[free[0]])))
    return taken
