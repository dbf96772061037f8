"""`taihu run`: one site's processes under one supervisor."""

import asyncio
import errno
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Any

import msgspec

from taihu.drivers.files import FOLDER
from taihu.identity.directory import Directory
from taihu.kernel.addresses import address_family
from taihu.kernel.clock import Clock, ScaledClock, SystemClock
from taihu.kernel.config import load_site, parse_site, read_text
from taihu.kernel.errors import RefusedError, TransientError
from taihu.kernel.files import OsFiles, write_atomic
from taihu.kernel.sections import Site
from taihu.kernel.site_checks import listeners_of, upstream_fault
from taihu.runtime.apply import apply_site
from taihu.runtime.democlock import SAVE_PERIOD_S, save_clock, start_clock
from taihu.runtime.edge.state import ENVIRONMENT, upstream_of
from taihu.runtime.installed import check_installed
from taihu.runtime.logs import start_logging
from taihu.runtime.notify import Notifier, keep_alive
from taihu.runtime.paths import Paths
from taihu.runtime.process import run_until_signal
from taihu.runtime.supervise import Child, port_holder, python_module

log = logging.getLogger("taihu.run")

_READY_S = 60.0


class PortTaken(RefusedError):
    """Another process listens where a door should open: the message names it."""

    code = "port-taken"


class Supervisor:
    """Ingest and worker of one site, and whatever else is added, from start to stop."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.paths = Paths(site.data)
        self.files = OsFiles()
        self.machine = SystemClock()
        self.clock: Clock = self.machine
        self.children: list[Child] = []
        self._looked_ns = 0
        self._unsaved = False

    def prepare(self) -> Directory:
        """Make the data folder, start the demo clock if there is one, and apply the configuration.

        Returns the open directory: close it before `start`, since ingest is its one writer from then on.
        """
        self.files.make_folder(self.site.data)
        if self.site.clock.start_ns is not None:
            self.clock = start_clock(self.files, self.paths.clock, self.site.clock.start_ns, self.site.clock.speed)
        directory = Directory(self.paths.metadata, self.clock, self.site.limits)
        try:
            apply_site(self.site, directory, self.files)
        except BaseException:
            directory.close()
            raise
        return directory

    async def start(self) -> dict[str, Any]:
        """Start ingest and worker; returns where ingest listens, once it does and the worker answers it.

        Raises:
            TransientError: it did not start: its log, above, says why.
        """
        self.files.remove(self.paths.node)
        write_atomic(self.files, self.paths.running, read_text(self.site.folder).encode())
        for name in ("ingest", "worker"):
            await self._add_process(name)
        began = self.machine.monotonic()
        while self.machine.monotonic() - began < _READY_S:
            if self.paths.node.exists():
                addresses: dict[str, Any] = msgspec.json.decode(self.paths.node.read_bytes())
                if addresses["worker"]:
                    await self._attend_to_field()
                    if upstream_of(self.site):
                        await self._add_process("edge")
                    await self._attend_to_controllers()
                    if self.site.opcua.port is not None:
                        await self._add_process("opcua")
                    return addresses
            if self.children[0].restarts > 2:
                break
            await asyncio.sleep(0.02)
        raise TransientError("The node did not start.", "Its log above says why.")

    async def add(self, name: str, arguments: list[str]) -> Child:
        """Start another process of this node and watch over it."""
        child = Child(name, arguments, self.machine)
        self.children.append(child)
        await child.start()
        return child

    async def serve(self, stop: asyncio.Event) -> None:
        """Until `stop`: keep the demo clock's place."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(SAVE_PERIOD_S):
                    await stop.wait()
            except TimeoutError:
                self._save_clock(clean=False)
                await self._attend_to_field()
                await self._attend_to_controllers()

    def reload(self) -> None:
        """Let ingest take over a changed configuration."""
        if self.children and (pid := self.children[0].pid):
            os.kill(pid, signal.SIGHUP)

    def starting(self) -> bool:
        """Whether ingest was started just now, and may still read what it had stored."""
        return self.children[0].age_s < _READY_S

    async def quiet(self) -> None:
        """Stop all but ingest and worker, last first: nobody speaks to the node any more."""
        for child in reversed(self.children[2:]):
            await child.stop()

    async def stop(self) -> None:
        """Stop what was started, last first: the worker before ingest, so that it checkpoints."""
        for child in reversed(self.children):
            await child.stop()
        self._save_clock(clean=True)

    async def _add_process(self, name: str) -> None:
        await self.add(name, python_module("taihu.runtime", name, self.site.folder, self.paths.running))

    async def start_field(self) -> None:
        """Start the drivers' process, unless it runs."""
        if not any(child.name == "field" for child in self.children):
            await self._add_process("field")

    async def _attend_to_field(self) -> None:
        """Start the drivers' process when there is a connection for it: most sites have none."""
        if any((self.site.folder / FOLDER).glob("*.toml")):
            await self.start_field()

    async def _attend_to_controllers(self) -> None:
        """Start the pilot when a project has a controller or a scheduler, from the start or since a reload."""
        if any(child.name == "pilot" for child in self.children):
            return
        changed_ns = self.paths.running.stat().st_mtime_ns
        if changed_ns != self._looked_ns:
            self._looked_ns = changed_ns
            site = parse_site(self.paths.running.read_text("utf-8"), self.site.folder)
            if any(project.controllers or project.schedulers for project in site.projects) or self._has_held():
                await self._add_process("pilot")

    def _has_held(self) -> bool:
        """Whether a pilot that ran before holds permits: whose loops are gone brings to rest what they drove."""
        from taihu.runtime.pilot.held import any_held  # it loads SQLite, which the supervisor seldom needs

        return any_held(self.paths.decisions)

    def _save_clock(self, *, clean: bool) -> None:
        if not isinstance(self.clock, ScaledClock):
            return
        try:
            save_clock(self.files, self.paths.clock, self.clock, clean=clean)
        except OSError as error:  # the disk is full: no reason to end
            if not self._unsaved:
                log.error("the demo clock is not saved: %s", error)
            self._unsaved = True
        else:
            self._unsaved = False


def check_ports(site: Site) -> None:
    """Raise PortTaken, naming the process, when a port of the site is not free."""
    for name, host, port in listeners_of(site):
        error = listen_error(host, port) if port else None
        if not port or error is None:
            continue
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"Port {port} ({name}) is taken by {port_holder(port)}.",
                f"Stop it, or set another {name} in site.toml.",
            )
        section = name.partition(".")[0]
        raise RefusedError(
            f"Nothing can listen on {host}, port {port} ({name}): {error.strerror}.",
            f"Correct [{section}] host or {name} in site.toml; ports below 1024 need a privilege.",
        )


def port_free(host: str, port: int) -> bool:
    """Whether a door could listen there now."""
    return listen_error(host, port) is None


def listen_error(host: str, port: int) -> OSError | None:
    """Why a door could not listen there now; None when it could."""
    try:
        with socket.create_server((host, port), family=address_family(host)):
            return None
    except OSError as error:
        return error


def main(folder: Path, upstream: str | None = None) -> None:
    """Run the site until a signal; `upstream` is the centre it sends to, whatever the configuration says."""
    site = load_site(folder)
    if upstream is not None:
        if fault := upstream_fault(upstream):
            raise RefusedError(fault, "Write mqtts://centre.example:8883.")
        os.environ[ENVIRONMENT] = upstream
    start_logging("taihu", site.log)
    check_ports(site)
    check_installed(site)

    notifier = Notifier(os.environ)

    supervisor = Supervisor(site)

    async def body(stop: asyncio.Event) -> None:
        supervisor.prepare().close()
        try:
            addresses = await supervisor.start()
            mqtt, http = addresses["mqtt"], addresses["http"]
            token = supervisor.paths.admin_token
            log.info("MQTT on %s:%d, API on http://%s:%d, its owner's token in %s", *mqtt, *http, token)
            notifier.ready(f"MQTT on {mqtt[0]}:{mqtt[1]}, API on http://{http[0]}:{http[1]}")
            beating = asyncio.create_task(keep_alive(notifier, http[0], http[1], supervisor.starting))
            await supervisor.serve(stop)
            beating.cancel()
        finally:
            notifier.stopping()
            await supervisor.stop()

    run_until_signal(body, supervisor.reload)
