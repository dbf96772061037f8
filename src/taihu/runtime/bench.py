"""`taihu bench`: how many readings this machine takes over, durably, and how soon the history has them."""

import asyncio
import tempfile
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from taihu.identity.principal import CredentialKind
from taihu.kernel.config import load_site
from taihu.runtime.ask import Ask
from taihu.runtime.process import run_until_signal
from taihu.runtime.run import Supervisor
from taihu.runtime.supervise import python_module
from taihu.sim.flood import VALUES, Flood
from taihu.things.property import Thing

_CONNECTIONS = 4
_SITE = '[mqtt]\nport = 0\n[http]\nport = 0\n[[project]]\nname = "bench"\n'
_SETTLE_TRIES = 600


def main(seconds: float, as_json: bool) -> None:
    """Run a node in a temporary folder, flood it over MQTT, and print what it did."""
    result: dict[str, Any] = {}

    async def body(stop: asyncio.Event) -> None:
        with tempfile.TemporaryDirectory(prefix="taihu-bench-") as folder:
            (Path(folder) / "site.toml").write_text(_SITE)
            measuring = asyncio.create_task(_measure(Supervisor(load_site(Path(folder))), seconds))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((measuring, stopping), return_when=asyncio.FIRST_COMPLETED)
            for task in (measuring, stopping):
                task.cancel()
            with suppress(asyncio.CancelledError):
                result.update(await measuring)

    with Console(stderr=True).status(f"Measuring for {seconds:g} s"):
        run_until_signal(body)
    if not result:
        raise KeyboardInterrupt
    _print(result, as_json)


async def _measure(supervisor: Supervisor, seconds: float) -> dict[str, Any]:
    directory = supervisor.prepare()
    things = [Thing(name=f"device-{number}") for number in range(_CONNECTIONS)]
    directory.create_things("bench", things)
    tokens = [directory.issue_token(CredentialKind.THING, "bench", thing.name)[1] for thing in things]
    _, operator = directory.issue_token(CredentialKind.OPERATOR, "bench")
    directory.close()
    process = None
    try:
        addresses = await supervisor.start()
        ask = Ask(addresses["http"][0], addresses["http"][1], operator)
        host, port = addresses["mqtt"]
        command = python_module("taihu.sim.flood", host, str(port), str(seconds))
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, start_new_session=True)
        output, _ = await process.communicate("\n".join(tokens).encode())
        flood = msgspec.json.decode(output, type=Flood)
        began = supervisor.machine.monotonic()
        status = await _stored(ask, flood.messages * VALUES)
        lag_s = supervisor.machine.monotonic() - began
    finally:
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
        await supervisor.stop()
    waits = sorted(flood.waits)
    return {
        "messages_per_s": round(flood.messages / flood.seconds),
        "points_per_s": round(flood.messages * VALUES / flood.seconds),
        "acked": flood.messages,
        "stored_points": status.get("stored", 0),
        "ack_ms_p50": round(1000 * waits[len(waits) // 2], 2),
        "ack_ms_p99": round(1000 * waits[len(waits) * 99 // 100], 2),
        "history_lag_s": round(lag_s, 2),
        "connections": _CONNECTIONS,
        "seconds": round(flood.seconds, 2),
    }


async def _stored(ask: Ask, points: int) -> dict[str, Any]:
    """The node's counters once the history has all points, or what it has after a minute."""
    status: dict[str, Any] = {}
    for _ in range(_SETTLE_TRIES):
        status = await ask.get("/api/v1/node") or {}
        if status.get("stored", 0) >= points:
            break
        await asyncio.sleep(0.1)
    return status


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        Console().out(msgspec.json.encode(result).decode(), highlight=False)
        return
    table = Table(title="MQTT QoS 1, durable before each acknowledgement", box=None)
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in result.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    Console().print(table)
