"""Who is there: a question for `/.well-known/core` to a group or a host, and everybody's answer (RFC 7252, 8.2)."""

import asyncio
import socket
from secrets import randbits, token_bytes
from typing import Any

from aiocoap import Message, error
from aiocoap.numbers import GET, NON

from taihu.drivers.address import Endpoint, unreachable
from taihu.drivers.coap.finding import links_of
from taihu.drivers.port import DeviceRefused, Found

_TIMES = 2  # a group's answers are not repeated: what the network loses is asked for once more
_FOUND_MAX = 10_000
_PORT = 5683
_SHOWN = 3


async def ask_all(endpoint: Endpoint, bind: str, seconds: float) -> list[Found]:
    """Whoever answers at an address within a time; `bind` is our own address on a group's network.

    Raises:
        DeviceLost: nothing can be sent there. DeviceRefused: `bind` is no address of ours.
    """
    loop = asyncio.get_running_loop()
    try:
        family, _, _, _, target = (await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_DGRAM))[0]
    except OSError as fault:
        raise unreachable(endpoint, fault) from None
    one = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if bind:
            one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(bind))
    except OSError as fault:
        one.close()
        raise DeviceRefused(f"The option bind, {bind}: {fault}.", "Write an IPv4 address of this machine.") from None
    token = token_bytes(4)
    transport, answers = await loop.create_datagram_endpoint(lambda: _Answers(token), sock=one)
    try:
        for _ in range(_TIMES):
            transport.sendto(_question(token), target)
            await asyncio.sleep(seconds / _TIMES)
    finally:
        transport.close()
    if answers.fault and not answers.found:
        raise unreachable(endpoint, answers.fault)
    return [Found(url, title) for url, title in sorted(answers.found.items())]


class _Answers(asyncio.DatagramProtocol):
    """What answers a question by its token; anything else is nobody's."""

    def __init__(self, token: bytes) -> None:
        self.found: dict[str, str] = {}
        self.fault: Exception | None = None
        self._token = token

    def datagram_received(self, data: bytes, address: Any) -> None:
        """Keep who answers, and the titles or names of what it lists."""
        try:
            message = Message.decode(data)
        except (error.Error, ValueError, IndexError):
            return
        if message.token == self._token and message.code.is_response() and len(self.found) < _FOUND_MAX:
            self.found[_url_of(*address)] = _title_of(message)

    def error_received(self, fault: Exception) -> None:
        """Remember why nothing could be sent."""
        self.fault = fault


def _question(token: bytes) -> bytes:
    question = Message(code=GET, uri_path=(".well-known", "core"))
    question.mtype, question.mid, question.token = NON, randbits(16), token
    encoded: bytes = question.encode()
    return encoded


def _url_of(host: str, port: int, flow: int = 0, scope: int = 0) -> str:
    """An address to add it by; one of a link with the link's name."""
    zone = f"%{socket.if_indextoname(scope)}" if scope and "%" not in host else ""
    shown = f"[{host}{zone}]" if ":" in host else host
    return f"coap://{shown}" if port == _PORT else f"coap://{shown}:{port}"


def _title_of(answer: Any) -> str:
    """The first resources of a list, by their titles or paths."""
    listed = links_of(answer.payload.decode("utf-8", "replace")) if answer.code.is_successful() else ()
    names = [attributes.get("title") or href for href, attributes in listed if not href.startswith("/.well-known")]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) + more)[:200]
