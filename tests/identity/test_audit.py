"""The audit is a chain: one changed byte, a removed, added or moved entry and a cut tail are found."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.identity.audit import AuditEntry, Head, chain_hash
from taihu.identity.auditing import verify_audit
from taihu.identity.directory import Directory
from taihu.identity.heads import Heads, parse_head
from taihu.identity.principal import CredentialKind, Project, Scope
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import Limits

ENTRIES = 12
TEXTS = ("who", "what", "detail", "project")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store that nobody writes, whose audit has some entries."""
    return filled(tmp_path / "metadata.db")


def filled(path: Path, limits: Limits | None = None, entries: int = ENTRIES) -> Path:
    directory = Directory(path, SimClock(), limits or Limits())
    for number in range(entries - 1):  # the first says that the chain begins
        directory.record("anna", "exported", f"rows {number}", "house")
    directory.seal_audit()
    directory.close()
    return path


def changed(path: Path, statement: str, *values: object) -> list[str]:
    """What is found after somebody changed the rows."""
    connection = sqlite3.connect(path)
    connection.execute(statement, values)
    connection.commit()
    connection.close()
    return verify_audit(path).faults


def test_what_was_written_is_sound(path: Path) -> None:
    verdict = verify_audit(path)
    assert (verdict.entries, verdict.head.number, verdict.faults) == (ENTRIES, ENTRIES, [])


@pytest.mark.parametrize("column", ["at", *TEXTS, "hash"])
@pytest.mark.parametrize("number", [1, 5, ENTRIES])
def test_a_changed_entry_is_found(path: Path, column: str, number: int) -> None:
    change = "at + 1" if column == "at" else "zeroblob(32)" if column == "hash" else f"{column} || 'x'"
    faults = changed(path, f"UPDATE audit SET {column} = {change} WHERE number = {number}")
    assert any(f"Entry {number} " in fault for fault in faults)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, bytes, list[int]]]:
    """A store in one file, its bytes, and where the texts and hashes of its audit are in it."""
    path = filled(tmp_path_factory.mktemp("pages") / "metadata.db")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    rows = connection.execute("SELECT who, what, detail, project, hash FROM audit WHERE number > 1").fetchall()
    connection.close()
    data = path.read_bytes()
    places: list[int] = []
    for row in rows:
        record = b"".join(part if isinstance(part, bytes) else part.encode() for part in row)
        start = data.index(record)
        places += range(start, start + len(record))
    yield path, data, places


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_changed_byte_is_found(pages: tuple[Path, bytes, list[int]], data: st.DataObject) -> None:
    path, sound, places = pages
    place = data.draw(st.sampled_from(places))
    flipped = data.draw(st.integers(1, 255))
    path.write_bytes(sound[:place] + bytes([sound[place] ^ flipped]) + sound[place + 1 :])
    assert verify_audit(path).faults
    path.write_bytes(sound)
    assert not verify_audit(path).faults


def test_a_removed_entry_is_found(path: Path) -> None:
    assert changed(path, "DELETE FROM audit WHERE number = 5") == ["Entry 5 is missing."]


def test_a_removed_entry_is_found_when_those_after_it_are_renumbered(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM audit WHERE number = 5")
    for number in range(6, ENTRIES + 1):
        connection.execute("UPDATE audit SET number = ? WHERE number = ?", (number - 1, number))
    connection.commit()
    connection.close()
    assert verify_audit(path).faults


def test_an_added_entry_is_found(path: Path) -> None:
    added = "INSERT INTO audit VALUES (?, 1, 'eve', 'granted', 'all', 'house', zeroblob(32))"
    assert changed(path, added, ENTRIES + 1) == [
        f"Entry {ENTRIES + 1} does not follow from the one before it: it was changed, added or moved."
    ]


def test_entries_that_changed_places_are_found(path: Path) -> None:
    connection = sqlite3.connect(path)
    for source, target in ((5, 99), (6, 5), (99, 6)):
        connection.execute("UPDATE audit SET number = ? WHERE number = ?", (target, source))
    connection.commit()
    connection.close()
    faults = verify_audit(path).faults
    assert any("Entry 5 " in fault for fault in faults) and any("Entry 6 " in fault for fault in faults)


def test_a_cut_tail_is_found(path: Path) -> None:
    faults = changed(path, "DELETE FROM audit WHERE number > 9")
    assert faults == [f"Entries 10 to {ENTRIES} are missing at the end: audit.head has {ENTRIES}."]


def test_a_cut_tail_is_found_at_the_next_start_and_stays_in_the_audit(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed(path, "DELETE FROM audit WHERE number > 9")
    Directory(path, SimClock()).close()
    assert "the audit was changed from outside" in caplog.text
    faults = verify_audit(path).faults
    assert faults == [f"Entry 10 says: the audit ended with entry {ENTRIES}, and ends with entry 9 now"]


def test_a_chain_written_anew_is_found(path: Path) -> None:
    """Somebody who can compute hashes changes an entry and all after it, and forgets the file of heads."""
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT number, at, who, what, detail, project, hash FROM audit ORDER BY number"
    ).fetchall()
    digest = bytes(32)
    for number, at, who, what, detail, project, _ in rows:
        detail = "nothing" if number == 5 else detail
        digest = chain_hash(digest, number, AuditEntry(at, who, what, detail, project))
        connection.execute("UPDATE audit SET detail = ?, hash = ? WHERE number = ?", (detail, digest, number))
    connection.commit()
    connection.close()
    assert verify_audit(path).faults == [f"Entry {ENTRIES} is not the one of audit.head: the audit was written anew."]
    (path.parent / "audit.head").write_text(f"{Head(ENTRIES, digest)}\n")
    assert verify_audit(path).faults == []
    kept = Head(7, rows[6][-1])  # what an auditor noted elsewhere
    assert verify_audit(path, kept).faults == ["Entry 7 is not the one of the head given: the audit was written anew."]


def test_without_the_file_of_heads_a_tail_may_be_missing(path: Path) -> None:
    (path.parent / "audit.head").unlink()
    assert verify_audit(path).faults == ["The file audit.head is missing."]
    Directory(path, SimClock()).close()
    assert any("audit.head is missing" in fault for fault in verify_audit(path).faults)


def test_a_crash_before_the_head_is_noted_is_no_fault(path: Path) -> None:
    """§4: the entry is durable with what it tells of, the note may be behind."""
    heads = path.parent / "audit.head"
    heads.write_text("".join(heads.read_text().splitlines(keepends=True)[:-2]) + "8:ab")  # the last is torn
    assert verify_audit(path).faults == []
    Directory(path, SimClock()).close()
    assert verify_audit(path).faults == []
    noted = Heads(OsFiles(), heads).last()
    assert noted is not None and noted.number == ENTRIES


def test_old_entries_are_sealed_and_stay_in_the_chain(tmp_path: Path) -> None:
    path = filled(tmp_path / "metadata.db", Limits(audit_segment_entries=5), entries=23)
    folder = tmp_path / "audit"
    names = sorted(file.name for file in folder.iterdir())
    assert names[0] == "audit-000000000001.jsonl" and len(names) >= 3
    verdict = verify_audit(path)
    assert verdict.faults == [] and verdict.entries == verdict.head.number
    directory = Directory(path, SimClock())
    links = directory.audit_links(1_000)
    assert [link.number for link in links] == list(range(verdict.head.number, 0, -1))
    page = directory.audit_links(4, before=8, projects=["house"])
    assert [link.number for link in page] == [7, 6, 5, 4]
    directory.close()
    lines = (folder / names[1]).read_text().splitlines()
    assert json.loads(lines[0])[0] == 6


@pytest.mark.parametrize("harm", ["changed", "removed", "cut", "line", "moved"])
def test_harm_to_a_sealed_segment_is_found(tmp_path: Path, harm: str) -> None:
    path = filled(tmp_path / "metadata.db", Limits(audit_segment_entries=5), entries=23)
    file = tmp_path / "audit" / "audit-000000000006.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    if harm == "changed":
        file.write_bytes(file.read_bytes().replace(b"rows 6", b"rows 7"))
    elif harm == "removed":
        file.unlink()
    elif harm == "cut":
        file.write_bytes(b"".join(lines[:-1]))
    elif harm == "line":
        file.write_bytes(b"".join([*lines[:2], b"}\n", *lines[3:]]))
    else:
        file.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    faults = verify_audit(path).faults
    assert faults and all("audit-000000000006" in fault or "Entr" in fault for fault in faults)


def test_segments_go_when_their_time_is_over_and_say_so(tmp_path: Path) -> None:
    limits = Limits(audit_segment_entries=5, audit_retention_s=3_600)
    path = filled(tmp_path / "metadata.db", limits, entries=23)
    clock = SimClock()
    clock.advance(7_200)
    directory = Directory(path, clock, limits)
    directory.seal_audit()
    directory.close()
    assert list((tmp_path / "audit").glob("audit-000000000001*")) == []
    verdict = verify_audit(path)
    assert verdict.faults == [] and verdict.head.number > verdict.entries
    with closing(sqlite3.connect(path)) as connection:
        ((first,),) = connection.execute("SELECT min(number) FROM audit")
    found = changed(path, "DELETE FROM audit WHERE what = 'audit expired' AND number > ?", first)
    assert found


def test_a_segment_that_somebody_marked_as_removed_is_missed(tmp_path: Path) -> None:
    path = filled(tmp_path / "metadata.db", Limits(audit_segment_entries=5), entries=23)
    (tmp_path / "audit" / "audit-000000000001.jsonl").unlink()
    faults = changed(path, "UPDATE audit_segments SET removed_at = 1 WHERE first = 1")
    assert faults == ["The file audit-000000000001.jsonl is gone, and no entry says that its time was over."]


def test_what_changes_the_directory_is_in_the_same_transaction(tmp_path: Path) -> None:
    """§4: there is no change without its entry, and no entry without its change."""
    clock = SimClock()
    directory = Directory(tmp_path / "metadata.db", clock)
    directory.create_project(Project(name="house"), by="anna")
    directory.issue_token(CredentialKind.OPERATOR, "house", scopes=[Scope.READ], things=["meter*"], by="anna")
    directory.close()
    connection = sqlite3.connect(tmp_path / "metadata.db")
    rows = connection.execute("SELECT at, who, what, detail, project FROM audit ORDER BY number").fetchall()
    connection.close()
    assert [row[2] for row in rows] == ["audit chained", "project", "token issued"]
    assert rows[2][3].endswith("house for read of meter*") and rows[2][4] == "house"
    assert all(row[0] // NS_PER_S == clock.now_ns() // NS_PER_S for row in rows)


@given(st.integers(0, 2**62), st.binary(min_size=32, max_size=32), st.text())
def test_heads_are_read_as_they_are_written(number: int, digest: bytes, garbage: str) -> None:
    head = Head(number, digest)
    assert parse_head(f"{head}\n") == head
    found = parse_head(garbage)
    assert found is None or len(found.hash) == 32


entries = st.builds(AuditEntry, st.integers(0, 2**62), st.text(), st.text(), st.text(), st.text())


@given(entries, st.binary(min_size=32, max_size=32))
def test_no_two_entries_look_alike_to_the_chain(entry: AuditEntry, before: bytes) -> None:
    digest = chain_hash(before, 7, entry)
    others = [
        msgspec.structs.replace(entry, at=entry.at + 1),
        *(msgspec.structs.replace(entry, **{name: getattr(entry, name) + "x"}) for name in TEXTS),
        msgspec.structs.replace(entry, what=entry.detail + "y", detail=entry.what + "z"),
    ]
    hashes = {chain_hash(before, 7, other) for other in others} | {chain_hash(before, 8, entry)}
    assert digest not in hashes and digest != chain_hash(digest, 7, entry)
