"""Another's MQTT server, from a connection's URL, options and secrets.

`scheme://[user@]HOST[:PORT][/…]`; a scheme that ends in `s` speaks TLS. Options: `ca`, a file of authorities to trust
in place of the machine's; `version`, 5 or 4 (MQTT 3.1.1); `keep_alive_s`. Secrets: `username`, `password`.
"""

from collections.abc import Callable
from typing import Any

from taihu.drivers.address import endpoint_of, trust_of
from taihu.drivers.line import Line, Took
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused
from taihu.kernel.clock import Clock
from taihu.kernel.errors import RefusedError, TaihuError
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
        secure = parts.scheme.endswith("s")
        self._endpoint = endpoint_of(connection, _PORT_TLS if secure else _PORT, f"{parts.scheme}://host:1883")
        self.host = self._endpoint.host
        self.version = connection.option("version", 5)
        self.keep_alive_s = connection.option("keep_alive_s", 30)
        if self.version not in _VERSIONS or not 0 < self.keep_alive_s < 65_536:
            raise DeviceRefused("The option version is 4 or 5, keep_alive_s from 1 to 65535.")
        self._user = connection.secrets.get("username") or parts.username
        self._password = connection.secrets.get("password")
        self._tls = trust_of(connection) if secure else None

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
        return Line(self._endpoint, client, clock, self._tls)

    async def serve(self, line: Line, took: Took, leave: Callable[[], None]) -> None:
        """`Line.serve`, which ends by DeviceLost, or by a refusal."""
        try:
            await line.serve(took, leave)
        except (DeviceLost, RefusedError):
            raise
        except (OSError, TaihuError) as error:
            raise DeviceLost(f"{self.host}: {error or type(error).__name__}") from None

    def check(self, packet: Connack | Suback) -> None:
        """Raise DeviceRefused for a connection or a subscription that the server refuses."""
        reason = packet.reason if isinstance(packet, Connack) else max(packet.reasons, default=0)
        if isinstance(packet, Connack) and reason:
            remedy = "Look at the username and password." if reason in (4, 5, 0x86, 0x87) else "See the server's log."
            remedy = "Set the option version to 4." if reason in (1, 0x84) else remedy
            raise DeviceRefused(f"{self.host} refuses the connection with reason {reason}.", remedy)
        if reason >= _FAILURE:
            raise DeviceRefused(f"{self.host} refuses the subscription with reason {reason}.", "See its access rules.")
