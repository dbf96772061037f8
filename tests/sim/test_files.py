"""The simulated disk forgets what was not synced and fails when told; otherwise it behaves as the real one."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.kernel.files import Files, OsFiles, write_atomic
from taihu.sim.files import PowerLossFiles, PowerLost

FOLDER = Path("/site")
FILE = FOLDER / "file"


@pytest.fixture(params=["os", "simulated"])
def files_and_folder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Files, Path]:
    files = OsFiles() if request.param == "os" else PowerLossFiles(0)
    files.make_folder(tmp_path / "a" / "b")
    return files, tmp_path / "a" / "b"


def simulated() -> PowerLossFiles:
    files = PowerLossFiles(seed=7)
    files.make_folder(FOLDER)
    return files


def test_it_behaves_as_the_real_one(files_and_folder: tuple[Files, Path]) -> None:
    files, folder = files_and_folder
    path, other = folder / "x", folder / "y"
    assert files.names(folder) == files.names(folder / "absent") == []
    file = files.append(path)
    file.write(b"0123456789")
    file.datasync()
    file.truncate(8)
    file.write(b"ab")
    file.close()
    files.append(path).close()
    assert files.read(path) == b"01234567ab"
    assert files.read(path, 7, 2) == b"7a"
    assert files.read(path, 9, 5) == b"b"
    assert files.read(path, 50, 5) == b""
    assert files.size(path) == 10
    files.sync(path)
    files.rename(path, other)
    assert files.names(folder) == ["y"]
    assert files.names(folder.parent) == ["b"]
    write_atomic(files, other, b"new")
    assert files.read(other) == b"new"
    files.remove(other)
    files.remove(other)
    files.make_folder(folder)
    assert files.names(folder) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda files, path: files.read(path),
        lambda files, path: files.size(path),
        lambda files, path: files.sync(path),
        lambda files, path: files.rename(path, path.with_name("z")),
        lambda files, path: files.append(path / "no folder" / "file"),
    ],
)
def test_what_is_absent_is_not_found(
    files_and_folder: tuple[Files, Path], call: Callable[[Files, Path], object]
) -> None:
    files, folder = files_and_folder
    with pytest.raises(FileNotFoundError):
        call(files, folder / "absent")


def test_only_synced_bytes_under_synced_names_survive() -> None:
    files = simulated()
    file = files.append(FILE)
    file.write(b"synced")
    file.datasync()
    assert files.power_loss().names(FOLDER) == [], "datasync does not keep a new name"
    files.sync(FILE)
    file.write(b" and not")
    assert files.read(FILE) == b"synced and not"
    assert files.power_loss().read(FILE) == b"synced"
    file.truncate(3)
    assert files.power_loss().read(FILE) == b"synced"
    file.datasync()
    assert files.power_loss().read(FILE) == b"syn"


def test_renames_and_removals_survive_when_their_folder_is_synced() -> None:
    files = simulated()
    other = FOLDER / "other"
    files.append(FILE).write(b"empty after a power loss")
    files.rename(FILE, other)
    assert (files.power_loss().names(FOLDER), files.power_loss().read(other)) == (["other"], b"")
    files.append(FILE).close()
    files.sync(FILE)
    files.remove(other)
    assert files.power_loss().names(FOLDER) == ["file", "other"]
    files.sync(FILE)
    assert files.power_loss().names(FOLDER) == ["file"]


def test_bytes_of_a_failed_sync_are_never_written() -> None:
    files = simulated()
    file = files.append(FILE)
    files.sync(FILE)
    file.write(b"lost")
    files.fail("datasync")
    with pytest.raises(OSError, match="Input/output"):
        file.datasync()
    file.write(b"kept")
    file.datasync()
    assert files.read(FILE) == b"lostkept"
    assert files.power_loss().read(FILE) == b"\0\0\0\0kept"


def test_a_full_disk_writes_a_part_and_says_so() -> None:
    files = simulated()
    files.capacity_bytes = 10
    file = files.append(FILE)
    file.write(b"12345678")
    with pytest.raises(OSError) as caught:
        file.write(b"90ab")
    assert caught.value.errno == errno.ENOSPC
    assert b"1234567890".startswith(files.read(FILE))
    file.truncate(8)
    files.heal()
    file.write(b"90ab")
    assert files.read(FILE) == b"1234567890ab"


def test_failures_come_when_told_and_as_often() -> None:
    files = simulated()
    file = files.append(FILE)
    files.fail("write", after=1, error=errno.EDQUOT, times=2)
    file.write(b"a")
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            file.write(b"")
        assert caught.value.errno == errno.EDQUOT
    file.write(b"b")
    assert files.read(FILE) == b"ab"


def test_nothing_works_after_the_power_went() -> None:
    files = simulated()
    file = files.append(FILE)
    files.sync(FILE)
    files.lose_power_after(1)
    file.write(b"a")
    for operation in (file.datasync, lambda: file.write(b"b"), lambda: files.remove(FILE)):
        with pytest.raises(PowerLost):
            operation()
    found = files.power_loss()
    assert found.read(FILE) == b""
    found.append(FILE).write(b"works again")


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), synced=st.integers(0, 2_000), more=st.integers(0, 3_000))
def test_a_torn_state_keeps_what_was_synced_and_repeats_from_its_seed(seed: int, synced: int, more: int) -> None:
    states = []
    for _ in range(2):
        files = PowerLossFiles(seed)
        files.make_folder(FOLDER)
        file = files.append(FILE)
        file.write(b"s" * synced)
        files.sync(FILE)
        file.write(b"n" * more)
        states.append([files.power_loss(keep_some=True).read(FILE) for _ in range(3)])
    assert states[0] == states[1]
    for data in states[0]:
        assert data[:synced] == b"s" * synced
        assert synced <= len(data) <= synced + more
        assert set(data[synced:]) <= set(b"n\0")


def test_a_flipped_bit_stays() -> None:
    files = simulated()
    files.append(FILE).write(b"\0\0")
    files.sync(FILE)
    files.flip_bit(FILE, 9)
    assert files.read(FILE) == files.power_loss().read(FILE) == b"\0\2"
