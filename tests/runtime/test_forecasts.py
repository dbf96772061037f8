"""Forecasts of a running node: kept, trained beside ingestion, issued, judged, deleted; no border crossed (§11)."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.insight.forecast.support import household
from tests.supervised import SupervisedNode, until

from taihu.cli.client import NodeClient, NodeRefused
from taihu.cli.main import run

HOUR_S = 3_600
SITE = """
[mqtt]
port = 0
[http]
port = 0
[[project]]
name = "plant"
timezone = "Europe/Berlin"
[[project.thing]]
name = "meter-1"
model = "meter.tm.json"
[[project.thing]]
name = "meter-2"
model = "meter.tm.json"
[[project.thing]]
name = "weather"
model = "weather.tm.json"
[[project.forecast]]
property = "meter-*/energy"
horizon = "12h"
regressors = ["weather/outdoor", "weather/sun"]
[[project]]
name = "neighbour"
"""
ENERGY = {"type": "number", "unit": "kW.h", "taihu:kind": "interval", "taihu:interval": HOUR_S}
OUTDOOR = {"type": "number", "unit": "Cel", "taihu:kind": "gauge", "taihu:maxAge": 2 * HOUR_S}
STATE = {"type": "string", "taihu:kind": "state"}
DOUBLED = {
    "type": "number",
    "unit": "kW.h",
    "taihu:kind": "interval",
    "taihu:interval": HOUR_S,
    "taihu:formula": "energy * 2",
}
MODELS: dict[str, Any] = {
    "meter": {"properties": {"energy": ENERGY, "state": STATE, "doubled": DOUBLED}},
    "weather": {"properties": {"outdoor": OUTDOOR, "sun": OUTDOOR}},
}
DAYS = 12


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupervisedNode]:
    node = SupervisedNode(tmp_path_factory.mktemp("plant"), SITE, MODELS)
    yield node
    said = node.stop()
    assert "ERROR" not in said, said


@pytest.fixture(scope="module")
def plant(node: SupervisedNode) -> NodeClient:
    """An operator of the project, with twelve days of readings up to the last full hour."""
    client = node.operator("plant")
    last = int(time.time()) // HOUR_S
    hours = range(last - DAYS * 24, last)
    loads = {name: household(DAYS, seed) for name, seed in (("meter-1", 1), ("meter-2", 2))}
    loads["meter-1"][:] = np.round(loads["meter-1"], 3)
    body: dict[str, list[dict[str, Any]]] = {
        thing: [
            {"ts": hour * HOUR_S * 1_000, "values": {"energy": float(value)}}
            for hour, value in zip(hours, values, strict=True)
        ]
        for thing, values in loads.items()
    }
    body["weather"] = [{"ts": hour * HOUR_S * 1_000, "values": {"outdoor": 10.0 + hour % 24}} for hour in hours]
    for row in body["weather"][:-30]:
        row["values"]["sun"] = 1.0  # its file ends
    assert client.post("projects", "plant", "readings", body=body)["accepted"] == 3 * len(hours)
    return client


def models(plant: NodeClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plant.get("projects", "plant", "forecast", "models")["models"]
    return found


def test_what_is_kept_is_trained_in_the_background_and_issued(plant: NodeClient) -> None:
    found = until(lambda: models(plant), lambda some: len(some) == 2 and all(one["thorough"] for one in some))
    for one in found:
        judged = {name: errors["mae"] for name, errors in one["candidates"].items()}
        assert {"seasonal-naive", "week-mean", "ets"} <= judged.keys()
        assert judged[one["model"]] == min(judged.values())  # the back-test decides
        best = one["candidates"][one["model"]]
        assert one["unit"] == "kW.h" and best["mase"] > 0 and 0 < best["covered"] < 1
        assert DAYS * 24 - 1 <= one["known"] <= DAYS * 24 and one["regressors"] == 2  # an hour may end meanwhile
        assert one["lacking"] == {"weather/sun": pytest.approx(29, abs=1)}
    now = plant.get("projects", "plant", "forecast", thing="meter-1", property="energy")
    assert now["kept"] and len(now["values"]) == 12 and now["unit"] == "kW.h"
    then = plant.get("projects", "plant", "forecast", thing="meter-1", property="energy", at="-0s")
    assert then["issued_at"] == now["issued_at"] and then["model"] == now["model"]
    for step in now["values"]:
        assert 0 <= step["q10"] <= step["q25"] <= step["median"] <= step["q75"] <= step["q90"] < 5
    outlook = plant.get("projects", "plant", "forecast", "outlook", thing="meter-1", property="energy")
    assert outlook["model"] == now["model"] and outlook["unit"] == "kW.h"
    steps = {step["start"]: step for step in outlook["values"]}
    assert len(steps) == 24 + 12
    assert [one["median"] for one in now["values"]] == [steps[one["start"]]["median"] for one in now["values"]]
    behind = [step for start, step in steps.items() if start < now["issued_at"]]
    assert all(step["came"] is not None and step["median"] is None for step in behind)  # nothing was issued then (§3)
    errors = plant.get("projects", "plant", "forecast", "errors", thing="meter-1", property="energy")
    assert errors["issued"] == 1
    assert [lead["count"] for lead in errors["leads"]] == [0, 0, 0, 0]  # nothing of it has come yet
    assert errors["leads"][0]["mae"] is None


def test_any_numeric_property_is_forecast_when_asked(plant: NodeClient) -> None:
    found = plant.get("projects", "plant", "forecast", thing="weather", property="outdoor", horizon="7d")
    assert not found["kept"] and len(found["values"]) == 168
    hour = found["values"][30]["start"] // 10**9 // HOUR_S
    assert found["values"][30]["median"] == pytest.approx(10 + hour % 24, abs=1.5)
    quarters = plant.get("projects", "plant", "forecast", thing="weather", property="outdoor", horizon="30m")
    assert quarters["step_s"] == 900 and len(quarters["values"]) == 2
    for horizon, hours in (("20m", 1), ("90m", 2), ("2h", 2)):  # less than a step, or no whole number of them
        found = plant.get(
            "projects", "plant", "forecast", thing="meter-1", property="energy", horizon=horizon, every="1h"
        )
        assert len(found["values"]) == hours


def test_a_calculated_property_is_forecast_as_any_other(plant: NodeClient) -> None:
    ask = {"thing": "meter-2", "horizon": "1h"}
    energy, doubled = (
        plant.get("projects", "plant", "forecast", property=name, **ask) for name in ("energy", "doubled")
    )
    assert doubled["values"][0]["median"] == pytest.approx(2 * energy["values"][0]["median"], rel=0.3)


def test_series_beyond_the_limit_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """§6: what a limit leaves out is counted and shown."""
    node = SupervisedNode(tmp_path, SITE + "[limits]\nforecast_series_max = 1\n", MODELS)
    plant = node.operator("plant")
    send = {name: [{"values": {"energy": 1.0}}] for name in ("meter-1", "meter-2")}
    plant.post("projects", "plant", "readings", body=send)
    found = until(lambda: plant.get("projects", "plant", "forecast", "models"), lambda some: some["left_out"] and some)
    assert (len(found["models"]), found["left_out"]) == (1, 1)
    assert run(["forecast", "models", "plant", "--site", str(node.folder)]) == 0
    assert "1 series are not kept" in capsys.readouterr().err
    assert "1 series are not kept forecast: forecast_series_max is 1" in node.stop()


def test_the_command_shows_them(node: SupervisedNode, plant: NodeClient, capsys: pytest.CaptureFixture[str]) -> None:
    until(lambda: models(plant), lambda some: all(one["model"] for one in some) and some)
    assert run(["forecast", "plant/meter-2/energy", "--horizon", "3h", "--site", str(node.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["from", "10", "%", "25", "%", "median", "75", "%", "90", "%"] and len(lines) == 4
    for words in (["models", "plant"], ["models", "plant", "--all"], ["errors", "plant/meter-2/energy"]):
        assert run(["forecast", *words, "--site", str(node.folder)]) == 0
        assert run(["forecast", *words, "--json", "--site", str(node.folder)]) == 0
    assert "meter-2/energy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"property": "energy", "horizon": "8d"}, "forecast"),
        ({"property": "state"}, "forecast"),
        ({"property": "energy", "horizon": "soon"}, "bad-request"),
        ({"property": "energy", "every": "7m"}, "forecast"),
        ({"property": "energy", "at": "2001-01-01T00:00:00Z"}, "forecast"),
        ({"property": "nothing"}, "not-found"),
    ],
)
def test_what_cannot_be_forecast_is_refused(plant: NodeClient, asked: dict[str, str], status: str) -> None:
    with pytest.raises(NodeRefused) as refused:
        plant.get("projects", "plant", "forecast", thing="meter-1", **asked)
    assert refused.value.problem == status


def test_nothing_crosses_a_border(node: SupervisedNode, plant: NodeClient) -> None:
    neighbour = node.operator("neighbour")
    for path in ((), ("models",), ("outlook",), ("errors",)):
        with pytest.raises(NodeRefused) as refused:
            neighbour.get("projects", "plant", "forecast", *path, thing="meter-1", property="energy")
        assert refused.value.problem == "not-found"


def test_what_was_derived_goes_with_what_is_deleted(node: SupervisedNode, plant: NodeClient) -> None:
    until(lambda: models(plant), lambda some: some and all(one["thorough"] for one in some))
    plant.delete("projects", "plant", "readings", thing="meter-2")
    where = {"thing": "meter-2", "property": "energy"}
    gone = until(
        lambda: plant.get("projects", "plant", "forecast", "errors", **where), lambda found: found["issued"] == 0
    )
    assert gone["leads"] == []
    assert [one["model"] for one in models(plant) if one["thing"] == "meter-2"] == [None]
    assert (node.folder / "data" / "forecasts.sqlite").stat().st_mode & 0o077 == 0
