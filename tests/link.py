"""A link that can be cut, or that changes what it carries: a TCP proxy in threads."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.ports import free_port


class Link:
    """Carries connections to a port of this machine, until it is cut; what comes back goes through `change`."""

    def __init__(self, target: int, change: Callable[[bytes], bytes] = lambda data: data) -> None:
        self.port = free_port()
        self._target = target
        self._change = change
        self._whole = threading.Event()
        self._whole.set()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection and let no other come."""
        self._whole.clear()
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Carry again."""
        self._whole.set()

    def close(self) -> None:
        """Stop for good."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            if not self._whole.is_set():
                here.close()
                continue
            there = socket.create_connection(("127.0.0.1", self._target))
            self._open |= {here, there}
            for source, sink, change in ((here, there, bytes), (there, here, self._change)):
                threading.Thread(target=self._carry, args=(source, sink, change), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(change(data))
        for one in (source, sink):
            self._open.discard(one)
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
