"""What systemd hears, on a datagram socket such as its own: readiness, life and the end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.waiting import WAIT_S

from taihu.kernel.errors import RefusedError
from taihu.runtime.notify import Notifier, keep_alive, serves

SITE = "[mqtt]\nport = 0\n[http]\nport = 0\n"


def listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(address)
    listener.settimeout(WAIT_S)
    return listener


def test_a_node_says_when_it_is_ready_that_it_lives_and_when_it_stops(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(SITE)
    environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
    with listen(str(tmp_path / "notify")) as listener:
        node = subprocess.Popen([sys.executable, "-m", "taihu.cli.main", "run", str(tmp_path)], env=environment)
        heard = [listener.recv(4096).decode() for _ in range(3)]
        node.send_signal(signal.SIGTERM)
        while heard[-1] != "STOPPING=1":
            heard.append(listener.recv(4096).decode())
        assert node.wait(WAIT_S) == 0
    ready, status = heard[0].splitlines()
    assert ready == "READY=1" and status.startswith("STATUS=MQTT on 127.0.0.1:")
    assert set(heard[1:-1]) == {"WATCHDOG=1"}


def test_a_node_that_answers_no_more_says_nothing(tmp_path: Path) -> None:
    silent = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000"}

    async def body(listener: socket.socket) -> None:
        port, starting = free_port(), [True, False, False, False]
        assert not await serves("127.0.0.1", port)
        beating = asyncio.create_task(keep_alive(Notifier(silent), "127.0.0.1", port, lambda: starting.pop(0)))
        while starting:
            await asyncio.sleep(0.005)
        beating.cancel()
        assert listener.recv(100) == b"WATCHDOG=1"  # while it started, and then no more
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(100)

    with listen(str(tmp_path / "notify")) as listener:
        asyncio.run(body(listener))


def test_an_abstract_socket_and_none_at_all() -> None:
    name = f"taihu-test-{os.getpid()}"
    with listen(f"\0{name}") as listener:
        environment = {"NOTIFY_SOCKET": f"@{name}", "HOME": "/"}
        notifier = Notifier(environment)
        notifier.stopping()
        assert listener.recv(100) == b"STOPPING=1"
    assert environment == {"HOME": "/"}, "the node's own processes are not those that were started"
    notifier.alive()  # a manager that went away is no reason to end
    Notifier({}).ready("alone")


def test_whom_the_watchdog_watches() -> None:
    assert Notifier({}).watchdog_s is None
    assert Notifier({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 5.0
    assert Notifier({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}).watchdog_s is None
    with pytest.raises(RefusedError, match="WatchdogSec"):
        Notifier({"WATCHDOG_USEC": "soon"})


def test_a_door_that_serves_is_found(tmp_path: Path) -> None:
    async def body() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            assert await serves(*server.sockets[0].getsockname())

    asyncio.run(body())
