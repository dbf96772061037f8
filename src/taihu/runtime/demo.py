"""`taihu demo`: 17 measured houses as 17 projects, their district as the 18th, on a demo clock, with a page."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from taihu.drivers.files import FOLDER
from taihu.identity.directory import Directory
from taihu.identity.principal import CredentialKind
from taihu.kernel.clock import NS_PER_S, ScaledClock, format_iso
from taihu.kernel.config import load_site
from taihu.kernel.files import write_atomic
from taihu.kernel.sections import Site
from taihu.runtime.ask import Ask
from taihu.runtime.installed import is_installed
from taihu.runtime.logs import start_logging
from taihu.runtime.process import run_until_signal
from taihu.runtime.run import Supervisor, port_free
from taihu.runtime.screen import shared_screen
from taihu.runtime.supervise import port_holder, python_module
from taihu.sim.connections import connection_name
from taihu.sim.site import DEVICES, DISTRICT, OPCUA_INVERTER, WIRED, site_text, write_models

log = logging.getLogger("taihu.demo")

_PORTS = {"mqtt": 1883, "http": 8080, "console": 8090}
_SCREEN_PERIOD_S = 1.0


class Options(msgspec.Struct, frozen=True):
    """How to run the demo. `seconds` None runs until Ctrl-C; `speed` is demo seconds a second."""

    folder: Path
    headless: bool = False
    seconds: float | None = None
    as_json: bool = False
    speed: float = 600.0
    mqtt_port: int = _PORTS["mqtt"]
    http_port: int = _PORTS["http"]
    console_port: int = _PORTS["console"]


class Secrets(msgspec.Struct):
    """The demo's own tokens: each device's by `project/thing`, and the district operator's for the page."""

    tokens: dict[str, str] = {}
    operator: str = ""


def main(options: Options) -> None:
    """Run the demo until a signal or its time is over."""
    start_logging("demo")
    if options.as_json or not Console(stderr=True).is_terminal:
        logging.getLogger().setLevel(logging.WARNING)
    site = _make_site(options)
    with shared_screen() as screen:
        run_until_signal(lambda stop: _run(site, options, screen, stop))


async def _run(site: Site, options: Options, screen: Console, stop: asyncio.Event) -> None:
    supervisor = Supervisor(site)
    directory = supervisor.prepare()
    first_start = not (site.data / "secrets.json").exists()
    secrets = _issue_tokens(supervisor, directory)
    directory.close()
    status: dict[str, Any] = {}
    try:
        addresses = await supervisor.start()
        ask = Ask(addresses["http"][0], addresses["http"][1], secrets.operator)
        await _start_devices(supervisor, addresses, secrets, first_start)
        if not options.headless:
            await _start_console(supervisor, site, options)
        status = await _watch(supervisor, ask, options, screen, stop)
    finally:
        await supervisor.stop()
    if options.as_json:
        print(msgspec.json.encode(status).decode())  # noqa: T201 - the demo's answer


def _make_site(options: Options) -> Site:
    """Write the demo's site folder; ports that are taken are named and the next free ones used."""
    ports: dict[str, int] = {}
    for name, wanted in (("mqtt", options.mqtt_port), ("http", options.http_port), ("console", options.console_port)):
        port = wanted
        while port and (not port_free("127.0.0.1", port) or port in ports.values()):
            port += 1
        if port != wanted:
            log.warning("port %d is taken by %s: the demo's %s is on %d", wanted, port_holder(wanted), name, port)
        ports[name] = port
    options.folder.mkdir(parents=True, exist_ok=True)
    write_models(options.folder)
    for project, thing in WIRED:
        (options.folder / FOLDER / f"{connection_name(project, thing)}.toml").unlink(missing_ok=True)
    (options.folder / "site.toml").write_text(site_text(ports, options.speed), "utf-8")
    return load_site(options.folder)


def _issue_tokens(supervisor: Supervisor, directory: Directory) -> Secrets:
    """A token for each device and the page, made at the first start and kept in a file only its owner reads."""
    path = supervisor.site.data / "secrets.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Secrets)
    except FileNotFoundError:
        secrets = Secrets()
    for project, thing in DEVICES:
        _, token = directory.issue_token(CredentialKind.THING, project, thing, label="demo device", by="demo")
        secrets.tokens[f"{project}/{thing}"] = token
    _, secrets.operator = directory.issue_token(CredentialKind.OPERATOR, DISTRICT, label="demo page", by="demo")
    write_atomic(supervisor.files, path, msgspec.json.encode(secrets))
    return secrets


async def _start_devices(
    supervisor: Supervisor, addresses: dict[str, Any], secrets: Secrets, first_start: bool
) -> None:
    clock = supervisor.clock
    assert isinstance(clock, ScaledClock)
    host, port = addresses["mqtt"]
    opcua = is_installed("asyncua")
    if not opcua:
        log.warning(
            "the driver for OPC UA is not installed, so the inverter of %s speaks MQTT, as the others do; "
            "for OPC UA run: pip install 'taihu[opcua]'",
            OPCUA_INVERTER[0],
        )
    plan = {
        "host": host,
        "port": port,
        "origin_ns": clock.origin_ns,
        "anchor_ns": clock.anchor_ns,
        "speed": clock.speed,
        "first_start": first_start,
        "state": str(supervisor.site.data / "houses.json"),
        "site": str(supervisor.site.folder),
        "opcua": opcua,
        "tokens": secrets.tokens,
    }
    path = supervisor.site.data / "devices.json"
    write_atomic(supervisor.files, path, msgspec.json.encode(plan))
    await supervisor.add("devices", python_module("taihu.sim", path))
    await supervisor.start_field()  # it has imported its drivers when the devices' connection files come


async def _start_console(supervisor: Supervisor, site: Site, options: Options) -> None:
    token = site.data / "operator.token"
    secrets = msgspec.json.decode((site.data / "secrets.json").read_bytes(), type=Secrets)
    write_atomic(supervisor.files, token, secrets.operator.encode())
    await supervisor.add("console", python_module("taihu.runtime", "console", site.folder, token))
    print(f"\n  The district: http://{site.console.host}:{site.console.port}    (Ctrl-C stops)\n", flush=True)  # noqa: T201


async def _watch(
    supervisor: Supervisor, ask: Ask, options: Options, screen: Console, stop: asyncio.Event
) -> dict[str, Any]:
    """Show the counters until the end; returns the last."""
    serving = asyncio.create_task(supervisor.serve(stop))
    machine = supervisor.machine
    began = machine.monotonic()
    status: dict[str, Any] = {}
    with Live(console=screen, refresh_per_second=2, transient=True, auto_refresh=screen.is_terminal) as live:
        while not stop.is_set():
            if options.seconds is not None and machine.monotonic() - began >= options.seconds:
                stop.set()
                break
            await asyncio.sleep(_SCREEN_PERIOD_S)
            status = await ask.get("/api/v1/node") or status
            live.update(_table(status))
    await serving
    await supervisor.quiet()
    return await _settled(ask, status)


async def _settled(ask: Ask, status: dict[str, Any]) -> dict[str, Any]:
    """The counters, now that nobody speaks, once the history has taken over what the journal has.

    Those of MQTT are from before: they say how many devices were connected.
    """
    for _ in range(100):
        latest = await ask.get("/api/v1/node")
        if latest is None:
            break
        status = latest | {"mqtt": status.get("mqtt", latest["mqtt"])}
        if status["history_position"] >= status["journal_position"]:
            break
        await asyncio.sleep(0.05)
    return status


def _table(status: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 3))
    if status:
        table.add_row("demo time", format_iso(status["now"] // NS_PER_S * NS_PER_S))
        table.add_row("devices connected", str(status["mqtt"].get("connected", "")))
        table.add_row("messages acknowledged", f"{status['acked']:,}")
        table.add_row("points in the history", f"{status['stored']:,} of {status['points']:,}")
        table.add_row("refused", f"{status['refused']:,}")
    return table
