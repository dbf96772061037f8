"""An inverter of the demo that speaks OPC UA: asyncua's server, whose two variables carry the device's own times.

The server works in a thread of its own, since it builds the standard's nodes for seconds. Until the node's driver has
subscribed, the inverter reports over MQTT.
"""

import asyncio
import logging
from pathlib import Path
from threading import Thread
from typing import Any

from taihu.drivers.port import Point
from taihu.kernel.clock import Clock, to_datetime
from taihu.sim.connections import HOST, announce, port_or_any
from taihu.sim.devices import Send, Values
from taihu.things.property import Kind, Property

_PORT = 4840
_QUEUE = 64  # of reports between two notifications, however fast the demo runs
_URI = "urn:taihu:demo"
_NAMES = {"power": "Power", "energy": "Energy"}


class Inverter:
    """One inverter and its server."""

    def __init__(self, project: str, clock: Clock, site: Path) -> None:
        self._project = project
        self._clock = clock
        self._site = site
        self._server: Any = None
        self._nodes: dict[str, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> None:
        """Serve until the process ends; for a thread."""
        asyncio.run(self._serve())

    def tell(self, row: Values) -> bool:
        """Set the variables that a report has, if somebody has subscribed to them; from any thread."""
        if self._loop is None or not self._server.iserver.subscription_service.subscriptions:
            return False
        asyncio.run_coroutine_threadsafe(self._write(row), self._loop)
        return True

    async def _serve(self) -> None:
        from asyncua import Server, ua

        logging.getLogger("asyncua").setLevel(logging.ERROR)
        self._server = server = Server()
        await server.init()
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_endpoint(f"opc.tcp://{HOST}:{port_or_any(_PORT)}/inverter")
        index = await server.register_namespace(_URI)
        inverter = await server.nodes.objects.add_object(ua.NodeId("Inverter", index), "Inverter")
        unknown = ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadWaitingForInitialData))
        for name, called in _NAMES.items():
            node = ua.NodeId(called, index)
            await inverter.add_variable(node, called, 0.0, ua.VariantType.Double)
            await server.write_attribute_value(node, unknown)
            self._nodes[name] = node
        async with server:
            self._loop = asyncio.get_running_loop()
            url = f"opc.tcp://{HOST}:{server.bserver.port}/inverter"
            announce(
                self._site, self._clock, self._project, "pv", "opcua", url, points(), security="None", queue=_QUEUE
            )
            await asyncio.Event().wait()

    async def _write(self, row: Values) -> None:
        from asyncua import ua

        at = to_datetime(row["ts"] * 1_000_000)
        for name, value in row["values"].items():
            content = ua.DataValue(ua.Variant(value, ua.VariantType.Double), SourceTimestamp=at)
            await self._server.write_attribute_value(self._nodes[name], content)


def points() -> list[Point]:
    """What the node reads of it, as the model of an inverter has it."""

    def where(name: str) -> dict[str, Any]:
        return {"node": f"nsu={_URI};s={_NAMES[name]}", "repeats": True}

    return [
        Point(definition=Property(name="power", unit="kW"), where=where("power")),
        Point(
            definition=Property(name="energy", kind=Kind.INTERVAL, unit="kW.h", interval_s=3_600.0),
            where=where("energy"),
        ),
    ]


def serve_inverter(project: str, clock: Clock, site: Path, meanwhile: Send) -> Send:
    """Start an inverter's server; its reports go `meanwhile` where nobody is subscribed."""
    inverter = Inverter(project, clock, site)
    Thread(target=inverter.run, name="inverter", daemon=True).start()

    def send(rows: list[Values]) -> None:
        if len(rows) > 1 or not inverter.tell(rows[0]):
            meanwhile(rows)

    return send
