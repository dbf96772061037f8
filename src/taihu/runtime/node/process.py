"""The ingest process: doors, journal and twin. Never blocks, never loads DuckDB."""

import asyncio
import gc
import logging
import os
import sys
import zlib
from collections import deque
from contextlib import suppress
from typing import Any

import msgspec

from taihu.doors.http.server import HttpDoor
from taihu.doors.mqtt import MqttDoor
from taihu.journal.rewrite import draft_path
from taihu.kernel.clock import SystemClock
from taihu.kernel.config import parse_site, read_text
from taihu.kernel.errors import DamagedError, TaihuError, TransientError
from taihu.kernel.files import write_atomic
from taihu.kernel.sections import Site
from taihu.runtime.admin.certification import believed, read_authorities
from taihu.runtime.apply import apply_site
from taihu.runtime.edge.state import read_state, upstream_of
from taihu.runtime.ingest.access import read_mappings
from taihu.runtime.link import Handler, Link, remove_socket, socket_path
from taihu.runtime.logs import start_logging
from taihu.runtime.node.node import Node
from taihu.runtime.node.reload import Report, merge
from taihu.runtime.node.tls import LiveContext, make_context
from taihu.runtime.process import allow_open_files, clock_of, keep_large_buffers_apart, run_until_signal
from taihu.things.batch import KIND_BATCH, KIND_BROKER, KIND_CONTROL, KIND_DELETION, KIND_TWIN, decode_batch
from taihu.things.deletion import decode_deletion
from taihu.things.ports import Record
from taihu.twin import snapshot

log = logging.getLogger("taihu.ingest")

_REPLAY_BYTES = 4_194_304
_DRAIN_S = 5.0
_AT_ONCE = 500  # things looked at before others have their turn
_GC_THRESHOLD = 50_000  # the hot path makes no circles: looking for them each 700 objects costs 2 %


class Ingest:
    """One ingest process, from start to stop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._mqtt = MqttDoor(node.broker, node.pipeline, SystemClock(), node.limits)
        self._http = HttpDoor(node, lambda: node.site.http.cors_origins)
        node.settle = self._mqtt.settle
        node.end_revoked = self._http.end_revoked
        self._tasks: list[asyncio.Task[None]] = []
        self._worker: asyncio.Server | None = None
        self._worker_leaving = False
        self._sessions_lost = False
        self._snapshotting = asyncio.Lock()
        node.take_snapshot = self._snapshot
        self._contexts: dict[str, LiveContext] = {}
        self._reloading = asyncio.Lock()
        node.actions["reload"] = self.reload

    async def reload(self) -> Report:
        """Take over a changed configuration; connections live on. ConfigError changes nothing."""
        async with self._reloading:
            node = self._node
            text = await asyncio.to_thread(read_text, node.site.folder)
            site, report = merge(node.site, parse_site(text, node.site.folder))
            trusted = believed(*await asyncio.to_thread(read_authorities, site))
            contexts = {
                section: await asyncio.to_thread(make_context, site, section, trusted) for section in self._contexts
            }
            mappings = await asyncio.to_thread(read_mappings, site)
            await asyncio.to_thread(apply_site, site, node.directory, node.files)
            for section, context in contexts.items():
                self._contexts[section].current = context
            await asyncio.to_thread(node.use, site, mappings)
            await asyncio.to_thread(write_atomic, node.files, node.paths.running, text.encode())
        log.info("the configuration was read again: %s", report.text())
        return report

    def hung_up(self) -> None:
        """As SIGHUP asks: take over the configuration, and tell of the outcome in the log."""
        task = asyncio.ensure_future(self.reload())
        task.add_done_callback(_told)

    async def run(self, stop: asyncio.Event) -> None:
        """Recover, open the doors, serve until `stop`, close in order."""
        self._recover()
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD)
        await self._node.deletions.resume()
        await self._open()
        tasks = (self._snapshots(), self._batches(), self._node.deletions.run())
        self._tasks = [asyncio.create_task(each) for each in tasks]
        await stop.wait()
        await self._close()

    def _recover(self) -> None:
        """Twin and sessions: the snapshots, then what the journal has beyond them."""
        node = self._node
        try:
            twin_at = snapshot.load(node.twin, node.files, node.paths.twin)
        except DamagedError as error:
            log.error("%s", error)
            twin_at = 0
        broker_at = self._recover_sessions()
        control_at = self._recover_commands()
        position = min(twin_at, broker_at, control_at) + 1
        while records := node.journal.read(position, _REPLAY_BYTES):
            for record in records:
                if record.kind == KIND_BATCH and record.position > twin_at:
                    self._replay_readings(record)
                elif record.kind == KIND_TWIN:
                    node.twin.want(*msgspec.msgpack.decode(record.payload))
                elif record.kind == KIND_DELETION:
                    deletion = decode_deletion(record.payload)
                    deque(node.twin.withdraw(deletion, record.position), maxlen=0)
                    node.withdraw(deletion)
                elif record.kind == KIND_BROKER and record.position > broker_at:
                    self._replay_sessions(record)
                elif record.kind == KIND_CONTROL:
                    node.commands.desk.apply(record.payload)
            position = records[-1].position + 1
        node.spool.start(node.broker.chunks(), self._mqtt.settle)
        node.broker.resume(*self._mqtt.now())
        node.commands.resume()

    def _replay_readings(self, record: Record) -> None:
        try:
            self._node.twin.apply(record.position, decode_batch(record.payload))
        except msgspec.DecodeError:
            log.error("record %d of the journal is no batch of readings and is passed by", record.position)

    def _replay_sessions(self, record: Record) -> None:
        """What a journal record says of sessions. Where the log has a gap, they begin anew with what comes after it."""
        events = msgspec.msgpack.decode(record.payload)
        try:
            self._node.broker.apply(events)
        except DamagedError as error:
            if not self._sessions_lost:
                log.error("%s MQTT clients must subscribe again.", error.message)
            self._sessions_lost = True
            self._node.broker.begin_anew(events)

    def _recover_commands(self) -> int:
        """Commands from their snapshot; returns its position. A damaged one is set aside; the journal has the last."""
        node, path = self._node, self._node.paths.control
        try:
            return node.commands.recover(checked(node.files.read(path), path.name))
        except FileNotFoundError:  # none was made: then the others' snapshots are none, or older than commands are
            return sys.maxsize
        except DamagedError as error:
            aside = path.with_name(path.name + ".damaged")
            log.error("%s It is kept as %s.", error, aside.name)
            node.files.rename(path, aside)
            return sys.maxsize

    def _recover_sessions(self) -> int:
        """Sessions from their snapshot; returns its position. A damaged one is set aside, and what it held is lost."""
        node, path = self._node, self._node.paths.broker
        try:
            data = node.files.read(path)
        except FileNotFoundError:
            return 0
        try:
            body = checked(data, path.name)
            node.broker.restore(body[8:])
        except DamagedError as error:
            aside = path.with_name(path.name + ".damaged")
            log.error("%s It is kept as %s.", error, aside.name)
            node.files.rename(path, aside)
            return 0
        return int.from_bytes(body[:8], "little")

    async def _open(self) -> None:
        node, config = self._node, self._node.site
        addresses: dict[str, Any] = {"pid": os.getpid(), "worker": False}
        addresses["mqtt"] = await self._mqtt.listen(config.mqtt.host, config.mqtt.port)
        if config.mqtt.websocket_port is not None:
            addresses["ws"] = await self._mqtt.listen(config.mqtt.host, config.mqtt.websocket_port, websocket=True)
        addresses["http"] = await self._http.listen(config.http.host, config.http.port)
        addresses |= await self._open_tls()
        node.addresses = addresses
        write_atomic(node.files, node.paths.node, msgspec.json.encode(addresses))
        path = socket_path(config.data)
        path.unlink(missing_ok=True)
        self._worker = await asyncio.start_unix_server(self._serve_worker, str(path), limit=1 << 20)
        path.chmod(0o600)
        log.info("ready: mqtt on %s:%d, http on %s:%d", *addresses["mqtt"], *addresses["http"])

    async def _open_tls(self) -> dict[str, tuple[str, int]]:
        site, opened = self._node.site, {}
        mqtt, http = site.mqtt, site.http
        if (port := mqtt.tls_port) is not None:
            opened["mqtts"] = await self._mqtt.listen(mqtt.host_of_tls, port, ssl=self._context("mqtt"))
        if (port := mqtt.websocket_tls_port) is not None:
            context = self._context("mqtt")
            opened["wss"] = await self._mqtt.listen(mqtt.host_of_tls, port, ssl=context, websocket=True)
        if (port := http.tls_port) is not None:
            opened["https"] = await self._http.listen(http.host_of_tls, port, self._context("http"))
        return opened

    def _context(self, section: str) -> LiveContext:
        """What the section's listeners make their connections with."""
        keep_large_buffers_apart()
        node = self._node
        if section not in self._contexts:
            self._contexts[section] = LiveContext(make_context(node.site, section, node.certification.authorities))
        return self._contexts[section]

    async def _close(self) -> None:
        node = self._node
        for task in self._tasks:
            task.cancel()
        await self._http.close()
        await self._mqtt.close()
        await node.access.joining.close()
        try:
            async with asyncio.timeout(_DRAIN_S):
                await node.pipeline.close()
            await self._snapshot()
        except OSError:  # TimeoutError is one
            log.error("stopped while the journal could not be written; nothing unwritten was acknowledged")
        if self._worker is not None:
            self._worker.close()
            with suppress(OSError):
                remove_socket(node.site.data)
        if node.worker.link is not None:
            node.worker.link.close()
        with suppress(OSError):
            node.journal.close()
        await self._write_batches()
        with suppress(TransientError):
            node.directory.close()
        node.files.remove(node.paths.node)

    async def _serve_worker(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node = self._node
        handlers: dict[str, Handler] = {"checkpoint": self._on_checkpoint, "leaving": self._on_leaving}
        link = Link(reader, writer, handlers | {"replace": self._on_replace, "storage": self._on_storage})
        node.worker.link = link
        self._worker_leaving = False
        link.note("snapshot", node.worker.snapshot)
        link.note("durable", node.journal.durable)
        if not node.addresses["worker"]:
            node.addresses["worker"] = True
            with suppress(OSError):  # nobody but a start waits for the word, and none begins on a full disk
                write_atomic(node.files, node.paths.node, msgspec.json.encode(node.addresses))
        await link.run()
        await asyncio.sleep(0)  # its last notes are being served
        if node.worker.link is link:
            node.worker.link = None
        if not self._worker_leaving:
            log.warning("the worker is away; readings wait in the journal")

    async def _on_leaving(self, body: None) -> None:
        """The worker stops in good order: its absence is no surprise."""
        self._worker_leaving = True

    async def _on_checkpoint(self, body: dict[str, int]) -> None:
        self._node.worker.progress(body)

    async def _on_storage(self, body: dict[str, int]) -> None:
        self._node.quota.take(body)

    async def _on_replace(self, body: dict[str, int]) -> bool:
        """The worker has written a journal segment again, without what was deleted."""
        journal, first = self._node.journal, body["first"]
        draft = draft_path(self._node.paths.journal, first)
        return await asyncio.get_running_loop().run_in_executor(None, journal.replace, first, body["size"], draft)

    async def _snapshots(self) -> None:
        while True:
            await asyncio.sleep(self._node.limits.snapshot_s)
            self._node.end_expired()
            for count, _ in enumerate(self._node.twin.drop_expired()):
                if count % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
            try:
                await self._snapshot()
            except OSError as error:
                log.error("no snapshot could be written: %s; the journal is kept longer", error)
            await self._keep_house()
            await self._purge()

    async def _purge(self) -> None:
        try:
            await self._node.catalogue.purge()
        except (OSError, TransientError) as error:
            log.error("things whose registration has expired could not be taken out: %s; it is tried again", error)

    async def _keep_house(self) -> None:
        """Seal what is old of the audit, and forget sessions whose time is over."""
        directory = self._node.directory
        try:
            await asyncio.to_thread(directory.seal_audit)
            await asyncio.to_thread(directory.purge_sessions)
            if self._node.sign_in.provider is not None:
                await self._node.sign_in.provider.check()
        except (OSError, TransientError) as error:
            log.error("the audit's older entries could not be sealed: %s; they stay where they are", error)

    async def _batches(self) -> None:
        while True:
            await asyncio.sleep(max(0.1, self._node.limits.audit_batch_s))
            await self._write_batches()

    async def _write_batches(self) -> None:
        """Write what was gathered for the audit; what a full disk refuses is told in the log instead."""
        entries = self._node.batches.take()
        try:
            await asyncio.to_thread(self._node.directory.record_all, entries)
        except TransientError as error:
            log.error("%d entries of the audit are lost: %s", len(entries), error)

    async def _snapshot(self) -> int:
        """Write twin and sessions, then drop what no reader of the journal needs any more.

        Returns the position from which a start replays.
        """
        async with self._snapshotting:
            return await self._write_snapshot()

    async def _write_snapshot(self) -> int:
        node = self._node
        position = node.pipeline.durable
        broker, mark = node.broker.snapshot(), node.spool.mark()
        commands = node.commands.snapshot(position)
        loop = asyncio.get_running_loop()
        parts = []
        for part in snapshot.write_slices(node.twin, position):
            parts.append(part)
            await asyncio.sleep(0)
        await loop.run_in_executor(None, write_atomic, node.files, node.paths.twin, b"".join(parts))
        await loop.run_in_executor(None, write_atomic, node.files, node.paths.control, sealed(commands))
        data = sealed(position.to_bytes(8, "little") + broker)
        await loop.run_in_executor(None, node.spool.sync, mark)
        await loop.run_in_executor(None, write_atomic, node.files, node.paths.broker, data)
        await loop.run_in_executor(None, node.spool.forget, mark)
        keep_from = min(position, node.worker.position) + 1
        await loop.run_in_executor(None, self._trim, keep_from)
        return position

    def _trim(self, keep_from: int) -> None:
        """Drop what no reader needs; a centre that was away too long no longer counts as one."""
        node = self._node
        if upstream_of(node.site):
            unsent = read_state(node.paths.upstream).keep_from
            if node.journal.lag_bytes(unsent) <= node.limits.upstream_backlog_bytes_max:
                keep_from = min(keep_from, unsent)
        node.journal.trim(keep_from, node.clock.now_ns())


def sealed(body: bytes) -> bytes:
    """A snapshot's bytes with their checksum."""
    return zlib.crc32(body).to_bytes(4, "little") + body


def checked(data: bytes, name: str) -> bytes:
    """What `sealed` made; raises DamagedError."""
    body = data[4:]
    if zlib.crc32(body).to_bytes(4, "little") != data[:4]:
        raise DamagedError(f"{name} is damaged.", "What it held is lost, but for what the journal has.")
    return body


def main(site: Site) -> None:
    """Run the ingest process until a signal."""
    start_logging("ingest", site.log)
    allow_open_files(site.limits)
    clock = clock_of(site)
    running: list[Ingest] = []

    async def body(stop: asyncio.Event) -> None:
        running.append(Ingest(Node(site, clock)))
        await running[0].run(stop)

    def hung_up() -> None:
        for each in running:
            each.hung_up()

    run_until_signal(body, hung_up)


def _told(task: asyncio.Task[Report]) -> None:
    error = task.exception()
    if error is not None:
        log.error("the configuration stays as it was: %s", error, exc_info=_defect(error))


def _defect(error: BaseException) -> BaseException | None:
    """The error when it is none of those that are told in one sentence."""
    return None if isinstance(error, TaihuError) else error
