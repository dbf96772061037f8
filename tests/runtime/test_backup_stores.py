"""What a backup holds, store by store: whole at one position, of every release's versions (§4, §14)."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.cli.main import EXIT_DAMAGED, EXIT_REFUSED, EXIT_TRY_AGAIN, run
from taihu.history.manifest import SCHEMA_VERSION
from taihu.identity.directory import Directory
from taihu.identity.principal import Project
from taihu.identity.schema import MIGRATIONS
from taihu.journal import JournalReader, SegmentJournal
from taihu.journal.damage import DamageLog
from taihu.kernel.clock import NS_PER_S, SystemClock
from taihu.kernel.config import load_site
from taihu.kernel.files import OsFiles
from taihu.runtime.backup.making import make
from taihu.runtime.backup.repository import PIECE_BYTES, BackupDamaged, Entry, Manifest, NoBackup, Repository
from taihu.runtime.backup.restoring import restore
from taihu.things.deletion import Deletion

DATA = Path(__file__).parents[1] / "data"
FILES = OsFiles()
CLOCK = SystemClock()
END = 40  # the last position of a site's journal
VERSIONS = range(1, max(len(MIGRATIONS), SCHEMA_VERSION) + 1)


class Quiet:
    def begin(self, total: int) -> None: ...

    def advance(self, steps: int = 1) -> None: ...


def make_site(folder: Path, number: int = VERSIONS[-1]) -> Path:
    """The kept samples of one release's stores, as a site."""
    data = folder / "data"
    data.mkdir(mode=0o700, parents=True)
    (folder / "site.toml").touch()
    sample = DATA / f"metadata_v{min(number, len(MIGRATIONS))}"
    with closing(sqlite3.connect(data / "metadata.db")) as database:
        database.executescript((sample / "metadata.sql").read_text())
    if (sample / "audit.head").exists():
        shutil.copy(sample / "audit.head", data)
    shutil.copytree(DATA / f"history_v{min(number, SCHEMA_VERSION)}", data / "history")
    with closing(sqlite3.connect(data / "history" / "manifest.sqlite")) as database:
        checkpoint = database.execute("SELECT value FROM meta WHERE key = 'checkpoint'").fetchone()[0]
    journal = SegmentJournal(
        FILES, data / "journal", segment_bytes=200, retention_bytes=10**9, retention_s=10**9, clock=CLOCK
    )
    assert checkpoint < END - 10
    for number in range(END):
        journal.append(0, b"record %d" % number)
        journal.commit()
    journal.close()
    return folder


def back_up(site: Path, folder: Path, keep_s: int = 60) -> Manifest:
    repository = Repository(FILES, folder, create=True)
    with repository.held(alone=True):
        made = make(load_site(site), FILES, repository, CLOCK, keep_s, Quiet())
    return repository.manifest(made.name)


def put_back(folder: Path, target: Path, name: str = "", later: Any = ()) -> int:
    repository = Repository(FILES, folder)
    return restore(FILES, repository, repository.manifest(name), target, later, Quiet()).deletions


@pytest.mark.parametrize("number", VERSIONS)
def test_every_kept_version_is_restored_and_upgraded(number: int, tmp_path: Path) -> None:
    """§14."""
    site = make_site(tmp_path / "site", number)
    manifest = back_up(site, tmp_path / "backups")
    put_back(tmp_path / "backups", tmp_path / "new")
    assert run(["upgrade", str(tmp_path / "new")]) == 0
    directory = Directory(tmp_path / "new" / "data" / "metadata.db", CLOCK)
    assert directory.project("house-01") is not None
    assert directory.audit()[0].what == "restored"
    directory.close()
    assert run(["audit", "verify", "--site", str(tmp_path / "new")]) == 0
    whole = {path.relative_to(site / "data" / "history") for path in (site / "data" / "history").rglob("*.parquet")}
    with closing(sqlite3.connect(tmp_path / "new" / "data" / "history" / "manifest.sqlite")) as database:
        live = {Path(name) for (name,) in database.execute("SELECT path FROM files")}
    assert live <= whole and all((tmp_path / "new" / "data" / "history" / name).exists() for name in live)
    assert records(tmp_path / "new", manifest.position)[-1] == manifest.position


def records(site: Path, until: int) -> list[int]:
    reader, found = JournalReader(FILES, site / "data" / "journal", DamageLog()), [0]
    while more := reader.read(found[-1] + 1, until):
        found += [record.position for record in more]
    assert reader.damage == []
    return found[1:]


def test_only_what_the_snapshots_or_the_history_lack_is_kept_of_the_journal(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    whole = records(site, END)
    (site / "data" / "broker.snapshot").write_bytes(bytes(4) + (30).to_bytes(8, "little"))
    manifest = back_up(site, tmp_path / "backups")
    put_back(tmp_path / "backups", tmp_path / "new")
    kept = records(tmp_path / "new", END)
    assert 1 < kept[0] <= 31 and kept[-1] == whole[-1] == manifest.position


@pytest.mark.parametrize(("unsent", "first"), [(5, 5), (35, 31), (-10, 1)])
def test_what_is_not_sent_to_the_centre_yet_is_kept(tmp_path: Path, unsent: int, first: int) -> None:
    """A restored edge node goes on where the backup's was, as far as the journal reaches back."""
    site = make_site(tmp_path / "site")
    (site / "site.toml").write_text('[upstream]\nurl = "mqtts://centre.example"\n')
    (site / "data" / "broker.snapshot").write_bytes(bytes(4) + (30).to_bytes(8, "little"))
    (site / "data" / "upstream.json").write_text(json.dumps({"keep_from": unsent, "projects": {}}))
    back_up(site, tmp_path / "backups")
    put_back(tmp_path / "backups", tmp_path / "new")
    assert records(tmp_path / "new", END)[0] <= first


def test_what_is_being_written_is_cut_at_the_last_whole_record(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    whole = records(site, END)
    last = max((site / "data" / "journal").glob("*.seg"))
    with last.open("ab") as file:
        file.write(last.read_bytes()[44:60])
    assert back_up(site, tmp_path / "backups").position == whole[-1]
    put_back(tmp_path / "backups", tmp_path / "new")
    journal = SegmentJournal(
        FILES, tmp_path / "new/data/journal", segment_bytes=200, retention_bytes=1, retention_s=1, clock=CLOCK
    )
    assert journal.damage == [] and journal.next_position == whole[-1] + 1
    journal.close()


def test_a_journal_that_lacks_what_the_snapshots_need_is_no_backup(tmp_path: Path) -> None:
    """As when it is trimmed all the time while the rest is read."""
    site = make_site(tmp_path / "site")
    (site / "data" / "broker.snapshot").write_bytes(bytes(12))
    min((site / "data" / "journal").glob("*.seg")).unlink()
    assert run(["backup", "create", str(tmp_path / "backups"), "--site", str(site)]) == EXIT_TRY_AGAIN
    assert Repository(FILES, tmp_path / "backups").names() == []


def test_files_that_are_merged_meanwhile_are_read_as_the_list_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path / "site")
    history = site / "data" / "history"
    with closing(sqlite3.connect(history / "manifest.sqlite")) as database:
        live = [name for (name,) in database.execute("SELECT path FROM files ORDER BY id")]
    put, merged = Repository.put, f"{Path(live[-1]).parent}/99999999.parquet"

    def put_and_merge(self: Repository, data: bytes) -> tuple[str, int]:
        if (history / live[-1]).exists() and data[:4] == b"PAR1":
            (history / live[-1]).rename(history / merged)
            with closing(sqlite3.connect(history / "manifest.sqlite")) as database:
                database.execute("UPDATE files SET path = ? WHERE path = ?", (merged, live[-1]))
                database.commit()
        return put(self, data)

    monkeypatch.setattr(Repository, "put", put_and_merge)
    manifest = back_up(site, tmp_path / "backups")
    assert len(live) > 1
    assert {entry.path for entry in manifest.entries if entry.path.endswith(".parquet")} == {
        f"data/history/{name}" for name in (*live[:-1], merged)
    }


def test_a_file_that_was_damaged_before_it_was_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site(tmp_path / "site")
    back_up(site, tmp_path / "whole")
    with closing(sqlite3.connect(site / "data" / "history" / "manifest.sqlite")) as database:
        name = database.execute("SELECT path FROM files WHERE crc32 IS NOT NULL").fetchone()[0]
    path = site / "data" / "history" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    create = ["backup", "create", str(tmp_path / "backups"), "--site", str(site), "--json"]
    for _ in range(2):
        capsys.readouterr()
        assert run(create) == EXIT_DAMAGED
        assert json.loads(capsys.readouterr().out)["damaged"] == [f"data/history/{name}"]


def test_deletions_are_carried_again_as_far_as_the_files_lack_them(tmp_path: Path) -> None:
    """§10: what was journalled after the backup's end, or is still in a file of it, is not done there."""
    site = make_site(tmp_path / "site")
    end = records(site, END)[-1]
    directory = Directory(site / "data" / "metadata.db", CLOCK)
    for name, position in (("done", 2), ("filed", 3), ("later", end + 1)):
        directory.accept(Deletion(id=name, project="house-01", property="", start=0, end=9, at=position))
        directory.progress(name, position=position, hidden_at=position, erased_at=position)
    directory.accept(Deletion(id="new", project="house-01", start=0, end=9, at=end + 2))
    directory.close()
    with closing(sqlite3.connect(site / "data" / "history" / "manifest.sqlite")) as database:
        database.executemany(
            "INSERT INTO deletions (id, position, mark, state, document) VALUES (?, ?, 1, ?, x'')",
            [("done", 2, 2), ("filed", 3, 1)],
        )
        database.commit()
    assert {one.id for one in back_up(site, tmp_path / "backups").deletions} >= {"done", "filed", "later", "new"}
    stranger = Deletion(id="elsewhere", project="house-99", start=0, end=9)
    assert put_back(tmp_path / "backups", tmp_path / "new", later=[stranger]) == 0
    directory = Directory(tmp_path / "new" / "data" / "metadata.db", CLOCK)
    states = {one.deletion.id: (one.position, one.state) for one in directory.receipts()}
    directory.close()
    assert states.items() >= {
        ("done", (2, "erased")),
        ("filed", (3, "hidden")),
        ("later", (None, "accepted")),
        ("new", (None, "accepted")),
    }


def test_backups_expire_and_take_with_them_what_no_other_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site(tmp_path / "site")
    (site / "own.txt").write_text("only in the first")
    old = back_up(site, tmp_path / "backups", keep_s=-1)
    (site / "own.txt").unlink()
    new = back_up(site, tmp_path / "backups")
    assert old.expires_at < CLOCK.now_ns() < new.expires_at <= CLOCK.now_ns() + 60 * NS_PER_S
    (tmp_path / "backups" / "pieces" / "ab").mkdir(exist_ok=True)
    (tmp_path / "backups" / "pieces" / "ab" / "stray.new").write_text("cut off")
    capsys.readouterr()
    assert run(["backup", "list", str(tmp_path / "backups"), "--json"]) == 0
    assert [one["state"] for one in json.loads(capsys.readouterr().out)["backups"]] == ["expired", "good"]
    assert run(["backup", "prune", str(tmp_path / "backups"), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["removed"] == [old.name] and done["bytes"] >= len("only in the first")
    pieces = {path.name for path in (tmp_path / "backups" / "pieces").rglob("*") if path.is_file()}
    assert pieces == {piece for entry in new.entries for piece in entry.pieces}
    put_back(tmp_path / "backups", tmp_path / "new")
    assert not (tmp_path / "new" / "own.txt").exists()


def test_nothing_is_pruned_while_a_manifest_is_damaged(tmp_path: Path) -> None:
    """It cannot be told what that backup needs."""
    site = make_site(tmp_path / "site")
    back_up(site, tmp_path / "backups", keep_s=-1)
    manifest = tmp_path / "backups" / "manifests" / f"{back_up(site, tmp_path / 'backups').name}.json"
    before = sorted((tmp_path / "backups").rglob("*"))
    data = bytearray(manifest.read_bytes())
    for place in (3, len(data) // 2):
        data[place] ^= 1
        manifest.write_bytes(data)
        for command in ("prune", "list", "verify"):
            assert run(["backup", command, str(tmp_path / "backups")]) == EXIT_DAMAGED
        data[place] ^= 1
    assert sorted((tmp_path / "backups").rglob("*")) == before


def test_a_path_out_of_the_site_is_not_written(tmp_path: Path) -> None:
    """A manifest whose checksum holds may still come from a stranger."""
    site = make_site(tmp_path / "site")
    manifest = back_up(site, tmp_path / "backups")
    repository = Repository(FILES, tmp_path / "backups")
    for path in ("site/../../stray", "data/../../stray", "/stray", "else/stray", "site"):
        name = repository.put(b"stray")[0]
        changed = Manifest(
            name="29990101T000000Z",
            site=manifest.site,
            release="1",
            made_at=0,
            expires_at=1,
            position=manifest.position,
            entries=(*manifest.entries, Entry(path, 5, (name,))),
        )
        repository.commit(changed)
        with pytest.raises(BackupDamaged):
            put_back(tmp_path / "backups", tmp_path / "new", changed.name)
        assert not list(tmp_path.rglob("stray")) and not (tmp_path / "new").exists()


def test_another_sites_backups_are_left_alone(tmp_path: Path) -> None:
    back_up(make_site(tmp_path / "site"), tmp_path / "backups")
    other = make_site(tmp_path / "other")
    (other / "site.toml").write_text('[site]\nname = "other"\n')
    assert run(["backup", "create", str(tmp_path / "backups"), "--site", str(other)]) == EXIT_REFUSED


def test_a_folder_of_something_else_or_of_a_later_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoBackup):
        Repository(FILES, tmp_path)
    Repository(FILES, tmp_path / "backups", create=True)
    with pytest.raises(NoBackup):
        Repository(FILES, tmp_path / "backups").manifest("")
    (tmp_path / "backups" / "taihu-backups").write_text("2\n")
    with pytest.raises(NoBackup):
        Repository(FILES, tmp_path / "backups", create=True)


@settings(max_examples=20)
@given(st.lists(st.binary(max_size=64), max_size=6))
def test_a_piece_is_kept_once_and_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    repository = Repository(FILES, tmp_path_factory.mktemp("pieces"), create=True)
    known: set[bytes] = set()
    for each in data:
        name, added = repository.put(each)
        assert added == (0 if each in known else len(each))
        known.add(each)
        assert repository.get(name) == each
    assert repository.get("00" * 32) is None


def test_files_of_any_size(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    sizes = (0, 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES)
    for size in sizes:
        (site / f"{size}.bin").write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    (site / "linked.bin").symlink_to(site / "1.bin")
    entries = {one.path: one for one in back_up(site, tmp_path / "backups").entries}
    found = [(entries[f"site/{size}.bin"].size, len(entries[f"site/{size}.bin"].pieces)) for size in sizes]
    assert found == [(size, -(-size // PIECE_BYTES)) for size in sizes]
    again = {one.path: one for one in back_up(site, tmp_path / "backups").entries}
    assert all(again[f"site/{size}.bin"] == entries[f"site/{size}.bin"] for size in sizes)
    put_back(tmp_path / "backups", tmp_path / "new")
    for name in ("linked.bin", *(f"{size}.bin" for size in sizes)):
        assert (tmp_path / "new" / name).read_bytes() == (site / name).read_bytes()


def test_projects_that_there_are_stay(tmp_path: Path) -> None:
    """A deletion of something in a project that the backup has counts; one in a project it does not know is nothing."""
    site = make_site(tmp_path / "site")
    back_up(site, tmp_path / "backups")
    directory = Directory(site / "data" / "metadata.db", CLOCK)
    directory.create_project(Project(name="later"), "test")
    directory.accept(Deletion(id="1", project="later", start=0, end=9))
    directory.accept(Deletion(id="2", project="house-01", removes=True))
    directory.close()
    assert back_up(site, tmp_path / "backups").deletions
    first = Repository(FILES, tmp_path / "backups").names()[0]
    assert put_back(tmp_path / "backups", tmp_path / "new", first) == 1
    directory = Directory(tmp_path / "new" / "data" / "metadata.db", CLOCK)
    assert directory.project("house-01") is None
    directory.close()
