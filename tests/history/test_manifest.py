"""The manifest opens what it and earlier releases wrote, and says so when it cannot (§14)."""

import shutil
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import pytest

from taihu.history.manifest import Change, Manifest, ManifestDamaged, ManifestTooNew
from taihu.things.deletion import Deletion

SAMPLE = Path(__file__).parents[1] / "data" / "history_v1"
S = 1_000_000_000
T0 = 1_700_000_000 * S


def test_a_store_of_version_1_opens(tmp_path: Path, open_history: Any) -> None:
    """§14: a sample written by the first release; tests/data/history_v1/README.md says what is in it."""
    shutil.copytree(SAMPLE, tmp_path / "old")
    history = open_history(tmp_path / "old")
    assert history.checkpoint == 4
    readings = history.read("house-01", "meter", "power")
    assert [(r.observed_at, r.value) for r in readings] == [(T0, 1.25), (T0 + S, 9.5), (T0 + 2 * S, 3.75)]
    assert [r.value for r in history.read("house-01", "meter", "power", revisions=True)] == [1.25, 2.5, 9.5, 3.75]
    assert [r.value for r in history.read("house-01", "meter", "energy")] == [100, 101, 102]
    assert [r.value for r in history.read("house-01", "box", "状态")] == [True, "on", 3, 0.1]
    history.close()


def test_a_store_of_version_2_opens(tmp_path: Path, open_history: Any) -> None:
    """§14: with deletions, one of them done and one that is only hidden; its README.md says what is in it."""
    shutil.copytree(SAMPLE.with_name("history_v2"), tmp_path / "old")
    history = open_history(tmp_path / "old")
    assert history.checkpoint == 6
    assert [r.value for r in history.read("house-01", "meter", "power")] == [1.25, 9.5, 3.75]
    assert [r.value for r in history.read("house-01", "meter", "energy")] == [101, 102]
    assert [r.value for r in history.read("house-01", "box", "状态")] == [True, "on", 3, 0.1]
    assert history.read("house-01", "gone", "power") == []
    assert history.lost("house-01", "meter", "energy") == [(T0, T0 + S)]
    while history.maintain():
        pass
    assert [r.value for r in history.read("house-01", "meter", "energy")] == [101, 102]
    history.close()


def test_a_store_of_version_3_opens(tmp_path: Path, open_history: Any) -> None:
    """§14: as that of version 2, with the checksums of files; its README.md says what is in it."""
    shutil.copytree(SAMPLE.with_name("history_v3"), tmp_path / "old")
    history = open_history(tmp_path / "old")
    assert history.checkpoint == 6
    assert [r.value for r in history.read("house-01", "meter", "power")] == [1.25, 9.5, 3.75]
    assert [r.value for r in history.read("house-01", "meter", "energy")] == [101, 102]
    check_sums(history)
    history.close()


def check_sums(history: Any) -> None:
    """Every file has the checksum that the manifest has of it."""
    files = [file for table in history.store.manifest.tables() for file in table.files]
    assert files
    for file in files:
        assert file.crc32 == zlib.crc32((history.store.folder / file.path).read_bytes()), file.path


def test_every_file_has_its_checksum(open_history: Any, make_batch: Any) -> None:
    """Flushed, merged, and written again without what was deleted."""
    history = open_history()
    for position in range(1, 10):
        history.apply(position, make_batch([("a", T0 + position * S, [1.5])]))
        history.flush()
        if position < 8:
            check_sums(history)
    history.compact()
    check_sums(history)
    history.delete(10, Deletion(id="d", project="p", start=T0 + 3 * S, end=T0 + 5 * S))
    while history.maintain():
        pass
    check_sums(history)
    history.close()


def test_a_store_of_a_later_release_is_refused(tmp_path: Path) -> None:
    Manifest(tmp_path / "m").close()
    with sqlite3.connect(tmp_path / "m") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ManifestTooNew, match="99"):
        Manifest(tmp_path / "m")


def test_damage_is_named(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"no database" * 1000)
    with pytest.raises(ManifestDamaged, match="backup"):
        Manifest(tmp_path / "m")


def test_a_change_is_whole_or_not_at_all(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "m")
    manifest.commit(Change(checkpoint=3, things=(("p", 0, "a"),)))
    with pytest.raises(sqlite3.IntegrityError):
        manifest.commit(Change(checkpoint=9, things=(("p", 0, "again"),)))
    assert (manifest.checkpoint(), list(manifest.things())) == (3, [("p", 0, "a")])
    manifest.close()


def test_its_log_is_emptied(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "m")
    manifest.commit(Change(checkpoint=3))
    manifest.shrink()
    assert (tmp_path / "m-wal").stat().st_size == 0
    assert manifest.checkpoint() == 3
    manifest.close()
