"""MQTT over WebSocket (5.0, clause 6): binary frames of subprotocol `mqtt`, as a byte stream for `MqttClient`."""

import asyncio
from typing import Any, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from taihu.doors.mqtt.client import MqttClient


class WebSocketClient(asyncio.Protocol):
    """Unwraps frames for an `MqttClient` and is the wire that it writes to."""

    __slots__ = ("_client", "_frames", "_transport")

    def __init__(self, client: MqttClient, frame_bytes_max: int) -> None:
        self._client = client
        self._frames = ServerProtocol(subprotocols=[Subprotocol("mqtt")], max_size=frame_bytes_max)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._client.start(self)

    def data_received(self, data: bytes) -> None:
        self._frames.receive_data(data)
        for event in self._frames.events_received():
            if isinstance(event, Request):
                self._frames.send_response(self._frames.accept(event))
            elif isinstance(event, Frame):
                self._take(event)
        self._send()

    def eof_received(self) -> None:
        self._frames.receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.connection_lost(exc)

    def pause_writing(self) -> None:
        self._client.pause_writing()

    def resume_writing(self) -> None:
        self._client.resume_writing()

    def write(self, data: bytes) -> None:
        if self._frames.state is State.OPEN:
            self._frames.send_binary(data)
            self._send()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Send a close frame; the peer answers it and the connection ends."""
        if self._frames.state is State.OPEN:
            self._frames.send_close(CloseCode.NORMAL_CLOSURE)
        self._send()

    def close(self) -> None:
        self.write_eof()
        if self._transport is not None:
            self._transport.close()

    def is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.BINARY, Opcode.CONT):
            self._client.data_received(bytes(frame.data))
        elif frame.opcode is Opcode.TEXT and self._frames.state is State.OPEN:
            self._frames.send_close(CloseCode.UNSUPPORTED_DATA)  # [MQTT-6.0.0-1]

    def _send(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        for data in self._frames.data_to_send():
            if data:
                transport.write(data)
            else:
                transport.close()
        if self._frames.close_expected() and self._frames.state is State.CLOSED:
            transport.close()
