"""The edge process: sends what each project stores to the centre, keeps the ledgers of it, and takes its commands.

It reads the journal and the directory beside the processes that write them, and asks the node how far the journal is
durable: what could still be lost here is not told there (§4).
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from urllib.parse import urlsplit

import msgspec

from taihu.drivers.address import Endpoint
from taihu.drivers.files import FOLDER, read_keyring
from taihu.drivers.line import Line
from taihu.identity.directory import Directory
from taihu.journal.reader import JournalReader
from taihu.kernel.clock import Clock
from taihu.kernel.errors import ConfigError, RefusedError, TransientError
from taihu.kernel.files import OsFiles, write_atomic
from taihu.kernel.sections import Site
from taihu.protocols.mqtt.client import Client
from taihu.runtime.ask import Ask
from taihu.runtime.edge.cut import Cutter
from taihu.runtime.edge.ledger import Ledger
from taihu.runtime.edge.orders import THINGS_MAX, Centre, Orders, commandable
from taihu.runtime.edge.sender import Sender
from taihu.runtime.edge.state import KEYS, Sent, State, read_state, upstream_of
from taihu.runtime.logs import start_logging
from taihu.runtime.paths import Paths
from taihu.runtime.process import clock_of, run_until_signal
from taihu.things.property import Property

log = logging.getLogger("taihu.edge")

_LOOK_S = 0.2
_KEEP_S = 1.0


class Edge:
    """All projects of a site that have a token of the centre."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site = site
        self._clock = clock
        self._paths = Paths(site.data)
        self._files = OsFiles()
        self._directory = Directory(self._paths.metadata, clock, site.limits, read_only=True)
        self._senders: dict[str, Sender] = {}
        self._orders: dict[str, list[Orders]] = {}
        self._centres: dict[str, Centre] = {}
        self._node = read_state(self._paths.upstream).node or secrets.token_hex(8)
        self._tokens: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._dirty = False
        self._kept_at = clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`."""
        self._open()
        self._tasks |= {asyncio.create_task(sender.run()) for sender in self._senders.values()}
        try:
            while not stop.is_set():
                await self._look()
                try:
                    async with asyncio.timeout(_LOOK_S):
                        await stop.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._tasks:
                task.cancel()
            ended = await asyncio.gather(*self._tasks, return_exceptions=True)
            self._write(self._state())
        for result in ended:
            if isinstance(result, Exception):
                raise result

    def _open(self) -> None:
        tokens = read_keyring(self._site.folder / FOLDER).get(KEYS, {})
        if not tokens:
            log.warning("no project has a token of the centre: give one by `taihu upstream login PROJECT`")
        kept = read_state(self._paths.upstream).projects
        for project, token in tokens.items():
            self._centres[project] = centre = self._centre(token)
            reader = JournalReader(self._files, self._paths.journal)
            self._senders[project] = Sender(
                project,
                self._connection(centre),
                Cutter(reader, self._definitions, project),
                Ledger(kept.get(project, Sent()).ledger),
                self._clock,
                share=self._site.upstream.share,
                keep=self._changed,
                put_aside=partial(self._put_aside, project),
                random=Random(),  # noqa: S311 - jitter of pauses, no secret
            )

    def _centre(self, token: str) -> Centre:
        address = urlsplit(upstream_of(self._site))
        secure = address.scheme == "mqtts"
        tls = None
        if secure:
            trusted = self._site.upstream.trusted
            tls = ssl.create_default_context(cafile=str(self._site.path(trusted)) if trusted else None)
        port = address.port or (8883 if secure else 1883)
        return Centre(host=address.hostname or "", port=port, token=token, node=self._node, tls=tls)

    def _connection(self, centre: Centre) -> Callable[[], Line]:
        def connect() -> Line:
            client = Client("", version=5, username=centre.token, clean_start=True)
            return Line(Endpoint(centre.host, centre.port), client, self._clock, centre.tls)

        return connect

    async def _look(self) -> None:
        """See how far the journal is, and what is new in the directory."""
        try:
            addresses = msgspec.json.decode(self._paths.node.read_bytes())
            host, port = addresses["http"]
            ask = Ask(host, port, self._paths.admin_token.read_text())
        except (OSError, msgspec.DecodeError):
            return  # the node starts
        status = await ask.get("/api/v1/node")
        if status is not None:
            await asyncio.to_thread(self._directory.refresh)
            for project, sender in self._senders.items():
                sender.durable(status["journal_position"])
                if self._site.upstream.commands:
                    with suppress(RefusedError, TransientError):  # it is looked again
                        await self._listen(project, ask)
        if self._dirty and self._clock.monotonic() - self._kept_at >= _KEEP_S:
            await asyncio.to_thread(self._write, self._state())

    async def _listen(self, project: str, owner: Ask) -> None:
        """Speak at the centre for the project's things, so many on a line; each has this node's API of now."""
        lines = self._orders.setdefault(project, [])
        spoken = {thing for line in lines for thing in line.things}
        ask = owner.of(await self._own_token(owner, project))
        for line in lines:
            line.ask = ask
        fresh = [name for name in commandable(self._directory, project) if name not in spoken]
        while fresh:
            if not lines or len(lines[-1].things) >= THINGS_MAX:
                random = Random()  # noqa: S311 - jitter of pauses, no secret
                line = Orders(project, len(lines), self._centres[project], self._clock, random)
                line.ask = ask
                lines.append(line)
                self._tasks.add(asyncio.create_task(line.run()))
            room = THINGS_MAX - len(lines[-1].things)
            lines[-1].speak_for(fresh[:room])
            fresh = fresh[room:]

    async def _own_token(self, owner: Ask, project: str) -> str:
        """An operator's token of the project here, by which the centre's commands are given; for its owner alone."""
        path = self._paths.edge_tokens
        if not self._tokens and path.exists():
            self._tokens = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        if project not in self._tokens:
            body = {"project": project, "kind": "operator", "label": "centre"}
            self._tokens[project] = (await owner.post("/api/v1/admin/token-issue", body))["token"]
            write_atomic(self._files, path, msgspec.json.encode(self._tokens))
        return self._tokens[project]

    def _definitions(self, project: str, thing: str) -> Mapping[str, Property]:
        return self._directory.definitions(project, thing) or {}

    def _changed(self) -> None:
        self._dirty = True

    def _write(self, state: State) -> None:
        write_atomic(self._files, self._paths.upstream, msgspec.json.encode(state))

    def _state(self) -> State:
        """All ledgers of one moment: made where nothing changes them meanwhile."""
        self._dirty, self._kept_at = False, self._clock.monotonic()
        senders = self._senders.items()
        projects = {name: Sent(one.ledger.record(), one.connected, one.behind) for name, one in senders}
        keep_from = min((one.ledger.keep_from() for _, one in senders), default=1)
        return State(keep_from, projects, self._node)

    def _put_aside(self, project: str, position: int, messages: Sequence[bytes]) -> None:
        """Keep what the centre cannot take, for people to look at."""
        name = f"{position:020d}-{project}.record"
        log.error("record %d of the journal cannot be sent; it is kept as aside/%s", position, name)
        self._files.make_folder(self._paths.aside)
        kept = sum(one.endswith(".record") for one in self._files.names(self._paths.aside))
        if kept < self._site.limits.aside_records_max:
            write_atomic(self._files, self._paths.aside / name, b"".join(messages))


def main(site: Site) -> None:
    """Run the edge process until a signal."""
    start_logging("edge", site.log)
    if not upstream_of(site):
        raise ConfigError("There is no centre to send to.", "Set [upstream] url, or: taihu run --upstream URL.")
    clock = clock_of(site)
    run_until_signal(lambda stop: Edge(site, clock).run(stop), lambda: None)
