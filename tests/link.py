"""Links that can be cut, that are slow, or that change what they carry: proxies of TCP and UDP in threads."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.ports import free_port

Change = Callable[[bytes], bytes]


def same(data: bytes) -> bytes:
    """What comes, unchanged."""
    return data


class Link:
    """Carries connections to a port of this machine, until it is cut.

    What comes back goes through `change`, and takes `delay_s` seconds longer.
    """

    def __init__(self, target: int, change: Change = same) -> None:
        self.port = free_port()
        self.change = change
        self.delay_s = 0.0
        self._target = target
        self._whole = threading.Event()
        self._whole.set()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection and let no other come."""
        self._whole.clear()
        self.drop()

    def drop(self) -> None:
        """End every connection."""
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
            try:
                there = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                here.close()
                continue
            self._open |= {here, there}
            threading.Thread(target=self._carry, args=(here, there), daemon=True).start()
            threading.Thread(target=self._carry, args=(there, here, True), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, back: bool = False) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if back:
                    time.sleep(self.delay_s)
                    data = self.change(data)
                sink.sendall(data)
        for one in (source, sink):
            self._open.discard(one)
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class DatagramLink:
    """The same of datagrams: whoever sends to it has a port of its own beyond it."""

    def __init__(self, target: int, change: Change = same) -> None:
        self.change = change
        self.delay_s = 0.0
        self._target = target
        self._far: dict[Any, socket.socket] = {}
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind(("127.0.0.1", 0))
        self.port = self._near.getsockname()[1]
        threading.Thread(target=self._carry, daemon=True).start()

    def drop(self) -> None:
        """There is no connection to end."""

    def close(self) -> None:
        """Stop for good."""
        for one in (self._near, *self._far.values()):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes up who waits for it
            one.close()

    def _carry(self) -> None:
        with suppress(OSError):
            while True:
                data, sender = self._near.recvfrom(65_536)
                if sender not in self._far:
                    self._far[sender] = far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    far.connect(("127.0.0.1", self._target))
                    threading.Thread(target=self._back, args=(far, sender), daemon=True).start()
                with suppress(ConnectionRefusedError):
                    self._far[sender].send(data)

    def _back(self, far: socket.socket, sender: Any) -> None:
        with suppress(OSError):
            while far.fileno() >= 0:
                with suppress(ConnectionRefusedError):
                    if data := far.recv(65_536):
                        time.sleep(self.delay_s)
                        self._near.sendto(self.change(data), sender)
