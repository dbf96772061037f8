"""The OPC UA process: our things as a server's address space, in a process of its own and a client of the node.

It asks the node for descriptions and newest values in its rhythm, values only while somebody is in.
"""

import asyncio
import logging

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from taihu.doors.opcua.server import OpcuaDoor
from taihu.drivers.files import FOLDER
from taihu.drivers.opcua.security import fingerprint, own_identity
from taihu.kernel.addresses import is_loopback
from taihu.kernel.clock import Clock
from taihu.kernel.errors import TransientError
from taihu.kernel.files import OsFiles, write_atomic
from taihu.kernel.sections import Site
from taihu.runtime.logs import start_logging
from taihu.runtime.opcua.node import NodeApi
from taihu.runtime.paths import Paths
from taihu.runtime.process import clock_of, run_until_signal

log = logging.getLogger("taihu.opcua")
logging.getLogger("httpx").setLevel(logging.WARNING)

_DESCRIPTIONS_EVERY, _CHECK_EVERY = 15, 2  # intervals


class OpcuaProcess:
    """One server, until it is told to stop."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site = site
        self._clock = clock
        self._paths = Paths(site.data)
        self._api: NodeApi | None = None
        self._door: OpcuaDoor | None = None
        self._answers = True

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`."""
        settings, (host, port) = self._site.opcua, msgspec.json.decode(self._paths.node.read_bytes())["http"]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        owner = self._paths.admin_token.read_text().strip()
        self._api = api = NodeApi(url, owner, settings.anonymous, self._show)
        self._door = door = OpcuaDoor(api, self._site.limits)
        identity = await own_identity(self._site.folder / FOLDER, self._clock)
        plain = is_loopback(settings.host) if settings.plain is None else settings.plain
        assert settings.port is not None
        listening = await door.open(
            settings.host, settings.port, identity, plain=plain, guests=bool(settings.anonymous)
        )
        try:
            await self._look()
            shown = fingerprint(identity.certificate.public_bytes(Encoding.DER))
            log.info("OPC UA on opc.tcp://%s:%d, SHA-256 of its certificate %s", settings.host, listening, shown)
            state = {"host": settings.host, "port": listening, "fingerprint": shown}
            write_atomic(OsFiles(), self._paths.opcua, msgspec.json.encode(state))
            await self._follow(stop)
        finally:
            await door.close()
            await api.close()

    async def _follow(self, stop: asyncio.Event) -> None:
        assert self._door is not None
        turn = 0
        while not stop.is_set():
            try:
                async with asyncio.timeout(self._site.opcua.interval_s):
                    await stop.wait()
            except TimeoutError:
                turn += 1
                if turn % _DESCRIPTIONS_EVERY == 0:
                    await self._look()
                elif turn % _CHECK_EVERY == 0:
                    await self._door.check()
                await self._show(list({project for one in self._door.visitors() for project in one.rights}))

    async def _look(self) -> None:
        """Take over what things there are, and what visitors may."""
        assert self._api is not None and self._door is not None
        try:
            await self._door.space.take(await self._api.descriptions())
            await self._door.renew()
        except TransientError as error:
            await self._silent(error)

    async def _show(self, projects: list[str]) -> None:
        """Show the newest values of projects."""
        assert self._api is not None and self._door is not None
        try:
            for project in projects:
                await self._door.space.show(project, await self._api.values(project))
        except TransientError as error:
            await self._silent(error)
        else:
            if not self._answers:
                log.info("the node answers again")
                self._answers = True

    async def _silent(self, error: TransientError) -> None:
        """The node does not answer: what is shown is uncertain from now on (§3)."""
        assert self._door is not None
        if self._answers:
            log.warning("values are shown as uncertain: %s", error)
            self._answers = False
            await self._door.space.doubt()


def main(site: Site) -> None:
    """Run the OPC UA process until a signal."""
    start_logging("opcua", site.log)
    clock = clock_of(site)
    run_until_signal(lambda stop: OpcuaProcess(site, clock).run(stop))
