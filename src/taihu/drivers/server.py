"""Another's MQTT server, from a connection's URL, options and secrets.

`scheme://[user@]HOST[:PORT][/…]`; a scheme that ends in `s` speaks TLS. Options: `ca`, a file of authorities to trust
in place of the machine's; `version`, 5 or 4 (MQTT 3.1.1); `keep_alive_s`. Secrets: `username`, `password`.
"""

import ssl
from typing import Any

from taihu.drivers.line import Line
from taihu.drivers.port import Connection, DeviceRefused
from taihu.kernel.clock import Clock
from taihu.protocols.mqtt.client import Client
from taihu.protocols.mqtt.packets import Connack, Suback, Will

_PORT, _PORT_TLS = 1883, 8883
_VERSIONS = (4, 5)
_SESSION_S = 86_400
_RECEIVE_MAXIMUM = 1_000
_FAILURE = 0x80


class Server:
    """How to reach one MQTT server."""

    def __init__(self, connection: Connection) -> None:
        parts = connection.parts
        example = f"Write {parts.scheme}://host:1883."
        try:
            port = parts.port
        except ValueError:
            raise DeviceRefused(f"{connection.name} has no port that can be.", "Write one up to 65535.") from None
        if not parts.hostname:
            raise DeviceRefused(f"The URL of {connection.name} names no server.", example)
        if parts.password:
            raise DeviceRefused("A URL is no place for a password.", "Give it with --secret password.")
        secure = parts.scheme.endswith("s")
        self.host = parts.hostname
        self.port = port or (_PORT_TLS if secure else _PORT)
        self.version = connection.option("version", 5)
        self.keep_alive_s = connection.option("keep_alive_s", 30)
        if self.version not in _VERSIONS or not 0 < self.keep_alive_s < 65_536:
            raise DeviceRefused("The option version is 4 or 5, keep_alive_s from 1 to 65535.")
        self._user = connection.secrets.get("username") or parts.username
        self._password = connection.secrets.get("password")
        self._tls = _context(connection.option("ca", "")) if secure else None

    def line(self, client_id: str, clock: Clock, will: Will | None = None, resumes: bool = False) -> Line:
        """A line for a new client; one that resumes keeps its session, and acknowledges what it took care of."""
        properties: dict[str, Any] = {}
        if self.version == 5:
            properties = {"receive_maximum": _RECEIVE_MAXIMUM}
            if resumes:
                properties["session_expiry_interval"] = _SESSION_S
        client = Client(
            client_id,
            version=self.version,
            username=self._user,
            password=None if self._password is None else self._password.encode(),
            keep_alive=self.keep_alive_s,
            clean_start=not resumes,
            will=will,
            properties=properties,
            acknowledges=not resumes,
        )
        return Line(self.host, self.port, client, clock, self._tls)

    def check(self, packet: Connack | Suback) -> None:
        """Raise DeviceRefused for a connection or a subscription that the server refuses."""
        reason = packet.reason if isinstance(packet, Connack) else max(packet.reasons, default=0)
        if isinstance(packet, Connack) and reason:
            remedy = "Look at the username and password." if reason in (4, 5, 0x86, 0x87) else "See the server's log."
            remedy = "Set the option version to 4." if reason in (1, 0x84) else remedy
            raise DeviceRefused(f"{self.host} refuses the connection with reason {reason}.", remedy)
        if reason >= _FAILURE:
            raise DeviceRefused(f"{self.host} refuses the subscription with reason {reason}.", "See its access rules.")


def _context(authorities: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities or None)
    except (OSError, ssl.SSLError) as error:
        raise DeviceRefused(f"The option ca: {error}.", "Name a PEM file of certificates.") from None
