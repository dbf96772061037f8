"""Deletions as they were asked for, with how far each has come; and things and projects that are removed."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Table, func, select, true

from taihu.identity import description_records
from taihu.identity.descriptions import Descriptions
from taihu.identity.memory import Unknown
from taihu.identity.principal import Change, Event, Principal
from taihu.identity.schema import (
    certificates,
    codes,
    credentials,
    deletions,
    descriptions,
    grants,
    models,
    projects,
    roles,
    things,
)
from taihu.kernel.clock import format_iso
from taihu.kernel.errors import LimitError
from taihu.things.deletion import TIME_MAX, TIME_MIN, Deletion

_decoder = msgspec.json.Decoder(Deletion)


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A deletion and how far it has come; times are UTC nanoseconds.

    From `hidden_at` on no query returns what it is of; from `erased_at` on no file holds it. `position` is its place in
    the journal.
    """

    deletion: Deletion
    position: int | None = None
    hidden_at: int | None = None
    erased_at: int | None = None

    @property
    def state(self) -> str:
        """`accepted`, `hidden` or `erased`."""
        return "erased" if self.erased_at else "hidden" if self.hidden_at else "accepted"


class Removals(Descriptions):
    """The part of the directory that removes, and that keeps the receipts."""

    def accept(self, deletion: Deletion, *, bounded: bool = True) -> Receipt:
        """Note a deletion; where it removes a thing or project, this and its credentials are gone with it.

        Raises Unknown for a project there is not, LimitError while too many are not erased yet, if `bounded`.
        """
        with self._writing:
            state = self._memory.project(deletion.project)
            known = state.things.get(deletion.thing)
            size, changes = self._bytes()[deletion.project], []
            with self._transaction(quiet=not deletion.removes) as connection:
                if bounded:
                    self._check_pending(connection, deletion.project)
                if deletion.removes:
                    described = description_records.remove(connection, deletion.project, deletion.thing)
                    size = size - described if deletion.thing else 0
                    _remove(connection, deletion)
                document = msgspec.json.encode(deletion)
                connection.execute(
                    deletions.insert().values(id=deletion.id, project=deletion.project, document=document)
                )
                self._note(connection, deletion.by, "deleted", _told(deletion), deletion.project)
            if deletion.removes:
                identifier = state.id_of(known) if known else ""
                event = Event.THING_REMOVED if deletion.thing else Event.PROJECT_REMOVED
                changes = [Change(event, deletion.project, deletion.thing, other=identifier)]
                changes += [
                    Change(Event.TOKEN_REVOKED, one.project, one.thing, one.credential_id, user=one.user)
                    for one in self._forget(deletion)
                ]
                self._bytes()[deletion.project] = size
        self._tell(*changes)
        return Receipt(deletion=deletion)

    def progress(self, number: str, **fields: int) -> Receipt:
        """Note how far a deletion has come: `position`, `hidden_at` or `erased_at`. Raises Unknown."""
        with self._writing:
            with self._transaction(quiet=True) as connection:
                connection.execute(deletions.update().where(deletions.c.id == number).values(**fields))
                found = _load(connection, deletions.c.id == number)
            if not found:
                raise Unknown(f"There is no deletion {number[:80]!r}.", "List them with: taihu deletions")
            if fields.get("erased_at"):
                self._store.shrink()
        return found[0]

    def receipts(self, project: str | None = None, limit: int = 1_000) -> list[Receipt]:
        """At most `limit` deletions, the newest first, of a project or of all; blocks."""
        with self._writing, self._store.transaction() as connection:
            of = True if project is None else deletions.c.project == project
            return sorted(_load(connection, of), key=lambda one: one.deletion.at, reverse=True)[:limit]

    def unfinished(self) -> list[Receipt]:
        """The deletions that are not erased yet, the oldest first; blocks."""
        with self._writing, self._store.transaction() as connection:
            return sorted(_load(connection, deletions.c.erased_at.is_(None)), key=lambda one: one.deletion.at)

    def take_up_again(self, position: int, erased: Collection[str]) -> None:
        """Begin again what the files have less of than the receipts say: a journal that ends at `position`.

        Args:
            position: a deletion that was journalled after it, or not yet, is journalled anew.
            erased: the deletions of which no file has anything.
        """
        with self._writing, self._transaction(quiet=True) as connection:
            for one in _load(connection, true()):
                values: dict[str, int | None] = {"erased_at": None}
                if one.position is None or one.position > position:
                    values |= {"position": None, "hidden_at": None}
                elif one.deletion.id in erased:
                    continue
                connection.execute(deletions.update().where(deletions.c.id == one.deletion.id).values(**values))

    def last_deletion_position(self) -> int:
        """The last journal position that any deletion was given; blocks."""
        with self._writing, self._store.transaction() as connection:
            return connection.execute(select(func.max(deletions.c.position))).scalar_one() or 0

    def _check_pending(self, connection: Connection, project: str) -> None:
        limit = self.limits(project).deletions_pending_max
        pending = select(func.count()).where(deletions.c.project == project, deletions.c.erased_at.is_(None))
        if connection.execute(pending).scalar_one() >= limit:
            raise LimitError(
                f"{limit} deletions of {project} are not erased yet (deletions_pending_max).", "Wait for these first."
            )

    def _forget(self, deletion: Deletion) -> list[Principal]:
        """Memory after a removal; returns who could come in and no longer can."""
        memory, project, thing = self._memory, deletion.project, deletion.thing
        gone = [
            (digest, principal)
            for digest, principal in list(memory.principals.items())
            if principal.project == project and thing in ("", principal.thing)
        ]
        with self._changing:
            for digest, _ in gone:
                memory.drop_principal(digest)
            if thing:
                if thing in memory.projects[project].things:
                    memory.projects[project].drop_thing(thing)
                self._dirty_things.discard((project, thing))
                return [principal for _, principal in gone]
            memory.drop_project(project)
            for name, person in list(memory.people.items()):
                if project in person.roles:
                    left = {where: role for where, role in person.roles.items() if where != project}
                    memory.people[name] = msgspec.structs.replace(person, roles=left)
        return [principal for _, principal in gone]


class _Row(NamedTuple):
    document: bytes
    position: int | None
    hidden_at: int | None
    erased_at: int | None


def _load(connection: Connection, condition: Any) -> list[Receipt]:
    table = deletions.c
    query = select(table.document, table.position, table.hidden_at, table.erased_at).where(condition)
    return [
        Receipt(
            deletion=_decoder.decode(row.document),
            position=row.position,
            hidden_at=row.hidden_at,
            erased_at=row.erased_at,
        )
        for row in (_Row(*row) for row in connection.execute(query))
    ]


def _remove(connection: Connection, deletion: Deletion) -> None:
    """Delete the rows of a thing or project. Certificates stay as revoked: others have to hear of it."""
    project, thing = deletion.project, deletion.thing

    def own(table: Table, column: str) -> Any:
        return (table.c.project == project) & ((table.c[column] == thing) if thing else true())

    certified = select(certificates.c.credential)
    revoked = own(credentials, "thing") & credentials.c.id.in_(certified)
    connection.execute(
        credentials.update()
        .where(revoked)
        .values(label="", revoked_at=func.coalesce(credentials.c.revoked_at, deletion.at))
    )
    connection.execute(credentials.delete().where(own(credentials, "thing") & credentials.c.id.not_in(certified)))
    connection.execute(codes.delete().where(own(codes, "thing")))
    connection.execute(descriptions.delete().where(own(descriptions, "thing")))
    connection.execute(things.delete().where(own(things, "name")))
    if thing:
        return
    connection.execute(grants.delete().where((grants.c.from_project == project) | (grants.c.to_project == project)))
    for table in (models, roles):
        connection.execute(table.delete().where(table.c.project == project))
    connection.execute(projects.delete().where(projects.c.name == project))


def _told(deletion: Deletion) -> str:
    """What the audit says of it."""
    span = ""
    if (deletion.start, deletion.end) != (TIME_MIN, TIME_MAX):
        edges: Sequence[str] = [
            "" if edge in (TIME_MIN, TIME_MAX) else format_iso(edge) for edge in (deletion.start, deletion.end)
        ]
        span = f" from {edges[0] or 'the beginning'} to {edges[1] or 'the end'}"
    return f"{deletion.where()}{span}{', removed' if deletion.removes else ''}: {deletion.id}"
