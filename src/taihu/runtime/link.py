"""The wire between ingest and worker: length-prefixed msgpack over a Unix socket, calls and notes both ways.

A frame is (number, name, body): number 0 is a note, a positive number a call, its negative the answer. A call that is
not answered in time raises; a lost peer fails every call at once, and nothing waits for ever.
"""

import asyncio
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from taihu.kernel.errors import LimitError, LocalError, RefusedError, RemoteError, TaihuError, TransientError

log = logging.getLogger("taihu.link")

_FRAME_BYTES_MAX = 1 << 30
_CALLS_MAX = 256
_SOCKET_PATH_MAX = 100
_KINDS = (LimitError, TransientError, RefusedError, RemoteError, LocalError)  # the narrower first

Handler = Callable[[Any], Awaitable[Any]]


class LinkLost(TransientError):
    """The other process is not there, or did not answer in time."""

    code = "unavailable"


class RemoteFault(TaihuError):
    """The other process answered with an error; its kind (`kernel.errors`), `code`, message and remedy are its own."""

    def __init__(self, kind: str, code: str, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.fault_kind = kind
        self.fault_code = code


class Link:
    """One end of the wire."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handlers: dict[str, Handler]):
        self._reader = reader
        self._writer = writer
        self._handlers = handlers
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost = False

    def note(self, name: str, body: Any) -> None:
        """Send without an answer; silently nothing when the peer is gone."""
        if not self.lost:
            self._send(0, name, body)

    async def call(self, name: str, body: Any, timeout_s: float) -> Any:
        """Ask the other end and return its answer.

        Raises:
            LinkLost: gone, or no answer in time: try again later.
            RemoteFault: it answered with an error.
        """
        if self.lost:
            raise LinkLost("The worker is not running.", "It is restarted by itself; try again in a moment.")
        if len(self._calls) >= _CALLS_MAX:
            raise LinkLost("Too many questions wait for the worker.", "Try again in a moment.")
        self._number += 1
        number = self._number
        future = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        self._send(number, name, body)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise LinkLost(f"No answer within {timeout_s:g} s.", "Ask for less, or try again.") from None
        finally:
            self._calls.pop(number, None)

    async def run(self) -> None:
        """Read frames until the peer goes away."""
        try:
            while True:
                size = int.from_bytes(await self._reader.readexactly(4), "little")
                if size > _FRAME_BYTES_MAX:
                    break
                number, name, body = msgspec.msgpack.decode(await self._reader.readexactly(size))
                if number < 0:
                    self._answer(-number, name, body)
                else:
                    task = asyncio.get_running_loop().create_task(self._serve(number, name, body))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Close this end and fail what waits for the other."""
        self.lost = True
        self._writer.close()
        for future in self._calls.values():
            if not future.done():
                future.set_exception(LinkLost("The worker went away.", "It is restarted by itself; try again."))

    def _answer(self, number: int, name: str, body: Any) -> None:
        future = self._calls.get(number)
        if future is None or future.done():
            return
        if name == "ok":
            future.set_result(body)
        else:
            future.set_exception(RemoteFault(*body))

    async def _serve(self, number: int, name: str, body: Any) -> None:
        try:
            result = await self._handlers[name](body)
        except TaihuError as error:
            kind = next((kind.code for kind in _KINDS if isinstance(error, kind)), error.code)
            answer = ("error", (kind, error.code, error.message, error.remedy))
        except Exception:
            log.exception("the call %s failed", name)
            answer = ("error", ("internal", "internal", "The worker met a defect.", "See its log."))
        else:
            answer = ("ok", result)
        if number and not self.lost:
            self._send(-number, *answer)

    def _send(self, number: int, name: str, body: Any) -> None:
        if self._writer.is_closing():
            return
        data = msgspec.msgpack.encode((number, name, body))
        self._writer.write(len(data).to_bytes(4, "little") + data)


def socket_path(folder: Path) -> Path:
    """Where the socket of a data folder is: inside it, or in a private temporary folder when that path is too long."""
    path = folder / "worker.sock"
    if len(str(path)) <= _SOCKET_PATH_MAX:
        return path
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"taihu-{digest}"
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RefusedError(
            f"{private} is not this user's own folder.", "Remove it, or give [node] data a shorter path."
        )
    return private / "worker.sock"


def remove_socket(folder: Path) -> None:
    """Leave nothing of the socket of a data folder."""
    path = socket_path(folder)
    path.unlink(missing_ok=True)
    if path.parent != folder:
        path.parent.rmdir()
