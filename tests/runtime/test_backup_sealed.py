"""Backups that are encrypted: their key opens them and nothing else does; nothing in the folder tells what is in it."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.test_backup_stores import make_site, records

from taihu.cli.main import EXIT_DAMAGED, EXIT_REFUSED, run
from taihu.kernel.files import OsFiles
from taihu.runtime.backup.repository import NoBackup, Repository
from taihu.runtime.backup.sealing import BackupKey, Marker, Plain, Seal, Sealed, known_seal, new_marker

SECRET = b"GEHEIM-77123"
KEY = Sealed(bytes(32))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site, its sealed backups, and passphrases: the right one and another."""
    folder = tmp_path_factory.mktemp("sealed")
    site = make_site(folder / "site")
    (site / "own.txt").write_bytes(SECRET * 3)
    (folder / "key").write_text("five words that nobody guesses\n")
    (folder / "other").write_text("another\n")
    assert backup(folder, "create", "--site", site) == 0
    return folder


def backup(places: Path, command: str, *more: Any, key: str | None = "key") -> int:
    words = [] if key is None else ["--passphrase-file", str(places / key)]
    return run(["backup", command, str(places / "backups"), *map(str, more), *words])


def restore(places: Path, target: Path, key: str | None = "key") -> int:
    words = [] if key is None else ["--passphrase-file", str(places / key)]
    return run(["restore", str(places / "backups"), str(target), *words])


def test_what_was_sealed_is_restored(places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backup(places, "verify") == backup(places, "list") == 0
    assert restore(places, tmp_path / "new") == 0
    assert (tmp_path / "new" / "own.txt").read_bytes() == SECRET * 3
    assert records(tmp_path / "new", 40)[-1] == records(places / "site", 40)[-1]
    capsys.readouterr()
    assert backup(places, "create", "--site", places / "site", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["added"] < made["bytes"] // 4, "what did not change is known by its name"


def test_the_folder_tells_nothing(places: Path) -> None:
    told = (SECRET, b"SQLite format", b"PAR1", b"own.txt", b"house-01", b"site.toml")
    site = b"".join(path.read_bytes() for path in (places / "site").rglob("*") if path.is_file())
    assert all(word in site for word in told[:3])
    for path in (places / "backups").rglob("*"):
        assert not path.is_file() or not [word for word in told if word in path.read_bytes()], path
        assert path.is_dir() or path.stat().st_mode & 0o777 == 0o600
    plain = Plain().name(SECRET * 3)
    assert not list((places / "backups").rglob(plain)), "a hash of what is in a file tells who has the file"
    assert not list(places.rglob("copy.new*"))


@pytest.mark.parametrize("key", ["other", None])
@pytest.mark.parametrize("command", ["create", "list", "verify", "prune"])
def test_another_key_is_one_error(
    places: Path, command: str, key: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in (places / "backups").rglob("*") if path.is_file()}
    more = ["--site", places / "site"] if command == "create" else []
    assert backup(places, command, *more, key=key) == EXIT_REFUSED
    assert "passphrase" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in (places / "backups").rglob("*") if path.is_file()}


@pytest.mark.parametrize("key", ["other", None])
def test_nothing_is_restored_with_another_key(places: Path, tmp_path: Path, key: str | None) -> None:
    assert restore(places, tmp_path / "new", key) == EXIT_REFUSED
    assert not (tmp_path / "new").exists()


def test_plain_backups_stay_plain(places: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    assert run(["backup", "create", str(folder), "--site", str(places / "site")]) == 0
    with pytest.raises(BackupKey):
        Repository(OsFiles(), folder, create=True, passphrase=b"x")
    assert Repository(OsFiles(), folder).sealed is False


def test_what_somebody_changed_is_found(places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A flipped bit, a piece under another's name, a manifest under another name."""
    folder = tmp_path / "backups"

    def changed(path: Path, data: bytes) -> int:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(places / "backups", folder)
        path.write_bytes(data)
        capsys.readouterr()
        return run(["backup", "verify", str(folder), "--passphrase-file", str(places / "key")])

    pieces = sorted(path.relative_to(places) for path in (places / "backups" / "pieces").rglob("*") if path.is_file())
    for place in (0, -1):
        data = bytearray((places / pieces[0]).read_bytes())
        data[place] ^= 1
        assert changed(tmp_path / pieces[0], bytes(data)) == EXIT_DAMAGED
        assert pieces[0].name in capsys.readouterr().out
    assert changed(tmp_path / pieces[0], (places / pieces[1]).read_bytes()) == EXIT_DAMAGED
    assert changed(tmp_path / pieces[0], b"") == EXIT_DAMAGED
    name = min((places / "backups" / "manifests").iterdir())
    assert changed(folder / "manifests" / "29990101T000000Z.json", name.read_bytes()) == EXIT_DAMAGED


def test_another_passphrase_opens_the_same_backups(places: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    shutil.copytree(places / "backups", folder)
    key, other = (["--passphrase-file", str(places / name)] for name in ("key", "other"))
    new = ["--new-passphrase-file", str(places / "other")]
    assert run(["backup", "passphrase", str(folder), *other, *new]) == EXIT_REFUSED
    assert run(["backup", "passphrase", str(folder), *key, *new]) == 0
    assert run(["backup", "verify", str(folder), *key]) == EXIT_REFUSED
    assert run(["backup", "verify", str(folder), *other]) == 0
    plain = tmp_path / "plain"
    assert run(["backup", "create", str(plain), "--site", str(places / "site")]) == 0
    assert run(["backup", "passphrase", str(plain), *new]) == EXIT_REFUSED


def test_a_marker_asks_for_no_endless_work() -> None:
    """§6"""
    marker = new_marker(b"secret")
    assert known_seal(marker, b"secret").open("x", known_seal(marker, b"secret").close("x", b"data")) == b"data"
    greedy: list[dict[str, Any]] = [{"memory_kib": 1 << 31}, {"passes": 1 << 31}, {"lanes": 1 << 20}, {"salt": b""}]
    for more in (*greedy, {"passes": 0}, {"memory_kib": 1}, {"key": b"short"}):
        with pytest.raises(BackupKey):
            known_seal(msgspec.structs.replace(marker, **more), b"secret")


@settings(max_examples=30)
@given(st.binary(max_size=200), st.text(max_size=20))
def test_a_piece_comes_back_and_under_its_name_alone(data: bytes, label: str) -> None:
    kept = KEY.close(label, data)
    assert len(kept) == len(data) + KEY.overhead and kept != KEY.close(label, data)
    assert KEY.open(label, kept) == data
    assert KEY.open(label + "x", kept) is None
    assert Sealed(os.urandom(32)).open(label, kept) is None
    assert KEY.name(data) == Sealed(bytes(32)).name(data) != Plain().name(data)


@settings(max_examples=30)
@given(st.binary(max_size=100))
def test_any_bytes_are_data_or_none(kept: bytes) -> None:
    """§13"""
    seals: tuple[Seal, ...] = (KEY, Plain())
    assert [one.open("x", kept) for one in seals] == [None, kept]


@settings(max_examples=30)
@given(st.binary(max_size=60))
def test_any_marker_is_one_error(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    """§13"""
    folder = tmp_path_factory.mktemp("marker")
    (folder / "taihu-backups").write_bytes(b"2\n" + text)
    with pytest.raises(NoBackup):
        Repository(OsFiles(), folder)


def test_a_marker_says_how_the_passphrase_is_stretched(places: Path) -> None:
    """§14: so that a later release may ask for more work, and still opens these."""
    number, _, text = (places / "backups" / "taihu-backups").read_bytes().partition(b"\n")
    assert (number, msgspec.json.decode(text, type=Marker).memory_kib) == (b"2", 65_536)
