"""A broker that others wrote, Debian's mosquitto, and who speaks through it: each in a process of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.drivers.conformance import free_port
from tests.waiting import WAIT_S


class Broker:
    """mosquitto on a port of its own; `settings` are lines of its configuration."""

    def __init__(self, *settings: str, persists: bool = False) -> None:
        found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if found is None:
            pytest.skip("mosquitto is not installed")
        self.port = free_port()
        folder = Path(tempfile.mkdtemp(prefix="mosquitto-"))
        lines = [f"listener {self.port} 127.0.0.1", "max_queued_messages 0", *settings]
        if not any(line.startswith("allow_anonymous") for line in settings):
            lines.append("allow_anonymous true")
        if persists:
            lines += ["persistence true", f"persistence_location {folder}/", "autosave_interval 1"]
        path = folder / "mosquitto.conf"
        path.write_text("\n".join([*lines, f"user {os.environ.get('USER', 'root')}"]) + "\n")
        self._command = [found, "-c", str(path)]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(3_000):
            try:
                socket.create_connection(("127.0.0.1", self.port), WAIT_S).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("mosquitto did not start")

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None


class Speaker:
    """A program that speaks through a broker; it says `ready` when it does."""

    def __init__(self, command: Sequence[str], folder: Path | None = None) -> None:
        environment = os.environ | ({} if folder is None else {"NODE_PATH": str(folder / "node_modules")})
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def ready(self) -> "Speaker":
        assert self.line() == "ready"
        return self

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def stray_grants(data: bytes) -> bytes:
    """What a broker sends, its SUBACKs under other packet identifiers."""
    changed, at = bytearray(data), 0
    while at + 4 <= len(data):
        length, body, shift = 0, at + 1, 0
        while data[body] & 0x80:
            length, body, shift = length | (data[body] & 0x7F) << shift, body + 1, shift + 7
        length |= data[body] << shift
        if data[at] == 0x90:
            changed[body + 1] ^= 0x55
        at = body + 1 + length
    return bytes(changed)


class Together:
    """A broker and a speaker as one peer."""

    def __init__(self, command: Sequence[str], folder: Path | None = None) -> None:
        self._broker = Broker()
        self.port = self._broker.port
        self._command = [*command, str(self.port)]
        self._folder = folder
        self.speaker = Speaker(self._command, folder).ready()

    def start(self) -> None:
        self._broker.start()
        self.speaker = Speaker(self._command, self._folder).ready()

    def freeze(self) -> None:
        self._broker.freeze()

    def stop(self) -> None:
        self._broker.stop()
        if self.speaker.process.poll() is None:
            self.speaker.stop()
