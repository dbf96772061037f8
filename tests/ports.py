"""Ports for servers under test."""

import socket
from random import SystemRandom

_BELOW_EPHEMERAL = range(15_000, 32_000)
_random = SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A port nobody listens on now, and another one each time.

    None that the system gives to clients: with thousands of connections at once it would soon be one of theirs.
    """
    while True:
        port = _random.choice(_BELOW_EPHEMERAL)
        if port in _given:
            continue
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        _given.add(port)
        return port
