"""Carries a deletion through the node: noted, journalled, taken out of every answer, then out of every file.

Each step is durable before the next, and a start goes on where the last run ended. The history is the worker's: it
takes the deletion over in the journal's order, and no question is put to it before it has.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from taihu.identity.directory import Directory
from taihu.identity.memory import Unknown
from taihu.identity.principal import Principal
from taihu.identity.removals import Receipt
from taihu.journal.segments import SegmentJournal
from taihu.kernel.clock import Clock
from taihu.kernel.errors import RefusedError, TransientError
from taihu.kernel.ids import new_id
from taihu.protocols.mqtt.broker import Broker
from taihu.runtime.actions import own, own_node
from taihu.runtime.deletion.carried import Carried
from taihu.runtime.ingest.access import Access
from taihu.runtime.ingest.follower import Follower
from taihu.runtime.ingest.pipeline import Pipeline
from taihu.runtime.ingest.request import Request
from taihu.things.batch import KIND_DELETION
from taihu.things.deletion import TIME_MAX, TIME_MIN, Deletion, encode_deletion
from taihu.things.ports import Reading
from taihu.twin.twin import Twin

log = logging.getLogger("taihu.deletions")

_POLL_S = 0.5
_RETRY_S = 5.0
_AT_ONCE = 200
_ERASED = 2  # `history.manifest.Erasure`, which this process does not load


class Host(Protocol):
    """What of the node takes part."""

    directory: Directory
    journal: SegmentJournal
    pipeline: Pipeline
    twin: Twin
    broker: Broker
    access: Access
    worker: Follower
    clock: Clock
    settle: Callable[[], None]
    take_snapshot: Callable[[], Awaitable[int]]

    def withdraw(self, deletion: Deletion) -> None:
        """Forget what else is in memory of the readings that are deleted."""
        ...


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be deleted, as the caller says it. `readings` keeps the thing itself."""

    thing: str = ""
    property: str = ""
    start: int | None = None
    end: int | None = None
    readings: bool = False


def shown(receipt: Receipt) -> dict[str, Any]:
    """A receipt as the API tells it."""
    deletion = receipt.deletion
    return {
        "id": deletion.id,
        "project": deletion.project,
        "thing": deletion.thing,
        "property": deletion.property,
        "start": None if deletion.start == TIME_MIN else deletion.start,
        "end": None if deletion.end == TIME_MAX else deletion.end,
        "removes": deletion.removes,
        "by": deletion.by,
        "at": deletion.at,
        "state": receipt.state,
        "hidden_at": receipt.hidden_at,
        "erased_at": receipt.erased_at,
    }


class _Waiting:
    """A deletion that is to be journalled, and its position once it is."""

    def __init__(self, deletion: Deletion) -> None:
        self.deletion = deletion
        self.position = 0


class Deletions:
    """All deletions of a node. Used on the event loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._waiting: list[_Waiting] = []
        self._woken = asyncio.Event()
        self._snapshotted: set[str] = set()
        self._lost: dict[str, dict[str, set[str]]] = {}  # deletion -> thing -> properties without a newest value
        host.pipeline.add_extra(self._take)

    async def ask(self, caller: Principal, project: str, wanted: Mapping[str, Any]) -> Receipt:
        """Delete; when this returns no query answers what it is of (§4, §10).

        Raises what `Directory.accept` does, ActionRefused for who may not, RefusedError for what makes no sense.
        """
        own(self._host.directory, caller, project)
        try:
            wish = msgspec.convert(dict(wanted), Ask)
        except msgspec.ValidationError as error:
            raise RefusedError(f"{error}.", "Say thing, property, start, end or readings.") from None
        start, end = wish.start, wish.end
        if start is not None and end is not None and start >= end:
            raise RefusedError("The range ends before it begins.", "Exchange start and end.")
        if wish.property and not wish.thing:
            raise RefusedError("A property belongs to a thing.", "Name the thing too.")
        whole = start is None and end is None and not wish.property and not wish.readings
        if whole and not wish.thing:
            own_node(self._host.directory, caller)
        deletion = Deletion(
            id=new_id(),
            project=project,
            thing=wish.thing,
            property=wish.property,
            start=TIME_MIN if start is None else start,
            end=TIME_MAX if end is None else end,
            removes=whole,
            at=self._host.clock.now_ns(),
            by=caller.who,
        )
        await self._check(deletion)
        receipt = await asyncio.to_thread(self._host.directory.accept, deletion)
        return await asyncio.shield(asyncio.ensure_future(self._carry(receipt)))

    async def act(self, caller: Principal, action: str, arguments: Mapping[str, Any]) -> Receipt:
        """The actions `thing-delete` and `project-delete`."""
        project = str(arguments["project"])
        return await self.ask(caller, project, {"thing": str(arguments["thing"])} if action == "thing-delete" else {})

    async def receipts(self, project: str | None = None) -> list[Receipt]:
        """The deletions of a project, the newest first."""
        return await asyncio.to_thread(self._host.directory.receipts, project)

    async def resume(self) -> None:
        """Before the doors open: take up what a stop interrupted. Snapshots may be older than what was deleted."""
        host = self._host
        host.worker.after = min(await asyncio.to_thread(host.directory.last_deletion_position), host.journal.durable)
        for receipt in await asyncio.to_thread(host.directory.unfinished):
            if receipt.hidden_at is None or receipt.position is None:
                await self._carry(receipt)
            else:
                await self._hide(receipt.deletion, receipt.position)

    async def run(self) -> None:
        """Take what is hidden out of the files, for as long as the process lives."""
        while True:
            try:
                pending = await asyncio.to_thread(self._host.directory.unfinished)
                hidden = [one for one in pending if one.hidden_at is not None]
                if hidden:
                    await self._erase(hidden)
                else:
                    self._woken.clear()
                    await self._woken.wait()
            except (OSError, TransientError) as error:
                log.warning("what was deleted is not out of every file yet (%s); it is tried again", error)
                await asyncio.sleep(_RETRY_S)

    async def _check(self, deletion: Deletion) -> None:
        """Raise Unknown for a thing or property that neither the directory nor the history knows."""
        known = self._host.directory.definitions(deletion.project, deletion.thing) if deletion.thing else {}
        if known is not None and (not deletion.property or deletion.property in known):
            return
        where = {"project": deletion.project, "thing": deletion.thing, "property": deletion.property}
        if not await self._host.worker.ask("knows", where):
            raise Unknown(f"There is no {deletion.where()}.", f"Look with: taihu read {deletion.project}")

    async def _carry(self, receipt: Receipt) -> Receipt:
        """Journal a deletion and take it out of every answer; returns its receipt."""
        host, deletion = self._host, receipt.deletion
        waiting = _Waiting(deletion)
        self._waiting.append(waiting)
        await self._commit()
        host.worker.after = max(host.worker.after, waiting.position)
        await asyncio.to_thread(host.directory.progress, deletion.id, position=waiting.position)
        await self._hide(deletion, waiting.position)
        await self._commit()  # what the broker forgot
        receipt = await asyncio.to_thread(host.directory.progress, deletion.id, hidden_at=host.clock.now_ns())
        log.info("deleted %s at the request of %s; the files follow", deletion.where(), deletion.by or "nobody")
        self._woken.set()
        return receipt

    async def _hide(self, deletion: Deletion, position: int) -> None:
        host = self._host
        lost = self._lost.setdefault(deletion.id, {})
        for count, (thing, names) in enumerate(host.twin.withdraw(deletion, position)):
            if names and not deletion.removes:
                lost[thing] = names
            if count % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        if deletion.removes and not deletion.thing:
            host.broker.remove_space(deletion.project)
        else:
            carried = Carried(host.access.matcher(deletion.project), deletion)
            for _ in host.broker.withdraw(deletion.project, lambda message: carried(message.topic, message.payload)):
                await asyncio.sleep(0)
        host.withdraw(deletion)
        host.settle()

    async def _erase(self, receipts: list[Receipt]) -> None:
        """One round: see how far the worker is, and finish what it has finished."""
        host = self._host
        for receipt in receipts:
            await self._refill(receipt.deletion)
        ids = [receipt.deletion.id for receipt in receipts]
        if not self._snapshotted.issuperset(ids):
            host.worker.snapshot_taken(await host.take_snapshot())  # without what is hidden
            self._snapshotted = set(ids)
        states = await host.worker.ask("erasure", {"ids": ids})
        done = [number for number in ids if states.get(number) == _ERASED]
        for number in done:
            await asyncio.to_thread(host.directory.progress, number, erased_at=host.clock.now_ns())
            log.info("deletion %s: no file of the node holds it any more", number)
        if not done:
            await asyncio.sleep(_POLL_S)

    async def _refill(self, deletion: Deletion) -> None:
        """Let the newest values be those that are left in the history."""
        host = self._host
        for thing, names in self._lost.pop(deletion.id, {}).items():
            found = await host.worker.ask(
                "newest", {"project": deletion.project, "thing": thing, "properties": sorted(names)}
            )
            host.twin.refill(msgspec.convert(found, list[Reading]))

    async def _commit(self) -> None:
        request = Request()
        self._host.pipeline.submit(request)
        await request.done.wait()

    def _take(self) -> list[tuple[int, bytes]]:
        waiting, self._waiting = self._waiting, []
        first = self._host.journal.next_position
        for place, one in enumerate(waiting):
            one.position = first + place
        return [(KIND_DELETION, encode_deletion(one.deletion)) for one in waiting]
