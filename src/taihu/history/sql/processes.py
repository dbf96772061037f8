"""The processes of a pool as their parent sees them: the template, and the children it makes."""

import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from taihu.history.sql import channel, template
from taihu.history.sql.child import Said
from taihu.kernel.errors import LimitError, TransientError
from taihu.kernel.limits import Limits

_READ_BYTES = 1 << 20
_PATIENCE_S = 30.0  # with a template that says nothing
_ENVIRONMENT = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH")


class SqlEnded(TransientError):
    """The process that ran the question ended without an answer: try again; if it happens again, ask otherwise."""

    code = "sql-ended"


class Template:
    """The template process. OSError when it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders, theirs = socket.socketpair()
        self._orders.settimeout(_PATIENCE_S)
        with theirs:
            # Secrets of the environment stay here.
            environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
            self._process = subprocess.Popen(  # noqa: S603 (our own module)
                [sys.executable, "-m", template.__name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment,
                start_new_session=True,
            )

    def begin(self, ours: socket.socket, out: int) -> int:
        """Make a child with one end of a channel and of a pipe; returns its process id."""
        with self._lock:
            channel.send(self._orders, template.Begin())
            channel.hand_over(self._orders, (ours.fileno(), out))
            return self._answer()

    def end(self, pid: int) -> int:
        """End a child and return its exit status."""
        with self._lock:
            channel.send(self._orders, template.End(pid))
            return self._answer()

    def close(self) -> None:
        """End it, and its children with it."""
        self._process.kill()
        self._process.wait()
        self._orders.close()

    def _answer(self) -> int:
        try:
            return msgspec.msgpack.decode(channel.receive(self._orders), type=int)
        except EOFError:
            raise OSError("the template is gone") from None


class Child:
    """One process for one question, from its start to its end.

    Args:
        parent: what makes it.
        monotonic: the clock.
        until: when it is given up.
        limits: what it may take.
    """

    def __init__(self, parent: Template, monotonic: Callable[[], float], until: float, limits: Limits) -> None:
        self._parent = parent
        self._monotonic = monotonic
        self._until = until
        self._limits = limits
        self._channel, theirs = socket.socketpair()
        self._pipe, out = os.pipe()
        try:
            self._pid = parent.begin(theirs, out)
        except OSError:
            self._channel.close()
            os.close(self._pipe)
            raise
        finally:
            theirs.close()
            os.close(out)

    def send(self, message: msgspec.Struct, descriptors: Sequence[int] = ()) -> None:
        """Tell it something; that it is gone is found when its answer is read."""
        with suppress(OSError):
            channel.send(self._channel, message)
            channel.hand_over(self._channel, descriptors)

    def hear(self) -> Said:
        """Its next message."""
        self._channel.settimeout(max(self._until - self._monotonic(), 0.001))
        try:
            said: Said = msgspec.msgpack.decode(channel.receive(self._channel), type=Said)
        except TimeoutError:
            raise _too_late(self._limits) from None
        except (EOFError, OSError):
            raise self._ended() from None
        return said

    def finish(self) -> tuple[Said, bytes]:
        """All of its answer, and its last message."""
        parts: list[bytes] = []
        size = 0
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while True:
                left = self._until - self._monotonic()
                if left <= 0 or not selector.select(left):
                    raise _too_late(self._limits)
                part = os.read(self._pipe, _READ_BYTES)
                if not part:
                    return self.hear(), b"".join(parts)
                parts.append(part)
                size += len(part)
                if size > self._limits.sql_answer_bytes_max:
                    raise LimitError(
                        f"The answer has more than {self._limits.sql_answer_bytes_max} bytes (sql_answer_bytes_max):",
                        "ask for fewer rows or columns, or use taihu export.",
                    )

    def end(self) -> None:
        """It ends, whatever it does."""
        if self._pid:
            with suppress(OSError):
                self._parent.end(self._pid)
            self._pid = 0
            os.close(self._pipe)
            self._channel.close()

    def _ended(self) -> LimitError | SqlEnded:
        status = 0
        with suppress(OSError):
            status = self._parent.end(self._pid)
        self._pid = 0
        os.close(self._pipe)
        self._channel.close()
        if status == -signal.SIGXCPU:
            return _too_late(self._limits)
        return SqlEnded(
            f"The question's process ended with status {status}.", "Try again; if it happens again, ask otherwise."
        )


def _too_late(limits: Limits) -> LimitError:
    return LimitError(
        f"The answer took longer than {limits.sql_timeout_s:g} s (sql_timeout_s):",
        "ask for a shorter time with start and end, or for fewer things.",
    )
