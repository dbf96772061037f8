"""Controllers see and tell in the units that things declare (§2): a meter in W is not taken for one in kW."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from tests.runtime.test_steering import CONFIG, House, play

from taihu.kernel.clock import HOUR_NS
from taihu.kernel.flexible import HeatConfig, SchedulerConfig, SolarConfig, TariffConfig
from taihu.runtime.forecast.foretold import Service, foretold
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.decisions import Errors
from taihu.runtime.pilot.units import UnitMismatch, check_units, currency_of

DECLARED = {"net": "W", "power": "W", "setpoint": "W", "load": "MJ", "made": "W.h", "energy": "J", "shadow": "kJ",
            "kg": "g{CO2}/(kW.h)"}  # fmt: skip
IN_ONE = {"W": 1e3, "W.h": 1e3, "MJ": 3.6, "J": 3.6e6, "kJ": 3.6e3, "g{CO2}/(kW.h)": 1e3, "kW": 1.0}


class Declaring(House):
    """The same house, whose things declare units of their own."""

    def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if "/things/" in path:
            return httpx.Response(
                200, json={"properties": {name: {"unit": unit} for name, unit in DECLARED.items()}}
            )  # fmt: skip
        if request.method == "POST":
            body = msgspec.json.decode(request.content)
            for one in body.get("commands", body.get("standing", [])):
                one |= {key: one[key] / IN_ONE["W"] for key in ("input", "low", "high") if key in one}
            request = httpx.Request("POST", request.url, json=body)
            return super().handle(request)
        answer = super().handle(request).json()
        if path.endswith("/history"):
            unit = DECLARED[request.url.params["property"]]
            windows = [one | {"sum": one["sum"] * IN_ONE[unit]} for one in answer["windows"]]
            return httpx.Response(200, json={"windows": windows, "unit": unit})
        if path.endswith("/values"):
            for one in answer["values"]:
                one["unit"] = DECLARED.get(one["property"], "%")
                one["value"] *= IN_ONE.get(one["unit"], 1.0)
        return httpx.Response(200, json=answer)


def test_a_house_in_other_units_is_driven_alike(tmp_path: Path) -> None:
    plain, declaring = House(15), Declaring(15)
    saved, decisions = [], []
    for house, name in ((plain, "plain"), (declaring, "declaring")):
        (tmp_path / name).mkdir()
        store = play(house, tmp_path / name, 3 * 3_600, step=300)
        saved.append(store.saved("home", "b", Errors(0.0, 0.0)).kg)
        decisions.append(store.last("home", "b")[0])
        store.close()
    assert declaring.permits[0]["high"] == plain.permits[0]["high"] == 5.0
    assert [one["input"] for one in declaring.commands] == pytest.approx([one["input"] for one in plain.commands])
    assert saved[1] == pytest.approx(saved[0])
    assert decisions[1]["with_kg"] == pytest.approx(decisions[0]["with_kg"])


class Told:
    """What a node says of units, by path."""

    def __init__(self, **units: str | None) -> None:
        self.units = units

    async def unit(self, project: str, path: str) -> str | None:
        return self.units.get(path.rpartition("/")[2], None)


@pytest.mark.parametrize(
    ("units", "says"),
    [
        ({"net": ""}, "meter/net has no declared unit, and b needs kW"),
        ({"net": "kW.h"}, "meter/net is in kW.h, and b needs kW"),
        ({"setpoint": "A"}, "battery/setpoint is in A, and b needs kW"),
        ({"kg": "kg"}, "grid/meter/kg is in kg"),
        ({"load": "m3"}, "meter/load is in m3, and b needs kW or kW.h"),
    ],
)
def test_a_controller_of_wrong_units_waits_and_says_which(units: dict[str, str], says: str) -> None:
    """A counter is no power, and what is undeclared is not guessed."""
    with pytest.raises(UnitMismatch, match=says):
        asyncio.run(check_units(Told(**units), "home", CONFIG))


@pytest.mark.parametrize(
    ("buys", "sells", "unit", "found"),
    [
        ("", "", None, ""),
        ("", "", "1/(kW.h)", ""),
        ("EUR", "", "1/(kW.h)", "EUR"),
        ("", "EUR", None, "EUR"),
        ("", "", "{EUR}/(MW.h)", "EUR"),
        ("EUR", "EUR", "{EUR}/(kW.h)", "EUR"),
        ("EUR", "", "{USD}/(kW.h)", "flexible counts in EUR, and grid/price in USD, which do not add"),
        ("EUR", "CNY", None, "flexible counts in EUR, and flexible in CNY"),
    ],
)
def test_a_currency_is_said_by_settings_or_units_and_is_one(
    buys: str, sells: str, unit: str | None, found: str
) -> None:
    config = SchedulerConfig(
        name="flexible", net="m/net", base="m/base", buys=TariffConfig(property="grid/price@24h", currency=buys),
        sells=TariffConfig(price=0.1, currency=sells),
    )  # fmt: skip
    controller = msgspec.structs.replace(CONFIG, name="flexible", price="grid/price", currency=buys)
    told = Told(price=unit)
    if len(found) > 3:
        with pytest.raises(UnitMismatch, match=found):
            asyncio.run(check_units(told, "home", config))
        return
    assert asyncio.run(currency_of(told, "home", config)) == found
    assert sells or asyncio.run(currency_of(told, "home", controller)) == found


def test_right_units_and_what_was_not_said_yet_pass() -> None:
    asyncio.run(check_units(Told(net="MW", load="GJ", kg="t/(MW.h)"), "home", CONFIG))


def test_a_property_that_comes_later_is_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not there, or not declared, is asked for again, not a minute later."""
    monkeypatch.setattr("taihu.runtime.pilot.api._UNKNOWN_FRESH_S", 0.0)
    properties: dict[str, Any] = {}

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"properties": properties})

    async def run() -> list[str | None]:
        api = NodeApi("http://node", {"home": "token"}, httpx.MockTransport(handle))
        before = await api.unit("home", "meter/power")
        properties["power"] = {"type": "number"}
        after = await api.unit("home", "meter/power")
        properties["power"] = {"type": "number", "unit": "W"}
        declared = await api.unit("home", "meter/power")
        await api.close()
        return [before, after, declared]

    assert asyncio.run(run()) == [None, "", "W"]


def test_a_scheduler_names_the_asset_s_property() -> None:
    heat = HeatConfig(name="h", thing="hp", capacity_kwh_per_k=1, loss_kw_per_k=0.1, power_kw=3, low_c=19, high_c=22)
    solar = SolarConfig(name="s", thing="pv", energy="yield", power_kw=5)
    config = SchedulerConfig(name="all", net="m/net", base="m/base", heats=(heat,), solars=(solar,))
    asyncio.run(check_units(Told(temperature="[degF]", **{"yield": "W.h"}), "home", config))
    for units in ({"temperature": "%"}, {"yield": "V"}):
        with pytest.raises(UnitMismatch, match="and all needs"):
            asyncio.run(check_units(Told(**units), "home", config))


@pytest.mark.parametrize(
    ("unit", "step_s", "kw"),
    [
        ("kW", 900, 7.2),
        ("MW", 900, 7_200.0),
        ("kW.h", 900, 28.8),
        ("MJ", 3_600, 2.0),
        ("GW.h", 3_600, 7.2e6),
        (None, 3_600, None),
        ("Cel", 900, None),
    ],
)
def test_a_forecast_is_in_kw_whatever_it_counts(unit: str | None, step_s: int, kw: float | None) -> None:
    """Energies of a step are a mean power; what is neither power nor energy is not taken for one."""

    class Forecasts(Service):
        async def models(self, project: str) -> dict[tuple[str, str], dict[str, Any]]:
            return {("meter", "load"): {"trained_at": 1}}

        async def forecast(self, project: str, thing: str, name: str) -> dict[str, Any]:
            rows = [{"start": 0, "q10": 7.2, "median": 7.2, "q90": 7.2}]
            return {"issued_at": 0, "step_s": step_s, "model": "blend", "unit": unit, "values": rows}

    edges = np.array([0, HOUR_NS // 4], np.int64)
    told = asyncio.run(foretold(Forecasts(), "home", "meter/load", edges))
    if kw is None:
        assert (told.known, "no power and no energy" in told.how) == (0, True)
    else:
        assert told.middle[0] == pytest.approx(kw)
