"""Servers of others, started beside ours: each a context with `port`, `pids` and what it does less."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

_START_S = 20.0


class Absent(Exception):
    """A peer that is not installed: the message says what is missing."""


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def find(program: str, *folders: Path) -> str:
    """The path of a program, also where Debian keeps daemons; Absent when it is not installed."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", *map(str, folders)]
    found = shutil.which(program, path=os.pathsep.join(places))
    if found is None:
        raise Absent(f"{program} is not installed")
    return found


class Peer:
    """A server of others."""

    def __init__(self, name: str, less: str, port: int, pids: dict[str, int]) -> None:
        self.name = name
        self.less = less
        self.port = port
        self.pids = pids


Starter = Callable[[], AbstractContextManager[Peer]]


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[int]:
    """Start a server, wait until it listens on `port`, yield its pid, stop it."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            began = time.perf_counter()
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.perf_counter() - began > _START_S:
                        said = (folder / "log").read_text(errors="replace")[-2000:]
                        raise RuntimeError(f"{command[0]} did not start: {said}") from None
                    time.sleep(0.02)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder on the disk of temporary files."""
    with tempfile.TemporaryDirectory(prefix="taihu-bench-peer-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def mosquitto() -> Iterator[Peer]:
    """Mosquitto, tuned: no Nagle, no persistence, no limits in its way."""
    program = find("mosquitto")
    with folder() as place, ExitStack() as stack:
        port = free_port()
        (place / "mosquitto.conf").write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\n"
            "max_inflight_messages 0\nmax_queued_messages 0\nlog_dest none\nuser root\n"
        )
        pid = stack.enter_context(running([program, "-c", str(place / "mosquitto.conf")], port, place))
        yield Peer("mosquitto", "no disk, no decoding, no history: an ack means received", port, {"mosquitto": pid})


@contextmanager
def nats() -> Iterator[Peer]:
    """nats-server's MQTT with JetStream on files, its default sync interval."""
    program = find("nats-server")
    with folder() as place, ExitStack() as stack:
        port, client_port = free_port(), free_port()
        (place / "nats.conf").write_text(
            f'server_name: bench\nlisten: "127.0.0.1:{client_port}"\n'
            f'jetstream {{ store_dir: "{place / "js"}" }}\nmqtt {{ listen: "127.0.0.1:{port}" }}\n'
        )
        pid = stack.enter_context(running([program, "-c", str(place / "nats.conf")], port, place))
        less = "written but not synced (every 2 min), no decoding, no history"
        yield Peer("nats-server MQTT", less, port, {"nats": pid})


@contextmanager
def amqtt() -> Iterator[Peer]:
    """amqtt, the broker in Python that PyPI has."""
    program = find("amqtt", Path(sys.executable).parent)
    with folder() as place, ExitStack() as stack:
        port = free_port()
        (place / "amqtt.yaml").write_text(
            f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\n"
            "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
        )
        pid = stack.enter_context(running([program, "-c", str(place / "amqtt.yaml")], port, place))
        yield Peer("amqtt", "no disk, no decoding, no history", port, {"amqtt": pid})
