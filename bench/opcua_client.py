"""A client for the OPC UA benchmark: our driver, or a bare loop on the same library.

`python -m bench.opcua_client taihu|asyncua PORT NODES SECONDS`; prints what came as JSON.
"""

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from asyncua import Client, ua

from taihu.drivers.opcua.driver import OpcuaDriver
from taihu.drivers.port import Connection, DeviceLost, Plan, Point, Reading, ThingPlan
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT
from taihu.things.property import Property

PERIOD_S = 0.1
_encode = msgspec.json.Encoder().encode


class Came(msgspec.Struct):
    """What a client took in the measured time. `points` is how many nodes were heard of in the last seconds."""

    changes: int = 0
    points: int = 0
    cpu_s: float = 0.0
    lost: int = 0
    counts: dict[str, int] = {}


class Sink:
    """Takes readings and encodes them, as a connection's line to the node does."""

    def __init__(self) -> None:
        self.changes = 0
        self.names: set[str] = set()
        self.counts: Counter[str] = Counter()

    async def readings(self, rows: Sequence[Reading]) -> None:
        for _, values, observed_at, _ in rows:
            _encode({"ts": observed_at, **values})
            self.changes += len(values)
            self.names.update(values)

    async def durable(self) -> None:
        pass

    def online(self, thing: str) -> None:
        pass

    def offline(self, thing: str, why: str) -> None:
        pass

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] += number


async def ours(port: int, nodes: int, seconds: float) -> Came:
    points = tuple(
        Point(definition=Property(name=f"v{number}"), where={"node": f"nsu=urn:taihu:bench;s=v{number}"})
        for number in range(nodes)
    )
    connection = Connection(name="line", url=f"opc.tcp://127.0.0.1:{port}/", period_s=PERIOD_S,
                            options={"security": "None", "sampling_s": 0.01})  # fmt: skip
    driver, sink, came = OpcuaDriver.open(connection, SystemClock(), DEFAULT), Sink(), Came()

    async def work() -> None:
        while True:
            try:
                await driver.run(Plan(things=(ThingPlan(name="line", points=points),)), sink)
            except DeviceLost:
                came.lost += 1
            await asyncio.sleep(1.0)

    task = asyncio.create_task(work())
    await _measured(sink, came, seconds)
    task.cancel()
    await driver.close()
    came.counts = dict(sink.counts)
    return came


async def bare(port: int, nodes: int, seconds: float) -> Came:
    sink, came = Sink(), Came()

    class Handler:
        def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
            held = data.monitored_item.Value
            _encode({"ts": int(held.SourceTimestamp.timestamp() * 1e9), names[node.nodeid.Identifier]: value})
            sink.changes += 1
            sink.names.add(node.nodeid.Identifier)

    async def lost(error: Exception) -> None:
        came.lost += 1

    client = Client(f"opc.tcp://127.0.0.1:{port}/")
    client.connection_lost_callback = lost
    await client.connect()
    index = await client.get_namespace_index("urn:taihu:bench")
    names = {f"v{number}": f"v{number}" for number in range(nodes)}
    subscription = await client.create_subscription(PERIOD_S * 1000, Handler())
    wanted = [client.get_node(ua.NodeId(name, index)) for name in names]
    await subscription.subscribe_data_change(wanted, queuesize=11, sampling_interval=10)
    await _measured(sink, came, seconds)
    try:
        async with asyncio.timeout(5):
            await client.disconnect()
    except Exception:  # noqa: BLE001 - it may be cut off already, and that is counted
        client.disconnect_socket()
    return came


async def _measured(sink: Sink, came: Came, seconds: float) -> None:
    await asyncio.sleep(2.0)
    changes, cpu = sink.changes, time.process_time()
    await asyncio.sleep(max(0.0, seconds - 2.0))
    sink.names.clear()
    await asyncio.sleep(min(2.0, seconds))
    came.changes, came.cpu_s = sink.changes - changes, time.process_time() - cpu
    came.points = len(sink.names)


def main() -> None:
    kind, port, nodes, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    logging.disable(logging.CRITICAL)
    came = asyncio.run((ours if kind == "taihu" else bare)(port, nodes, seconds))
    print(msgspec.json.encode(came).decode())


if __name__ == "__main__":
    main()
