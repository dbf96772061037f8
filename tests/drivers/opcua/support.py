"""Peers for the OPC UA tests: asyncua's server, built once for all tests and forked for each of them."""

import asyncio
import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.drivers.conformance import free_port

from taihu.drivers.opcua.security import own_identity
from taihu.kernel.clock import SystemClock

SCRIPT = Path(__file__).with_name("peer.py")


class Peer:
    """A server on a port of its own, that can be stopped, frozen and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self._pid = 0
        self.start()

    def start(self) -> None:
        mill = _mill()
        assert mill.stdin is not None and mill.stdout is not None
        mill.stdin.write(f"{self.port}\n")
        mill.stdin.flush()
        word, _, number = mill.stdout.readline().partition(" ")
        assert word == "ready"
        self._pid = int(number)

    def freeze(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def stop(self) -> None:
        pid, self._pid = self._pid, 0
        if pid:
            os.kill(pid, signal.SIGKILL)
            with suppress(ProcessLookupError):
                while True:
                    os.kill(pid, 0)
                    time.sleep(0.01)


@cache
def _mill() -> subprocess.Popen[str]:
    """It ends with its standard input, and so with this process."""
    folder = Path(tempfile.mkdtemp(prefix="taihu-opcua-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    asyncio.run(own_identity(folder, SystemClock()))
    command = [sys.executable, str(SCRIPT), str(folder / "opcua")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


class Line:
    """A line to a port that can be cut, and carries again when it is called again."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.delay_s = 0.0
        self._to = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Line":
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, back}
        for source, target in ((reader, back), (there, writer)):
            self._tasks.add(asyncio.create_task(self._copy(source, target)))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                await asyncio.sleep(self.delay_s)
                target.write(data)
                await target.drain()
        target.close()
