"""An HTTP device for the tests, in a process of its own: Starlette on uvicorn. `python peer.py PORT`.

It has a Thing Description, an OpenAPI document, resources with tags, an event stream that ends often, and what
Shelly and Tasmota devices answer.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

CONTEXT = "https://www.w3.org/2022/wot/td/v1.1"
state: dict[str, Any] = {
    "setpoint": 20.0,
    "asked": 0,
    "fresh": 0,
    "busy": 0,
    "on": False,
    "streams": [],
    "auth": [],
}


def resource(value: Any, request: Request) -> Response:
    tag = f'"{json.dumps(value)}"'.replace('"', "")
    tag = f'"{tag}"'
    state["asked"] += 1
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    state["fresh"] += 1
    return JSONResponse(value, headers={"etag": tag})


async def status(request: Request) -> Response:
    return resource({"temperature": 21.5, "pump": {"running": True, "name": "p-7"}, "list": [1, 2.5]}, request)


async def setpoint(request: Request) -> Response:
    if request.method == "PUT":
        value = await request.json()
        if not isinstance(value, int | float):
            return PlainTextResponse("a number, please", status_code=400)
        state["setpoint"] = value
        return Response(status_code=204)
    return resource(state["setpoint"], request)


async def reset(request: Request) -> Response:
    body = await request.body()
    if body and json.loads(body).get("how") == "later":
        return JSONResponse({"status": "pending"}, status_code=202)
    return JSONResponse({"was": state["setpoint"]})


async def events(request: Request) -> Response:
    """Numbers: those after the last that the client had; the stream ends after every third."""
    last = int(request.headers.get("last-event-id", "0"))
    state["streams"].append(last)

    async def body() -> AsyncIterator[str]:
        yield "retry: 20\n\n"
        for number in range(last + 1, last + 4):
            yield f"id: {number}\nevent: level\ndata: {json.dumps(number)}\n\n"
            await asyncio.sleep(0.02)

    return StreamingResponse(body(), media_type="text/event-stream")


async def busy(request: Request) -> Response:
    state["busy"] += 1
    return JSONResponse({"load": 1}) if state["busy"] > 1 else Response(status_code=503, headers={"retry-after": "1"})


async def secret(request: Request) -> Response:
    given = request.headers.get("authorization", "") or request.headers.get("x-key", "") or request.url.query
    state["auth"].append(given)
    return JSONResponse({"who": given}) if given else Response(status_code=401)


def description(base: str) -> dict[str, Any]:
    def form(href: str, *ops: str, **more: str) -> dict[str, Any]:
        return {"href": href, "op": list(ops), **more}

    return {
        "@context": [CONTEXT],
        "title": "boiler",
        "base": base,
        "securityDefinitions": {"nosec": {"scheme": "nosec"}},
        "security": "nosec",
        "properties": {
            "setpoint": {"type": "number", "unit": "Cel", "readOnly": False,
                         "forms": [form("setpoint", "readproperty", "writeproperty")]},
            "temperature": {"type": "number", "unit": "°C", "forms": [
                form("http://192.0.2.1/elsewhere", "readproperty"), form("temperature", "readproperty")]},
            "level": {"type": "number", "forms": [form("events", "observeproperty", subprotocol="sse")]},
            "far": {"type": "number", "forms": [form("http://192.0.2.1/far", "readproperty")]},
        },
        "actions": {"reset": {"input": {"type": "object"}, "forms": [form("reset", "invokeaction")]}},
    }  # fmt: skip


def openapi() -> dict[str, Any]:
    schema = {"type": "object", "properties": {
        "temperature": {"type": "number", "x-unit": "Cel", "readOnly": True},
        "pump": {"$ref": "#/components/schemas/Pump"}, "list": {"type": "array"}}}  # fmt: skip
    pump = {"type": "object", "properties": {"running": {"type": "boolean"}, "name": {"type": ["string", "null"]}}}
    answer = {"200": {"content": {"application/json": {"schema": schema}}}}
    item = {"get": {"parameters": [{"name": "id", "in": "query", "required": True}]}}
    number = {"200": {"content": {"application/json": {"schema": {"type": "number"}}}}}
    return {"openapi": "3.1.0", "info": {"title": "Pump house"}, "components": {"schemas": {"Pump": pump}},
            "paths": {"/status": {"get": {"responses": answer}}, "/item": item,
                      "/setpoint": {"get": {"responses": number}, "put": {}}}}  # fmt: skip


async def tasmota(request: Request) -> Response:
    command = request.query_params.get("cmnd", "").lower()
    if command.startswith("power"):
        state["on"] = command.endswith("on")
    sensors = {"Time": "2025-01-01T00:00:00", "ENERGY": {"Total": 3.185, "Power": 42, "Voltage": 231},
               "AM2301": {"Temperature": 71.6, "Humidity": 40.0}, "TempUnit": "F"}  # fmt: skip
    if command == "status 0":
        return JSONResponse({"Status": {"DeviceName": "Kettle"}, "StatusFWR": {}, "StatusSNS": sensors})
    if command == "status 10":
        return JSONResponse({"StatusSNS": sensors})
    return JSONResponse({"Time": "2025-01-01T00:00:00", "UptimeSec": 7, "POWER": "ON" if state["on"] else "OFF"})


def relay(on: bool) -> Response:
    state["on"] = on
    return JSONResponse({"ison": on})


async def switch(request: Request) -> Response:
    was, state["on"] = state["on"], (await request.json())["on"]
    return JSONResponse({"was_on": was})


ROUTES = [
    Route("/status", status),
    Route("/temperature", lambda request: PlainTextResponse("21.5")),
    Route("/setpoint", setpoint, methods=["GET", "PUT"]),
    Route("/reset", reset, methods=["POST"]),
    Route("/events", events),
    Route("/busy", busy),
    Route("/secret", secret),
    Route("/state", lambda request: JSONResponse(state)),
    Route("/td", lambda request: JSONResponse(description(str(request.base_url)), media_type="application/td+json")),
    Route("/page", lambda request: PlainTextResponse("hello", headers={"link": '</td>; rel="describedby"'})),
    Route("/openapi.json", lambda request: JSONResponse(openapi())),
    Route("/away", lambda request: RedirectResponse("http://192.0.2.1/")),
    Route("/near", lambda request: RedirectResponse("/status")),
    Route("/large", lambda request: Response(b'"' + b"x" * 5_000_000 + b'"', media_type="application/json")),
]
FAMILIES = {
    "shelly1": [
        Route("/shelly", lambda request: JSONResponse({"type": "SHSW-PM", "mac": "A1", "auth": False, "fw": "1.14"})),
        Route("/status", lambda request: JSONResponse({
            "wifi_sta": {"connected": True, "rssi": -60}, "time": "10:00", "unixtime": 1, "serial": 2, "mac": "A1",
            "relays": [{"ison": state["on"], "has_timer": False, "source": "http"}],
            "meters": [{"power": 42.5, "is_valid": True, "timestamp": 1, "counters": [1.0, 2.0, 3.0], "total": 6000}],
            "temperature": 31.5, "tmp": {"tC": 31.5, "tF": 88.7, "is_valid": True}, "uptime": 12})),
        Route("/relay/0", lambda request: relay(request.query_params["turn"] == "on")),
    ],
    "shelly2": [
        Route("/shelly", lambda request: JSONResponse({"id": "x", "gen": 2, "app": "Plus1PM", "name": "Heater"})),
        Route("/rpc/Shelly.GetStatus", lambda request: JSONResponse({
            "ble": {}, "sys": {"mac": "A1", "uptime": 3}, "wifi": {"rssi": -50},
            "switch:0": {"id": 0, "source": "init", "output": state["on"], "apower": 8.9, "voltage": 237.5,
                         "current": 0.04, "pf": 0.9, "aenergy": {"total": 6.532, "by_minute": [45.2], "minute_ts": 1},
                         "temperature": {"tC": 23.5, "tF": 74.4}}})),
        Route("/rpc/Switch.Set", switch, methods=["POST"]),
    ],
    "tasmota": [Route("/cm", tasmota)],
}  # fmt: skip


class Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print("ready", flush=True)


if __name__ == "__main__":
    routes = FAMILIES[sys.argv[2]] if len(sys.argv) > 2 else ROUTES
    app = Starlette(routes=routes)
    Server(uvicorn.Config(app, port=int(sys.argv[1]), log_level="critical", lifespan="off")).run()
