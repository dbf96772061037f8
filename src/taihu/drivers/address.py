"""Where a device is: the host and port of a connection's URL, the way to them, and a point's own address."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

import msgspec

from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Point

_CONNECT_S = 10.0
Address = TypeVar("Address", bound=msgspec.Struct)


class Endpoint(NamedTuple):
    """A host, its port, and what the URL says after them, without slashes around it."""

    host: str
    port: int
    path: str = ""

    @property
    def bracketed(self) -> str:
        """The host as a URL has it: an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host


def endpoint_of(connection: Connection, port: int | None, example: str) -> Endpoint:
    """Where a connection's URL points; `port` is the protocol's own, None when the URL must name one.

    Raises:
        DeviceRefused: it holds a password, names no host, or no port that can be; `example` is what to write.
    """
    parts = connection.parts
    if parts.password:
        raise DeviceRefused("A URL is no place for a password.", "Leave it out, and give it by --secret password.")
    try:
        given = parts.port or port
    except ValueError:
        given = None
    if not parts.hostname or not given:
        raise DeviceRefused(f"{connection.url} names no host and port that can be.", f"Write {example}.")
    return Endpoint(parts.hostname, given, parts.path.strip("/"))


@asynccontextmanager
async def connecting(endpoint: Endpoint) -> AsyncIterator[None]:
    """Ten seconds in which a device is to be connected; DeviceLost when it is not."""
    try:
        async with asyncio.timeout(_CONNECT_S):
            yield
    except (OSError, TimeoutError) as error:
        raise unreachable(endpoint, error) from None


async def open_stream(
    endpoint: Endpoint, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP stream to a device; DeviceLost when there is none."""
    async with connecting(endpoint):
        return await asyncio.open_connection(endpoint.host, endpoint.port, ssl=tls)


def trust_of(connection: Connection) -> ssl.SSLContext:
    """TLS by a connection's options: whom to trust, and who we are.

    `ca` is a file of authorities, in place of the machine's; `certificate` and `key` are our own, for who asks.

    Raises:
        DeviceRefused: a file does not hold what it should.
    """
    authorities, certificate, key = (connection.option(name, "") for name in ("ca", "certificate", "key"))
    try:
        context = ssl.create_default_context(cafile=authorities or None)
        if certificate:
            context.load_cert_chain(certificate, key or None, password="")  # never asked for on a terminal
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (authorities, certificate, key)))
        raise DeviceRefused(
            f"The option ca, certificate or key, {files}: {error}.", "Name PEM files; the key without a password."
        ) from None
    return context


def unreachable(endpoint: Endpoint, why: Exception) -> DeviceLost:
    """The error of a device that cannot be connected."""
    told = str(why) or type(why).__name__
    return DeviceLost(
        f"{endpoint.host}, port {endpoint.port}, cannot be reached: {told}.",
        "See that it is on, that address and port are its own, and that no firewall is between.",
    )


def where_of(point: Point, kind: type[Address], page: str) -> Address:
    """A point's address, checked; DeviceRefused names the page that says what it holds."""
    try:
        return msgspec.convert(point.where, kind)
    except msgspec.ValidationError as error:
        raise DeviceRefused(f"{point.definition.name}: {error}.", f"{page} has what where holds.") from None
