"""The OPC UA server: a client that reads and follows a thousand of our properties, and what a value costs."""

import asyncio
import importlib.util
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from bench.harness import ROOT, Options, Report, Row
from bench.machine import cpu_seconds, memory_mb
from bench.node import PROJECT, Node, gauge
from taihu.kernel.config import load_site
from taihu.runtime.paths import Paths

NAME = "opcua_door"
_THINGS, _PROPERTIES = 100, 10
_WAIT_S = 60.0


def run(options: Options) -> Report:
    """Reads of all nodes one after the other, then changes of all nodes once a second."""
    report = Report(NAME, "OPC UA server: a client of 1,000 nodes")
    if importlib.util.find_spec("asyncua") is None:
        report.note("asyncua is not installed: pip install 'taihu[opcua]'.")
        return report
    things = [f"thing-{number:03d}" for number in range(4 if options.smoke else _THINGS)]
    names = [f"p{number}" for number in range(_PROPERTIES)]
    node = Node(["device"], {name: gauge("W", 1e9) for name in names}, things=things)
    node.configure("opcua", port=0)
    with node:
        _post(node, things, names, 0.0)
        with _door(node) as (port, door):
            report.rows += asyncio.run(_measured(node, port, door, things, names, options.seconds))
    report.note(
        "CPU of the server's process alone; the client is asyncua, signed in on loopback without encryption. Every "
        "node changes once a second by one POST; the delay is from before the POST to the client's callback, and holds "
        "the server's interval of 1 s, in which a node that changes twice is told of once. Goal: 1,000 nodes."
    )
    return report


async def _measured(
    node: Node, port: int, door: int, things: Sequence[str], names: Sequence[str], seconds: float
) -> list[Row]:
    from asyncua import Client, ua

    client = Client(f"opc.tcp://127.0.0.1:{port}", timeout=30)
    client.set_user("bench")
    client.set_password(node.operator)
    async with client:
        index = await client.get_namespace_index("urn:taihu:things")
        nodes = [client.get_node(ua.NodeId(f"{PROJECT}/{thing}/{name}", index)) for thing in things for name in names]
        row = await _read(client, nodes, door, seconds)
        return [row, await _followed(node, client, nodes, door, things, names, seconds)]


async def _read(client: Any, nodes: Sequence[Any], door: int, seconds: float) -> Row:
    before, began, reads = cpu_seconds(door), time.perf_counter(), []
    while time.perf_counter() - began < seconds:
        asked = time.perf_counter()
        assert len(await client.read_values(nodes)) == len(nodes)
        reads.append(time.perf_counter() - asked)
    return _row("reads all", nodes, len(reads) * len(nodes), time.perf_counter() - began, before, door, reads)


async def _followed(
    node: Node,
    client: Any,
    nodes: Sequence[Any],
    door: int,
    things: Sequence[str],
    names: Sequence[str],
    seconds: float,
) -> Row:
    sent: dict[float, float] = {}
    delays: list[float] = []
    rounds = max(2, round(seconds))
    last = 0

    class Told:
        def datachange_notification(self, node: Any, value: float, data: Any) -> None:
            nonlocal last
            if value in sent:
                delays.append(time.perf_counter() - sent[value])
                last += value == rounds

    subscription = await client.create_subscription(200, Told())
    await subscription.subscribe_data_change(nodes)
    before, began = cpu_seconds(door), time.perf_counter()
    for number in range(1, rounds + 1):
        sent[float(number)] = time.perf_counter()
        await asyncio.to_thread(_post, node, things, names, float(number))
        await asyncio.sleep(max(0.0, began + number - time.perf_counter()))
    for _ in range(200):  # what is still on its way
        if last == len(nodes):
            break
        await asyncio.sleep(0.05)
    took = time.perf_counter() - began
    row = _row("is told of changes", nodes, len(delays), took, before, door, delays)
    await subscription.delete()
    assert last == len(nodes), f"{last} of {len(nodes)} nodes told their last value"
    return row | {"of what changed": len(delays) / (rounds * len(nodes))}


def _row(
    what: str, nodes: Sequence[Any], values: int, took: float, cpu_before: float, door: int, delays: list[float]
) -> Row:
    assert values, f"a client that {what} got nothing"
    return {
        "a client": what,
        "nodes": float(len(nodes)),
        "values/s": values / took,
        "server us/value": (cpu_seconds(door) - cpu_before) / values * 1e6,
        "p50 ms": statistics.median(delays) * 1000,
        "p99 ms": sorted(delays)[int(len(delays) * 0.99)] * 1000,
        "server MB": memory_mb(door)["pss"],
    }


@contextmanager
def _door(node: Node) -> Iterator[tuple[int, int]]:
    """The OPC UA process of a node: its port and process."""
    path = Paths(load_site(node.folder).data).opcua
    command = [sys.executable, "-m", "taihu.runtime", "opcua", str(node.folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        until = time.perf_counter() + _WAIT_S
        while not path.exists():
            if process.poll() is not None or time.perf_counter() > until:
                raise RuntimeError("the OPC UA process did not start")
            time.sleep(0.05)
        yield int(msgspec.json.decode(path.read_bytes())["port"]), process.pid
    finally:
        process.terminate()
        process.wait()


def _post(node: Node, things: Sequence[str], names: Sequence[str], value: float) -> None:
    body = msgspec.json.encode({thing: [dict.fromkeys(names, value)] for thing in things})
    assert node.post(f"/projects/{PROJECT}/readings", body)["accepted"] == len(things)
