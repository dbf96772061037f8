"""Errors of MQTT: `ProtocolError` is the only one that bytes can cause; the others answer our own calls."""

from taihu.kernel.errors import LimitError, LocalError, RemoteError, TransientError


class ProtocolError(RemoteError):
    """The peer sent what the standard forbids: close the connection; the only error that bytes can cause (§13).

    Args:
        message: what is wrong.
        reason: the MQTT 5.0 reason code to close with.
    """

    code = "mqtt_protocol"

    def __init__(self, message: str, reason: int) -> None:
        super().__init__(message, "The connection is closed; correct the device's MQTT client.")
        self.reason = reason


class EncodingError(LocalError):
    """A packet that MQTT cannot express: a string beyond 65,535 bytes, an unknown property, a number out of range."""

    code = "mqtt_encoding"


class QueueFull(LimitError):
    """More waits for the server than the client may hold: publish again when acknowledgements have come."""

    code = "mqtt_client_queue"


class NotConnected(TransientError):
    """The call needs a connection the server has accepted: connect and call again."""

    code = "mqtt_not_connected"


class ServerSilent(TransientError):
    """The server answers neither CONNECT nor PINGREQ: close the connection and connect again."""

    code = "mqtt_server_silent"
