"""A scheduler against a node in memory: it drives each kind of load as planned, and degrades as is stated."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from tests.runtime.yard import EVENING, YardNode

from taihu.decide.scheduling import schedule
from taihu.kernel.clock import HOUR_NS, NS_PER_S, to_datetime
from taihu.kernel.flexible import (
    BandConfig,
    BatteryConfig,
    GroupConfig,
    HeatConfig,
    JobConfig,
    LoadConfig,
    SchedulerConfig,
    SolarConfig,
    TariffConfig,
    VehicleConfig,
)
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.decisions import Decisions
from taihu.runtime.scheduling.scheduler import Scheduler

pytest.importorskip("highspy", reason="the extra `plan` is not installed")

NIGHT = TariffConfig(
    bands=(BandConfig(start="22:00", end="08:00", price=0.1), BandConfig(start="08:00", end="22:00", price=0.5))
)
BATTERY = BatteryConfig(name="battery", thing="battery", capacity_kwh=10, power_kw=5)
CAR = VehicleConfig(name="car", thing="charger", departure="departure", capacity_kwh=60, power_kw=11, target=0.5)
TANK = HeatConfig(
    name="tank", thing="heatpump", capacity_kwh_per_k=0.35, loss_kw_per_k=0.02, power_kw=3, cop=3, low_c=45, high_c=60
)
JOB = JobConfig(name="batch", thing="server", power_kw=1)
WASHER = LoadConfig(
    name="washer", thing="washer", start="start", power_kw=2, minutes=60, earliest="20:00", latest="07:00"
)
PV = SolarConfig(name="pv", thing="pv", limit="limit", energy="power", power_kw=8)
CONFIG = SchedulerConfig(
    name="flexible",
    net="meter/power",
    base="meter/base",
    buys=NIGHT,
    sells=TariffConfig(price=0.02),
    every="30m",
    reflex_s=300,
)


def with_(**more: Any) -> SchedulerConfig:
    return msgspec.structs.replace(CONFIG, **more)


class Played:
    """What came of some time of a scheduler."""

    def __init__(self, node: YardNode, bodies: list[dict[str, Any]], nets: list[float], waits: list[str]) -> None:
        self.node, self.bodies, self.nets = node, bodies, nets
        self.waits = waits

    @property
    def last(self) -> dict[str, Any]:
        return self.bodies[0]

    @property
    def notes(self) -> str:
        return "; ".join(note for body in self.bodies for note in body["notes"])

    def told(self, thing: str) -> list[dict[str, Any]]:
        return [one for one in self.node.commands if one["thing"] == thing]


def play(
    folder: Path,
    config: SchedulerConfig,
    hours: float,
    node: YardNode | None = None,
    *,
    days: float = 1.0,
    at: Any = None,
) -> Played:
    """So many hours of a scheduler whose twins saved `days` on each of 14 days; `at(node, hour)` happens meanwhile."""
    node = node or YardNode()

    async def run() -> Played:
        store = node.store = Decisions(folder / "decisions.sqlite")
        for day in range(1, 15):
            date = to_datetime(node.clock.now_ns() - day * 24 * HOUR_NS).date().isoformat()
            store.add_day("home", config.name, date, days)
        api = NodeApi("http://node", {"home": "token"}, httpx.MockTransport(node.handle))
        loop = Scheduler("home", "UTC", config, api, store, node.clock, folder)
        nets, waits = [], []
        for turn in range(round(hours * 12)):
            if at is not None:
                at(node, turn / 12)
            await loop.turn(node.clock.now_ns())
            waits.append(loop.waits)
            api._values.clear()  # time of the node goes on, that of the machine hardly does
            api._permitted.clear()
            node.step(300)
            nets.append(node.yard.power("meter"))
        await loop.close()
        await api.close()
        bodies = store.last("home", config.name, 1_000)
        store.close()
        return Played(node, bodies, nets, waits)

    return asyncio.run(run())


def test_a_night_of_a_car_a_tank_and_work(tmp_path: Path) -> None:
    """What can wait takes the cheap hours, everything is done in time, and limits hold."""
    config = with_(
        vehicles=(CAR,), heats=(TANK,), jobs=(JOB,), import_max_kw=9.0,
        groups=(GroupConfig(name="cellar", members=("car", "tank"), import_max_kw=7.0),),
    )  # fmt: skip
    played = play(tmp_path, config, 10.8)
    yard = played.node.yard
    assert yard.car_kwh == pytest.approx(30.0, abs=0.3)
    assert yard.job_kwh < 0.05
    assert 44.5 < yard.tank_c < 60.5
    assert max(played.nets) <= 9.01
    dear = [one for one in played.told("charger") if one["at"] < EVENING + 115 * 60 * NS_PER_S and one["input"] > 0]
    assert dear == []
    assert {one["things"] for one in played.node.permits} == {"charger", "heatpump", "server"}
    assert all(one["standing"] for one in played.node.commands)
    assert (played.last["mode"], played.last["method"]) == ("drives", "solver")
    assert played.last["with_money"] <= played.last["without_money"] + 1e-6
    assert played.last["with_kg"] is None, "nobody said what a kWh emits"


def test_a_battery_follows_the_meter_and_stores_for_the_dear_hours(tmp_path: Path) -> None:
    node = YardNode()
    node.yard.battery_kwh = 9.0
    played = play(tmp_path, with_(batteries=(BATTERY,)), 1.5, node)
    assert max(abs(net) for net in played.nets[2:]) < 0.05
    assert played.last["assets"][0]["kind"] == "battery"


def test_a_load_is_started_once_in_the_cheap_hours_and_remembered(tmp_path: Path) -> None:
    played = play(tmp_path, with_(loads=(WASHER,)), 4.0)
    (started,) = played.told("washer")
    assert started["action"] == "start"
    assert started["at"] >= EVENING + 118 * 60 * NS_PER_S
    assert played.node.yard.washer_left_s == 0
    store = Decisions(tmp_path / "decisions.sqlite")
    assert store.recall("home", "flexible")["washer"]["done"] > 0
    store.close()
    again = play(tmp_path, with_(loads=(WASHER,)), 1.0, YardNode(EVENING + 5 * HOUR_NS))
    assert again.told("washer") == []


def test_a_load_that_does_not_begin_is_told_again_and_noted(tmp_path: Path) -> None:
    node = YardNode(EVENING + 3 * HOUR_NS)
    node.yard.deaf = frozenset({"washer"})
    played = play(tmp_path, with_(loads=(WASHER,)), 1.2, node)
    assert len(played.told("washer")) >= 2
    assert "washer was told to begin, and does not run" in played.notes


def test_an_inverter_that_does_not_obey_is_seen_and_planned_as_it_is(tmp_path: Path) -> None:
    node = YardNode(EVENING - 8 * HOUR_NS)
    node.yard.sun_kw, node.yard.deaf = 6.0, frozenset({"pv"})
    config = with_(solars=(msgspec.structs.replace(PV, energy="sun/kw"),), export_max_kw=2.0)
    node.models = [{"thing": "sun", "property": "kw", "trained_at": 1, "model": "x"}]
    node.forecast = forecast(node, 6.0, 6.0, 6.0)
    played = play(tmp_path, config, 1.2, node)
    assert "pv does not do what it is told" in played.notes
    assert played.last["breaches"][0]["kind"] == "feed-in"


def test_the_sun_is_curtailed_only_as_far_as_the_feed_in_limit_asks(tmp_path: Path) -> None:
    node = YardNode(EVENING - 8 * HOUR_NS)
    node.yard.sun_kw = 6.0
    config = with_(solars=(msgspec.structs.replace(PV, energy="sun/kw"),), export_max_kw=2.0)
    node.yard.base_kw = 1.0
    node.models = [{"thing": "sun", "property": "kw", "trained_at": 1, "model": "x"}]
    node.forecast = forecast(node, 6.0, 6.0, 6.0)
    played = play(tmp_path, config, 0.5, node)
    assert played.told("pv")[-1]["input"] == pytest.approx(3.0, abs=0.1)
    assert played.nets[-1] == pytest.approx(-2.0, abs=0.1)


def forecast(node: YardNode, low: float, middle: float, high: float, age: int = 0) -> dict[str, Any]:
    begin = node.clock.now_ns() // HOUR_NS * HOUR_NS - age * HOUR_NS
    rows = [
        {
            "start": begin + step * HOUR_NS,
            "end": begin + (step + 1) * HOUR_NS,
            "q10": low,
            "median": middle,
            "q90": high,
        }
        for step in range(30)
    ]
    return {"issued_at": begin, "step_s": 3_600, "model": "regression", "unit": "kW", "values": rows}


@pytest.mark.parametrize(
    ("age", "middle", "trained", "says", "load"),
    [
        (0, 2.5, 1, "", 2.5),
        (9, 2.5, 1, "9 steps old: its own plain forecast stands for it", 1.0),
        (0, 80.0, 1, "values of meter/base are missing or outside", 1.0),
        (0, 2.5, None, "has no champion yet", 1.0),
    ],
)
def test_the_service_forecasts_where_it_is_good_and_a_plain_one_elsewhere(
    tmp_path: Path, age: int, middle: float, trained: int | None, says: str, load: float
) -> None:
    node = YardNode()
    node.models = [{"thing": "meter", "property": "base", "trained_at": trained, "model": "regression"}]
    node.forecast = forecast(node, middle - 0.5, middle, middle + 0.5, age)
    played = play(tmp_path, with_(batteries=(BATTERY,)), 0.2, node)
    assert played.last["stages"][0]["net_kw"] == pytest.approx(load, abs=0.05)
    assert says in played.notes
    assert says or "stands for it" not in played.notes


def test_a_loser_advises_and_a_scheduler_may_be_told_to_only_advise(tmp_path: Path) -> None:
    """§12: the guard reads the days of its twins."""
    lost = play(tmp_path, with_(batteries=(BATTERY,)), 0.5, days=-0.2)
    assert (lost.last["mode"], lost.node.commands) == ("advises", [])
    told = play(tmp_path, with_(name="told", batteries=(BATTERY,), mode="advise"), 0.5)
    assert (told.last["mode"], told.node.commands) == ("advises", [])


def test_who_stops_winning_brings_to_rest_what_it_drove(tmp_path: Path) -> None:
    """§7, §12: a battery rests, the car charges as if nobody drove, what runs goes on; no permit is left."""
    node = YardNode(EVENING + 3 * HOUR_NS)

    def lose(node: YardNode, hour: float) -> None:
        if hour == 0.25:
            store = Decisions(tmp_path / "decisions.sqlite")
            for day in range(20):
                store.add_day("home", "flexible", f"2026-03-{day + 1:02}", -1.0)
            store.close()

    washer = msgspec.structs.replace(WASHER, earliest="23:00")
    played = play(tmp_path, with_(batteries=(BATTERY,), vehicles=(CAR,), loads=(washer,)), 0.8, node, at=lose)
    assert played.last["mode"] == "advises"
    assert [played.told(thing)[-1]["input"] for thing in ("battery", "charger")] == [0.0, 11.0]
    assert len(played.told("washer")) == 1 and node.yard.washer_left_s > 0
    assert sorted(node.withdrawn) == ["p-1", "p-2", "p-3"]


def test_a_late_solver_leaves_the_plan_to_the_rule(tmp_path: Path) -> None:
    """§12: a plan always exists."""
    played = play(tmp_path, with_(vehicles=(CAR,), batteries=(BATTERY,), solver_s=1e-6), 0.3)
    assert played.last["method"] in ("rule", "in-turn")
    assert "the solver had no answer within" in played.notes
    assert played.told("charger")  # driven all the same


def test_a_car_that_leaves_early_is_noted_and_told_nothing_more(tmp_path: Path) -> None:
    node = YardNode(EVENING + 3 * HOUR_NS)

    def leave(node: YardNode, hour: float) -> None:
        node.yard.plugged = hour < 0.7

    played = play(tmp_path, with_(vehicles=(CAR,)), 2.0, node, at=leave)
    assert "car left before its time" in played.notes
    assert played.told("charger")[-1]["at"] <= EVENING + 3 * HOUR_NS + HOUR_NS
    assert played.last["assets"][0]["why"] == "nothing to do"
    assert "does not do" not in played.notes


@pytest.mark.parametrize("minutes", [64, 71, 75])
def test_a_car_that_leaves_within_a_quarter_has_what_it_needs(tmp_path: Path, minutes: int) -> None:
    """§12: a plan has whole quarters; a departure does not wait for their ends."""
    node = YardNode(EVENING + 3 * HOUR_NS)
    node.yard.car_kwh, node.yard.departure_s = 22.0, (node.yard.at + minutes * 60 * NS_PER_S) // NS_PER_S
    play(tmp_path, with_(vehicles=(CAR,), reflex_s=60), (minutes - minutes % 5) / 60, node)
    assert node.yard.car_kwh >= 30.0 - 11 * 0.95 * (minutes % 5) / 60 - 0.01


def test_a_thing_that_does_not_obey_is_left_alone_and_planned_around(tmp_path: Path) -> None:
    node = YardNode(EVENING + 3 * HOUR_NS)
    node.yard.deaf = frozenset({"charger"})
    played = play(tmp_path, with_(vehicles=(CAR,), batteries=(BATTERY,)), 1.5, node)
    assert "car does not do what it is told: it is left alone for an hour" in played.notes
    assert "does not say what it holds" not in played.notes
    assert played.told("charger")[-1]["at"] < EVENING + 3 * HOUR_NS + HOUR_NS


@pytest.mark.parametrize(
    ("thing", "config", "says"),
    [
        ("battery", {"batteries": (BATTERY,)}, "battery is left out: its state of charge is not known"),
        ("heatpump", {"heats": (TANK,)}, "tank is left out: its temperature is not known"),
        ("server", {"jobs": (JOB,)}, "batch is left out: what it has to do is not known"),
    ],
)
def test_what_is_not_known_is_left_out_and_said(tmp_path: Path, thing: str, config: dict[str, Any], says: str) -> None:
    """§3: stale is not zero."""
    node = YardNode()
    node.stale = {thing}
    played = play(tmp_path, with_(**config), 0.3, node)
    assert says in played.notes
    assert played.told(thing) == []


def test_a_dynamic_tariff_with_a_hole_is_filled_and_noted(tmp_path: Path) -> None:
    node = YardNode()
    first = (EVENING - 9 * 24 * HOUR_NS) // (HOUR_NS // 4) * (HOUR_NS // 4)
    quarters = [first + place * (HOUR_NS // 4) for place in range(9 * 96)]
    node.prices = {at: 0.1 if (at // HOUR_NS) % 24 < 6 else 0.5 for at in quarters}
    for at in quarters[-40:-30]:  # published a day ahead, with a hole
        del node.prices[at]
    config = with_(vehicles=(CAR,), buys=TariffConfig(property="grid/price@24h"))
    played = play(tmp_path, config, 0.3, node)
    prices = np.array([one["price"] for one in played.last["stages"]])
    assert set(prices.round(3)) == {0.1, 0.5}
    assert "10 prices are missing: those of the days before stand for them" in played.notes


def hours(days: tuple[int, ...], price: str = "0.4", offset: str = "Z") -> str:
    """A file of prices: cheap until six."""
    return "start,price\n" + "".join(
        f"2026-03-0{day}T{hour:02}:00:00{offset},{0.2 if hour < 6 else price}\n" for day in days for hour in range(24)
    )


def test_a_tariff_of_a_file_is_read_anew_and_what_is_wrong_with_it_is_said(tmp_path: Path) -> None:
    """Prices that end or cannot be are noted; without any the last plan is followed, and why is said."""
    texts = [
        hours((2, 3, 4)),
        "\ufeff" + hours((2, 3, 4), offset="+05:30"),
        hours((2,)),
        hours((2, 3, 4)).replace("03T12:00:00Z,0.4", "03T12:00:00Z,1e12"),
        "start;price\n2026-03-02T20:00:00Z;0,4",
        "start,price\nnever,0.1",
        "start,price\n2026-01-02T20:00:00Z,0.4",
    ]

    def write(node: YardNode, hour: float) -> None:
        (tmp_path / "prices.csv").write_text(texts[min(int(2 * hour), 6)], "utf-8")

    config = with_(vehicles=(CAR,), buys=TariffConfig(file="prices.csv"))
    played = play(tmp_path, config, 4.0, at=write)
    good, zone, ends, odd = {(body["at"] - EVENING) // (HOUR_NS // 2): body for body in played.bodies[::-1]}.values()
    assert [len(body["notes"]) - 1 for body in (good, zone, ends, odd)] == [0, 0, 1, 2], "one of the forecast in each"
    assert all({one["price"] for one in body["stages"]} == {0.2, 0.4} for body in (good, zone, ends, odd))
    assert "prices are missing: those of the days before" in "".join(ends["notes"])
    assert "1 prices of prices.csv cannot be, such as 1e+12: they are none" in odd["notes"]
    waits = list(dict.fromkeys(played.waits))
    for why, says in zip(
        waits, ("", "no column 'price'", "line 2: ", "its last is of 2026-01-02T20:00:00Z"), strict=True
    ):
        assert says in why and ("it plans nothing new: prices.csv " in why or not why)


def test_a_car_that_never_gives_is_charged_and_the_next_is_asked_again(tmp_path: Path) -> None:
    """§12: that it takes what it is told is seen, too: it is ready in time, and nothing of it is told to the next."""
    node = YardNode(EVENING)
    node.yard.base_kw, node.yard.car_kwh = 5.0, 40.0
    node.yard.departure_s = (EVENING + 4 * HOUR_NS) // NS_PER_S

    def keep(node: YardNode, hour: float) -> None:
        told = node.yard.told.get("charger", 0.0)
        node.outside = {"charger": {"power": 0.0}} if told < 0 and hour < 1.5 else {}
        node.yard.plugged = not 1.0 <= hour < 1.5

    car = msgspec.structs.replace(CAR, discharge_kw=5.0)
    played = play(tmp_path, with_(vehicles=(car,)), 1.8, node, at=keep)
    first = [one["input"] for one in played.told("charger") if one["at"] < EVENING + HOUR_NS]
    assert first[0] < 0 and first[-1] == 0.0
    assert "car does not give back: it is only charged until it leaves" in played.notes
    assert "does not do what it is told" not in played.notes
    assert played.told("charger")[-1]["input"] < 0 and "does not give" not in "".join(played.last["notes"])


def test_what_the_node_refuses_of_one_keeps_no_other_from_its_plan(tmp_path: Path) -> None:
    """A model says less than the settings, a rule says no: it is said, planned around, and tried again."""
    node = YardNode(EVENING)
    node.yard.base_kw = 2.0

    def refuse(node: YardNode, hour: float) -> None:
        model = {"problem": {"title": "setpoint: -2.0 is below the minimum -1."}}
        rule = {"id": "c", "state": "refused", "detail": "between 20:00 and 21:00 is quiet"}
        node.refuses = {"battery": model, "server": rule} if hour < 0.7 else {}

    job = msgspec.structs.replace(JOB, ready_by="21:30")
    played = play(tmp_path, with_(batteries=(BATTERY,), heats=(TANK,), jobs=(job,)), 1.1, node, at=refuse)
    assert "batch is told in vain, between 20:00 and 21:00 is quiet: tried again in 5 min" in played.notes
    said = "battery is told in vain, setpoint: -2.0 is below the minimum -1: tried again in 5 min"
    assert said in played.notes and said not in played.last["notes"]
    assert any(
        one["assets"][0]["why"] == "is told in vain, setpoint: -2.0 is below the minimum -1" for one in played.bodies
    )
    assert set(played.waits) == {""}
    assert played.told("heatpump") and abs(played.nets[-1]) < 0.05


def test_who_has_no_permit_any_more_is_told_nothing_for_a_while_and_then_asks_for_another(tmp_path: Path) -> None:
    """§7: somebody withdraws the battery's: it is said, planned around, and after five minutes driven again."""
    node = YardNode(EVENING)
    node.yard.base_kw = 2.0
    told_until = 0

    def withdraw(node: YardNode, hour: float) -> None:
        nonlocal told_until
        if abs(hour - 0.5) < 0.01:
            (number,) = (f"p-{one}" for one, wish in enumerate(node.permits, 1) if wish["things"] == "battery")
            node.withdrawn.append(number)
            node.yard.tell("battery", 0.0)  # as the node does
            told_until = len(node.commands)

    played = play(tmp_path, with_(batteries=(BATTERY,), heats=(TANK,), reflex_s=30), 1.1, node, at=withdraw)
    assert [one["rest"] for one in node.permits if one["things"] == "battery"] == [0.0, 0.0]
    said = "battery has no permit, somebody withdrew it: another is asked for in 5 min"
    assert said in played.notes and said not in played.last["notes"]
    assert any(one["assets"][0]["why"] == "has no permit, somebody withdrew it" for one in played.bodies)
    after = [one for one in node.commands[told_until:] if one["thing"] == "battery"]
    assert after[0]["at"] - EVENING >= 35 * 60 * NS_PER_S and after[0]["standing"] == f"p-{len(node.permits)}"
    assert set(played.waits) == {""} and abs(played.nets[-1]) < 0.05


def test_what_a_car_says_and_cannot_be_is_said_and_planned_without(tmp_path: Path) -> None:
    """§3: milliseconds for seconds, and a word where a charger is to say yes or no."""
    node = YardNode(EVENING + 3 * HOUR_NS)

    def say(node: YardNode, hour: float) -> None:
        odd = {"departure": 1e300 if hour < 0.2 else node.yard.departure_s * 1_000}
        node.outside = {"charger": odd if hour < 0.6 else {"plugged": "Available" if hour < 1.1 else None}}

    played = play(tmp_path, with_(vehicles=(CAR,)), 1.6, node, at=say)
    assert "car leaves 1e+300 s after 1970, which cannot be: the next 07:00 stands for it" in played.notes
    assert "car leaves 1.77253e+12 s after 1970" in played.notes
    assert "car is left out: charger says 'Available', which does not say whether it is plugged" in played.notes
    assert "car is left out: charger does not say whether it is plugged" in played.notes
    assert "left before its time" not in played.notes
    assert played.told("charger")[0]["input"] > 0


@pytest.mark.parametrize(
    ("thing", "config", "odd", "says", "until"),
    [
        ("battery", {"batteries": (BATTERY,)}, {"state_of_charge": 50.0}, "battery is left out: it says a charge", 1),
        ("heatpump", {"heats": (TANK,)}, {"temperature": 40.0}, "tank is left out: it says 40 °C all the time", 0.6),
        ("charger", {"vehicles": (CAR,)}, {"state_of_charge": 20.0}, "car is taken for empty: it says a charge of", 2),
    ],
)  # fmt: skip
def test_a_sensor_that_is_frozen_is_seen_by_what_flows(
    tmp_path: Path, thing: str, config: dict[str, Any], odd: dict[str, Any], says: str, until: float
) -> None:
    """§3: it is believed again as soon as it moves."""
    node = YardNode(EVENING + (3 if thing == "charger" else 0) * HOUR_NS)
    node.yard.base_kw, node.yard.tank_c, node.yard.battery_kwh = 3.0, 40.0, 9.5

    def freeze(node: YardNode, hour: float) -> None:
        node.outside = {thing: odd} if hour < until else {}

    played = play(tmp_path, with_(**config), until + 0.2, node, at=freeze)
    assert says in played.notes
    assert says not in "".join(played.last["notes"])


def test_a_charge_that_leaps_is_not_believed(tmp_path: Path) -> None:
    node = YardNode(EVENING)

    def leap(node: YardNode, hour: float) -> None:
        node.outside = {"battery": {"state_of_charge": 90.0 if round(hour * 12) % 2 else 10.0}} if hour < 0.6 else {}

    played = play(tmp_path, with_(batteries=(BATTERY,)), 0.8, node, at=leap)
    assert "battery is left out: it says a charge of 10 % after another a moment ago" in played.notes


def test_the_twins_come_to_what_a_day_saves(tmp_path: Path) -> None:
    """§12: walk-forward, against a site left alone: what a battery holds at night is worth more by day."""
    node = YardNode(EVENING + 4 * HOUR_NS)
    played = play(tmp_path, with_(batteries=(BATTERY,), mode="advise"), 24.2, node, days=0.0)
    store = Decisions(tmp_path / "decisions.sqlite")
    saved = list(store.days("home", "flexible").values())
    store.close()
    assert saved[:-1] == [0.0] * 13
    mean = (10 * 0.1 + 14 * 0.5) / 24
    served, filled, refilled = 9.5 * 0.5, 5 / 0.95 * 0.1, 10 * 0.1  # by day; in the morning; from 22:00 to midnight
    assert saved[-1] == pytest.approx(served - filled - refilled + mean * 0.95 * (9.5 - 5), abs=0.1)
    assert played.node.commands == []


def test_a_load_with_a_switch_is_shed_while_the_connection_is_full(tmp_path: Path) -> None:
    pump = LoadConfig(
        name="pump", thing="pump", switch="on", power_kw=1, minutes=660, earliest="20:00", latest="07:00"
    )  # fmt: skip

    def full(node: YardNode, hour: float) -> None:
        node.yard.base_kw = 3.5 if 0.7 <= hour < 1.2 else 1.0

    played = play(tmp_path, with_(loads=(pump,), import_max_kw=4.0), 2, at=full)
    switched = [one["input"] for one in played.told("pump")]
    assert [one for one, before in zip(switched, [None, *switched], strict=False) if one != before] == [1.0, 0.0, 1.0]
    assert max(played.nets[10:14]) <= 4.0
    assert played.node.yard.pump_s >= 3_600


def test_a_meter_that_is_silent_or_absurd_is_not_followed_until_it_is_right_again(tmp_path: Path) -> None:
    """§3, §12: all do as planned, the plan says so; an hour that cannot be is not learned."""
    node = YardNode(EVENING + 4 * HOUR_NS)

    def trouble(node: YardNode, hour: float) -> None:
        node.outside = {"meter": {"power": 1e12}} if 0.5 <= hour < 1.1 else {}
        node.stale = {"meter"} if 1.1 <= hour < 2.2 else set()
        node.yard.base_kw = 1e11 if 1.0 <= hour < 1.9 else -2.0

    config = with_(batteries=(BATTERY,), import_max_kw=11.0, demand_price=2.0)
    played = play(tmp_path, config, 2.7, node, at=trouble)
    assert max(abs(one["input"]) for one in played.told("battery")) <= 5.0
    assert "meter/power says 1e+12 kW, which cannot be: all do as planned without it, and import_max_kw" in played.notes
    assert "meter/power says nothing: all do as planned without it" in played.notes
    assert "meter/base came to 1e+11 kW in the last hour, which cannot be: it is not learned" in played.notes
    assert "meter/base came to -2 kW in the last hour: it is taken for generation" in played.notes
    assert "meter/power" not in "".join(played.last["notes"])
    assert played.last["stages"][8]["net_kw"] == pytest.approx(-2.0, abs=0.3)


def test_what_no_longer_says_how_it_is_is_told_what_is_right_whatever_that_is(tmp_path: Path) -> None:
    """§3: a battery rests, a tank is kept warm, work goes on; all are driven again when they are known again."""
    begin = EVENING + 3 * HOUR_NS
    node = YardNode(begin)
    odd = {"battery": {"state_of_charge": 150.0}, "heatpump": {"temperature": 850.0}, "server": {"remaining": None}}

    def break_(node: YardNode, hour: float) -> None:
        node.outside = odd if 0.3 <= hour < 0.6 else {}

    config = with_(batteries=(BATTERY,), heats=(TANK,), jobs=(JOB,), import_max_kw=2.0)
    played = play(tmp_path, config, 0.8, node, at=break_)
    for note in (
        "battery is left out: it says a charge of 150 %",
        "tank is left out: it says 850 °C, which cannot be",
        "batch is left out: what it has to do is not known",
    ):
        assert note in played.notes and note not in played.last["notes"]
    for thing, rest in (("battery", 0.0), ("heatpump", 0.85 / 3), ("server", 1.0)):
        during = [
            one["input"]
            for one in played.told(thing)
            if begin + 3 * HOUR_NS // 10 < one["at"] < begin + 6 * HOUR_NS // 10
        ]
        assert during and during == pytest.approx([rest] * len(during), abs=0.001)


def test_a_battery_that_does_the_opposite_is_told_to_rest(tmp_path: Path) -> None:
    node = YardNode(EVENING + 3 * HOUR_NS)

    def turn(node: YardNode, hour: float) -> None:
        node.outside = {"battery": {"power": -node.yard.power("battery") - 2.0}}

    node.yard.base_kw = 3.0
    played = play(tmp_path, with_(batteries=(BATTERY,)), 0.8, node, at=turn)
    assert "battery does not do what it is told: it is left alone for an hour" in played.notes
    assert played.told("battery")[-1]["input"] == 0.0


def test_who_answers_for_the_history_may_be_away_while_the_meter_is_followed(tmp_path: Path) -> None:
    """§12: no plan is made and no hour is learned then; the last plan holds."""
    away: list[str] = []

    class Away(YardNode):
        def handle(self, request: httpx.Request) -> httpx.Response:
            if away and ("history" in request.url.path or "forecast" in request.url.path):
                return httpx.Response(503)
            return super().handle(request)

    def go(node: YardNode, hour: float) -> None:
        away[:] = ["away"] if 0.3 <= hour < 1.1 else []
        node.yard.base_kw = 2.0 if hour >= 0.6 else 1.0

    node = Away(EVENING + 45 * 60 * NS_PER_S)
    played = play(tmp_path, with_(batteries=(BATTERY,), demand_price=1.0), 1.3, node, at=go)
    assert played.waits[0] == played.waits[-1] == "" and "503" in "".join(played.waits)
    assert max(abs(net) for net in played.nets[8:14]) < 0.05, "the battery follows all the while"


def test_a_full_disk_keeps_nobody_from_driving(tmp_path: Path) -> None:
    """§12: what cannot be kept is said; the meter is followed, plans are made, and kept again when there is room."""
    node = YardNode(EVENING + 45 * 60 * NS_PER_S)
    node.yard.battery_kwh = 9.0

    def fill_up(node: YardNode, hour: float) -> None:
        assert node.store is not None
        pages = 1 if 0.3 <= hour < 1.1 else 1_000_000
        node.store._db.execute(f"PRAGMA max_page_count={pages}")
        node.yard.base_kw = 2.0 if hour >= 0.6 else 1.0

    played = play(tmp_path, with_(batteries=(BATTERY,)), 1.4, node, at=fill_up)
    assert "Decisions cannot be kept: database or disk is full." in "".join(played.waits)
    assert played.waits[0] == played.waits[-1] == ""
    assert max(abs(net) for net in played.nets[8:14]) < 0.05, "the battery follows all the while"


def test_a_site_of_which_no_hour_is_known_waits_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(YardNode, "_windows", lambda self, query: [])
    played = play(tmp_path, with_(batteries=(BATTERY,)), 0.3)
    assert set(played.waits) == {"of meter/base no hour is known whole yet"}
    assert played.bodies == [] and played.node.commands == []


def test_a_clock_that_is_set_changes_nothing_for_longer_than_a_turn(tmp_path: Path) -> None:
    """§12: the meter is followed whatever the clock was set to, and plans are made."""
    node = YardNode(EVENING - 4 * HOUR_NS)
    node.yard.battery_kwh = 9.0
    planned: list[int] = []

    def leap(node: YardNode, hour: float) -> None:
        for at, seconds in ((0.25, -30), (0.5, 3_600), (0.75, -7_200)):
            if hour == at:
                node.clock.jump(seconds)
                node.yard.at = node.clock.now_ns()
        node.yard.base_kw = 1.0 + hour // 0.25 / 2

    played = play(tmp_path, with_(batteries=(BATTERY,)), 1.0, node, at=leap)
    assert max(abs(net) for turn, net in enumerate(played.nets) if turn % 3 == 2) < 0.05
    assert set(played.waits) == {""}
    planned = sorted(int(one["at"]) // HOUR_NS for one in played.bodies)
    assert len(set(planned)) >= 3


def test_who_comes_after_a_restart_goes_on_with_what_is_driven_or_brings_it_to_rest(tmp_path: Path) -> None:
    """§7: a verdict that turned while nobody was there counts as one that turned before."""
    node = YardNode(EVENING + 3 * HOUR_NS)
    config = with_(batteries=(BATTERY,), heats=(TANK,), vehicles=(CAR,))
    play(tmp_path, config, 0.1, node)
    permits, told = len(node.permits), len(node.commands)
    play(tmp_path, config, 0.1, node)
    assert len(node.permits) == permits and len(node.commands) > told and node.withdrawn == []
    store = Decisions(tmp_path / "decisions.sqlite")
    assert {what[1] for what in store.permits.all()} == {"battery", "heatpump", "charger"}
    store.close()
    lost = play(tmp_path, config, 0.1, node, days=-1.0)
    assert lost.last["mode"] == "advises"
    last = {thing: lost.told(thing)[-1]["input"] for thing in ("battery", "charger", "heatpump")}
    assert last == pytest.approx({"battery": 0.0, "charger": 11.0, "heatpump": 0.85 / 3}, abs=0.001)
    assert sorted(node.withdrawn) == ["p-1", "p-2", "p-3"]
    store = Decisions(tmp_path / "decisions.sqlite")
    assert store.permits.all() == {}
    store.close()


def test_what_is_driven_goes_on_while_the_first_plan_after_a_restart_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§7: who may drive, and has no plan yet, lets nothing go."""
    node = YardNode(EVENING + 3 * HOUR_NS)
    config = with_(batteries=(BATTERY,), vehicles=(CAR,))
    play(tmp_path, config, 0.1, node)

    def slowly(*given: Any) -> Any:
        time.sleep(0.3)
        return schedule(*given)

    monkeypatch.setattr("taihu.runtime.scheduling.scheduler.schedule", slowly)
    play(tmp_path, msgspec.structs.replace(config, reflex_s=0.05), 0.1, node)
    assert node.withdrawn == []
