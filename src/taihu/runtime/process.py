"""What every process of a node does alike: its clock, its signals, its event loop."""

import asyncio
import ctypes
import gc
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from taihu.kernel.clock import Clock, SystemClock
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import Limits
from taihu.kernel.sections import Site
from taihu.runtime.democlock import read_clock
from taihu.runtime.paths import Paths

_SPARE_FILES = 512  # the journal, the history and all that are no connections
_M_MMAP_THRESHOLD = -3  # malloc.h


def clock_of(site: Site) -> Clock:
    """The system's clock, or the demo clock that the site declares and the supervisor started."""
    if site.clock.start_ns is None:
        return SystemClock()
    return read_clock(OsFiles(), Paths(site.data).clock)


def keep_large_buffers_apart() -> None:
    """Let glibc map buffers of 256 kB and more one by one, for good; elsewhere nothing happens.

    It stops doing so by itself after the first large one is freed. Each TLS connection has such a buffer and uses its
    first bytes: mapped alone it costs 24 kB of memory, in the heap 48 kB.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 262_144)


def files_needed(limits: Limits) -> int:
    """How many files a node opens when it has all the connections that its limits allow."""
    return limits.mqtt_connections_max + limits.http_requests_pending_max + _SPARE_FILES


def allow_open_files(limits: Limits) -> None:
    """Let this process open the files it needs, as far as whoever started it permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files_needed(limits)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def run_until_signal(body: Callable[[asyncio.Event], Awaitable[Any]], hangup: Callable[[], None] | None = None) -> None:
    """Run `body` with an event that SIGINT and SIGTERM set, on uvloop where there is one.

    SIGHUP calls `hangup`. Without it, or when it is the farewell of the terminal this was started from, it stops too.
    What is written is for its owner alone, whatever mode the data folder was made with.
    """
    gc.freeze()
    gc.enable()
    os.umask(0o077)
    terminal = _terminal()

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hung_up() -> None:
            if hangup is None or terminal != _terminal():
                stop.set()
            else:
                hangup()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, hung_up)
        await body(stop)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run())
    gc.unfreeze()  # or DuckDB's binding calls what is left a leak, on standard error


def _terminal() -> bool:
    """Whether this process has a terminal, which may go away and say so by SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
