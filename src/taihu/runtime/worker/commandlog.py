"""All commands of a node, as far back as they are kept: one SQLite file, which the worker fills from the journal.

What the journal says is in the file, durably, before the worker's checkpoint passes it; a record that is read again
changes nothing. Old commands go by age and by number.
"""

import asyncio
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from taihu.control.command import Command, Step
from taihu.kernel.clock import DAY_NS, Clock
from taihu.kernel.limits import Limits
from taihu.things.deletion import Deletion

_SCHEMA = """
CREATE TABLE IF NOT EXISTS command (
  project TEXT NOT NULL, at INTEGER NOT NULL, id TEXT NOT NULL, thing TEXT NOT NULL, state TEXT NOT NULL,
  body BLOB NOT NULL, PRIMARY KEY (project, at, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS command_by_id ON command (id);
"""
_VERSION = 1
_EXPIRE_S = 600.0
_OPEN_MAX = 10_000  # of which the last step is looked up in memory
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Command).decode


class CommandLog:
    """The file: `take`, `commit` and `expire` belong to one thread, `answer` has its own."""

    def __init__(self, path: Path, limits: Limits, clock: Clock) -> None:
        self._path = path
        self._limits = limits
        self._clock = clock
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._db.execute(f"PRAGMA user_version={_VERSION}")
        self._changed: dict[str, Command] = {}  # what is not written yet
        self._open: dict[str, Command] = {}  # what is, and will change
        self._thread = ThreadPoolExecutor(1, "commands")
        self._expire_at = 0.0

    def take(self, payload: bytes) -> None:
        """Take over a record of control; raises msgspec.DecodeError."""
        match msgspec.msgpack.decode(payload):
            case ("command", fields):
                command = msgspec.convert(fields, Command)
                known = self._get(command.id)
                if known is None or len(known.steps) < len(command.steps):
                    self._put(command)
            case ("step", number, place, fields):
                known = self._get(number)
                if known is not None and len(known.steps) == place:
                    self._put(msgspec.structs.replace(known, steps=(*known.steps, msgspec.convert(fields, Step))))
            case ("approved", number, who):
                known = self._get(number)
                if known is not None and who not in known.approved_by:
                    self._put(msgspec.structs.replace(known, approved_by=(*known.approved_by, who)))

    def commit(self) -> None:
        """Write what was taken, each command once however many steps it took, and make it durable."""
        if self._changed:
            rows = [
                (one.project, one.at, one.id, one.thing, one.state.value, _encode(one))
                for one in self._changed.values()
            ]
            self._db.executemany("INSERT OR REPLACE INTO command VALUES (?, ?, ?, ?, ?, ?)", rows)
        if self._db.in_transaction:
            self._db.commit()
        for number, one in self._changed.items():
            self._open.pop(number, None)
            if not one.ended:
                self._open[number] = one
        while len(self._open) > _OPEN_MAX:
            del self._open[next(iter(self._open))]
        self._changed = {}

    def expire(self) -> None:
        """Now and then, drop what is older, or more, than is kept."""
        now = self._clock.monotonic()
        if now < self._expire_at:
            return
        self._expire_at = now + _EXPIRE_S
        self.commit()
        oldest = self._clock.now_ns() - int(self._limits.command_log_days_max * DAY_NS)
        for (project,) in self._db.execute("SELECT DISTINCT project FROM command").fetchall():
            beyond = self._db.execute(
                "SELECT at FROM command WHERE project = ? ORDER BY at DESC LIMIT 1 OFFSET ?",
                (project, self._limits.command_log_per_project_max),
            ).fetchone()
            first = max(oldest, beyond[0] + 1 if beyond else oldest)
            self._db.execute("DELETE FROM command WHERE project = ? AND at < ?", (project, first))
        self.commit()

    def deleted(self, deletion: Deletion) -> None:
        """The commands of a thing, or of a project, that is removed go with it."""
        if deletion.removes:
            self.commit()
            self._open = {}
            self._db.execute(
                "DELETE FROM command WHERE project = ? AND thing = coalesce(nullif(?, ''), thing)",
                (deletion.project, deletion.thing),
            )
            self.commit()

    async def answer(self, body: Mapping[str, Any]) -> Any:
        """One command by its `id`; or a page of them, the newest first: since a time, and before a (time, id)."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, body)

    def close(self) -> None:
        """Finish what is asked, and close."""
        self._thread.shutdown()
        self.commit()
        self._db.close()

    def _answer(self, body: Mapping[str, Any]) -> list[Any]:
        where, values = ["project = ?"], [body["project"]]
        if "id" in body:
            where, values = [*where, "id = ?"], [*values, body["id"]]
        else:
            where += ["at >= ?", "(at, id) < (?, ?)"]
            values += [body["since"], *body["before"]]
            for name in ("thing", "state"):
                if body[name]:
                    where, values = [*where, f"{name} = ?"], [*values, body[name]]
        query = f"SELECT body FROM command WHERE {' AND '.join(where)} ORDER BY at DESC, id DESC LIMIT ?"  # noqa: S608
        with closing(sqlite3.connect(self._path)) as reader:
            return [msgspec.to_builtins(_decode(row)) for (row,) in reader.execute(query, (*values, body["limit"]))]

    def _get(self, number: str) -> Command | None:
        known = self._changed.get(number) or self._open.get(number)
        if known is not None:
            return known
        found = self._db.execute("SELECT body FROM command WHERE id = ?", (number,)).fetchone()
        return _decode(found[0]) if found else None

    def _put(self, command: Command) -> None:
        self._changed[command.id] = command
