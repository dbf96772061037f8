"""How the directory changes: one transaction at a time, durable first, then memory, then whoever listens."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection

from taihu.identity import audit, people_records, records
from taihu.identity.audit import AuditEntry, Head
from taihu.identity.heads import Heads
from taihu.identity.lookups import Lookups
from taihu.identity.memory import Memory
from taihu.identity.principal import Change
from taihu.identity.schema import CHAINED
from taihu.identity.store import Store
from taihu.identity.verify import BROKEN, fault_at_start
from taihu.kernel.clock import Clock
from taihu.kernel.errors import LocalError
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import Limits

log = logging.getLogger("taihu.audit")

Listener = Callable[[Change], None]


class Writer(Lookups):
    """The store, the locks and the listeners that all writing shares."""

    def __init__(self, path: Path, clock: Clock, limits: Limits, *, read_only: bool) -> None:
        super().__init__(clock, limits)
        self._read_only = read_only
        self._listeners: list[Listener] = []
        self._writing = threading.Lock()  # held from the look at memory, over the transaction, to memory's change
        self._changing = threading.Lock()  # held for moments, where memory is changed by what it holds
        self._dirty_things: set[tuple[str, str]] = set()
        self._first_uses: dict[str, int] = {}
        self._session_uses: dict[str, int] = {}
        self._path = path
        self._files = OsFiles()
        self._heads = Heads(self._files, path.with_name("audit.head"))
        self._appended: list[Head] = []
        self._store = Store(path, read_only=read_only)
        try:
            self._version, self._generation = self._store.version(), self._store.generation()
            self._memory = self._load(limits)
            if not read_only:
                self._check_audit()
        except BaseException:
            self._store.close()
            raise

    def on_change(self, listener: Listener) -> None:
        """Call `listener` after every change, on the thread that made it; it must not change the directory."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Write what is pending and close the store."""
        try:
            if not self._read_only:
                self.flush()
        finally:
            self._store.close()

    def refresh(self) -> bool:
        """Load again if another process has changed the store; returns whether it had. For readers; blocks.

        Sessions, the audit and the first uses of tokens, which are of no use to a reader, do not count.
        """
        with self._writing:
            version = self._store.version()
            if version == self._version:
                return False
            self._version, generation = version, self._store.generation()
            if generation == self._generation:
                return False
            self._generation = generation
            self._memory = self._load(self._memory.default_limits)
        return True

    def renew_limits(self) -> None:
        """The node's limits changed in place: work out those of each project anew."""
        with self._writing:
            for project in self.projects():
                self._memory.put_project(project)

    @property
    def pending(self) -> int:
        """How many changes `flush` would store."""
        return len(self._dirty_things) + len(self._first_uses) + len(self._session_uses)

    def flush(self) -> int:
        """Store what was written behind, in one transaction; returns how many changes. Pending again if that fails.

        One thread at a time calls it. With nothing to store it waits for no other change.
        """
        if not self.pending:
            return 0
        with self._writing:
            with self._changing:
                things, self._dirty_things = self._dirty_things, set()
                uses, self._first_uses = self._first_uses, {}
                touched, self._session_uses = self._session_uses, {}
            try:
                with self._transaction(quiet=not things) as connection:
                    found = [(project, self.thing(project, name)) for project, name in sorted(things)]
                    records.put_things(connection, [(project, thing) for project, thing in found if thing])
                    records.mark_used(connection, uses)
                    people_records.touch_sessions(connection, touched)
            except BaseException:
                with self._changing:
                    self._dirty_things |= things
                    self._first_uses = uses | self._first_uses
                    self._session_uses = touched | self._session_uses
                raise
        return len(things) + len(uses) + len(touched)

    @contextmanager
    def _transaction(self, *, quiet: bool = False) -> Iterator[Connection]:
        """A transaction; hold `_writing` around it. The head of the audit is noted once it is durable.

        A quiet one changes nothing that another process would have to load again.
        """
        if self._read_only:
            raise LocalError("This directory was opened for reading only.")
        self._appended.clear()
        with self._store.transaction() as connection:
            yield connection
            if not quiet:
                self._store.set_generation(connection, self._generation + 1)
        self._generation += not quiet
        for head in self._appended[-1:]:
            self._heads.note(head)

    def _note(self, connection: Connection, who: str, what: str, detail: str, project: str = "") -> None:
        self._note_all(connection, [AuditEntry(self._clock.now_ns(), who, what, detail, project)])

    def _note_all(self, connection: Connection, entries: Sequence[AuditEntry]) -> None:
        self._appended += audit.append(connection, entries)

    def _check_audit(self) -> None:
        """Find a cut tail at once, and write down that it was found."""
        noted = self._heads.last()
        with self._writing, self._transaction() as connection:
            head = audit.head_of(connection)
            at_noted = audit.link_at(connection, noted.number) if noted else None
            if noted is None and self._store.version_found < CHAINED:
                self._note(connection, "taihu", "audit chained", f"{head.number} entries were there before")
            elif fault := fault_at_start(noted, head, at_noted):
                log.error("the audit was changed from outside: %s; see taihu audit verify", fault)
                self._note(connection, "taihu", BROKEN, fault)
            elif noted != head:
                self._appended.append(head)  # a crash came between the store and the file

    def _tell(self, *changes: Change) -> None:
        for listener in self._listeners:
            for change in changes:
                listener(change)

    def _load(self, limits: Limits) -> Memory:
        memory = Memory(limits)
        with self._store.transaction() as connection:
            for project in records.load_projects(connection):
                memory.put_project(project)
            for name, model in records.load_models(connection):
                memory.projects[name].put_model(model)
            for name, thing in records.load_things(connection):
                memory.projects[name].put_thing(thing)
            for grant in records.load_grants(connection):
                memory.put_grant(grant)
            for person in people_records.load_people(connection):
                memory.people[person.name] = person
            for digest, session in people_records.load_sessions(connection):
                memory.sessions[digest] = session
            for digest, principal, used in records.load_principals(connection):
                memory.principals[digest] = principal
                if not used:
                    memory.unused.add(digest)
        return memory
