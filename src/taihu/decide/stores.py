"""What stores: batteries, vehicles and heat, as columns and rows of a model."""

from itertools import pairwise

import numpy as np

from taihu.decide.frame import Frame
from taihu.decide.problem import Battery, Heat, Taper, Vehicle, series
from taihu.decide.sheet import CONTINUOUS, INTEGER, SEMICONTINUOUS, Index
from taihu.kernel.arrays import Numbers

_NOTHING_KW = 1e-6
_END_SHARE = 0.6  # of the mean price: what a kWh left at a plan's end is worth where nobody says


def write_battery(frame: Frame, battery: Battery) -> None:
    """A store that is always there, with a band it shall keep and a worth at the end."""
    steps = np.arange(frame.problem.steps, dtype=np.int32)
    content = _store(frame, battery, steps, battery.band)
    price = end_price(battery, frame.prices[battery.meter])
    worth = frame.sheet.columns(1, -np.inf, np.inf, -price * frame.scale)
    row = frame.sheet.rows(1, 0.0, 0.0)
    frame.sheet.put(row, worth, -1.0)
    for columns, sign in content:
        frame.sheet.put(row, columns[-1:], sign)
    frame.contents[battery.name] = content


def write_taper(frame: Frame, battery: Battery) -> None:
    """A battery that charges no faster than one so full takes."""
    count, content = frame.problem.steps, frame.contents[battery.name]
    charge = frame.parts[battery.name][0][1]
    for share, fall in taper_lines(battery.taper):
        slope = battery.charge_kw * fall / battery.capacity_kwh
        top = np.full(count, battery.charge_kw * share)
        top[0] = max(0.0, top[0] + slope * battery.held_kwh)
        caps = frame.sheet.rows(count, -np.inf, top)
        frame.sheet.put(caps, charge, 1.0)
        for columns, sign in content:
            frame.sheet.put(caps[1:], columns[:-1], -sign * slope)
        if share + fall < 0:  # a full battery takes nothing, which is more than the line says
            rests = frame.sheet.columns(count, 0.0, 1.0, 0.0, INTEGER)
            frame.hold(rests, lambda powers: powers[battery.name] <= _NOTHING_KW)
            frame.sheet.put(caps, rests, battery.charge_kw * (share + fall))
            either = frame.sheet.rows(count, -np.inf, battery.charge_kw)
            frame.sheet.put(either, charge, 1.0)
            frame.sheet.put(either, rests, battery.charge_kw)


def end_price(battery: Battery, prices: Numbers) -> float:
    """What a kWh that is left in a battery is worth: as it says, else by the prices of its meter."""
    if battery.end_price is not None:
        return battery.end_price
    return max(0.0, _END_SHARE * float(prices.mean()) * battery.one_way)


def write_vehicle(frame: Frame, vehicle: Vehicle) -> None:
    """A store that comes and goes. Without V2G its content needs no columns: what it needs are sums."""
    steps = np.arange(max(0, vehicle.arrives), min(vehicle.leaves, frame.problem.steps), dtype=np.int32)
    if not len(steps):
        return
    if vehicle.discharge_kw > 0:
        content = _store(frame, vehicle, steps, (0.0, vehicle.capacity_kwh))
        for step, need in vehicle.due(frame.hours):
            row = frame.sheet.rows(1, need, np.inf)
            for columns, sign in content:
                frame.sheet.put(row, columns[step - int(steps[0]) - 1], sign)
            frame.sheet.put(row, _short(frame), 1.0)
        return
    power = power_columns(frame, steps, vehicle.charge_kw, vehicle.minimum_kw, vehicle.wear_price)
    frame.power(vehicle, steps, power)
    held = vehicle.held_kwh
    moved = vehicle.one_way * frame.hours[steps]
    frame.sheet.put(frame.sheet.rows(1, -np.inf, vehicle.capacity_kwh - held), power, moved)
    for step, need in vehicle.due(frame.hours):
        if need > held:
            row = frame.sheet.rows(1, need - held, np.inf)
            frame.sheet.put(row, power[steps < step], moved[steps < step])
            frame.sheet.put(row, _short(frame), 1.0)


def write_heat(frame: Frame, heat: Heat) -> None:
    """A thermal mass; its state moves exactly as it does under a constant power over each step."""
    count = frame.problem.steps
    steps = np.arange(count, dtype=np.int32)
    power = power_columns(frame, steps, heat.power_kw, heat.minimum_kw)
    frame.power(heat, steps, power)
    keep, warm, drift = heat_steps(heat, frame.hours)
    low, high = series(heat.low_c, count, "low_c"), series(heat.high_c, count, "high_c")
    state = frame.sheet.columns(count, np.minimum(low, high), high, 0.0)
    price = heat.comfort_price * frame.scale * frame.hours
    cold, hot = (frame.sheet.columns(count, 0.0, np.inf, price) for _ in range(2))
    begin = drift.copy()
    begin[0] += keep[0] * heat.state_c
    rows = frame.sheet.rows(count, begin, begin)
    for columns, sign in ((state, 1.0), (hot, 1.0), (cold, -1.0)):
        frame.sheet.put(rows, columns, sign)
        frame.sheet.put(rows[1:], columns[:-1], -sign * keep[1:])
    frame.sheet.put(rows, power, -warm)


def heat_steps(heat: Heat, hours: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Of each step: the share of the state that stays, K for each kW of power, and K that come by themselves."""
    count = len(hours)
    cop, outside = series(heat.cop, count, "cop"), series(heat.outside_c, count, "outside_c")
    gain = series(heat.gain_kw, count, "gain_kw")
    rate = heat.loss_kw_per_k * hours / heat.capacity_kwh_per_k
    keep = np.exp(-rate)
    each = hours / heat.capacity_kwh_per_k * np.where(rate > 1e-9, -np.expm1(-rate) / np.maximum(rate, 1e-9), 1.0)
    return keep, each * cop, each * (gain + heat.loss_kw_per_k * outside)


def power_columns(frame: Frame, steps: Index, most_kw: float, least_kw: float, wear: float = 0.0) -> Index:
    """Power from nothing, or from `least_kw`, to `most_kw`."""
    kind = SEMICONTINUOUS if 0 < least_kw <= most_kw else CONTINUOUS
    cost = frame.tie(steps) + wear * frame.hours[steps] * frame.scale
    return frame.sheet.columns(len(steps), least_kw if kind else 0.0, most_kw, cost, kind)


def taper_lines(taper: Taper) -> list[tuple[float, float]]:
    """The lines (share at empty, fall per state of charge) that a concave, falling taper is the least of.

    >>> taper_lines(((0.8, 1.0), (1.0, 0.2)))
    [(4.2, -4.0)]
    """
    lines = []
    for (one, share), (other, less) in pairwise(taper):
        fall = (less - share) / (other - one)
        lines.append((round(share - fall * one, 9), round(fall, 9)))
    return lines


def _store(
    frame: Frame, store: Battery | Vehicle, steps: Index, band: tuple[float, float]
) -> list[tuple[Index, float]]:
    """Columns that together are its content at the end of each step; its band is soft, empty and full are not."""
    sheet, count, hours = frame.sheet, len(steps), frame.hours[steps]
    low, high = band
    least = store.minimum_kw if isinstance(store, Vehicle) else 0.0
    charge = power_columns(frame, steps, store.charge_kw, least, store.wear_price)
    discharge = power_columns(frame, steps, store.discharge_kw, 0.0, store.wear_price)
    frame.power(store, steps, charge)
    frame.power(store, steps, discharge, -1.0)
    content = [(sheet.columns(count, low, high, 0.0), 1.0)]
    for sign, most in ((-1.0, low), (1.0, store.capacity_kwh - high)):
        if most > 0:
            content.append((frame.breach(count, frame.multiples.charge, hours, most=most), sign))
    start = np.where(np.arange(count) == 0, store.held_kwh, 0.0)
    rows = sheet.rows(count, start, start)
    for columns, sign in content:
        sheet.put(rows, columns, sign)
        sheet.put(rows[1:], columns[:-1], -sign)
    sheet.put(rows, charge, -store.one_way * hours)
    sheet.put(rows, discharge, hours / store.one_way)
    if store.name in frame.exact.one_way:
        takes = sheet.columns(count, 0.0, 1.0, 0.0, INTEGER)
        either = sheet.rows(count, -np.inf, 0.0)
        sheet.put(either, charge, 1.0)
        sheet.put(either, takes, -store.charge_kw)
        either = sheet.rows(count, -np.inf, store.discharge_kw)
        sheet.put(either, discharge, 1.0)
        sheet.put(either, takes, store.discharge_kw)
        frame.hold(takes, lambda powers: powers[store.name][steps] > 0)
    return content


def _short(frame: Frame) -> Index:
    return frame.breach(1, frame.multiples.departure)
