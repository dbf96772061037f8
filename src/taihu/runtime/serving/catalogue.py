"""The things of a project as a W3C Thing Description Directory: listed, retrieved, registered, changed, taken out."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from uuid import uuid4

import msgspec

from taihu.doors.http.ports import Caller
from taihu.identity.descriptions import Registered, Revision
from taihu.identity.directory import Directory
from taihu.identity.memory import Unknown
from taihu.identity.principal import Change, CredentialKind, Event
from taihu.kernel.clock import Clock
from taihu.kernel.errors import RefusedError
from taihu.kernel.limits import Limits
from taihu.runtime.serving.formulas import check_formulas
from taihu.runtime.serving.lifecycle import CREATED, DELETED, UPDATED, Lifecycle, Watcher
from taihu.things.description import build_description, part_of
from taihu.things.document import DescriptionError, Json, read_document
from taihu.things.forms import own_name, thing_id
from taihu.things.property import Thing, ThingModel
from taihu.things.registration import (
    Submission,
    another_name,
    apply_patch,
    check_kept,
    difference,
    enrich,
    read_submission,
    registration_of,
)

_AT_ONCE, _BYTES_AT_ONCE = 10, 65_536  # descriptions built between two turns of the loop
_ANYWHERE = "/things"  # the address in a description of which no address is looked at
_KINDS = {
    Event.THING: CREATED,
    Event.THING_CHANGED: UPDATED,
    Event.PROPERTY: UPDATED,
    Event.THING_REMOVED: DELETED,
}
_encode = msgspec.json.Encoder(enc_hook=str).encode
T = TypeVar("T")
Unchanged = Callable[[bytes], None]


def _whatever(before: bytes) -> None:
    """It may be changed whatever it is."""


class Catalogue:
    """One node's directories. `base` is the address of the project's things in the HTTP API.

    `ask` puts a question to the worker; `mqtt` is where the forms for MQTT lead, empty for none.
    """

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        limits: Limits,
        lifecycle: Lifecycle,
        ask: Callable[[str, dict[str, Any]], Awaitable[Any]],
        mqtt: str,
    ) -> None:
        self._ask = ask
        self._mqtt = mqtt
        self._directory = directory
        self._clock = clock
        self._limits = limits
        self._lifecycle = lifecycle
        self._began = clock.now_ns()
        self._revisions: dict[str, int] = {}
        self._full: dict[tuple[str, str], bytes] = {}  # of changes under way, what is told of them in full

    def etag(self, project: str) -> str:
        """Another one whenever a thing came or went."""
        return f"{self._began:x}-{self._revisions.get(project, 0)}"

    async def page(
        self, caller: Caller, project: str, offset: int, limit: int, base: str
    ) -> tuple[list[msgspec.Raw], int]:
        """The descriptions from `offset` on that the caller may see, by identifier, and how many there are in all."""
        ids = await self._visible_ids(caller, project)
        things = [self._directory.thing_of(project, identifier) for identifier in ids[offset : offset + limit]]
        found = [thing for thing in things if thing is not None]
        documents = await self._documents(project, found)
        page, size = [], 0
        for number, thing in enumerate(found, 1):
            page.append(msgspec.Raw(_encode(self._shown(caller, project, thing, documents.get(thing.name), base))))
            size += len(bytes(page[-1]))
            if number % _AT_ONCE == 0 or size > _BYTES_AT_ONCE:
                size = 0
                await asyncio.sleep(0)
        return page, len(ids)

    async def retrieve(self, caller: Caller, project: str, identifier: str, base: str) -> tuple[bytes, bytes] | None:
        """One description, and what its entity tag is made of, empty for a part; None when the caller may see none."""
        thing = self._thing(caller, project, identifier)
        if thing is None:
            return None
        registered = (await self._documents(project, [thing])).get(thing.name)
        shown = self._shown(caller, project, thing, registered, base)
        part = self._part(caller, project, thing.name) is not None
        return _encode(shown), b"" if part else self._lasting(project, thing, registered)

    async def create(self, caller: Caller, project: str, document: bytes) -> str:
        """Register a thing by a description without an identifier; returns the one it gets. DescriptionError."""
        self._check_administers(caller, project)

        def create() -> str:
            submission = self._read(project, document)
            if "id" in submission.document:
                raise DescriptionError("/id", "a description with an identifier is sent with PUT.", "Leave it out.")
            identifier = uuid4().urn
            self._register(caller, project, identifier, submission, own=False)
            return identifier

        return await self._in_thread(create)

    async def put(
        self, caller: Caller, project: str, identifier: str, document: bytes, unchanged: Unchanged = _whatever
    ) -> bool:
        """Register a thing by a description, or replace it; returns whether it is new. DescriptionError.

        `unchanged` raises when what its entity tag is made of now, empty for none, is not what was to be changed.
        """
        known = self._thing(caller, project, identifier)
        self._check_may(caller, project, known)
        own = own_name(project, identifier)
        if known is None and identifier.startswith("urn:taihu:") and not own:
            raise DescriptionError("/id", "this identifier is the node's to give.", "Use one of your own.")

        def put() -> bool:
            if known is not None:
                self._revise(
                    caller, project, known.name, lambda thing, before: read_document(document, self._limits), unchanged
                )
                return False
            unchanged(b"")
            submission = self._read(project, document, own, own=bool(own))
            if submission.document.get("id") != identifier:
                raise DescriptionError("/id", "it is not the identifier of the address.", f"Write {identifier!r}.")
            self._register(caller, project, identifier, submission, own=bool(own))
            return True

        return await self._in_thread(put)

    async def patch(
        self, caller: Caller, project: str, identifier: str, patch: bytes, unchanged: Unchanged = _whatever
    ) -> None:
        """Change a part of a description by a merge patch (RFC 7396). Raises Unknown, and as `put` does."""
        known = self._thing(caller, project, identifier)
        if known is None:
            raise Unknown("There is no such thing in this directory.", "Check the identifier.")
        self._check_may(caller, project, known)

        def change(thing: Thing, before: Registered | None) -> Json:
            document = self._document(project, thing, before, _ANYWHERE)
            if before is not None and before.ttl_s is not None:
                document |= {"registration": {"ttl": before.ttl_s}}
            elif before is not None and before.expires_at is not None:
                document = enrich(document, {"expires": before.expires_at})
            return apply_patch(document, patch, self._limits)

        await self._in_thread(lambda: self._revise(caller, project, known.name, change, unchanged))

    async def remove(self, caller: Caller, project: str, identifier: str) -> None:
        """Take a thing out of the directory and revoke its credentials. Raises Unknown."""
        known = self._thing(caller, project, identifier)
        if known is None:
            raise Unknown("There is no such thing in this directory.", "Check the identifier.")
        self._check_administers(caller, project)
        await self._in_thread(lambda: self._directory.remove_thing(project, known.name, caller.who))

    async def purge(self) -> None:
        """Take out the things whose registration has expired."""
        await self._in_thread(self._purge)

    async def search(self, caller: Caller, project: str, query: str, base: str) -> bytes:
        """What a JSONPath query finds in the array of all descriptions that the caller may see, as a JSON array."""
        visible = await self.visible(caller, project)
        question = {
            "project": project,
            "query": query,
            "base": base,
            "mqtt": self._mqtt,
            "now_ns": self._clock.now_ns(),
        }
        found: bytes = await self._ask("search", question | {"visible": visible})
        return found

    def watch(
        self,
        caller: Caller,
        project: str,
        kinds: Collection[str],
        full: bool,
        after: int | None,
        permitted: Callable[[], str],
    ) -> Watcher:
        """A stream of what happens to the things that the caller may see. Raises WatchersFull."""

        def visible(thing: str) -> bool:
            return self._directory.may_see(caller, project, thing)

        return self._lifecycle.watch(project, kinds, full, after, permitted, visible)

    def take_change(self, change: Change) -> None:
        """Tell those who watch of a change in the directory."""
        kind = _KINDS.get(change.event)
        if kind is None:
            return
        if kind != UPDATED:
            self._revisions[change.project] = self._revisions.get(change.project, 0) + 1
        thing = self._directory.thing(change.project, change.thing)
        identifier = change.other or (thing.registered_id if thing else "") or thing_id(change.project, change.thing)
        full = self._full.pop((change.project, change.thing), b"")
        self._lifecycle.happened(kind, change.project, change.thing, _encode({"id": identifier}), full)

    async def visible(self, caller: Caller, project: str) -> dict[str, list[str] | None] | None:
        """The things the caller may see, by name, each with the properties of which it is a part; None for all."""
        if self._directory.may_read(caller, project, ""):
            return None
        if caller.thing:
            return {caller.thing: None} if self._directory.thing(project, caller.thing) else {}
        found: dict[str, list[str] | None] = {}
        for number, thing in enumerate(self._directory.things(project, "", self._limits.things_per_project_max), 1):
            if self._directory.may_see(caller, project, thing.name):
                found[thing.name] = self._part(caller, project, thing.name)
            if number % 1_000 == 0:
                await asyncio.sleep(0)
        return found

    def _part(self, caller: Caller, project: str, name: str) -> list[str] | None:
        """The properties of a thing that the caller may read; None for the whole thing."""
        if self._directory.may_read(caller, project, name):
            return None
        definitions = self._directory.definitions(project, name) or {}
        return [prop for prop in definitions if self._directory.may_read(caller, project, name, prop)]

    async def _visible_ids(self, caller: Caller, project: str) -> list[str]:
        ids = await self._in_thread(lambda: list(self._directory.ids(project)))  # the first look at many sorts them
        visible = await self.visible(caller, project)
        if visible is None:
            return ids
        things = (self._directory.thing_of(project, identifier) for identifier in ids)
        seen = [thing for thing in things if thing is not None and thing.name in visible]
        return [thing.registered_id or thing_id(project, thing.name) for thing in seen]

    def _thing(self, caller: Caller, project: str, identifier: str) -> Thing | None:
        thing = self._directory.thing_of(project, identifier)
        seen = thing is not None and self._directory.may_see(caller, project, thing.name)
        return thing if seen else None

    async def _documents(self, project: str, things: list[Thing]) -> Mapping[str, Registered]:
        names = [thing.name for thing in things if thing.registered_id]
        if not names:
            return {}
        return await self._in_thread(lambda: self._directory.registered(project, names))

    def _document(self, project: str, thing: Thing, registered: Registered | None, base: str) -> Json:
        """The description without its registration."""
        if registered is not None:
            document: Json = msgspec.json.decode(registered.document)
            return document
        model = self._directory.model(project, thing.model) if thing.model else None
        return build_description(project, thing, model, base, self._mqtt)

    def _shown(self, caller: Caller, project: str, thing: Thing, registered: Registered | None, base: str) -> Json:
        document = self._document(project, thing, registered, base)
        part = self._part(caller, project, thing.name)
        if part is not None:
            document = part_of(document, lambda name: name in part)
        return enrich(document, registration_of(thing, registered) | {"retrieved": self._clock.now_ns()})

    def _lasting(self, project: str, thing: Thing, registered: Registered | None) -> bytes:
        """A whole description without what every answer says anew, such as when it was retrieved."""
        document = self._document(project, thing, registered, _ANYWHERE)
        return _encode(enrich(document, registration_of(thing, registered)))

    def _models(self, project: str) -> dict[str, ThingModel]:
        return {model.name: model for model in self._directory.models(project)}

    def _read(self, project: str, document: bytes | Json, name: str = "", *, own: bool = False) -> Submission:
        return read_submission(document, name, self._models(project), self._limits, lenient=not own)

    def _register(self, caller: Caller, project: str, identifier: str, submission: Submission, *, own: bool) -> None:
        """Create a thing; its `own` description is built, another is kept as it came."""
        thing, document = submission.thing, submission.document | {"id": identifier}
        if own:
            check_kept(document, self._document(project, thing, None, _ANYWHERE))
            check_formulas(self._directory, caller, project, thing)
            self._directory.register(project, thing, None, caller.who)
            return
        if self._directory.thing(project, thing.name) is not None:
            thing = msgspec.structs.replace(thing, name=another_name(thing.name, identifier))
        thing = msgspec.structs.replace(thing, created_at=0, registered_id=identifier)
        check_formulas(self._directory, caller, project, thing)
        now = self._clock.now_ns()
        with self._told(project, thing.name, enrich(document, {"created": now, "modified": now})):
            self._directory.register(project, thing, self._registered(submission, document), caller.who)

    def _revise(
        self,
        caller: Caller,
        project: str,
        name: str,
        wanted: Callable[[Thing, Registered | None], Json],
        unchanged: Unchanged,
    ) -> None:
        def change(thing: Thing, before: Registered | None) -> Revision:
            unchanged(self._lasting(project, thing, before))
            submission = self._read(project, wanted(thing, before), name, own=before is None)
            identifier = thing.registered_id or thing_id(project, name)
            if submission.document.get("id") != identifier:
                raise DescriptionError("/id", "an identifier does not change.", f"Write {identifier!r}.")
            kept = {"created_at": thing.created_at, "commissioned_at": thing.commissioned_at}
            changed = msgspec.structs.replace(submission.thing, registered_id=thing.registered_id, **kept)
            check_formulas(self._directory, caller, project, changed)
            if before is None:
                check_kept(submission.document, self._document(project, changed, None, _ANYWHERE))
                return changed, None
            patch = difference(msgspec.json.decode(before.document), submission.document)
            self._full[project, name] = _encode(patch | {"id": identifier})
            return changed, self._registered(submission, submission.document)

        with self._told(project, name, {}):
            self._directory.revise(project, name, change, caller.who)

    @contextmanager
    def _told(self, project: str, name: str, full: Json) -> Iterator[None]:
        """What is told of a change in full, unless it fails."""
        if full:
            self._full[project, name] = _encode(full)
        try:
            yield
        except BaseException:
            self._full.pop((project, name), None)
            raise

    def _registered(self, submission: Submission, document: Json) -> Registered:
        now = self._clock.now_ns()
        return Registered(document=_encode(document), expires_at=submission.expiry(now), ttl_s=submission.ttl_s)

    def _purge(self) -> None:
        for project, name in self._directory.expired(self._clock.now_ns()):
            with suppress(Unknown):  # somebody was faster
                self._directory.remove_thing(project, name, "expiry")

    def _check_administers(self, caller: Caller, project: str) -> None:
        if not self._directory.may_administer(caller, project):
            raise RefusedError(
                "You may not register things or take them out here.", "It takes an owner, or an operator's token."
            )

    def _check_may(self, caller: Caller, project: str, known: Thing | None) -> None:
        """A thing may change its own description; any other takes who administers."""
        itself = caller.kind is CredentialKind.THING and known is not None and known.name == caller.thing
        if not (itself and caller.project == project):
            self._check_administers(caller, project)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, call)
