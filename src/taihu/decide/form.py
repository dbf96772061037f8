"""Whether a problem is one: numbers for each step, sizes that can be, names that are known. What is not is refused."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from taihu.decide.problem import INF, Asset, Battery, Heat, Job, Load, Meter, Problem, ProblemRefused, Solar, Vehicle
from taihu.decide.problem import series as limits

_SIGNED = frozenset({"content_kwh", "state_c", "end_price", "arrives", "leaves", "release", "earliest", "deadline"})
_SLACK = 1e-9
_MOST = 1e9  # kW, kWh, money: what is above is a wrong unit, and nothing that a solver can tell from rounding


def check(problem: Problem) -> None:
    """Pass a problem of good form.

    Raises:
        ProblemRefused: it says what does not fit.
    """
    if not isinstance(problem.step_h, np.ndarray) or problem.step_h.ndim != 1:
        raise ProblemRefused("step_h is no array.", "Give the hours of each step, such as np.full(96, 0.25).")
    steps = problem.steps
    if not steps or not problem.meters or not bool(((problem.step_h > 0) & (problem.step_h < INF)).all()):
        raise ProblemRefused("A plan needs a meter and steps that last.", "Give both.")
    names = [one.name for one in (*problem.meters, *problem.assets, *problem.groups)]
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ProblemRefused(f"There are two of {twice!r}.", "Meters, assets and groups need their own names.")
    for weights in (problem.objective, problem.multiples):
        _sizes(weights, type(weights).__name__.lower())
    if problem.before_kw is not None and not np.isfinite(problem.before_kw):
        raise ProblemRefused("before_kw is no finite number.", "Leave it out where it is not known.")
    for meter in problem.meters:
        _meter(meter, steps)
    meters = {one.name for one in problem.meters}
    for asset in problem.assets:
        if asset.meter not in meters:
            raise ProblemRefused(f"{asset.name} is behind {asset.meter!r}, which is no meter.", "Name a meter.")
        _asset(asset, steps)
    members = meters | {one.name for one in problem.assets}
    for group in problem.groups:
        limits(group.import_max_kw, steps, f"{group.name}.import_max_kw", limit=True)
        if len(set(group.members)) < len(group.members):
            raise ProblemRefused(f"{group.name} has a member twice.", "Name each once.")
        if unknown := set(group.members) - members:
            raise ProblemRefused(f"{group.name} has no member {sorted(unknown)[0]!r}.", "Name assets or meters.")


def check_futures(problems: Sequence[Problem], weights: Sequence[float]) -> None:
    """Pass futures of one problem and their probabilities.

    Raises:
        ProblemRefused: it says what does not fit.
    """
    if not problems or len(problems) != len(weights) or not all(0 <= one < INF for one in weights) or not sum(weights):
        raise ProblemRefused("Futures need a probability each.", "Give as many weights, from 0 on.")
    for problem in problems:
        check(problem)
    for part in ("meters", "assets", "groups"):
        kinds = [[(type(one), one.name) for one in getattr(problem, part)] for problem in problems]
        if any(one != kinds[0] for one in kinds) or len({problem.steps for problem in problems}) > 1:
            raise ProblemRefused(f"Futures of one problem have other {part}.", "Let only numbers differ.")


def _meter(meter: Meter, steps: int) -> None:
    name = meter.name or "meter"
    _sizes(meter, name)
    for part in ("load_kw", "import_price", "export_price"):
        _each(getattr(meter, part), steps, f"{name}.{part}")
    for part in ("carbon", "displaced"):
        if getattr(meter, part) is not None:
            _each(getattr(meter, part), steps, f"{name}.{part}")
    for part in ("import_max_kw", "export_max_kw"):
        limits(getattr(meter, part), steps, f"{name}.{part}", limit=True)


def _asset(asset: Asset, steps: int) -> None:
    _sizes(asset, asset.name)
    match asset:
        case Battery() | Vehicle():
            if not (asset.capacity_kwh > 0 and 0 < asset.one_way <= 1):
                raise ProblemRefused(f"{asset.name} needs a capacity, and an efficiency up to 1.", "Correct it.")
            if isinstance(asset, Battery):
                _taper(asset)
                _curve(asset)
            elif not all(isinstance(step, int) and abs(kwh) <= _MOST for step, kwh in asset.needs):
                raise ProblemRefused(f"{asset.name}.needs are no steps with kWh.", "Give (step, kWh) of each.")
            elif asset.leaves < asset.arrives:
                said = f"{asset.name} leaves (step {asset.leaves}) before it arrives (step {asset.arrives})."
                raise ProblemRefused(said, "Correct the one that is wrong.")
            else:
                _least(asset.name, asset.minimum_kw, asset.charge_kw)
        case Heat():
            for name in ("cop", "outside_c", "gain_kw", "low_c", "high_c"):
                _within(limits(getattr(asset, name), steps, f"{asset.name}.{name}"), f"{asset.name}.{name}")
            _least(asset.name, asset.minimum_kw, asset.power_kw)
            if not asset.capacity_kwh_per_k > 0:
                raise ProblemRefused(f"{asset.name} needs a thermal capacity.", "Correct it.")
        case Solar():
            _each(asset.power_kw, steps, f"{asset.name}.power_kw")
            if (below := np.flatnonzero(asset.power_kw < 0)).size:
                said = f"{asset.name}.power_kw is negative in step {below[0]}."
                raise ProblemRefused(said, "What a plant takes itself is load of the meter.")
        case Load():
            _load(asset)
        case Job():
            _least(asset.name, asset.minimum_kw, asset.power_kw)
            if len({place for place, _, _ in asset.places}) < len(asset.places):
                raise ProblemRefused(f"{asset.name} has a place twice.", "Name each place once.")
            for place, price, carbon in asset.places:
                _each(price, steps, f"the price of {asset.name}@{place}")
                _each(carbon, steps, f"the intensity of {asset.name}@{place}")


def _load(load: Load) -> None:
    profile = load.profile_kw
    if load.steps < 1 or len(profile) not in (1, load.steps):
        raise ProblemRefused(f"{load.name} needs a power for each of its steps.", "Give one for all, or one for each.")
    if not all(0 <= kw < INF for kw in profile):
        raise ProblemRefused(f"{load.name} has a power that is none.", "Give kW from 0 on.")
    if load.breaks and len(set(profile)) > 1:
        raise ProblemRefused(f"{load.name} has breaks and a profile.", "Give one power, or let it run in one go.")


def _taper(battery: Battery) -> None:
    falls = [(less - share) / (other - one) for (one, share), (other, less) in pairwise(battery.taper) if other > one]
    right = not battery.taper or (
        len(battery.taper) > 1
        and len(falls) == len(battery.taper) - 1
        and all(np.isfinite(battery.taper).ravel())
        and all(fall <= 0 for fall in falls)
        and all(later <= before + _SLACK for before, later in pairwise(falls))
    )
    if not right:
        remedy = "Give states of charge that rise, with shares that fall, each step at least as steeply as the last."
        raise ProblemRefused(f"{battery.name}.taper is none.", remedy)


def _curve(battery: Battery) -> None:
    rises = all(other > one for (one, _), (other, _) in pairwise(battery.curve))
    if not rises or not all(0 < way <= 1 and 0 <= share < INF for share, way in battery.curve):
        remedy = "Give shares of the power that rise, each with an efficiency up to 1."
        raise ProblemRefused(f"{battery.name}.curve is none.", remedy)


def _sizes(part: msgspec.Struct, owner: str) -> None:
    """Pass the single numbers of a part: finite, and where they are sizes not negative."""
    for name in part.__struct_fields__:
        value = getattr(part, name)
        if not isinstance(value, int | float) or isinstance(value, bool) or name.endswith("max_kw"):
            continue
        if not np.isfinite(value) and not (name == "high_kwh" and value == INF):
            raise ProblemRefused(f"{owner}.{name} is no finite number.", "Measure it, or leave it out.")
        if value < 0 and name not in _SIGNED:
            raise ProblemRefused(f"{owner}.{name} is negative.", "It is a size.")
        if np.isfinite(value):
            _within(np.array([value]), f"{owner}.{name}")


def _least(name: str, least_kw: float, most_kw: float) -> None:
    if least_kw > most_kw:
        said = f"{name}.minimum_kw ({least_kw:g}) is above its power ({most_kw:g} kW): it could never run."
        raise ProblemRefused(said, "Correct the one that is wrong.")


def _within(values: np.ndarray, name: str) -> None:
    if (absurd := np.flatnonzero(np.abs(values) > _MOST)).size:
        said = f"{name} is {values[absurd[0]]:g}{f' in step {absurd[0]}' if len(values) > 1 else ''}."
        raise ProblemRefused(said, f"Nothing is above {_MOST:g}: look at its unit, or forecast it anew.")


def _each(values: Any, steps: int, name: str) -> None:
    """Pass an array with a finite number for each step."""
    if not isinstance(values, np.ndarray):
        raise ProblemRefused(f"{name} is no array.", f"Give one with a number for each of {steps} steps.")
    if values.shape != (steps,):
        said = f"{name} needs a number for each of {steps} steps, and has {len(np.ravel(values))}."
        raise ProblemRefused(said, "Give one for each.")
    if (holes := np.flatnonzero(~np.isfinite(values))).size:
        said = f"{name} needs a number for each of {steps} steps: step {holes[0]} has none."
        raise ProblemRefused(said, "Fill what is missing first.")
    _within(values, name)
