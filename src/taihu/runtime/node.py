"""One node's parts put together: directory, journal, pipeline, twin, broker and the link to the worker."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec

from taihu import __version__
from taihu.doors.http.ports import Caller, IngestReport, ThingSummary
from taihu.identity.directory import Directory
from taihu.identity.join import Joined
from taihu.identity.principal import Change, CredentialKind, Event, Principal
from taihu.journal.checkpoints import Checkpoints
from taihu.journal.segments import SegmentJournal
from taihu.kernel.clock import Clock
from taihu.kernel.config import Site, is_loopback
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.files import OsFiles
from taihu.kernel.ids import check_name, new_token
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.broker import Broker
from taihu.runtime.access import Access
from taihu.runtime.admin import administer
from taihu.runtime.bodies import ingest_claim
from taihu.runtime.intake import Intake
from taihu.runtime.link import Link, LinkLost
from taihu.runtime.paths import Paths
from taihu.runtime.pipeline import Pipeline
from taihu.runtime.quarantine import Quarantine, Refused
from taihu.runtime.registry import ThingRegistry
from taihu.runtime.request import Request
from taihu.runtime.tail import Tail
from taihu.runtime.tally import Tally
from taihu.things.batch import KIND_BROKER, KIND_TWIN, Batch
from taihu.things.description import build_description
from taihu.things.mapping.thingsboard import (
    ATTRIBUTES,
    GATEWAY_ATTRIBUTES,
    format_attributes_update,
    format_gateway_attributes_update,
)
from taihu.things.ports import Reading
from taihu.things.property import Property
from taihu.things.topology import Topology
from taihu.things.validate import check_wish
from taihu.twin.twin import Desired, Twin

log = logging.getLogger("taihu.node")

_TELL_S = 0.03
_LOG_BYTES_MAX = 8_388_608
_encode_log = msgspec.msgpack.Encoder().encode
_Wish = tuple[str, str, dict[str, Any], int, str]  # what `Twin.want` takes


class Node:
    """What the doors see, and what the ingest process runs."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self.site = site
        self.clock = clock
        self.limits: Limits = site.limits
        self.paths = Paths(site.data)
        self.files = OsFiles()
        self.directory = Directory(self.paths.metadata, clock, site.limits)
        self.journal = SegmentJournal(
            self.files,
            self.paths.journal,
            segment_bytes=site.limits.journal_segment_bytes,
            retention_bytes=site.limits.journal_retention_bytes,
            retention_s=site.limits.journal_retention_s,
            clock=clock,
        )
        self.checkpoints = Checkpoints(self.files, self.paths.checkpoints)
        self.twin = Twin()
        self._tail = Tail(site.limits)
        self._quarantine = Quarantine(site.limits)
        self.registry = ThingRegistry(self.directory)
        self.intake = Intake(self.registry, clock, site.limits, self._refused)
        self.pipeline = Pipeline(self.journal, self.intake, site.limits, self.directory.flush)
        self.access = Access(site, self.directory, self.twin, clock, site.limits)
        self.access.on_refused = self._refused_access
        self.access.on_connected = self.twin.connected
        self.access.on_own_token = self._end_joined
        self.broker = Broker(self.access, site.limits, new_token)
        self.settle: Callable[[], None] = lambda: None
        self._wishes: list[_Wish] = []
        self._committing: list[_Wish] = []
        self.pipeline.add_extra(self._broker_log)
        self.pipeline.add_extra(self._take_wishes)
        self.pipeline.add_listener(self._durable)
        self.directory.on_change(self._changed)
        self.link: Link | None = None
        self.started_ns = clock.now_ns()
        self.worker_position = 0
        self.worker_applied = 0
        self.tally = Tally()
        self._read_until = self.journal.durable  # the worker's place; until it tells, what is new is counted
        self._loop = asyncio.get_running_loop()
        self._telling = False
        self.addresses: dict[str, Any] = {}

    # What the HTTP door asks

    def caller(self, token: str) -> Caller | None:
        """Who a bearer token speaks for."""
        principal = self.directory.principal(token) if token else None
        if principal is None or principal.kind is CredentialKind.JOIN:
            return None
        if principal.thing:
            self.access.own_token_used(principal.project, principal.thing)
        return Caller(principal.project, principal.kind, principal.thing)

    def may_see(self, caller: Caller, project: str) -> bool:
        """Whether the caller may read anything of the project (§11)."""
        return self.directory.project(project) is not None and self.directory.may_see(_principal(caller), project)

    def may_read(self, caller: Caller, project: str, thing: str = "") -> bool:
        """Whether the caller may read the thing, or the whole project when none is named (§11)."""
        known = self.directory.project(project) is not None
        return known and self.directory.may_read(_principal(caller), project, thing)

    def projects(self, caller: Caller) -> list[dict[str, Any]]:
        """The projects the caller may read something of, and how many of their things; refusals only of whole ones."""
        found = []
        for project in self.directory.projects():
            name = project.name
            if not self.may_see(caller, name):
                continue
            entry: dict[str, Any] = {"name": name, "title": project.title, "timezone": project.timezone}
            entry["granted"] = name != caller.project
            if self.may_read(caller, name):
                entry |= {"things": self.directory.thing_count(name), "refused": self._quarantine.total(name)}
            else:
                things = self.directory.things(name, "", self.limits.things_per_project_max)
                entry["things"] = sum(self.may_read(caller, name, thing.name) for thing in things)
            found.append(entry)
        return found

    def things(self, project: str, after: str, limit: int) -> list[ThingSummary]:
        """Things by name, from the first after `after`."""
        now = self.clock.now_ns()
        found = []
        for thing in self.directory.things(project, after, limit):
            presence = self.twin.presence(project, thing.name)
            definitions = self.directory.definitions(project, thing.name) or {}
            periods = [known.period_s for known in definitions.values() if known.period_s]
            found.append(
                ThingSummary(
                    name=thing.name,
                    title=thing.title,
                    model=thing.model,
                    site=thing.site,
                    building=thing.building,
                    parent=thing.parent,
                    role=thing.role,
                    tags=thing.tags,
                    inferred=thing.inferred,
                    state=presence.state(now, min(periods, default=None)) if presence else "never",
                    connected=bool(presence and presence.connections),
                    heard_at=presence.heard_at if presence else 0,
                    refused=self._quarantine.count(project, thing.name),
                )
            )
        return found

    def topology(self, project: str, criteria: Mapping[str, str]) -> dict[str, Any]:
        """The things that meet the criteria, and each site's main meter with its submeters."""
        count = self.directory.thing_count(project)
        topology = Topology(self.directory.things(project, "", count))
        sites = {}
        for site in topology.sites():
            meter = topology.main_meter(site)
            sites[site] = {"main_meter": meter, "submeters": topology.submeters(meter) if meter else []}
        return {"things": topology.select(**criteria), "sites": sites}

    def description(self, project: str, thing: str, base: str) -> dict[str, Any] | None:
        """The thing's W3C Thing Description."""
        known = self.directory.thing(project, thing)
        if known is None:
            return None
        model = self.directory.model(project, known.model) if known.model else None
        return build_description(project, known, model, base)

    def definitions(self, project: str, thing: str) -> Mapping[str, Property] | None:
        """The thing's properties; None when there is no such thing."""
        return self.directory.definitions(project, thing)

    def newest(self, project: str, thing: str) -> dict[str, Reading]:
        """The newest reading of each property of a thing."""
        return self.twin.newest(project, thing)

    async def ingest(self, caller: Caller, thing: str, content_type: str, body: bytes) -> IngestReport:
        """Make the readings of a body durable; returns after the sync (§4)."""
        claim = ingest_claim(self.access, caller, thing, content_type)
        request = Request((claim, body))
        await self._wait_for_room(request)
        self.pipeline.submit(request, len(body))
        await request.done.wait()
        return IngestReport(claim.accepted, claim.refused)

    async def ask_history(self, question: str, arguments: dict[str, Any]) -> Any:
        """Put a question to the worker; its answer is JSON already, for this process has no time for a million rows."""
        if self.link is None:
            raise LinkLost("The worker is not running.", "It is started again by itself; try again in a moment.")
        definitions = self.directory.definitions(arguments["project"], arguments["thing"]) or {}
        arguments["definition"] = definitions[arguments["property"]]
        found = await self.link.call(question, arguments, self.limits.query_timeout_s)
        return {name: msgspec.Raw(text) for name, text in found.items()}

    async def want(self, caller: Caller, thing: str, values: dict[str, Any]) -> None:
        """Make desired values durable, then tell the device, or its gateway, if it is connected (§4).

        Raises:
            RefusedError: no such thing, a read-only property, or a value its definition forbids.
            LimitError: more is wanted of the thing than `desired_bytes_per_thing_max`.
        """
        definitions = self.directory.definitions(caller.project, thing)
        if definitions is None:
            raise RefusedError(f"There is no thing {thing!r} in this project.", "Register it first.")
        for name, value in values.items():
            check_wish(name, value, definitions.get(check_name(name)))
        wanted = {name: wish.value for name, wish in self.desired(caller.project, thing).items()}
        if len(msgspec.json.encode(wanted | values)) > self.limits.desired_bytes_per_thing_max:
            raise LimitError(
                f"All that is wanted of {thing} is more than {self.limits.desired_bytes_per_thing_max} bytes.",
                "Take wishes back with null, or raise [limits] desired_bytes_per_thing_max.",
            )
        wish = (caller.project, thing, values, self.clock.now_ns(), caller.thing or caller.kind)
        self._wishes.append(wish)
        request = Request()
        self.pipeline.submit(request)
        await request.done.wait()
        self.broker.tell(caller.project, lambda who: who.thing == thing, ATTRIBUTES, format_attributes_update(values))
        update = format_gateway_attributes_update(thing, values)
        self.broker.tell(caller.project, lambda who: who.gateway, GATEWAY_ATTRIBUTES, update)
        self.settle()

    def desired(self, project: str, thing: str) -> dict[str, Desired]:
        """What is wanted of a thing."""
        return self.twin.desired(project, thing)

    def join(self, token: str, thing: str) -> Joined:
        """Register a thing with a join token; its own token is told this once. Raises JoinRefused."""
        return self.access.join(token, thing)

    def tail(self, project: str) -> AsyncIterator[dict[str, Any]]:
        """Accepted and refused messages of a project as they come. Raises TailFull."""
        self._tail.check_room(project)
        return self._tail.watch(project)

    def quarantine(self, project: str, thing: str | None) -> list[Any]:
        """What was refused, newest first."""
        return self._quarantine.of_project(project, thing)

    def status(self, caller: Caller) -> dict[str, Any]:
        """Counters of the projects the caller may read; those of the node as a whole for who may read all (§11)."""
        projects = [project.name for project in self.directory.projects()]
        readable = [name for name in projects if self.may_read(caller, name)]
        status: dict[str, Any] = {
            "version": __version__,
            "now": self.clock.now_ns(),
            "clock_speed": self.clock.speed,
            "projects": len(readable),
            "things": sum(self.directory.thing_count(name) for name in readable),
            "acked": sum(self.pipeline.acked[name] for name in readable),
            "points": sum(self.tally.points[name] for name in readable),
            "stored": sum(self.tally.stored[name] for name in readable),
            "refused": sum(self._quarantine.total(name) for name in readable),
            "journal_position": self.journal.durable,
            "history_position": self.worker_applied,
            "worker": "running" if self.link is not None else "away",
        }
        if readable == projects:
            status |= {"groups": self.pipeline.groups, "mqtt": msgspec.to_builtins(self.broker.counters)}
        return status

    def metrics(self) -> str:
        """The counters of the node for Prometheus; they name no project."""
        status = self.status(Caller("", CredentialKind.ADMIN))
        numbers = {name: value for name, value in status.items() if isinstance(value, int | float)}
        numbers |= {f"mqtt_{name}": value for name, value in status["mqtt"].items()}
        lines = []
        for name, value in numbers.items():
            lines.append(f"# TYPE taihu_{name} gauge\ntaihu_{name} {value}")
        return "\n".join(lines) + "\n"

    def may_see_metrics(self, caller: Caller | None) -> bool:
        """Whether the caller may read all projects, or only programs of this machine can ask at all."""
        if is_loopback(self.site.http.host):
            return True
        return caller is not None and all(self.may_read(caller, each.name) for each in self.directory.projects())

    async def administer(self, caller: Caller, action: str, arguments: dict[str, Any]) -> Any:
        """Create projects, things, tokens and grants."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, administer, self.directory, _principal(caller), action, arguments)

    def worker_progress(self, body: Mapping[str, int]) -> None:
        """The worker tells what it made durable (`position`) and what it took over (`applied`)."""
        self.worker_position, self.worker_applied = body["position"], body["applied"]
        self.tally.taken_over(self.worker_applied)
        self._read_until = self.worker_applied
        self._watch_lag()

    # What happens inside

    def _watch_lag(self) -> None:
        """Slow the senders while the worker, there or not, is `worker_lag_bytes_max` behind (§6)."""
        lag = self.journal.lag_bytes(self._read_until + 1)
        self.pipeline.set_lagging(lag > self.limits.worker_lag_bytes_max)

    async def _wait_for_room(self, request: Request) -> None:
        """Slow a request down as a connection is (§6)."""
        while self.pipeline.full:
            request.room.clear()
            self.pipeline.pause(request)
            await request.room.wait()

    def _broker_log(self) -> list[tuple[int, bytes]]:
        events = self.broker.take_log()
        return [(KIND_BROKER, data) for data in _records(events)] if events else []

    def _take_wishes(self) -> list[tuple[int, bytes]]:
        self._committing, self._wishes = self._wishes, []
        return [(KIND_TWIN, _encode_log(wish)) for wish in self._committing]

    def _durable(self, durable: int, batches: list[tuple[int, Batch]]) -> None:
        for position, batch in batches:
            self.twin.apply(position, batch)
            self._tail.accepted(batch)
        for wish in self._committing:  # in the turn in which they became durable: no snapshot comes in between
            self.twin.want(*wish)
        self._committing = []
        self.tally.durable(durable, batches)
        self._watch_lag()
        if not self._telling:
            self._telling = True
            self._loop.call_later(_TELL_S, self._tell_worker)

    def _tell_worker(self) -> None:
        """The worker hears some 30 times a second how far the journal is: more often only costs it turns."""
        self._telling = False
        if self.link is not None:
            self.link.note("durable", self.pipeline.durable)

    def _refused(self, refused: Refused) -> None:
        self._quarantine.add(refused)
        self._tail.refused(refused)

    def _refused_access(self, project: str, thing: str, reason: str) -> None:
        refused = Refused(project=project, thing=thing, reason=reason, received_at=self.clock.now_ns())
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._refused, refused)  # a device may join on a thread

    def _changed(self, change: Change) -> None:
        self._loop.call_soon_threadsafe(self._take_change, change)

    def _take_change(self, change: Change) -> None:
        if change.event is Event.TOKEN_REVOKED:
            self.broker.disconnect(lambda identity: identity.key == change.credential_id)
        elif change.event is Event.MODEL or (change.event is Event.PROPERTY and self._declares(change)):
            self.intake.forget_plans()
            self.broker.invalidate(change.project)

    def _declares(self, change: Change) -> bool:
        """Whether a change of properties can touch what is known already; what is inferred only adds."""
        thing = self.directory.thing(change.project, change.thing)
        return thing is not None and not all(one.inferred for one in thing.properties.values())

    def _end_joined(self, project: str, thing: str) -> None:
        """A thing came with its own token: end the connections that speak for it by a join token."""

        def joined(who: Any) -> bool:
            return bool(who.token) and (who.space, who.thing) == (project, thing)

        asyncio.get_running_loop().call_soon(self.broker.disconnect, joined)


def _principal(caller: Caller) -> Principal:
    return Principal(caller.project, CredentialKind(caller.kind), caller.thing)


def _records(events: list[Any]) -> list[bytes]:
    """The broker's events in their order, as so many records that none is beyond what the journal takes."""
    data = _encode_log(events)
    if len(data) <= _LOG_BYTES_MAX or len(events) == 1:
        return [data]
    half = len(events) // 2
    return _records(events[:half]) + _records(events[half:])
