"""What the processes say to each other: msgpack with its length before it, and descriptors, on a Unix socket."""

import os
import socket
from collections.abc import Iterable
from typing import Any

import msgspec


def send(channel: socket.socket, message: Any) -> None:
    """Send one message."""
    data = msgspec.msgpack.encode(message)
    channel.sendall(len(data).to_bytes(4, "little") + data)


def receive(channel: socket.socket) -> bytes:
    """The next message; EOFError when the other end is gone."""
    return _exactly(channel, int.from_bytes(_exactly(channel, 4), "little"))


def hand_over(channel: socket.socket, descriptors: Iterable[int]) -> None:
    """Give the other end descriptors."""
    for descriptor in descriptors:
        socket.send_fds(channel, [b"d"], [descriptor])


def take_descriptors(channel: socket.socket, numbers: Iterable[int]) -> None:
    """Receive descriptors and give them these numbers; EOFError when the other end is gone."""
    for number in numbers:
        _, found, _, _ = socket.recv_fds(channel, 1, 1)
        if not found:
            raise EOFError
        os.dup2(found[0], number)
        os.close(found[0])


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = channel.recv(min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
