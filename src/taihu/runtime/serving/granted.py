"""Readings of other projects over MQTT: what a grant opens is told on `$granted/` topics of who may read it (§11).

A client cannot publish there, and `#` does not match it (MQTT 5.0, clause 4.7.2). Messages go out once the readings are
durable, at QoS 0: nothing is queued, retained or journalled, so that what was not told before a grant ended never is.
"""

import asyncio
import logging
from array import array
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from taihu.identity.audit import AuditEntry
from taihu.identity.directory import Directory
from taihu.identity.principal import Change, CredentialKind, Event, Principal, Scope, matches
from taihu.kernel.errors import TaihuError
from taihu.protocols.mqtt.broker import Broker
from taihu.protocols.mqtt.reasons import Reason
from taihu.runtime.ingest.access import ANONYMOUS, GRANTED, Access, Identity
from taihu.runtime.ingest.pipeline import Pipeline
from taihu.things.batch import FLAG_STAMPED, FLAG_SUSPECT, ROW_BITS, Batch
from taihu.things.property import Quality

log = logging.getLogger("taihu.access")

_VALUES_MAX = 1_000  # of one batch; of a larger one the newest of each property is told
_HEARD_MAX = 10_000
_OF_GRANTS = (Event.GRANTED, Event.GRANT_REVOKED, Event.PROJECT_REMOVED)
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Granted:
    """Lets clients subscribe to what their project was granted, and tells them. `settle` makes the output go out."""

    def __init__(self, directory: Directory, broker: Broker, settle: Callable[[], None]) -> None:
        self._directory = directory
        self._broker = broker
        self._settle = settle
        self._loop = asyncio.get_running_loop()
        self._readers: dict[str, tuple[str, ...]] | None = None  # by the project that grants
        self._heard: set[tuple[str, str]] = set()  # credentials and projects that the audit has

    def attach(self, access: Access, pipeline: Pipeline) -> None:
        """Hear of subscriptions, grants and readings."""
        access.on_granted = self.may_subscribe
        pipeline.add_listener(self.durable)
        self._directory.on_change(self._changed)

    def may_subscribe(self, identity: Identity, topic_filter: str) -> int:
        """Whether any of what a filter can match is granted now; each message is asked about again.

        The filter names the project; a client of a token for some things names one of them, too.
        """
        levels = topic_filter.split("/")
        project, thing, name = (*levels[1:4], "#", "#", "#")[:3]
        if not self._may_ask(identity, thing) or len(levels) > 4 or project in ("+", "#", identity.space):
            return Reason.NOT_AUTHORIZED
        reader = Principal(identity.space, CredentialKind.VIEWER)
        one, exact = thing not in ("+", "#"), name not in ("+", "#")
        if not self._directory.may_see(reader, project, thing if one else ""):
            return Reason.NOT_AUTHORIZED
        if one and exact and not self._directory.may_read(reader, project, thing, name):
            return Reason.NOT_AUTHORIZED
        self._note(identity, project, topic_filter)
        return Reason.SUCCESS

    def durable(self, durable: int, batches: list[tuple[int, Batch]]) -> None:
        """Tell of what has become durable, as far as it is granted at this moment."""
        if self._readers is None:
            self._readers = self._find_readers()
        readers, told = self._readers, False
        for position, batch in batches if readers else ():
            for reader in readers.get(batch.project, ()):
                if self._broker.listens(reader, (GRANTED, batch.project)):
                    told |= self._tell(reader, position, batch)
        if told:
            self._settle()

    def _may_ask(self, identity: Identity, thing: str) -> bool:
        if identity.key == ANONYMOUS or identity.kind not in (CredentialKind.OPERATOR, CredentialKind.VIEWER):
            return False
        reach = identity.reach
        if reach is None:
            return True
        return Scope.READ in reach.scopes and (
            not reach.things or (thing not in ("+", "#") and matches(thing, reach.things))
        )

    def _find_readers(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, set[str]] = {}
        for grant in self._directory.grants():
            if grant.agreed:
                found.setdefault(grant.from_project, set()).add(grant.to_project)
        return {project: tuple(sorted(readers)) for project, readers in found.items()}

    def _tell(self, reader: str, position: int, batch: Batch) -> bool:
        """One message for each value that the reader may read."""
        who, project = Principal(reader, CredentialKind.VIEWER), batch.project
        rows = _rows_by_thing(batch, newest=len(batch) * len(batch.properties) > _VALUES_MAX)
        things = {thing: places for thing, places in rows.items() if self._directory.may_see(who, project, thing)}
        observed, told = array("q", batch.observed), False
        for name, column in zip(batch.properties, batch.columns, strict=True) if things else ():
            values = column.values()
            for thing, places in things.items():
                if not self._directory.may_read(who, project, thing, name):
                    continue
                for row in places:
                    if values[row] is None:
                        continue
                    body = {
                        "observed_at": observed[row], "received_at": batch.received_at, "value": values[row],
                        "quality": _quality(batch.flags[row] if batch.flags else 0), "seq": position << ROW_BITS | row,
                    }  # fmt: skip
                    self._broker.publish(reader, f"{GRANTED}/{project}/{thing}/{name}", _encode(body))
                    told = True
        return told

    def _changed(self, change: Change) -> None:
        if change.event in _OF_GRANTS:
            self._loop.call_soon_threadsafe(self._forget)

    def _forget(self) -> None:
        self._readers = None

    def _note(self, identity: Identity, project: str, topic_filter: str) -> None:
        """Both projects' audits say, once while the node runs, that a credential reads the other's readings."""
        if (identity.key, project) in self._heard:
            return
        if len(self._heard) >= _HEARD_MAX:
            self._heard.clear()
        self._heard.add((identity.key, project))
        who, now = identity.user or identity.key, self._directory.now_ns()
        detail = f"{identity.space} subscribes to {topic_filter[:200]} over MQTT"
        entries = [AuditEntry(now, who, "granted readings", detail, each) for each in (project, identity.space)]
        self._loop.run_in_executor(None, self._record, entries)

    def _record(self, entries: list[AuditEntry]) -> None:
        try:
            self._directory.record_all(entries)
        except (OSError, TaihuError) as error:  # the subscription stands, and the log says who has it
            log.error("the audit cannot say that %s of %s: %s", entries[0].detail, entries[0].who, error)


def _rows_by_thing(batch: Batch, *, newest: bool) -> dict[str, Iterable[int]]:
    """The rows of each thing, or the one observed last."""
    observed: Any = memoryview(batch.observed).cast("q")
    found: dict[str, list[int]] = {}
    if batch.thing_of:
        for row, index in enumerate(memoryview(batch.thing_of).cast("i")):
            found.setdefault(batch.things[index], []).append(row)
    else:
        found[batch.things[0]] = list(range(len(batch)))
    if newest:
        return {thing: (max(rows, key=lambda row: (observed[row], row)),) for thing, rows in found.items()}
    return dict(found)


def _quality(flags: int) -> Quality:
    return Quality.SUSPECT if flags & FLAG_SUSPECT else Quality.STAMPED if flags & FLAG_STAMPED else Quality.GOOD
