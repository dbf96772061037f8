"""The stores: every byte that has a checksum is read, and what it says is compared."""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from taihu.history.manifest import SCHEMA_VERSION
from taihu.identity.schema import MIGRATIONS
from taihu.journal.damage import Damage
from taihu.journal.format import NewerFormat, decode_records
from taihu.journal.verify import DAMAGE_MAX, Verdict, verify
from taihu.kernel.clock import MINUTE_NS, NS_PER_S, format_iso
from taihu.kernel.errors import ConfigError, DamagedError
from taihu.kernel.files import checksum
from taihu.runtime.doctor.case import Case, State
from taihu.runtime.doctor.devices import skews
from taihu.runtime.doctor.finding import Finding, error, note, warning
from taihu.runtime.ingest.spool import chunk_files, read_chunk
from taihu.runtime.process import clock_of
from taihu.things.batch import KIND_BATCH, Batch, decode_batch
from taihu.twin import snapshot
from taihu.twin.twin import Twin

_PUT_BACK = "Put a backup into a new folder, and run the node there: taihu restore BACKUPS FOLDER"
_MAGIC = b"PAR1"
_CHECKSUMS_SINCE = 3  # the version of the history's list
_AHEAD_NS = MINUTE_NS
_ASIDE = (".damaged", ".record")
_LOST = "What was in those bytes cannot be read; the rest is, and the node goes on after it."
_RESTORE = (
    "Put it back from a backup (taihu restore BACKUPS ELSEWHERE), or let it be: the node passes over it. Look at the "
    "disk: smartctl -a"
)


def journal(case: Case) -> Iterator[Finding]:
    """The journal's segments; by its newest records the machine's clock and the devices' clocks; the history's lag."""
    if not case.paths.journal.exists():
        return
    until = case.status["journal_position"] if case.status else None
    try:
        found = verify(case.files, case.paths.journal, until=until, last_only=case.quick, seen=case.seen)
    except (NewerFormat, OSError) as problem:
        yield error("journal", f"{problem}", "The node does not start.", "Start the release that wrote it.")
        return
    for damage in found.damage:
        yield error("journal", _told(damage), _LOST, _RESTORE)
    if len(found.damage) == DAMAGE_MAX:
        yield error("journal", f"There is more damage than these {DAMAGE_MAX} places.", _LOST, _RESTORE)
    if found.torn is not None and case.state is not State.RUNNING:
        yield note(
            "journal",
            f"{found.torn.file} ends in {found.torn.lost_bytes:,} bytes that are no whole record.",
            "After a crash this is what was being written, and nobody was told that it was safe.",
            "Nothing to do: the node cuts it off when it starts.",
        )
    batches, unreadable = _newest(found)
    if unreadable:
        what = f"{unreadable} of the newest records are whole, and are not readings as this release writes them."
        why = "The history cannot take them over, and what comes after them waits."
        yield error("journal", what, why, "Start the release that wrote them; otherwise report it.")
    yield from _clock_behind(case, batches)
    yield from skews(batches)
    yield from _lag(case, found)


def history(case: Case) -> Iterator[Finding]:
    """The history's list of files, and each file against what the list says of it."""
    folder = case.paths.history
    if not (folder / "manifest.sqlite").exists():
        return
    why = "Questions about the past are answered in part, or not at all."
    try:
        with closing(_open_read_only(folder / "manifest.sqlite")) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                remedy = "Start the release that wrote it, or a later one."
                yield error("history", f"A later release wrote the history (version {version}).", why, remedy)
                return
            checked = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            files = _listed(database, version)
    except sqlite3.DatabaseError as problem:
        yield error("history", f"The list of the history's files is damaged: {problem}.", why, _PUT_BACK)
        return
    if checked != "ok":
        yield error("history", f"The list of the history's files is damaged: {checked}.", why, _PUT_BACK)
    for name, size, crc32 in files:
        fault = _file_fault(folder / name, size)
        if not fault and crc32 is not None and not case.quick:
            fault = _content_fault(case, folder / name, crc32)
        if fault and _is_live(folder, name):
            remedy = f"Put a backup elsewhere (taihu restore BACKUPS ELSEWHERE) and copy it back: {folder / name}"
            yield error("history", f"{name} {fault}.", "What it holds of the past cannot be read.", remedy)
        case.seen(size)


def metadata(case: Case) -> Iterator[Finding]:
    """Projects, things and credentials, and the snapshots beside them."""
    path = case.paths.metadata
    if path.exists():
        why = "Without it nobody is known: no project, no thing, no token."
        try:
            with closing(_open_read_only(path)) as database:
                checked = database.execute("PRAGMA quick_check(1)").fetchone()[0]
                version = database.execute("SELECT version FROM schema_version").fetchone()[0]
        except (sqlite3.DatabaseError, TypeError) as problem:
            checked, version = str(problem), 0
        if checked != "ok":
            yield error("metadata", f"{path} is damaged: {checked}.", why, _PUT_BACK)
        elif version > len(MIGRATIONS):
            remedy = "Start the release that wrote it, or a later one."
            yield error("metadata", f"A later release wrote {path} (version {version}).", "The node stops.", remedy)
    yield from _snapshots(case)


def newest_certificates(path: Path) -> list[tuple[str, int]]:
    """Each thing that has a live certificate and nothing else to come in by, with the end of the newest (UTC ns)."""
    query = """
        SELECT c.project || '/' || c.thing, max(c.expires_at) FROM credentials c JOIN certificates x
            ON x.credential = c.id
        WHERE c.revoked_at IS NULL AND NOT EXISTS (SELECT 1 FROM credentials t WHERE t.project = c.project AND
            t.thing = c.thing AND t.revoked_at IS NULL AND t.id NOT IN (SELECT credential FROM certificates))
        GROUP BY 1"""
    try:
        with closing(_open_read_only(path)) as database:
            return database.execute(query).fetchall()
    except sqlite3.DatabaseError:
        return []  # there is none yet, or `metadata` tells what is wrong with it


def aside(case: Case) -> Iterator[Finding]:
    """What a node could not read and kept for people to look at."""
    found = [path for path in case.site.data.rglob("*") if path.suffix in _ASIDE]
    for path in sorted(found)[:20]:
        yield warning(
            "aside",
            f"{path.relative_to(case.site.data)} was set aside: the node could not read it.",
            "What it held counts for nothing until somebody has looked at it; the log of that time says why.",
            f"Look at it, report it if it is a defect, then remove it: rm {path}",
        )


def _newest(found: Verdict) -> tuple[list[Batch], int]:
    """The newest batches, and how many records that should be some are none."""
    batches, unreadable = [], 0
    for frame in found.newest:
        for record in decode_records(frame):
            if record.kind == KIND_BATCH:
                try:
                    batches.append(decode_batch(record.payload))
                except msgspec.DecodeError:
                    unreadable += 1
    return batches, unreadable


def _clock_behind(case: Case, batches: list[Batch]) -> Iterator[Finding]:
    newest = max((batch.received_at for batch in batches), default=0)
    try:
        now = clock_of(case.site).now_ns()
    except ConfigError:
        return  # a demo clock that was never started
    if newest > now + _AHEAD_NS:
        yield error(
            "clock",
            f"The clock shows {format_iso(now // NS_PER_S * NS_PER_S)}, and the journal has readings that were "
            f"received at {format_iso(newest // NS_PER_S * NS_PER_S)}.",
            "Either the clock is behind now or it was ahead then. New readings without a time of their own are sorted "
            "before older ones, and sessions and tokens end late.",
            "timedatectl set-ntp true; compare with: date -u",
        )


def _lag(case: Case, found: Verdict) -> Iterator[Finding]:
    """How much of the journal the history has not taken over."""
    if case.status is None:
        return
    why = "Questions about the past miss the newest readings, and senders are slowed at worker_lag_bytes_max."
    if case.status["worker"] != "running":
        yield error("lag", "The worker is away.", why, "It is started again by itself; its log says why it ended.")
    behind = case.status["journal_position"] - case.status["history_position"]
    size = case.files.size
    journal = sum(size(path) for path in case.paths.journal.glob("*.seg") if path.exists())
    share = behind / max(1, found.last - found.first + 1)
    lag, allowed = int(journal * share), case.site.limits.worker_lag_bytes_max
    said = f"The history is {lag:,} bytes behind the journal, and may be {allowed:,}."
    remedy = "Give it time; if it grows, look at the worker's CPU (top) and disk (iostat -x), and send less at once."
    if lag >= allowed:
        yield error("lag", said, why, remedy)
    elif lag > allowed // 10:
        yield warning("lag", said, why, remedy)


def _snapshots(case: Case) -> Iterator[Finding]:
    why = "It is written anew each minute; after a crash the newest values would come from the journal alone."
    try:
        snapshot.load(Twin(), case.files, case.paths.twin)
    except DamagedError as problem:
        yield warning("metadata", problem.message, why, f"rm {case.paths.twin}")
    try:
        data = case.files.read(case.paths.broker)
    except FileNotFoundError:
        return
    if zlib.crc32(data[4:]).to_bytes(4, "little") != data[:4]:
        why = "After a restart MQTT clients must subscribe again, and what was queued for them is gone."
        yield warning("metadata", f"{case.paths.broker.name} is damaged.", why, f"rm {case.paths.broker}")
    else:
        yield from _spool(case, data)


def _spool(case: Case, snapshot: bytes) -> Iterator[Finding]:
    """The files of the long queues that the broker's snapshot needs: there and sound."""
    for name in [] if case.quick else chunk_files(snapshot):
        try:
            case.seen(len(read_chunk(case.files, case.paths.spool / name)))
        except (OSError, DamagedError) as problem:
            if case.files.read(case.paths.broker) != snapshot:
                return  # the node went on meanwhile, and needs others
            fault = "is not there" if isinstance(problem, FileNotFoundError) else "cannot be read or is damaged"
            why = "The messages in it, which wait for an MQTT client, are lost; those before and after it are not."
            yield warning("metadata", f"spool/{name} {fault}.", why, _PUT_BACK)


def _file_fault(path: Path, size: int) -> str:
    """What is wrong with a file of the history; empty when nothing is."""
    try:
        found = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(-8, 2)
            tail = file.read(8)
    except FileNotFoundError:
        return "is not there"
    except OSError as problem:
        return f"cannot be read: {problem.strerror}"
    if found != size:
        return f"has {found:,} bytes in place of {size:,}"
    footer = int.from_bytes(tail[:4], "little")
    if head != _MAGIC or tail[4:] != _MAGIC or footer + 12 > size:
        return "is no whole Parquet file"
    return ""


def _content_fault(case: Case, path: Path, crc32: int) -> str:
    """What is wrong with a whole file's bytes; empty when they are those that were written."""
    try:
        found = checksum(case.files, path)
    except OSError as problem:
        return f"cannot be read: {problem.strerror}"
    return "" if found == crc32 else "holds other bytes than were written: its checksum differs"


def _listed(database: sqlite3.Connection, version: int) -> list[tuple[str, int, int | None]]:
    """Path, bytes and checksum of every file; earlier versions have no checksums."""
    crc32 = "crc32" if version >= _CHECKSUMS_SINCE else "NULL"
    return database.execute(f"SELECT path, bytes, {crc32} FROM files ORDER BY id").fetchall()  # noqa: S608


def _is_live(folder: Path, name: str) -> bool:
    """Whether a file is still in the list: a node that runs merges files while they are looked at."""
    with closing(_open_read_only(folder / "manifest.sqlite")) as database:
        return database.execute("SELECT 1 FROM files WHERE path = ?", (name,)).fetchone() is not None


def _open_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)


def _told(damage: Damage) -> str:
    records = damage.next_position - damage.first_position
    return (
        f"Journal segment {damage.file} is damaged at byte {damage.offset:,}: {damage.lost_bytes:,} bytes, which can "
        f"have held {records:,} records."
    )
