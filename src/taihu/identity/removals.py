"""Deletions as they were asked for, with how far each has come; and things and projects that are removed."""

from collections.abc import Collection, Sequence
from sqlite3 import Connection, Cursor

import msgspec

from taihu.identity import description_records
from taihu.identity.descriptions import Descriptions
from taihu.identity.memory import Unknown
from taihu.identity.principal import Change, Event, Principal
from taihu.identity.rows import as_dicts, delete, insert, select, update, value
from taihu.kernel.clock import format_iso
from taihu.kernel.errors import LimitError
from taihu.things.deletion import TIME_MAX, TIME_MIN, Deletion

_decoder = msgspec.json.Decoder(Deletion)
_ROWS = "document, position, hidden_at, erased_at FROM deletions"
_CERTIFIED = "(SELECT credential FROM certificates)"


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
                row = {"id": deletion.id, "project": deletion.project, "document": msgspec.json.encode(deletion)}
                insert(connection, "deletions", [row])
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
                update(connection, "deletions", {"id": number}, fields)
                found = _receipts(select(connection, _ROWS, {"id": number}))
            if not found:
                raise Unknown(f"There is no deletion {number[:80]!r}.", "List them with: taihu deletions")
            if fields.get("erased_at"):
                self._store.shrink()
        return found[0]

    def receipts(self, project: str | None = None, limit: int = 1_000) -> list[Receipt]:
        """At most `limit` deletions, the newest first, of a project or of all; blocks."""
        with self._writing, self._store.transaction() as connection:
            found = _receipts(select(connection, _ROWS, {} if project is None else {"project": project}))
        return sorted(found, key=lambda one: one.deletion.at, reverse=True)[:limit]

    def unfinished(self) -> list[Receipt]:
        """The deletions that are not erased yet, the oldest first; blocks."""
        with self._writing, self._store.transaction() as connection:
            found = _receipts(select(connection, _ROWS, {"erased_at": None}))
        return sorted(found, key=lambda one: one.deletion.at)

    def take_up_again(self, position: int, erased: Collection[str]) -> None:
        """Begin again what the files have less of than the receipts say: a journal that ends at `position`.

        Args:
            position: a deletion that was journalled after it, or not yet, is journalled anew.
            erased: the deletions of which no file has anything.
        """
        with self._writing, self._transaction(quiet=True) as connection:
            for one in _receipts(select(connection, _ROWS, {})):
                fields: dict[str, int | None] = {"erased_at": None}
                if one.position is None or one.position > position:
                    fields |= {"position": None, "hidden_at": None}
                elif one.deletion.id in erased:
                    continue
                update(connection, "deletions", {"id": one.deletion.id}, fields)

    def last_deletion_position(self) -> int:
        """The last journal position that any deletion was given; blocks."""
        with self._writing, self._store.transaction() as connection:
            return value(connection.execute("SELECT max(position) FROM deletions")) or 0

    def _check_pending(self, connection: Connection, project: str) -> None:
        limit = self.limits(project).deletions_pending_max
        pending = {"project": project, "erased_at": None}
        if value(select(connection, "count(*) FROM deletions", pending)) >= limit:
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


def _receipts(rows: Cursor) -> list[Receipt]:
    return [Receipt(deletion=_decoder.decode(row.pop("document")), **row) for row in as_dicts(rows)]


def _remove(connection: Connection, deletion: Deletion) -> None:
    """Delete the rows of a thing or project. Certificates stay as revoked: others have to hear of it."""
    project, thing = deletion.project, deletion.thing
    own = {"project": project} | ({"thing": thing} if thing else {})
    certified = select(connection, "id FROM credentials", own, f"AND id IN {_CERTIFIED}").fetchall()
    ended = "UPDATE credentials SET label = '', revoked_at = coalesce(revoked_at, ?) WHERE id = ?"
    connection.executemany(ended, [(deletion.at, number) for (number,) in certified])
    delete(connection, "credentials", own, f"AND id NOT IN {_CERTIFIED}")
    for table in ("codes", "descriptions"):
        delete(connection, table, own)
    if thing:
        delete(connection, "things", {"project": project, "name": thing})
        return
    for table in ("things", "models", "roles"):
        delete(connection, table, {"project": project})
    connection.execute("DELETE FROM grants WHERE ? IN (from_project, to_project)", (project,))
    delete(connection, "projects", {"name": project})


def _told(deletion: Deletion) -> str:
    """What the audit says of it."""
    span = ""
    if (deletion.start, deletion.end) != (TIME_MIN, TIME_MAX):
        edges: Sequence[str] = [
            "" if edge in (TIME_MIN, TIME_MAX) else format_iso(edge) for edge in (deletion.start, deletion.end)
        ]
        span = f" from {edges[0] or 'the beginning'} to {edges[1] or 'the end'}"
    return f"{deletion.where()}{span}{', removed' if deletion.removes else ''}: {deletion.id}"
