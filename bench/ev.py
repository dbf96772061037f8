"""Vehicles: Dutch prices and habits, chargers behind a transformer; what is delivered, at which cost, how fast planned.

A session is known when its car arrives; prices of the next day are known from 13:00 local time. The optimum knows all.
"""

import time
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.harness import Options, Report, Row
from taihu.decide.judge import judge
from taihu.decide.planner import Plan, Planner
from taihu.decide.problem import Group, Kind, Meter, Multiples, Problem, Vehicle
from taihu.decide.rule import by_rule
from taihu.decide.tariff import by_time, fill
from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import NS_PER_S, parse_iso, to_datetime

NAME = "ev"
DATA = Path(__file__).parent / "data"
STEP_S, DAY = 900, 96
HORIZON = 96
KW = 11.0
LEAST_KW = 4.14  # 6 A on three phases
_HOUR_NS = 3_600 * NS_PER_S
_ZONE = ZoneInfo("Europe/Amsterdam")
_AUCTION_HOUR = 13  # local, from which the prices of the next day are known
_RESERVE = 0.8  # of the transformer: what plans keep to where it costs little, for those who have not come yet
_RESERVE_PRICE = 0.2  # of the dearest kWh, for each above it
_WEEKS = ("2019-03-04T00:00:00+01:00", "2022-08-22T00:00:00+02:00", "2024-05-06T00:00:00+02:00")
_TIGHT_WEEKS = ("2024-05-06T00:00:00+02:00", "2023-12-25T00:00:00+01:00")  # the last has prices about nothing


class Session(msgspec.Struct, frozen=True):
    """A car at a charger from one step until before another, and what it wants (kWh)."""

    name: str
    arrives: int
    leaves: int
    kwh: float


class Week(msgspec.Struct, frozen=True):
    """What happens: sessions, prices by step (EUR/kWh) and as published by hour, and the transformer."""

    start_ns: int
    steps: int
    sessions: list[Session]
    price: Numbers
    published: dict[int, float]
    transformer_kw: float


def run(options: Options) -> Report:
    """A week of each year, driven step by step; then one plan for a thousand chargers."""
    report = Report(
        NAME, "Vehicles: sessions by Dutch habits at day-ahead prices, chargers of 11 kW behind a transformer"
    )
    chargers, days = (10, 1) if options.smoke else (60, 5)
    for start in _WEEKS[: 1 if options.smoke else None]:
        report.rows.append(_driven(start, chargers, days, known=True))
        report.rows.append(_driven(start, chargers, days, known=False))
    for start in _TIGHT_WEEKS[: 0 if options.smoke else None]:
        report.rows.append(_driven(start, chargers, days, known=False, share=0.15))
    many = 50 if options.smoke else 1_000
    report.rows.append(_fleet(many, 0.25))
    for share in (0.25, 0.15, 0.1):
        report.rows.append(_fleet(many, share, LEAST_KW))
    report.note(
        "delivered: of the energy that any plan could deliver; what the optimum is short of is left out. Costs are "
        "over the linear program's, which knows all sessions and prices of the whole time and no least power; less "
        "than a quarter of an hour at the least cannot be delivered and is left out; fast: without control, as "
        "fast as possible. highest: the transformer's load over its limit. Planned whenever a car or a price comes."
    )
    report.note(
        "Goal: all energy wherever feasible, at most 5 % above the optimum, never above the transformer, 1 s a plan."
    )
    return report


def week(start: str, chargers: int, days: int, seed: int = 7, *, transformer_share: float = 0.25) -> Week:
    """Sessions of private chargers drawn by a seed. The transformer carries a share of the chargers at once."""
    rng = np.random.default_rng(seed)
    habits, sizes, prices = (_table(name) for name in ("ev_habits", "ev_sizes", "ev_prices"))
    start_ns = parse_iso(start)
    steps = days * DAY + DAY // 2
    starts = start_ns + np.arange(steps) * STEP_S * NS_PER_S
    published = dict(
        zip((prices["start_s"].astype(np.int64) * NS_PER_S).tolist(), prices["eur_per_mwh"] / 1_000, strict=True)
    )
    sessions = []
    for charger in range(chargers):
        free = 0
        for day in range(days):
            local = to_datetime(start_ns + day * 24 * _HOUR_NS).astimezone(_ZONE)
            share = habits["private_weekend" if local.isoweekday() > 5 else "private_week"]
            arrives = day * DAY + int(rng.choice(DAY, p=share / share.sum()))
            stay = max(2, round(float(sizes["private_h"][rng.integers(1, 100)]) * 4))
            kwh = min(float(sizes["private_kwh"][rng.integers(1, 100)]), 0.9 * KW * stay / 4)
            if arrives >= free and arrives + 2 < steps:
                free = min(arrives + stay, steps)
                kwh = min(kwh, 0.9 * KW * (free - arrives) / 4)
                sessions.append(Session(f"c{charger}d{day}", arrives, free, kwh))
    price = by_time(published, _HOUR_NS, starts)
    return Week(start_ns, steps, sessions, price, published, transformer_share * KW * chargers)


def drive(one: Week, *, known: bool) -> tuple[Numbers, dict[str, float]]:
    """Plan and do, step by step: the power of all (kW), and what each session got (kWh)."""
    planner, total = Planner(), np.zeros(one.steps)
    got = {session.name: 0.0 for session in one.sessions}
    plan: Plan | None = None
    made = 0
    prices = one.price
    for step in range(one.steps):
        here = [each for each in one.sessions if each.arrives <= step < each.leaves]
        news = any(each.arrives == step for each in here)
        if not known and step % 4 == 0:
            seen = _as_published(one, step)
            news = news or not np.array_equal(seen[step:], prices[step:])
            prices = seen
        if here and (news or plan is None):
            plan, made = planner.plan(_problem(one, step, here, got, prices), 60.0), step
        for each in here:
            assert plan is not None
            power = min(float(plan.powers[each.name][step - made]), KW, (each.kwh - got[each.name]) * 4)
            got[each.name] += max(power, 0.0) / 4
            total[step] += max(power, 0.0)
    return total, got


def optimum(one: Week) -> Plan:
    """The linear program that knows everything."""
    vehicles = tuple(_vehicle(each, 0, 0.0) for each in one.sessions)
    return Planner().plan(_site(one.price, vehicles, one.transformer_kw), 120.0)


def _driven(start: str, chargers: int, days: int, *, known: bool, share: float = 0.25) -> Row:
    one = week(start, chargers, days, transformer_share=share)
    began = time.process_time()
    total, got = drive(one, known=known)
    cpu = time.process_time() - began
    best = optimum(one)
    short = sum(breach.amount for breach in best.breaches if breach.kind is Kind.DEPARTURE)
    wanted = sum(each.kwh for each in one.sessions)
    cost = float(total @ one.price) / 4
    vehicles = tuple(_vehicle(each, 0, 0.0) for each in one.sessions)
    fast = _site(one.price, vehicles, one.transformer_kw)
    return {
        "case": f"{start[:10]}, {len(one.sessions)} sessions, {share:.0%} at once, "
        f"prices {'known' if known else 'as published'}",
        "delivered %": round(100 * sum(got.values()) / (wanted - short), 2),
        "cost / optimum": round(cost / best.money, 3),
        "fast / optimum": round(judge(fast, by_rule(fast)).money / best.money, 3),
        "highest %": round(100 * float(total.max()) / one.transformer_kw, 1),
        "CPU ms a step": round(1e3 * cpu / one.steps, 1),
    }


def _fleet(chargers: int, share: float, least_kw: float = 0.0) -> Row:
    """One plan, for all who stand there at eight in the evening and the next to come; cost over that without least."""
    one = week(_WEEKS[-1], chargers, 1, transformer_share=share)
    vehicles = [_vehicle(each, 0, 0.0) for each in one.sessions]
    question = _site(
        one.price, tuple(msgspec.structs.replace(each, minimum_kw=least_kw) for each in vehicles), one.transformer_kw
    )
    began, used = time.perf_counter(), time.process_time()
    plan = Planner().plan(question, 1.0 if least_kw else 120.0)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    best = optimum(one) if least_kw else plan
    small = sum(each.kwh for each in one.sessions if each.kwh < least_kw * STEP_S / 3_600)
    short = sum(breach.amount for breach in plan.breaches if breach.kind is Kind.DEPARTURE)
    return {
        "case": f"one plan: {len(one.sessions)} sessions, {one.steps} steps, {share:.0%} at once"
        + (f", from {least_kw:g} kW" if least_kw else "")
        + f", {plan.method}",
        "delivered %": round(100 * (1 - (short - small) / sum(each.kwh for each in one.sessions)), 2),
        "cost / optimum": round(plan.money / best.money, 4),
        "highest %": round(100 * float(plan.net_kw[""].max()) / one.transformer_kw, 1),
        "CPU ms a step": round(1e3 * cpu, 0),
        "wall ms": round(1e3 * wall, 0),
    }


def _problem(one: Week, step: int, here: list[Session], got: dict[str, float], prices: Numbers) -> Problem:
    vehicles = tuple(_vehicle(each, step, got[each.name]) for each in here)
    return _site(prices[step : step + HORIZON], vehicles, one.transformer_kw, _RESERVE * one.transformer_kw)


def _site(price: Numbers, vehicles: tuple[Vehicle, ...], limit_kw: float, reserve_kw: float | None = None) -> Problem:
    """Chargers behind a transformer. The reserve gives way to a price, and the transformer to nothing."""
    steps = len(price)
    meter = Meter(load_kw=np.zeros(steps), import_price=price, export_price=np.zeros(steps), import_max_kw=limit_kw)
    groups: tuple[Group, ...] = ()
    if reserve_kw is not None:
        limits = np.where(np.arange(steps) < 4, limit_kw, reserve_kw)
        groups = (Group(name="reserve", members=("",), import_max_kw=limits),)
    return Problem(
        step_h=np.full(steps, 0.25),
        meters=(meter,),
        assets=vehicles,
        groups=groups,
        multiples=Multiples(group=_RESERVE_PRICE),
    )


def _vehicle(session: Session, step: int, got: float) -> Vehicle:
    leaves = session.leaves - step
    return Vehicle(
        name=session.name, capacity_kwh=session.kwh, content_kwh=got, charge_kw=KW, one_way=1.0,
        arrives=session.arrives - step, leaves=leaves, needs=((leaves, session.kwh),),
    )  # fmt: skip


def _as_published(one: Week, step: int) -> Numbers:
    """Prices as far as they are known at a step; those of days before stand for the rest."""
    starts = one.start_ns + np.arange(one.steps) * STEP_S * NS_PER_S
    local = to_datetime(int(starts[step])).astimezone(_ZONE)
    midnight = int(starts[step]) - (local.hour * 3_600 + local.minute * 60) * NS_PER_S
    until = midnight + (48 if local.hour >= _AUCTION_HOUR else 24) * _HOUR_NS
    known = np.where(starts < until, one.price, np.nan)
    past = {start: price for start, price in one.published.items() if start < until}
    return fill(known, starts, past, _HOUR_NS).prices


def _table(name: str) -> dict[str, NDArray[np.float64]]:
    with duckdb.connect() as connection:
        found = connection.execute("SELECT * FROM read_parquet(?)", [str(DATA / f"{name}.parquet")]).fetchnumpy()
    return {key: np.asarray(values, np.float64) for key, values in found.items()}
