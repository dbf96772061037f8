"""`taihu add` and `taihu connections`: finds out what is at an address, and keeps it as a connection's file."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from taihu.drivers.files import FOLDER, ConnectionFile, read_connection, write_connection, write_keyring
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Driver, Found, Scanner
from taihu.kernel.clock import SystemClock
from taihu.kernel.errors import ConfigError, RefusedError
from taihu.kernel.ids import check_name, check_project
from taihu.kernel.limits import DEFAULT
from taihu.kernel.sections import Site
from taihu.runtime.field.drivers import driver_for, load_driver
from taihu.runtime.paths import Paths

_DISCOVER_S = 60.0
T = TypeVar("T")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants connected."""

    project: str
    name: str
    url: str
    driver: str = ""
    period_s: float = 10.0
    options: dict[str, Any] = {}
    secrets: dict[str, str] = {}


def discover(asked: Asked, site: Path) -> ConnectionFile:
    """Connect, find out, and let go. What the driver keeps of its own is in the site's folder of connections.

    Raises:
        NoDriver: nothing speaks the URL's scheme. DeviceLost, DeviceRefused: as the driver finds it.
    """
    name, connection, driver = _opened(asked, site)
    plan = asyncio.run(_within_time(driver, driver.discover))
    kept = msgspec.structs.replace(connection, options={**plan.options, **connection.options})
    return ConnectionFile(project=asked.project, driver=name, connection=kept, plan=plan)


def scan(asked: Asked, site: Path) -> list[Found]:
    """The devices behind a gateway's address, or on its network; raises as `discover` does."""
    name, _, driver = _opened(asked, site)
    if not isinstance(driver, Scanner):
        raise DeviceRefused(f"The driver {name} cannot search.", "Give the address of the device itself.")
    return asyncio.run(_within_time(driver, driver.scan))


def keep(site: Path, file: ConnectionFile) -> Path:
    """Write a connection into a site's folder, its secrets into the keyring.

    Raises:
        RefusedError: there is one of that name.
    """
    folder = site / FOLDER
    name = file.connection.name
    if (folder / f"{name}.toml").exists():
        raise RefusedError(
            f"There is a connection {name} already.", f"Give another --name, or: taihu disconnect {name}"
        )
    if file.connection.secrets:
        write_keyring(folder, name, dict(file.connection.secrets))
    return write_connection(folder, file)


def remove(site: Path, name: str) -> None:
    """Remove a connection's file and secrets; RefusedError when there is none."""
    folder = site / FOLDER
    path = folder / f"{check_name(name)}.toml"
    if not path.exists():
        raise RefusedError(f"There is no connection {name}.", "See: taihu connections")
    path.unlink()
    write_keyring(folder, name, {})


def states(site: Site) -> list[dict[str, Any]]:
    """Every connection of a site: running, lost, broken or not running, and why."""
    try:
        shown = msgspec.json.decode(Paths(site.data).field.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        shown = {"connections": [], "broken": []}
    known = {one["name"]: one for one in shown["connections"]}
    found = []
    for path in sorted((site.folder / FOLDER).glob("*.toml")):
        entry: dict[str, Any] = {"name": path.stem, "project": "", "driver": "", "counts": {}, "why": ""}
        try:
            file = read_connection(path)
            entry |= {"project": file.project, "driver": file.driver}
        except ConfigError as error:
            found.append(entry | {"state": "broken", "why": str(error)})
            continue
        running = known.get(path.stem)
        if running is None:
            state = "broken" if path.stem in shown["broken"] else "not running"
            found.append(entry | {"state": state, "why": "see the node's log" if state == "broken" else ""})
        else:
            state = "lost" if running["lost"] else "running"
            found.append(entry | {"state": state, "counts": running["counts"], "why": running["lost"]})
    return found


def _opened(asked: Asked, site: Path) -> tuple[str, Connection, Driver]:
    """The driver's name, the connection, and a driver for it."""
    check_project(asked.project)
    check_name(asked.name)
    name, kind = (asked.driver, load_driver(asked.driver)) if asked.driver else driver_for(asked.url)
    connection = Connection(
        name=asked.name,
        url=asked.url,
        period_s=asked.period_s,
        options=asked.options,
        secrets=asked.secrets,
        folder=site / FOLDER,
    )
    return name, connection, kind.open(connection, SystemClock(), DEFAULT)


async def _within_time(driver: Driver, find: Callable[[], Awaitable[T]]) -> T:
    """What a driver finds, bounded in time; it is let go."""
    try:
        async with asyncio.timeout(_DISCOVER_S):
            return await find()
    except TimeoutError:
        raise DeviceLost(f"Nothing came of it within {_DISCOVER_S:g} s.", "Look at the device.") from None
    finally:
        await driver.close()
