"""The field process: runs the drivers of a site's connections, each with a line of its own to the node.

It is a client of the node: readings go in by MQTT, things are declared by the HTTP API. A driver, or a library under
one, that crashes takes nothing else with it. Connection files that appear, change or go are taken over within seconds.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from taihu.control.permit import Authority
from taihu.drivers.files import FOLDER, KEYRING, ConnectionFile, read_connection, read_keyring
from taihu.drivers.port import ActionPlan
from taihu.drivers.telling import Teller
from taihu.kernel.clock import Clock
from taihu.kernel.errors import ConfigError, RefusedError, TaihuError
from taihu.kernel.files import OsFiles, write_atomic
from taihu.kernel.sections import Site
from taihu.protocols.mqtt.client import Client
from taihu.runtime.ask import Ask
from taihu.runtime.field.attachment import Attachment, state_of
from taihu.runtime.field.drivers import load_driver
from taihu.runtime.field.telling import NodeView, Telling
from taihu.runtime.field.uplink import Uplink
from taihu.runtime.logs import start_logging
from taihu.runtime.paths import Paths
from taihu.runtime.process import clock_of, run_until_signal

log = logging.getLogger("taihu.field")

_LOOK_S = 1.0
_CONNECTIONS_MAX = 10_000
_IN_FLIGHT_MAX = 1_000  # of readings to the node, which says itself how many it takes


class Running:
    """A connection at work, and the file it is from."""

    def __init__(self, stamp: tuple[int, int], attachment: Attachment | Telling, task: asyncio.Task[None]) -> None:
        self.stamp = stamp
        self.attachment = attachment
        self.task = task


class Field:
    """All connections of a site."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site = site
        self._clock = clock
        self._folder = site.folder / FOLDER
        self._paths = Paths(site.data)
        self._files = OsFiles()
        self._running: dict[str, Running] = {}
        self._broken: dict[str, tuple[int, int]] = {}
        self._tokens: dict[str, str] = {}
        self._random = Random()  # noqa: S311 - jitter of pauses, no secret
        self._shown: Any = None

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`."""
        while not stop.is_set():
            await self._look()
            self._show()
            try:
                async with asyncio.timeout(_LOOK_S):
                    await stop.wait()
            except TimeoutError:
                continue
        await asyncio.gather(*(self._end(name) for name in list(self._running)))

    async def _look(self) -> None:
        """Take over what has changed in the folder."""
        found = self._stamps()
        for name in self._running.keys() - found.keys():
            log.info("the connection %s is gone", name)
            await self._end(name)
        for name, stamp in found.items():
            running = self._running.get(name)
            if (running is not None and running.stamp == stamp) or self._broken.get(name) == stamp:
                continue
            if running is not None:
                await self._end(name)
            await self._start(name, stamp)

    async def _start(self, name: str, stamp: tuple[int, int]) -> None:
        try:
            file = read_connection(self._folder / f"{name}.toml")
            secrets = read_keyring(self._folder).get(name, {})
            connection = msgspec.structs.replace(file.connection, secrets=secrets, folder=self._folder)
            file = msgspec.structs.replace(file, connection=connection)
            driver: Any = load_driver(file.driver).open(connection, self._clock, self._site.limits)
            addresses = msgspec.json.decode(self._paths.node.read_bytes())
            (http, http_port), (mqtt, mqtt_port) = addresses["http"], addresses["mqtt"]
            ask = Ask(http, http_port, self._paths.admin_token.read_text())
            token = await self._token(ask, file.project)
            await declare(ask, file)
        except (ConfigError, RefusedError) as error:
            log.error("the connection %s cannot be: %s", name, error)
            self._broken[name] = stamp
            return
        except (TaihuError, OSError, msgspec.DecodeError) as error:
            log.warning("the connection %s is tried again: %s", name, error)
            return
        self._broken.pop(name, None)
        if isinstance(driver, Teller):
            view = NodeView(Ask(http, http_port, token), file, self._paths.data / f"teller-{name}.json")
            telling = Telling(file, driver, view, self._clock, self._random)
            self._run(name, stamp, telling, telling.run())
            return
        attachment = Attachment(file, driver, self._authority, self._clock, self._random)
        client = Client(f"field-{name}", version=5, username=token, clean_start=True, in_flight_max=_IN_FLIGHT_MAX)
        uplink = Uplink(mqtt, mqtt_port, client, self._clock, attachment.message, self._random)
        self._run(name, stamp, attachment, attachment.run(uplink))

    def _run(
        self, name: str, stamp: tuple[int, int], work: Attachment | Telling, running: Coroutine[Any, Any, None]
    ) -> None:
        task = asyncio.create_task(running)
        task.add_done_callback(lambda ended: self._ended(name, ended))
        self._running[name] = Running(stamp, work, task)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        """A driver met a defect: it is told once, and started again when its file is touched."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the driver of %s met a defect and is stopped", name, exc_info=error)
            running = self._running.pop(name, None)
            if running is not None:
                self._broken[name] = running.stamp

    async def _end(self, name: str) -> None:
        running = self._running.pop(name)
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)

    def _authority(self) -> Authority:
        return Authority(self._paths.control_key.read_bytes())

    async def _token(self, ask: Ask, project: str) -> str:
        """An operator's token of the project for this process, kept for its owner alone."""
        if not self._tokens and self._paths.field_tokens.exists():
            self._tokens = msgspec.json.decode(self._paths.field_tokens.read_bytes(), type=dict[str, str])
        if project not in self._tokens:
            body = {"project": project, "kind": "operator", "label": "drivers"}
            self._tokens[project] = (await ask.post("/api/v1/admin/token-issue", body))["token"]
            write_atomic(self._files, self._paths.field_tokens, msgspec.json.encode(self._tokens))
        return self._tokens[project]

    def _stamps(self) -> dict[str, tuple[int, int]]:
        """When each connection's file, and the keyring, were last changed."""
        keyring = _changed(self._folder / KEYRING)
        paths = sorted(self._folder.glob("*.toml"))[:_CONNECTIONS_MAX] if self._folder.is_dir() else []
        return {path.stem: (_changed(path), keyring) for path in paths}

    def _show(self) -> None:
        """Write how the connections are, for `taihu connections` and `taihu doctor`."""
        states = [state_of(running.attachment) for running in self._running.values()]
        shown = {"connections": states, "broken": sorted(self._broken)}
        if shown != self._shown:
            self._shown = shown
            self._paths.field.write_bytes(msgspec.json.encode(shown))


async def declare(ask: Ask, file: ConnectionFile) -> None:
    """Make the node know the things of a connection: properties with kinds and units, and actions."""
    for thing in file.plan.things:
        properties = {point.definition.name: msgspec.to_builtins(point.definition) for point in thing.points}
        known = await ask.get(f"/api/v1/projects/{file.project}/things/{thing.name}")
        if known is None:
            body: Mapping[str, Any] = {
                "project": file.project, "name": thing.name, "title": thing.title, "properties": properties
            }  # fmt: skip
            known = await ask.post("/api/v1/admin/thing-create", body) | {"properties": properties}
        for name, definition in properties.items():
            if name not in known.get("properties", {}):
                body = {"project": file.project, "thing": thing.name, "property": definition}
                await ask.post("/api/v1/admin/property-declare", body)
        if thing.actions or known.get("actions"):
            actions = {action.name: _affordance(action) for action in thing.actions}
            body = {"project": file.project, "thing": thing.name, "actions": actions}
            await ask.post("/api/v1/admin/actions-declare", body)


def _affordance(action: ActionPlan) -> dict[str, Any]:
    """An action as a Thing Description says it; how it is done is the driver's business."""
    said = {"title": action.title, "input": action.input, "output": action.output}
    return {term: value for term, value in said.items() if value}


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def main(site: Site) -> None:
    """Run the field process until a signal."""
    start_logging("field", site.log)
    clock = clock_of(site)
    run_until_signal(lambda stop: Field(site, clock).run(stop), lambda: None)
