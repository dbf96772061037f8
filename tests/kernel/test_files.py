"""The operating system's files behind the file port (§4)."""

from pathlib import Path

import pytest

from taihu.kernel.files import OsFiles, write_atomic


def test_append_reopens_at_the_end_and_truncates(tmp_path: Path) -> None:
    files, path = OsFiles(), tmp_path / "log"
    first = files.append(path)
    first.write(b"hello ")
    first.datasync()
    first.close()
    first.close()
    second = files.append(path)
    second.write(b"world")
    second.close()
    assert files.read(path) == b"hello world"
    assert files.read(path, 6) == b"world"
    assert files.read(path, 6, 2) == b"wo"
    assert files.size(path) == 11
    third = files.append(path)
    third.truncate(5)
    third.write(b"!")
    third.close()
    assert files.read(path) == b"hello!"


def test_files_are_private(tmp_path: Path) -> None:
    files = OsFiles()
    files.make_folder(tmp_path / "a" / "b")
    files.append(tmp_path / "a" / "b" / "f").close()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o077 == 0
    assert (tmp_path / "a" / "b" / "f").stat().st_mode & 0o077 == 0


def test_folders_and_names(tmp_path: Path) -> None:
    files = OsFiles()
    folder = tmp_path / "x" / "y"
    assert files.names(folder) == []
    files.make_folder(folder)
    files.make_folder(folder)
    for name in ("b", "a"):
        files.append(folder / name).close()
        files.sync(folder / name)
    assert files.names(folder) == ["a", "b"]
    files.rename(folder / "a", tmp_path / "x" / "c")
    files.remove(folder / "b")
    files.remove(folder / "b")
    assert files.names(folder) == []
    assert files.names(tmp_path / "x") == ["c", "y"]
    with pytest.raises(FileNotFoundError):
        files.size(folder / "b")


def test_write_atomic_replaces_and_leaves_no_draft(tmp_path: Path) -> None:
    files, path = OsFiles(), tmp_path / "state"
    (tmp_path / "state.new").write_bytes(b"left over from a crash, longer than the new content")
    write_atomic(files, path, b"one")
    write_atomic(files, path, b"two")
    assert files.read(path) == b"two"
    assert files.names(tmp_path) == ["state"]
