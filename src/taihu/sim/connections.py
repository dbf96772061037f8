"""The demo's connection files, written by the devices themselves: each knows the port that it found free."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taihu.drivers.files import FOLDER, ConnectionFile, write_connection
from taihu.drivers.port import Connection, Plan, Point, ThingPlan
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.sim.devices import REPORT_NS

HOST = "127.0.0.1"
_PERIOD_S_MIN = 0.05


def announce(
    site: Path, clock: Clock, project: str, thing: str, driver: str, url: str, points: Sequence[Point], **options: Any
) -> None:
    """Write the connection file of a device that serves now; it is read as often as other devices report."""
    connection = Connection(
        name=connection_name(project, thing),
        url=url,
        period_s=max(REPORT_NS / NS_PER_S / clock.speed, _PERIOD_S_MIN),
        options=options,
    )
    plan = Plan(things=(ThingPlan(name=thing, points=tuple(points)),))
    write_connection(site / FOLDER, ConnectionFile(project=project, driver=driver, connection=connection, plan=plan))


def connection_name(project: str, thing: str) -> str:
    """What the connection of a device is called."""
    return f"{project}-{thing}"


def port_or_any(wanted: int) -> int:
    """The port when it is free on this machine, else 0: any."""
    try:
        with socket.create_server((HOST, wanted)):
            return wanted
    except OSError:
        return 0
