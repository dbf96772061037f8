"""Keeps a node's processes running: starts them in order, restarts what dies, stops all in order."""

import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from taihu.kernel.clock import Clock

log = logging.getLogger("taihu.supervise")

_BACKOFF_S_MIN = 0.2
_BACKOFF_S_MAX = 10.0
_HEALTHY_S = 10.0
_STOP_S = 15.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: a forked child had better load nothing


class Child:
    """One process, restarted with a growing pause when it dies."""

    def __init__(self, name: str, arguments: list[str], clock: Clock) -> None:
        self.name = name
        self._ids = {"child": name}
        self._arguments = arguments
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.restarts = 0
        self._started = clock.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since the process was last started."""
        return self._clock.monotonic() - self._started

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the process and watch over it."""
        await self._spawn()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Ask it to stop; end it when it does not within 15 s."""
        self._stopping = True
        process = self._process
        if process and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                log.error("%s did not stop within %d s and is ended", self.name, _STOP_S, extra=self._ids)
                process.kill()
                await process.wait()
        if self._task:
            self._task.cancel()

    async def _spawn(self) -> None:
        self._started = self._clock.monotonic()
        # A group of its own: Ctrl-C reaches the supervisor alone, which stops the children in their order.
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments, start_new_session=True, preexec_fn=_end_with_parent(os.getpid())
        )

    async def _watch(self) -> None:
        pause = _BACKOFF_S_MIN
        while self._process:
            status = await self._process.wait()
            if self._stopping:
                return
            if self.age_s > _HEALTHY_S:
                pause = _BACKOFF_S_MIN
            log.error(
                "%s ended with status %d and is started again in %.1f s", self.name, status, pause, extra=self._ids
            )
            pause = await self._start_again(pause)

    async def _start_again(self, pause: float) -> float:
        """Start it after a pause, as often as it takes; returns the next pause."""
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BACKOFF_S_MAX)
            self.restarts += 1
            try:
                await self._spawn()
            except OSError as error:  # no memory, no process or descriptor left
                log.error(
                    "%s cannot be started (%s); it is tried again in %.1f s", self.name, error, pause, extra=self._ids
                )
            else:
                return pause


def _end_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child does first, on Linux: ask for SIGTERM when its parent dies, as by `kill -9`."""
    libc = _libc
    if libc is None:
        return None

    def begin() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return begin


def python_module(module: str, *arguments: str | Path) -> list[str]:
    """The command line that runs a module of this installation."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def port_holder(port: int) -> str:
    """Which process listens on a TCP port, as "name (pid N)"; "another process" where that cannot be told."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        try:
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) in inodes:
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return "another process"
