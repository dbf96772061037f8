"""A node's HTTP API with recorded answers: three houses, of which one is stale and one was never heard."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "operator-of-the-district"
HOUR_NS = 3_600 * 10**9
NOW = 1_470_168_000 * 10**9 + 900 * 10**9  # 2016-08-02 12:15 in Etc/GMT+8
THIS_HOUR = NOW - 900 * 10**9


def value(thing: str, name: str, given: Any, unit: str | None, age_s: float = 300.0) -> dict[str, Any]:
    return {
        "thing": thing,
        "property": name,
        "value": given,
        "unit": unit,
        "quality": "good",
        "observed_at": NOW - int(age_s * 1e9),
        "received_at": NOW,
        "age_s": age_s,
        "kind": "gauge",
        "stale": age_s > 3_600,
    }


def house(net_kw: float, pv_kw: float, charge: float, age_s: float = 300.0) -> list[dict[str, Any]]:
    return [
        value("meter", "power", net_kw, "kW", age_s),
        value("pv", "power", pv_kw, "kW", age_s),
        value("battery", "state_of_charge", charge, "%", age_s),
        value("battery", "mode", "charging", None, age_s),
    ]


VALUES: dict[str, list[dict[str, Any]]] = {
    "district": [
        value("grid", "carbon_intensity", 0.25, "kg/(kW.h)"),
        value("grid", "price", 0.22, "{USD}/(kW.h)"),
        value("grid", "outdoor_temperature", 31.5, "Cel"),
    ],
    "house-01": house(6.75, 1.25, 40.0),
    "house-02": house(-1.25, 3.5, 80.0),
    "house-03": house(9.0, 9.0, 90.0, age_s=7_300.0),
    "house-04": [],
}
CARBON: dict[str, Any] = {
    "shared": {"annual": 0.61, "hourly": 0.339, "shared": 0.443, "coverage": 0.97},
    "by_hour": [{"hour": hour, "load_kwh": 2.0, "matched_kwh": 1.0 if hour == 12 else 0.0} for hour in range(24)],
    "projects": {
        "district": {"accounts": []},
        "house-01": {
            "figures": {"location_kg": 12.5, "market_kg": None, "estimated_kwh": 6.25},
            "score": {"load_kwh": 48.0, "made_kwh": 30.0, "annual": 0.625, "hourly": 0.25, "coverage": 1.0},
            "balances": [{"meter": "meter", "residual_kwh": 0.0, "share": 0.0002, "coverage": 1.0}],
            "certificates": {"issued_wh": 5_000, "cancelled_wh": 1_500},
            "avoided": {"total": {"avoided_kg": 4.75, "measured": 20, "estimated": 3, "missing": 1}},
            "accounts": [{"meter": "meter", "broken": ""}],
        },
        "house-02": {
            "figures": {"location_kg": 2.5, "market_kg": 3.5},
            "score": {"load_kwh": 0.0, "made_kwh": 0.0, "annual": None, "hourly": None, "coverage": 0.0},
            "balances": [{"meter": "meter", "residual_kwh": 3.0, "share": 0.142_86, "coverage": 0.5}],
            "accounts": [{"meter": "meter", "broken": "There is no property <x>."}],
        },
    },
}
STATES = {"district": "online", "house-01": "online", "house-02": "late", "house-03": "silent", "house-04": "never"}


def windows(project: str) -> list[dict[str, Any]]:
    """24 whole hours and the running one: house-02 lacks the hour before last, nobody has the hour before that."""
    found = []
    for back in range(24, -1, -1):
        start = THIS_HOUR - back * HOUR_NS
        missing = back == 3 or (project == "house-02" and back == 2) or project in ("house-03", "house-04")
        figures: dict[str, Any] = {"sum": None if missing else 2.0 if project == "house-01" else -0.5}
        if project == "district":
            missing, figures = back == 3, {"time_mean": None if back == 3 else 0.25}
        found.append({"start": start, "end": start + HOUR_NS, "coverage": 0.0 if missing else 1.0, **figures})
    return found


def outlook() -> dict[str, Any]:
    """A day that came and a day ahead."""
    found: list[dict[str, Any]] = []
    for hour in range(-24, 24):
        start = THIS_HOUR + hour * HOUR_NS
        band = {"q10": 1.0, "q25": 1.5, "median": 2.0, "q75": 2.5, "q90": 3.0}
        found.append({"start": start, "end": start + HOUR_NS, **band, "came": 2.25 if hour < 0 else None})
    errors = {"mae": 0.518, "ratio": 0.8, "mase": 0.74, "covered": 0.79}
    return {"unit": "kW.h", "step_s": 3_600, "model": "regression", "errors": errors, "values": found}


FORECASTS: dict[str, Any] = {
    "models": [
        {
            "thing": "meter",
            "property": "load",
            "unit": "kW.h",
            "model": "regression",
            "candidates": {
                "seasonal-naive": {"mae": 0.65, "ratio": 1.0, "mase": 0.93, "covered": None},
                "regression": {"mae": 0.518, "ratio": 0.8, "mase": 0.74, "covered": 0.79},
            },
        },
        {"thing": "pv", "property": "energy", "unit": "kW.h", "model": None, "candidates": {}},
    ],
    "forecasters": [
        {"name": "seasonal-naive", "days": 1.5, "installed": True},
        {"name": "regression", "days": 12.0, "installed": True},
        {"name": "boosted", "days": 31.5, "installed": False},
    ],
}


def stage(hour: int) -> dict[str, Any]:
    """An hour in which the battery gives what the house needs."""
    start = THIS_HOUR + hour * HOUR_NS
    meter = {"net_kw": 1.5, "net_low_kw": 1.0, "net_high_kw": 2.0, "price": 0.22, "intensity": 0.25}
    battery = {"low_kw": -5.0, "high_kw": 0.0, "power_kw": -1.5, "content_kwh": 4.0}
    return {"start": start, "end": start + HOUR_NS, **meter, **battery}


PLANS: dict[str, Any] = {
    "plans": [
        {
            "project": "house-01",
            "controller": "battery",
            "saved": {"kg": 2.5, "error_kg": 0.26, "hours": 9, "estimated": True},
            "decisions": [
                {
                    "mode": "drives",
                    "reason": "drives: 0.81 a day saved over 14 days, at least 0.67 (90 %)",
                    "guard": {"days": 14, "mean": 0.81, "lower": 0.67},
                    "binding": "meter",
                    "why": "It follows the meter: <now>.",
                    "stages": [stage(hour) for hour in range(24)],
                    "content_kwh": 5.5,
                    "with_kg": 1.23,
                    "without_kg": 2.28,
                    "forecast": "meter/load by regression; pv/energy by week-mean",
                    "notes": [],
                }
            ],
        },
        {"project": "house-02", "controller": "battery", "saved": {"hours": 0}, "decisions": []},
    ],
    "saved": {"kg": 2.5, "error_kg": 0.26, "hours": 9, "estimated": True},
}


class FakeNode:
    """Answers as a node does; `status` other than 200 lets every request fail, `paths` are those that were asked."""

    def __init__(self) -> None:
        self.status = 200
        self.paths: list[str] = []
        self.values = VALUES
        self.app = Starlette(
            routes=[
                Route("/api/v1/node", self._node),
                Route("/api/v1/projects", self._projects),
                Route("/api/v1/projects/{project}/things", self._things),
                Route("/api/v1/projects/{project}/values", self._values),
                Route("/api/v1/projects/{project}/history", self._history),
                Route("/api/v1/carbon", self._carbon),
                Route("/api/v1/plans", self._plans),
                Route("/api/v1/projects/{project}/plans", self._plans),
                Route("/api/v1/projects/{project}/forecast/models", self._models),
                Route("/api/v1/projects/{project}/forecast/outlook", self._outlook),
            ]
        )

    def _answer(self, request: Request, body: dict[str, Any]) -> Response:
        self.paths.append(request.url.path)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"title": "This needs a valid token."}, 401)
        return JSONResponse(body, self.status)

    def _node(self, request: Request) -> Response:
        status = {"now": NOW, "clock_speed": 600.0, "acked": 12_345, "points": 67_890, "stored": 67_880}
        return self._answer(request, status | {"journal_position": 12, "history_position": 9, "mqtt": {}})

    def _projects(self, request: Request) -> Response:
        projects = [
            {
                "name": name,
                "title": "Lakeside <b>district</b>" if name == "district" else f"House {int(name[-2:])}",
                "timezone": "Etc/GMT+8",
                "things": 1 if name == "district" else 3,
                "granted": name != "district",
            }
            for name in self.values
        ]
        return self._answer(request, {"projects": projects})

    def _things(self, request: Request) -> Response:
        project = request.path_params["project"]
        names = ("grid",) if project == "district" else ("battery", "meter", "pv")
        things = [{"name": name, "title": "", "model": name, "state": STATES[project]} for name in names]
        return self._answer(request, {"things": things})

    def _values(self, request: Request) -> Response:
        return self._answer(request, {"now": NOW, "values": self.values[request.path_params["project"]]})

    def _carbon(self, request: Request) -> Response:
        return self._answer(request, CARBON)

    def _plans(self, request: Request) -> Response:
        return self._answer(request, PLANS)

    def _models(self, request: Request) -> Response:
        return self._answer(request, FORECASTS if request.path_params["project"] == "house-01" else {"models": []})

    def _outlook(self, request: Request) -> Response:
        return self._answer(request, outlook())

    def _history(self, request: Request) -> Response:
        project = request.path_params["project"]
        unit = "kg/(kW.h)" if project == "district" else "kW.h"
        return self._answer(request, {"unit": unit, "windows": windows(project)})


@contextmanager
def serving(node: FakeNode) -> Iterator[str]:
    """Serve a fake node in a thread; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(node.app, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
