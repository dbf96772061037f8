"""One node's parts put together: directory, journal, pipeline, twin, broker and the link to the worker."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from taihu.doors.http.ports import Caller, HistoryPage, IngestReport
from taihu.doors.http.wot_ports import Observer
from taihu.identity.directory import Directory
from taihu.identity.presented import Presented
from taihu.identity.principal import Change, CredentialKind, Event
from taihu.journal.segments import SegmentJournal
from taihu.kernel.clock import Clock, Steps, SystemClock
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.files import OsFiles
from taihu.kernel.ids import check_name, new_token
from taihu.kernel.limits import renew
from taihu.kernel.sections import Site
from taihu.protocols.mqtt.broker import Broker
from taihu.runtime.actions import own, own_node
from taihu.runtime.admin.certification import Certification
from taihu.runtime.admin.projects import administer
from taihu.runtime.admin.signin import SignIn
from taihu.runtime.batches import Batches
from taihu.runtime.commands.operations import Operations
from taihu.runtime.commands.service import Commands
from taihu.runtime.deletion.service import Deletions, shown
from taihu.runtime.ingest.access import Access
from taihu.runtime.ingest.bodies import Bodies
from taihu.runtime.ingest.follower import Follower
from taihu.runtime.ingest.intake import Intake
from taihu.runtime.ingest.pipeline import Pipeline
from taihu.runtime.ingest.quarantine import Quarantine, Refused
from taihu.runtime.ingest.quota import Quota
from taihu.runtime.ingest.registry import ThingRegistry
from taihu.runtime.ingest.request import Request
from taihu.runtime.ingest.spool import FileSpool
from taihu.runtime.ingest.tail import Tail
from taihu.runtime.ingest.tally import Tally
from taihu.runtime.logs import set_logging
from taihu.runtime.node.reload import settings_of_worker
from taihu.runtime.paths import Paths
from taihu.runtime.retention import Newest, SiteRules
from taihu.runtime.serving.catalogue import Catalogue
from taihu.runtime.serving.granted import Granted
from taihu.runtime.serving.lifecycle import Lifecycle
from taihu.runtime.serving.live import Live
from taihu.runtime.serving.observers import Observers
from taihu.runtime.serving.view import View
from taihu.things.batch import KIND_BROKER, KIND_TWIN, Batch
from taihu.things.deletion import Deletion
from taihu.things.mapping.rules import Mapping
from taihu.things.mapping.thingsboard import (
    ATTRIBUTES,
    GATEWAY_ATTRIBUTES,
    format_attributes_update,
    format_gateway_attributes_update,
)
from taihu.things.validate import check_wish
from taihu.twin.twin import Twin

log = logging.getLogger("taihu.node")

_LOG_BYTES_MAX = 8_388_608
_encode_log = msgspec.msgpack.Encoder().encode
_NOBODY = (CredentialKind.JOIN, CredentialKind.INVITE, CredentialKind.CONSOLE)  # these ask for nothing
_Wish = tuple[str, str, dict[str, Any], int, str]  # what `Twin.want` takes


class Node(View):
    """What the doors see, and what the ingest process runs."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self.site, self.clock, self.limits = site, clock, site.limits
        self.paths, self.files = Paths(site.data), OsFiles()
        machine = SystemClock()
        self.directory = Directory(self.paths.metadata, clock, site.limits, machine=machine)
        self.batches = Batches(clock, site.limits)
        self.sign_in = SignIn(site, self.directory, machine, self.batches)
        self.journal = SegmentJournal(
            self.files,
            self.paths.journal,
            segment_bytes=site.limits.journal_segment_bytes,
            retention_bytes=site.limits.journal_retention_bytes,
            retention_s=site.limits.journal_retention_s,
            clock=clock,
        )
        self.spool = FileSpool(self.files, self.paths.spool)
        self.twin = Twin()
        self.live = Live(self.directory, self.twin, clock, site.limits)
        self._observers = Observers(site.limits, self.directory.definitions, self.live.newest, self.live)
        self._tail, self._quarantine = Tail(site.limits), Quarantine(site.limits)
        rules = SiteRules(site)
        self.twin.expired = Newest(rules, self.directory.definitions, clock)
        self.quota = Quota(site, site.limits, lambda project: self.broker.invalidate(project))
        self.registry = ThingRegistry(self.directory, rules, self.quota)
        self.intake = Intake(self.registry, clock, site.limits, self._refused)
        self.pipeline = Pipeline(self.journal, self.intake, site.limits, self.directory.flush, self.spool)
        self.access = Access(site, self.directory, self.twin, clock, site.limits)
        self.bodies = Bodies(self.access, self.intake)
        self.quota.attach(self.access)
        self.certification = Certification(site, self.directory, clock)
        self.access.on_refused = self._refused_access
        self.access.joining.settle = lambda: self.settle()
        self.join = self.access.joining.join
        self.access.on_connected = self.twin.connected
        self.access.on_own_token = self._end_joined
        self.broker = Broker(self.access, site.limits, new_token, self.spool)
        self.settle: Callable[[], None] = lambda: None
        self.end_revoked: Callable[[], None] = lambda: None
        self._wishes, self._committing = list[_Wish](), list[_Wish]()
        self.pipeline.add_extra(self._broker_log)
        self.pipeline.add_extra(self._take_wishes)
        self.pipeline.add_listener(self._durable)
        self.directory.on_change(self._changed)
        self.tally, self.steps = Tally(), Steps()
        self.worker = Follower(self.journal, self.pipeline, self.tally, site.limits)
        self.commands = Commands(
            site, self.directory, self.twin, self.broker, self.pipeline, clock, self.files, lambda: self.settle()
        )
        self.commands.attach(self.access)
        operations = Operations(self.broker, self.commands.give, self.directory.definitions, lambda: self.settle())
        operations.attach(self.access, self.commands, self.pipeline)
        Granted(self.directory, self.broker, lambda: self.settle()).attach(self.access, self.pipeline)
        self._lifecycle = Lifecycle(site.limits, clock)
        self.catalogue = Catalogue(
            self.directory, clock, site.limits, self._lifecycle, self.worker.ask, site.mqtt.public
        )
        self.take_snapshot: Callable[[], Awaitable[int]]  # set by the process that writes them
        self.deletions = Deletions(self)
        self._loop = asyncio.get_running_loop()
        self.addresses: dict[str, Any] = {}
        self.actions: dict[str, Callable[[], Awaitable[Any]]] = {}

    def caller(self, token: str) -> Caller | None:
        """Who a bearer token speaks for."""
        principal = self.directory.principal(token) if token else None
        if principal is None or principal.kind in _NOBODY:
            return None
        if principal.thing:
            self.access.own_token_used(principal.project, principal.thing)
        return principal

    async def ingest(
        self, caller: Caller, thing: str, content_type: str, body: bytes, unit_ns: int = 1
    ) -> IngestReport:
        """Make the readings of a body durable; returns after the sync (§4). Times of line protocol count `unit_ns`."""
        if not self.directory.may_write(caller, caller.project, thing):
            raise RefusedError(f"You may not send readings of {thing or caller.project!r}.", "Use its own token.")
        self.quota.check(caller.project)
        claim = self.bodies.claim(caller, thing, content_type, unit_ns)
        request = Request((claim, body))
        await self._wait_for_room(request)
        self.pipeline.submit(request, len(body))
        await request.done.wait()
        return IngestReport(claim.accepted, claim.refused, claim.refusals)

    async def ask_history(self, question: str, arguments: dict[str, Any]) -> Any:
        """Put a question to the worker; its answer is JSON already, for this process has no time for a million rows."""
        definitions = self.directory.definitions(arguments["project"], arguments["thing"]) or {}
        arguments["definitions"] = [(arguments["thing"], definitions[arguments["property"]])]
        found = await self.worker.ask(question, arguments)
        return {name: msgspec.Raw(text) for name, text in found.items()}

    async def ask_promql(self, arguments: dict[str, Any]) -> Any:
        """The result of a PromQL query, and its warnings, as JSON."""
        return {name: msgspec.Raw(text) for name, text in (await self.worker.ask("promql", arguments)).items()}

    async def ask_page(self, arguments: dict[str, Any]) -> HistoryPage:
        """A page of a long answer of the history."""
        found = await self.worker.ask("page", arguments)
        place, last = (msgspec.json.decode(found[name]) for name in ("next", "last"))
        return HistoryPage(found["data"], place, last)

    async def ask_sql(self, caller: Caller, project: str, question: str, arguments: dict[str, Any]) -> Any:
        """Put a question in SQL to the worker; its views hold no thing that the caller may not read (§11)."""
        things = None
        if not self.may_read(caller, project):
            names = self.directory.things(project, "", self.directory.thing_count(project))
            things = [thing.name for thing in names if self.may_read(caller, project, thing.name)]
        return await self.worker.ask(
            question, arguments | {"project": project, "things": things}, self.limits.sql_timeout_s
        )

    async def want(self, caller: Caller, project: str, thing: str, values: dict[str, Any]) -> None:
        """Make desired values durable, then tell the device, or its gateway, if it is connected (§4).

        Raises:
            RefusedError: no such thing, a read-only property, or a value its definition forbids.
            LimitError: more is wanted of the thing than `desired_bytes_per_thing_max`.
        """
        definitions = self.directory.definitions(project, thing)
        if definitions is None:
            raise RefusedError(f"There is no thing {thing!r} in this project.", "Register it first.")
        for name, value in values.items():
            check_wish(name, value, definitions.get(check_name(name)))
            if not self.directory.may_want(caller, project, thing, name):
                raise RefusedError(f"You may not say what is wanted of {thing}/{name}.", "Use its own token.")
        wanted = {name: wish.value for name, wish in self.desired(project, thing).items()}
        if len(msgspec.json.encode(wanted | values)) > self.limits.desired_bytes_per_thing_max:
            raise LimitError(
                f"All that is wanted of {thing} is more than {self.limits.desired_bytes_per_thing_max} bytes.",
                "Take wishes back with null, or raise [limits] desired_bytes_per_thing_max.",
            )
        wish = (project, thing, values, self.clock.now_ns(), _by(caller, project))
        self._wishes.append(wish)
        request = Request()
        self.pipeline.submit(request)
        await request.done.wait()
        self.broker.tell(project, thing, ATTRIBUTES, format_attributes_update(values))
        update = format_gateway_attributes_update(thing, values)
        self.broker.tell(project, lambda who: who.gateway, GATEWAY_ATTRIBUTES, update)
        self.settle()

    def observe(self, project: str, thing: str, permitted: Callable[[], str]) -> Observer:
        """An observer of a thing who wants nothing yet. Raises ObserversFull."""
        return self._observers.open(project, thing, permitted)

    def end_observers(self, reason: str) -> None:
        """End every observation."""
        self._observers.close(reason)
        self._lifecycle.close(reason)

    @property
    def observers_count(self) -> int:
        """How many observe now, things or directories."""
        return self._observers.count + self._lifecycle.count

    def authority_chain(self) -> bytes:
        """The authority's certificate as PKCS #7; blocks. Raises AuthorityLocked."""
        return self.certification.authority_chain()

    def enrol(self, token: str, request: bytes) -> bytes:
        """A thing's first certificate, for an enrolment token, as PKCS #7; blocks."""
        return self.certification.enrol(token, request)

    def renew_certificate(self, present: Presented, request: bytes) -> bytes:
        """A new certificate in the place of the present one, as PKCS #7; blocks."""
        return self.certification.renew_certificate(present, request)

    def revocation_list(self) -> bytes:
        """The revoked certificates, as DER; blocks."""
        return self.certification.revocation_list()

    def tail(self, project: str) -> AsyncGenerator[dict[str, Any]]:
        """Accepted and refused messages of a project as they come. Raises TailFull."""
        self._tail.check_room(project)
        return self._tail.watch(project)

    async def administer(self, caller: Caller, action: str, arguments: dict[str, Any]) -> Any:
        """Create projects, things, tokens and grants; what acts on the node itself is for its owner alone."""
        if action in self.actions:
            own_node(self.directory, caller)
            await self._loop.run_in_executor(None, self.directory.record, caller.who, action, "the node")
            return await self.actions[action]()
        if action in ("thing-delete", "project-delete"):
            return shown(await self.deletions.act(caller, action, arguments))
        more = self.certification.actions()
        return await self._loop.run_in_executor(None, administer, self.directory, caller, action, arguments, more)

    async def delete(self, caller: Caller, project: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Delete readings, a thing or a project; when this returns no query answers them. Gives the receipt."""
        return shown(await self.deletions.ask(caller, project, wanted))

    async def receipts(self, caller: Caller, project: str = "") -> list[dict[str, Any]]:
        """The deletions of a project, or of all that the caller administers, the newest first."""
        if project:
            own(self.directory, caller, project)
        found = await self.deletions.receipts(project or None)
        return [shown(one) for one in found if self.directory.may_administer(caller, one.deletion.project)]

    def use(self, site: Site, mappings: dict[str, tuple[Mapping, ...]]) -> None:
        """Go by the settings and mappings of `site` from now on; blocks. Connections live on."""
        self.certification.use(site)
        renew(self.limits, site.limits)
        self.directory.renew_limits()
        self._loop.call_soon_threadsafe(self._take_over, site, mappings)

    def end_expired(self) -> None:
        """Disconnect who is connected with a credential that has expired meanwhile."""

        def expired(who: Any) -> bool:
            return who.expires_at is not None and who.expires_at <= self.clock.now_ns()

        self.broker.disconnect(expired)

    def withdraw(self, deletion: Deletion) -> None:
        """Forget what refusals and observers hold of the readings that are deleted."""
        self._quarantine.withdraw(deletion)
        self._observers.withdraw(deletion)
        if deletion.removes:
            self.commands.book.forget(deletion.project, deletion.thing)

    def _take_over(self, site: Site, mappings: dict[str, tuple[Mapping, ...]]) -> None:
        self.site = msgspec.structs.replace(site, limits=self.limits)
        self.access.use(site, mappings)
        self.commands.use(site)
        self.registry.use(site)
        self.intake.forget_plans()
        for project in site.projects:
            self.broker.invalidate(project.name)
        self.broker.disconnect(lambda identity: self.access.is_revoked(identity.key))
        self.end_revoked()
        set_logging("ingest", site.log)
        self.worker.tell("settings", settings_of_worker(site, self.limits))

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
            self._observers.tell(position, batch)
        for wish in self._committing:  # in the turn in which they became durable: no snapshot comes in between
            self.twin.want(*wish)
        self._committing = []
        self.tally.durable(durable, batches)
        self.worker.durable()

    def _refused(self, refused: Refused) -> None:
        self._quarantine.add(refused)
        self._tail.refused(refused)

    def _refused_access(self, project: str, thing: str, reason: str) -> None:
        self._refused(Refused(project=project, thing=thing, reason=reason, received_at=self.clock.now_ns()))

    def _changed(self, change: Change) -> None:
        self._loop.call_soon_threadsafe(self._take_change, change)

    def _take_change(self, change: Change) -> None:
        if change.event is Event.TOKEN_REVOKED:
            self.broker.disconnect(lambda identity: identity.key == change.credential_id)
            self.end_revoked()
        elif change.event is Event.PERSON:
            self.broker.disconnect(lambda who: getattr(who, "user", "") == change.user)
        elif change.event is Event.THING_REMOVED:
            self._forget(change.project, change.thing)
        elif change.event in (Event.MODEL, Event.THING_CHANGED, Event.PROJECT_REMOVED) or (
            change.event is Event.PROPERTY and self._declares(change)
        ):
            self.intake.forget_plans()
            self.broker.invalidate(change.project)
        self.catalogue.take_change(change)

    def _forget(self, project: str, thing: str) -> None:
        """A thing was taken out of the directory."""

        def its_own(who: Any) -> bool:
            return (who.space, who.thing) == (project, thing)

        self.intake.forget_plans()
        self.broker.disconnect(its_own)
        self.broker.invalidate(project)
        self.twin.forget(project, thing)
        self._observers.remove(project, thing)

    def _declares(self, change: Change) -> bool:
        """Whether a change of properties can touch what is known already; what is inferred only adds."""
        thing = self.directory.thing(change.project, change.thing)
        return thing is not None and not all(one.inferred for one in thing.properties.values())

    def _end_joined(self, project: str, thing: str) -> None:
        """A thing came with its own token: end the connections that speak for it by a join token."""

        def joined(who: Any) -> bool:
            return bool(who.token) and (who.space, who.thing) == (project, thing)

        asyncio.get_running_loop().call_soon(self.broker.disconnect, joined)


def _by(caller: Caller, project: str) -> str:
    """Who wants something, as the thing is told; who comes from another project says from which."""
    who = caller.thing or caller.user or str(caller.kind)
    return who if caller.project == project else f"{caller.project}/{who}".lstrip("/")


def _records(events: list[Any]) -> list[bytes]:
    """The broker's events in their order, as so many records that none is beyond what the journal takes."""
    data = _encode_log(events)
    if len(data) <= _LOG_BYTES_MAX or len(events) == 1:
        return [data]
    half = len(events) // 2
    return _records(events[:half]) + _records(events[half:])
