"""A controller's loop against a node in memory: it learns, plans, drives under a permit, and knows when not to."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import msgspec
import numpy as np
import pytest
from tests.runtime.yard import held, permits

from taihu.kernel.clock import HOUR_NS, NS_PER_S, SimClock
from taihu.kernel.errors import RefusedError, TransientError
from taihu.kernel.sections import ControllerConfig
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.decisions import Decisions, Errors
from taihu.runtime.pilot.steering import Loop

NOW = 480_000 * HOUR_NS + 12 * HOUR_NS + 300 * NS_PER_S


class House:
    """A node with one house: a meter, a battery that does as it is told, or does not."""

    def __init__(self, days: int, *, obeys: bool = True) -> None:
        self.clock = SimClock(NOW)
        self.first = NOW // HOUR_NS - 24 * days
        self.obeys = obeys
        self.stale = False
        self.power, self.charge = 0.0, 50.0
        self.base = -1.5
        self.commands: list[dict[str, Any]] = []
        self.permits: list[dict[str, Any]] = []
        self.withdrawn: list[str] = []
        self.models: list[dict[str, Any]] = []
        self.age_h = 0
        self.history_away = False

    def hours(self, name: str, start: int, end: int) -> list[dict[str, Any]]:
        found = []
        for start_ns in range(max(start, self.first * HOUR_NS), end, HOUR_NS):
            hour = start_ns // HOUR_NS
            clock, luck = hour % 24, np.random.default_rng(hour).uniform(0.6, 1.4)
            load = 0.5 + 0.8 * np.exp(-(((clock - 19) / 3) ** 2)) * luck
            made = 3.0 * max(0.0, np.sin((clock - 6) / 12 * np.pi)) * luck
            margin = 0.9 if 17 <= clock < 22 else 0.3
            value = {
                "load": load, "made": made, "kg": 0.2, "margin": margin,
                "energy": load - made, "shadow": load - made + 0.3,
            }[name]  # fmt: skip
            found.append({"start": start_ns, "end": start_ns + HOUR_NS, "coverage": 1.0, "sum": float(value)})
        return found

    def forecast(self, name: str) -> dict[str, Any]:
        begin = self.clock.now_ns() // HOUR_NS * HOUR_NS - self.age_h * HOUR_NS
        middle = {"load": 2.0, "made": 0.5}[name]
        rows = [
            {"start": begin + step * HOUR_NS, "q10": middle - 0.3, "median": middle, "q90": middle + 0.3}
            for step in range(24)
        ]
        return {"issued_at": begin, "step_s": 3_600, "model": "blend", "unit": "kW.h", "values": rows}

    def handle(self, request: httpx.Request) -> httpx.Response:
        query = {key: one[0] for key, one in parse_qs(request.url.query.decode()).items()}
        path = request.url.path
        if path.endswith("/history"):
            if self.history_away:
                return httpx.Response(503)
            windows = self.hours(query["property"], int(query["start"]), int(query["end"]))
            return httpx.Response(200, json={"windows": windows})
        if path.endswith("/values"):
            values = {"net": self.base + self.power, "power": self.power, "state_of_charge": self.charge}
            shown = [
                {
                    "thing": query["thing"],
                    "property": name,
                    "value": one,
                    "stale": self.stale,
                    "observed_at": self.clock.now_ns(),
                }
                for name, one in values.items()
            ]
            return httpx.Response(200, json={"values": shown})
        if "/things/" in path:
            return httpx.Response(200, json={"properties": {}})
        if path.endswith("/forecast/models"):
            return httpx.Response(200, json={"models": self.models})
        if path.endswith("/forecast"):
            return httpx.Response(200, json=self.forecast(query["property"]))
        if path.endswith("/standing"):
            return httpx.Response(200, json=held(self.permits, self.withdrawn))
        body = msgspec.json.decode(request.content)
        if path.endswith("/standing/batch"):
            return httpx.Response(200, json={"outcomes": permits(body, self.permits, self.withdrawn, self.clock)})
        assert path.endswith("/commands/batch")
        (command,) = body["commands"]
        self.commands.append(command)
        if self.obeys:
            self.power = command["input"]
        return httpx.Response(200, json={"outcomes": [{"id": "1", "state": "sent"}]})


CONFIG = ControllerConfig(
    name="b", battery="battery", net="meter/net", load="meter/load", generation="pv/made", intensity="grid/meter/kg",
    energy="meter/energy", shadow="shadow/shadow", capacity_kwh=6.4, power_kw=5.0, cost_weight=0.0, carbon_weight=1.0,
    reflex_s=60,
)  # fmt: skip


def play(
    house: House,
    folder: Path,
    seconds: int,
    config: ControllerConfig = CONFIG,
    step: int = 60,
    *,
    leave: bool = False,
    at: Callable[[int], None] | None = None,
) -> Decisions:
    """So many seconds of the loop; returns its store. `at(second)` happens after each turn."""

    async def run() -> Decisions:
        store = Decisions(folder / "decisions.sqlite")
        api = NodeApi("http://node", {"home": "token"}, httpx.MockTransport(house.handle))
        loop = Loop("home", "UTC", config, api, store, house.clock)
        for turn in range(seconds // step):
            await loop.turn(house.clock.now_ns())
            house.clock.advance(step)
            api._values.clear()  # time of the node goes on, that of the machine hardly does
            api._permitted.clear()
            if at is not None:
                at(turn * step)
        await loop.close(leave=leave)
        await api.close()
        return store

    return asyncio.run(run())


def test_it_drives_when_the_replayed_days_say_that_it_wins(tmp_path: Path) -> None:
    """§7: setpoints go out under a standing permit, and bring the meter to zero inside the corridor."""
    house = House(15)
    store = play(house, tmp_path, 1_200)
    assert house.permits[0] | {"low": -5.0, "high": 5.0} == house.permits[0]
    assert house.commands[0]["standing"] == "p-1"
    assert house.commands[0]["input"] == pytest.approx(1.5)
    assert len(house.commands) <= 3  # it has not moved, so it is not sent again before ten minutes
    (last,) = store.last("home", "b")
    assert (last["mode"], last["guard"]["days"], last["currency"]) == ("drives", 14, "")
    assert last["with_kg"] <= last["without_kg"]
    assert last["stages"][0]["low_kw"] <= 1.5 <= last["stages"][0]["high_kw"]
    store.close()


def test_the_meter_is_followed_while_the_history_is_away(tmp_path: Path) -> None:
    """The reflex waits for nobody: a plan holds for its day."""
    house = House(15)

    async def run() -> None:
        store = Decisions(tmp_path / "decisions.sqlite")
        api = NodeApi("http://node", {"home": "token"}, httpx.MockTransport(house.handle))
        loop = Loop("home", "UTC", CONFIG, api, store, house.clock)
        await loop.turn(house.clock.now_ns())
        house.history_away, house.base = True, -0.7
        house.clock.advance(4_000)  # an hour has ended meanwhile
        api._values.clear()
        with pytest.raises(TransientError):
            await loop.turn(house.clock.now_ns())
        await api.close()
        store.close()

    asyncio.run(run())
    assert house.commands[-1]["input"] == pytest.approx(0.7)


@pytest.mark.parametrize("leave", [True, False])
def test_who_leaves_lets_the_battery_rest_and_gives_the_permit_back(tmp_path: Path, leave: bool) -> None:
    """§7: a node that only stops goes on with the permit it has."""
    house = House(15)
    play(house, tmp_path, 300, leave=leave).close()
    assert (house.commands[-1]["input"] == 0.0, house.withdrawn) == (leave, ["p-1"] if leave else [])


def test_a_withdrawn_permit_is_said_and_asked_for_again_after_five_minutes(tmp_path: Path) -> None:
    """§7: until then nothing is told, and the last word was the node's."""
    house, told = House(15), []

    def withdraw(second: int) -> None:
        told.append(len(house.commands))
        if second == 120:
            house.withdrawn.append("p-1")
            house.power = 0.0

    store = play(house, tmp_path, 900, at=withdraw)
    assert house.permits[0]["rest"] == 0.0
    assert told[2] == told[7] < told[9] and house.commands[-1]["standing"] == "p-2"
    modes = [(one["mode"], one["reason"]) for one in store.last("home", "b", 9)]
    assert [mode for mode, _ in modes] == ["drives", "advises", "drives"]
    assert "somebody withdrew the standing permit of battery; another is asked for at " in modes[1][1]
    store.close()


@pytest.mark.parametrize(("days", "mode"), [(5, "auto"), (15, "advise")])
def test_it_advises_until_it_may_drive(tmp_path: Path, days: int, mode: Any) -> None:
    house = House(days)
    store = play(house, tmp_path, 600, msgspec.structs.replace(CONFIG, mode=mode))
    assert house.commands == []
    assert store.last("home", "b")[0]["mode"] == "advises"
    store.close()


@pytest.mark.parametrize(
    ("age_h", "net", "says"),
    [
        (0, 1.5, "meter/load by blend; pv/made by blend"),
        (5, None, "its own: the forecast of meter/load is 5 steps old"),
    ],
)
def test_it_plans_with_the_service_where_that_is_fresh(
    tmp_path: Path, age_h: int, net: float | None, says: str
) -> None:
    """The decision says who foretold, and why it did so itself."""
    house = House(15)
    house.models = [
        {"thing": thing, "property": name, "trained_at": 1} for thing, name in (("meter", "load"), ("pv", "made"))
    ]
    house.age_h = age_h
    store = play(house, tmp_path, 120)
    (last,) = store.last("home", "b")
    assert last["forecast"] == says
    assert (last["stages"][1]["net_kw"] == pytest.approx(1.5)) is (net is not None)
    store.close()


def test_what_it_cannot_see_it_does_not_act_on(tmp_path: Path) -> None:
    """§3: stale is not zero."""
    house = House(15)
    house.stale = True
    store = play(house, tmp_path, 600)
    assert house.commands == []
    assert store.last("home", "b") == []
    store.close()


def test_a_battery_that_does_not_obey_is_left_alone_for_an_hour(tmp_path: Path) -> None:
    house = House(15, obeys=False)
    store = play(house, tmp_path, 3_000)
    sent = len(house.commands)
    last = store.last("home", "b")[0]
    assert sent < 12
    assert (last["mode"], "does not do what it is told" in last["reason"]) == ("advises", True)
    store.close()


def test_the_hours_it_drove_are_counted_against_the_shadow(tmp_path: Path) -> None:
    house = House(15)
    store = play(house, tmp_path, 3 * 3_600, step=300)
    saved = store.saved("home", "b", Errors(0.0, 0.0))
    assert saved.hours >= 1
    assert not saved.estimated
    assert saved.kg >= 0
    store.close()
    estimated = play(House(15), tmp_path, 3 * 3_600, msgspec.structs.replace(CONFIG, name="c", shadow=""), step=300)
    assert estimated.saved("home", "c", Errors(0.0, 0.0)).estimated
    estimated.close()


def test_it_plans_by_the_margin_and_still_counts_kg_by_the_average_8(tmp_path: Path) -> None:
    config = msgspec.structs.replace(CONFIG, marginal="grid/meter/margin", carbon_signal="marginal")
    store = play(House(15), tmp_path, 3 * 3_600, config, step=300)
    (last,) = store.last("home", "b")
    assert last["carbon_signal"] == "marginal"
    assert {round(stage["intensity"], 3) for stage in last["stages"]} == {0.3, 0.9}
    hours = store.driven("home", "b", 0, 99)
    assert hours and {one.source for one in hours} == {"meter/energy, shadow/shadow"}
    assert [one.without_kwh - one.with_kwh for one in hours] == pytest.approx([0.3] * len(hours))
    kg = sum(0.2 * (max(0.0, one.without_kwh) - max(0.0, one.with_kwh)) for one in hours)
    assert store.saved("home", "b", Errors(0.0, 0.0)).kg == pytest.approx(kg)
    store.close()


@pytest.mark.parametrize(("status", "error"), [(503, TransientError), (429, TransientError), (403, RefusedError)])
def test_what_the_node_answers_is_an_error_of_its_kind(status: int, error: type[Exception]) -> None:
    async def run() -> None:
        api = NodeApi("http://node", {"home": "t"}, httpx.MockTransport(lambda _: httpx.Response(status)))
        with pytest.raises(error):
            await api.value("home", "meter", "net")
        await api.close()

    asyncio.run(run())


def test_a_refusal_says_what_the_node_says() -> None:
    async def ask(body: bytes) -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(404, content=body))
        api = NodeApi("http://node", {"home": "token"}, transport)
        try:
            await api.value("home", "meter", "power")
        finally:
            await api.close()

    with pytest.raises(RefusedError, match=r"^There is no thing 'meter' here. Check the name.$"):
        asyncio.run(ask(b"""{"title": "There is no thing 'meter' here.", "detail": "Check the name."}"""))
    with pytest.raises(RefusedError, match="refuses http://node/api"):
        asyncio.run(ask(b"<html>"))
