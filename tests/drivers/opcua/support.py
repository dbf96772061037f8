"""Peers for the OPC UA tests: asyncua's server, built once for all tests and forked for each of them."""

import asyncio
import os
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
    asyncio.run(own_identity(folder, SystemClock()))
    command = [sys.executable, str(SCRIPT), str(folder / "opcua")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
