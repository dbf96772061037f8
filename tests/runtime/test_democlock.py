"""The demo clock goes on where it stood, never back, after an orderly stop or a crash."""

import asyncio
import errno
from pathlib import Path

import pytest

from taihu.kernel.clock import NS_PER_S
from taihu.kernel.config import parse_site
from taihu.kernel.errors import ConfigError
from taihu.kernel.files import OsFiles
from taihu.runtime import democlock
from taihu.runtime.democlock import SAVE_PERIOD_S, read_clock, save_clock, start_clock
from taihu.runtime.run import Supervisor
from taihu.sim.files import PowerLossFiles

PATH = Path("/site/clock.json")
START_NS = 1_600_000_000 * NS_PER_S


@pytest.fixture
def files() -> PowerLossFiles:
    found = PowerLossFiles(1)
    found.make_folder(PATH.parent)
    return found


class Machine:
    """The machine's wall time, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1_700_000_000 * NS_PER_S
        monkeypatch.setattr(democlock, "machine_ns", lambda: self.now_ns)
        monkeypatch.setattr("taihu.kernel.clock.time.time_ns", lambda: self.now_ns)


def test_all_processes_read_the_same_time(files: PowerLossFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    started = start_clock(files, PATH, START_NS, 600.0)
    machine.now_ns += 10 * NS_PER_S
    assert started.now_ns() == read_clock(files, PATH).now_ns() == START_NS + 6_000 * NS_PER_S


@pytest.mark.parametrize("clean", [True, False])
def test_a_second_start_goes_on(files: PowerLossFiles, monkeypatch: pytest.MonkeyPatch, clean: bool) -> None:
    """After an orderly stop exactly where it stood; after a crash at least as far as it can have shown."""
    machine = Machine(monkeypatch)
    clock = start_clock(files, PATH, START_NS, 600.0)
    machine.now_ns += 100 * NS_PER_S
    save_clock(files, PATH, clock, clean=clean)
    if not clean:
        machine.now_ns += round(SAVE_PERIOD_S * NS_PER_S)
    shown = clock.now_ns()
    machine.now_ns += 86_400 * NS_PER_S
    again = start_clock(files.power_loss(), PATH, START_NS, 60.0)
    assert again.speed == 60.0
    if clean:
        assert again.now_ns() == shown
    else:
        assert shown <= again.now_ns() <= shown + 2 * SAVE_PERIOD_S * 600 * NS_PER_S


def test_a_clock_nobody_started_is_told(files: PowerLossFiles) -> None:
    with pytest.raises(ConfigError, match="not started"):
        read_clock(files, PATH)


def test_a_damaged_file_is_told(files: PowerLossFiles) -> None:
    files.append(PATH).write(b"{")
    with pytest.raises(ConfigError, match="damaged"):
        start_clock(files, PATH, START_NS, 600.0)


def test_a_full_disk_is_said_once_and_does_not_end_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(files: OsFiles, path: Path) -> None:
        raise OSError(errno.ENOSPC, "full")

    supervisor = Supervisor(parse_site("[clock]\nstart = 2026-01-01T00:00:00Z\nspeed = 60\n", tmp_path))
    supervisor.prepare().close()
    stop = asyncio.Event()
    monkeypatch.setattr("taihu.runtime.run.SAVE_PERIOD_S", 0.01)
    monkeypatch.setattr(OsFiles, "append", refuse)
    monkeypatch.setattr(Supervisor, "_attend_to_controllers", lambda self: asyncio.sleep(0))

    async def run() -> None:
        asyncio.get_running_loop().call_later(0.1, stop.set)
        await supervisor.serve(stop)

    asyncio.run(run())
    assert [one.getMessage() for one in caplog.records] == ["the demo clock is not saved: [Errno 28] full"]
