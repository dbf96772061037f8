"""The fast layer against what is usual: a meter brought to zero through dead times; and what a turn costs."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from bench.harness import Options, Report, Row
from taihu.control.reflex import Bounds, Kind, Reflex, Unit, corridor
from taihu.kernel.clock import NS_PER_S
from taihu.sim.plant import Plant, Store

NAME = "reflex"
_DEAD = ((0, 0, 0), (0, 1, 0), (1, 1, 0))  # act, late, own: a command shows after 1, 2 and 3 seconds
_NOISE_KW = 0.02
_POWER_KW = 5.0
_ASSETS = 100

Follow = Callable[[int, float, float, Plant], dict[str, float]]


def run(options: Options) -> Report:
    """Each way through the same hours."""
    report = Report(NAME, "Following the meter second by second: kWh that still go through the meter in an hour")
    seconds, hours = (600, 1) if options.smoke else (3_600, 5)
    ways: dict[str, Callable[[], Follow]] = {
        "the plan alone": lambda: _plan_alone,
        "newest readings": lambda: _newest,
        "integral, gain 0.3": _integral,
        "reflex": _reflex,
    }
    for name, make in ways.items():
        report.rows.append(_row(name, make, seconds, hours))
    turn_us = _turn_us(20 if options.smoke else 500)
    report.note(
        "A house with PV under clouds, appliances of 0.5 to 3 kW that come and go, two batteries of 5 kW, a meter each "
        f"second with noise of {1e3 * _NOISE_KW:.0f} W; mean of {hours} hours from seeds. The plan alone "
        "knows the mean of each quarter. Newest readings: what the battery takes less what the meter sees. The "
        "integral adds 0.3 of the meter to what was told. Dead time is from a command to the reading that shows it."
    )
    report.note(f"One turn of {_ASSETS} assets (40 batteries, 40 cars, 20 heat pumps): {turn_us:.0f} us of CPU.")
    return report


def _row(name: str, make: Callable[[], Follow], seconds: int, hours: int) -> Row:
    row: Row = {"way": name}
    for act, late, own in _DEAD:
        through = []
        for seed in range(hours):
            plant = _house(seconds, seed, act, late, own)
            through.append(_play(plant, make(), seconds, seed) * 3_600 / seconds)
        row[f"{1 + act + late} s dead, kWh"] = round(float(np.mean(through)), 3)
    return row


def _house(seconds: int, seed: int, act: int, late: int, own: int) -> Plant:
    random = np.random.default_rng(seed)
    loads = np.full(seconds, 0.3)
    for _ in range(seconds // 120):
        begin, length = random.integers(0, seconds), random.integers(20, 300)
        loads[begin : begin + length] += random.uniform(0.5, 3.0)
    clouds = np.clip(np.cumsum(random.normal(0, 0.05, seconds)) + 0.6, 0.15, 1.0)
    net = loads - 4.0 * clouds
    stores = {name: Store(100.0, _POWER_KW, 50.0) for name in ("a", "b")}
    return Plant(list(map(float, net)), stores, act=act, late=late, own=own)


def _play(plant: Plant, follow: Follow, seconds: int, seed: int) -> float:
    """KWh through the meter, either way."""
    noise = np.random.default_rng(seed + 1_000).normal(0, _NOISE_KW, seconds)
    told: dict[str, float] = {}
    for step in range(seconds):
        plant.step(told)
        battery = sum(plant.says(name) for name in plant.stores)
        told = follow(step, plant.meter() + float(noise[step]), battery, plant)
    return float(np.abs(plant.nets_kw).sum()) / 3_600


def _both(kw: float) -> dict[str, float]:
    half = min(max(kw / 2, -_POWER_KW), _POWER_KW)
    return {"a": half, "b": half}


def _plan_alone(step: int, net_kw: float, battery_kw: float, plant: Plant) -> dict[str, float]:
    quarter = step // 900 * 900
    return _both(-float(np.mean(plant.loads_kw[quarter : quarter + 900])))


def _newest(step: int, net_kw: float, battery_kw: float, plant: Plant) -> dict[str, float]:
    return _both(battery_kw - net_kw)


def _integral() -> Follow:
    told = 0.0

    def follow(step: int, net_kw: float, battery_kw: float, plant: Plant) -> dict[str, float]:
        nonlocal told
        told = min(max(told - 0.3 * net_kw, -2 * _POWER_KW), 2 * _POWER_KW)
        return _both(told)

    return follow


def _reflex() -> Follow:
    reflex = Reflex(Bounds(lag_s=3.0))

    def follow(step: int, net_kw: float, battery_kw: float, plant: Plant) -> dict[str, float]:
        now = (step + 1) * NS_PER_S
        units = [_battery(name, one) for name, one in plant.stores.items()]
        for name in plant.stores:
            reflex.read(now, name, now, plant.says(name))
        wanted = reflex.turn(now, (now, net_kw), units, zero=True)
        for name, kw in wanted.items():
            reflex.tell(now, name, kw)
        return wanted

    return follow


def _battery(name: str, one: Store) -> Unit:
    low, high = corridor((-one.power_kw, one.power_kw), one.held_kwh, (0.0, one.capacity_kwh), one.one_way, 1 / 60)
    return Unit(
        name=name, kind=Kind.BATTERY, planned_kw=0.0, low_kw=low, high_kw=high,
        room_kwh=one.capacity_kwh - one.held_kwh, held_kwh=one.held_kwh,
    )  # fmt: skip


def _turn_us(turns: int) -> float:
    """CPU of a turn with many assets of all kinds, limits and following."""
    kinds = (Kind.BATTERY, Kind.BATTERY, Kind.VEHICLE, Kind.VEHICLE, Kind.HEAT)
    units: Sequence[Unit] = [
        Unit(
            name=f"{place}", kind=kinds[place % 5], planned_kw=1.0, needs=True, high_kw=5.0,
            low_kw=-5.0 if kinds[place % 5] is Kind.BATTERY else 0.0,
        )
        for place in range(_ASSETS)
    ]  # fmt: skip
    reflex = Reflex(Bounds(import_max_kw=150.0, export_max_kw=50.0))
    loads = np.random.default_rng(1).uniform(-100, 200, turns)
    wanted: dict[str, float] = {}
    began = time.process_time()
    for turn in range(turns):
        now = (turn + 1) * NS_PER_S
        for unit in units:
            reflex.read(now, unit.name, now, wanted.get(unit.name, 0.0))
        wanted = reflex.turn(now, (now, float(loads[turn]) + sum(wanted.values())), units, zero=True)
        for name, kw in wanted.items():
            reflex.tell(now, name, kw)
    return 1e6 * (time.process_time() - began) / turns
