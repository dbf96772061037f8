"""What systemd is told: that the node is ready or stops, and that it still serves (sd_notify(3))."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, MutableMapping

from taihu.kernel.errors import RefusedError

_US_PER_S = 1_000_000
_ANSWER_S = 5.0
_BEATS = 3  # in the time after which silence counts as death
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: taihu\r\nConnection: close\r\n\r\n"


class Notifier:
    """Tells the service manager that started this process; nothing happens where none did.

    Args:
        environment: where `NOTIFY_SOCKET` and the watchdog's settings are; they are taken out of it, since the node's
            other processes are not the ones that were started.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s(environment)
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            environment.pop(name, None)

    def ready(self, status: str) -> None:
        """The node serves."""
        self._send(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """It was told to stop."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """It still serves; without this for `watchdog_s` it is started anew."""
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(state.encode(), address)
            except OSError:
                return  # a manager that does not listen is no reason to stop serving


async def keep_alive(notifier: Notifier, host: str, port: int, starting: Callable[[], bool]) -> None:
    """Say `alive` as long as the door at `host`:`port` answers, or what opens it is `starting`."""
    if notifier.watchdog_s is None:
        return
    while True:
        if await serves(host, port) or starting():
            notifier.alive()
        await asyncio.sleep(notifier.watchdog_s / _BEATS)


async def serves(host: str, port: int) -> bool:
    """Whether the node's HTTP door answers within 5 s."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_REQUEST)
                return (await reader.readline()).startswith(b"HTTP/1.1 200")
            finally:
                writer.close()
    except OSError:  # TimeoutError is one
        return False


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """The longest silence that the manager suffers; None when it does not watch, or another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    if text and not (text.isascii() and text.isdigit() and int(text)):
        raise RefusedError(f"WATCHDOG_USEC is {text!r}.", "Correct the service's WatchdogSec.")
    return int(text) / _US_PER_S if text else None
