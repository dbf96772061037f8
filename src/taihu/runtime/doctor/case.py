"""The site under examination: its configuration, its folders, and whether its node runs, stands or died."""

import http.client
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from taihu.kernel.clock import Clock
from taihu.kernel.files import Files
from taihu.kernel.sections import Site
from taihu.runtime.paths import Paths

_ANSWER_S = 5.0


class State(StrEnum):
    """What the node does."""

    RUNNING = "running"
    STOPPED = "stopped"
    CRASHED = "crashed"  # it left the note of a running node behind
    SILENT = "silent"  # a process holds the site and does not answer


class Addresses(msgspec.Struct):
    """What a running node writes into `data/node.json`."""

    pid: int
    http: tuple[str, int]


class Case:
    """One site. `seen` is told how many bytes of the stores are done."""

    def __init__(self, site: Site, files: Files, clock: Clock, *, quick: bool, seen: Callable[[int], None]) -> None:
        self.site = site
        self.paths = Paths(site.data)
        self.files = files
        self.clock = clock
        self.quick = quick
        self.seen = seen
        self.addresses = _addresses(self.paths.node)
        self.holder = lock_holder(self.paths.metadata.with_name(self.paths.metadata.name + ".lock"))
        self.status = self.ask("/api/v1/node")
        self.state = self._state()

    def ask(self, path: str) -> Any:
        """The node's answer to its owner; None when it does not answer."""
        if self.addresses is None:
            return None
        connection = http.client.HTTPConnection(*self.addresses.http, timeout=_ANSWER_S)
        try:
            token = self.paths.admin_token.read_text("utf-8").strip()
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            body = answer.read()
            return msgspec.json.decode(body) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, msgspec.DecodeError, UnicodeDecodeError):
            return None
        finally:
            connection.close()

    def _state(self) -> State:
        if self.status is not None:
            return State.RUNNING
        if self.holder is not None:
            return State.SILENT
        return State.STOPPED if self.addresses is None else State.CRASHED


def lock_holder(path: Path) -> int | None:
    """The process that holds a lock file, without touching the lock; None where nobody does or it cannot be told."""
    try:
        inode = path.stat().st_ino
        locks = Path("/proc/locks").read_text()
    except OSError:
        return None
    for line in locks.splitlines():
        fields = line.split()  # 1: FLOCK ADVISORY WRITE 4711 fd:01:1048633 0 EOF
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
            pid = int(fields[4])
            if pid > 0 and _has_open(pid, path):
                return pid
    return None


def process_name(pid: int) -> str:
    """A process as people know it."""
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (pid {pid})"
    except OSError:
        return f"the process {pid}"


def _has_open(pid: int, path: Path) -> bool:
    """Whether the process has the file open: an inode's number alone is that of other file systems' files too."""
    try:
        found = (os.readlink(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir())
        return str(path.resolve()) in found
    except OSError:
        return True  # another user's process: the number has to do


def _addresses(path: Path) -> Addresses | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Addresses)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
