r"""The client's side of MQTT 3.1.1 and 5.0 as a state machine without I/O.

The shell around it opens the connection and calls `connect`, feeds what it reads to `receive`, writes `take_output`
after every call, calls `handle_timer` at `next_timer`, and `connection_lost` when the connection ends for whatever
reason. To go on with the same session it opens another connection and calls `connect` again.

>>> client = Client("meter-1", clean_start=False)
>>> client.connect(now=0.0)
>>> client.take_output()
b'\x10\x13\x00\x04MQTT\x04\x00\x00<\x00\x07meter-1'
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import msgspec

from taihu.kernel import limits
from taihu.kernel.errors import LocalError
from taihu.protocols.mqtt.codec import PACKET_BYTES_MAX, Decoder, encode
from taihu.protocols.mqtt.errors import EncodingError, NotConnected, ProtocolError, QueueFull, ServerSilent
from taihu.protocols.mqtt.outbox import QOS_1, QOS_2, RELEASE, Outbox
from taihu.protocols.mqtt.packets import (
    NO_PROPERTIES,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Properties,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.topics import check_filter, check_topic

__all__ = ["Client", "NotConnected", "QueueFull", "ServerSilent", "State"]

_FAILURE = 0x80  # reason codes from here on are failures
_PACKET_ID_MAX = 65_535


class State(Enum):
    """Where a connection is in its life."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    CONNECTED = "connected"


class Client:
    """One client, its session, and its connections one after the other.

    Args:
        client_id: may be empty; then the server assigns one (5.0) or the session lasts one connection (3.1.1).
        version: 4 (MQTT 3.1.1) or 5.
        keep_alive: seconds between pings, 0 for none. The ping goes out whatever else is sent: it also finds out
            that the server is gone.
        clean_start: False to go on with the session the server holds.
        properties: of CONNECT; `receive_maximum`, `topic_alias_maximum` and `maximum_packet_size` are kept to.
        pending_max: how many QoS 1 and 2 messages may wait to be sent or acknowledged, at most 32,000; as many
            subscribe and unsubscribe calls may wait for their answer.
        pending_bytes_max: how many bytes those messages may have.
        in_flight_max: how many of them may be sent and not acknowledged, less when the server says so. A 3.1.1 server
            cannot say so: mosquitto loses QoS 2 messages beyond 20.
        outbound_bytes_max: above so many bytes of output not taken yet, calls raise QueueFull.
        acknowledges: False leaves it to `acknowledge` to say that a QoS 1 message has been taken care of.

    Messages of QoS 1 and 2 are acknowledged as `receive` returns them, unless `acknowledges` is False. What the
    server's CONNACK says of its own limits, but for the receive maximum, is the caller's to respect. Topic aliases are
    understood and not used.
    """

    def __init__(
        self,
        client_id: str,
        *,
        version: int = 4,
        username: str | None = None,
        password: bytes | None = None,
        keep_alive: int = 60,
        clean_start: bool = True,
        will: Will | None = None,
        properties: Properties = NO_PROPERTIES,
        pending_max: int = limits.DEFAULT.mqtt_client_pending_max,
        pending_bytes_max: int = limits.DEFAULT.mqtt_client_pending_bytes_max,
        in_flight_max: int = limits.DEFAULT.mqtt_client_in_flight_max,
        outbound_bytes_max: int = limits.DEFAULT.mqtt_outbound_bytes_max,
        connect_timeout_s: float = limits.DEFAULT.mqtt_connect_timeout_s,
        acknowledges: bool = True,
    ) -> None:
        if not 1 <= pending_max <= 32_000:
            raise LocalError(f"pending_max is {pending_max}.", "Packet identifiers allow 1 to 32,000.")
        self.client_id = client_id
        self.version = version
        self.state = State.CLOSED
        self._greeting = Connect(version, client_id, clean_start, keep_alive, username, password, will, properties)
        self._pending_max = pending_max
        self._in_flight_max = in_flight_max
        self._outbound_bytes_max = outbound_bytes_max
        self._connect_timeout_s = connect_timeout_s
        self._acknowledges = acknowledges
        self._last_packet_id = 0
        self._outbox = Outbox(pending_max, pending_bytes_max)
        self._received: set[int] = set()  # packet identifiers of QoS 2 messages the server has not released
        self._reset()

    def _reset(self) -> None:
        """Everything that lasts one connection."""
        given = self._greeting.properties
        self._decoder = Decoder(self.version, given.get("maximum_packet_size", PACKET_BYTES_MAX))
        self._output = bytearray()
        self._error: ProtocolError | None = None
        self._timer: float | None = None
        self._keep_alive = self._greeting.keep_alive
        self._ping_unanswered = False
        self._quota = self._in_flight_max
        self._aliases: dict[int, str] = {}
        self._requests: set[int] = set()

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties = NO_PROPERTIES,
    ) -> int:
        """Send a message; returns its packet identifier, 0 at QoS 0.

        At QoS 1 and 2 it may be called without a connection. The message is with the server when `receive` returns
        its Puback or Pubcomp, and refused when it returns one, or a Pubrec, of a reason from 0x80 on.
        Raises QueueFull, NotConnected (QoS 0) and EncodingError.
        """
        if "topic_alias" in properties:
            raise EncodingError("The client does not send topic aliases.")
        _check(check_topic, topic)
        packet_id = self._free_packet_id() if qos else 0
        data = encode(Publish(topic, payload, qos, retain, False, packet_id, properties), self.version)
        if qos:
            self._outbox.add(packet_id, data)
            self._last_packet_id = packet_id
            self._send_waiting()
        else:
            self._need_room()
            self._output += data
        return packet_id

    def subscribe(self, subscriptions: Sequence[Subscription], properties: Properties = NO_PROPERTIES) -> int:
        """Ask for subscriptions; returns the packet identifier its Suback will carry. Raises as `publish`."""
        for entry in subscriptions:
            _check(check_filter, entry.filter)
        return self._request(Subscribe(self._free_packet_id(), tuple(subscriptions), properties))

    def unsubscribe(self, filters: Sequence[str], properties: Properties = NO_PROPERTIES) -> int:
        """End subscriptions; returns the packet identifier its Unsuback will carry. Raises as `publish`."""
        for entry in filters:
            _check(check_filter, entry)
        return self._request(Unsubscribe(self._free_packet_id(), tuple(filters), properties))

    def acknowledge(self, packet_id: int) -> None:
        """Say that a QoS 1 message of this connection has been taken care of. Raises NotConnected."""
        self._need_connection()
        self._send(Puback(packet_id))

    def authenticate(self, reason: int, properties: Properties) -> None:
        """Send an AUTH, to answer the server's or to authenticate again (5.0)."""
        if self.state is State.CLOSED:
            raise NotConnected("The client is not connected.", "Connect first.")
        self._send(Auth(reason, properties))

    def disconnect(self, reason: int = Reason.SUCCESS, properties: Properties = NO_PROPERTIES) -> None:
        """Say good-bye; the shell writes the output and closes the connection. Raises NotConnected."""
        self._need_connection()
        self._send(Disconnect(reason, properties))
        self.connection_lost()

    def connect(self, now: float) -> None:
        """Begin a new connection: `now` and all other times are monotonic seconds. LocalError when one is open."""
        if self.state is not State.CLOSED:
            raise LocalError("The client is connected already.", "Call connection_lost first.")
        self._reset()
        self.state = State.CONNECTING
        self._timer = now + self._connect_timeout_s
        self._send(msgspec.structs.replace(self._greeting, client_id=self.client_id))

    def receive(self, data: bytes, now: float) -> list[Packet]:
        """Take what the server sent; returns what the application should see.

        That is each message (Publish), the outcome of each call (Connack, Puback, Pubcomp, Pubrec when it refuses,
        Suback, Unsuback), Auth and Disconnect. Raises ProtocolError, at the next call if messages came before what is
        wrong. Whenever `state` is CLOSED afterwards, write the output and close the connection.
        """
        if self._error is not None:
            raise self._error
        self._decoder.feed(data)
        events: list[Packet] = []
        try:
            while self.state is not State.CLOSED and (packet := self._decoder.next()) is not None:
                event = self._handle(packet, now)
                if event is not None:
                    events.append(event)
        except ProtocolError as error:
            self._error = error
            if self.version == 5 and self.state is State.CONNECTED:
                self._send(Disconnect(error.reason))
            self.connection_lost()
            if not events:
                raise
        return events

    def take_output(self) -> bytes:
        """The bytes to write to the server; call it after every other call."""
        output, self._output = bytes(self._output), bytearray()
        return output

    def next_timer(self) -> float | None:
        """When to call `handle_timer`; None for never."""
        return self._timer

    def handle_timer(self, now: float) -> None:
        """Send the ping that is due; raises ServerSilent when the last one, or CONNECT, was not answered."""
        if self._timer is None or now < self._timer:
            return
        if self.state is State.CONNECTING or self._ping_unanswered:
            self.connection_lost()
            raise ServerSilent("The server does not answer.", "Close the connection and connect again.")
        self._output += encode(Pingreq(), self.version)
        self._ping_unanswered = True
        self._timer = now + self._keep_alive

    def connection_lost(self) -> None:
        """The connection has ended; the session stays, for the next `connect`."""
        self.state = State.CLOSED
        self._timer = None

    def _handle(self, packet: Packet, now: float) -> Packet | None:
        if self.state is State.CONNECTING and isinstance(packet, Connack):
            return self._connack(packet, now)
        handler = _HANDLERS.get(type(packet))
        if handler is None or (self.state is State.CONNECTING and not isinstance(packet, Auth)):
            raise ProtocolError(f"The server sent a {type(packet).__name__} out of turn.", Reason.PROTOCOL_ERROR)
        return handler(self, packet)

    def _connack(self, packet: Connack, now: float) -> Packet:
        if packet.session_present and self._greeting.clean_start:
            raise ProtocolError("The server went on with a session after a clean start.", Reason.PROTOCOL_ERROR)
        if packet.reason:
            self.connection_lost()
            return packet
        self.state = State.CONNECTED
        given = packet.properties
        self.client_id = given.get("assigned_client_identifier", self.client_id)
        self._keep_alive = given.get("server_keep_alive", self._keep_alive)
        self._quota = min(self._in_flight_max, given.get("receive_maximum", _PACKET_ID_MAX))
        self._timer = now + self._keep_alive if self._keep_alive else None
        if not packet.session_present:
            self._received.clear()
        self._outbox.resume(packet.session_present)
        self._send_waiting()
        return packet

    def _message(self, packet: Publish) -> Packet | None:
        packet = self._without_alias(packet)
        if packet.qos == 1:
            if self._acknowledges:
                self._send(Puback(packet.packet_id))
        elif packet.qos == 2:
            self._send(Pubrec(packet.packet_id))
            if packet.packet_id in self._received:
                return None
            if len(self._received) >= self._greeting.properties.get("receive_maximum", _PACKET_ID_MAX):
                raise ProtocolError("The server exceeds the receive maximum.", Reason.RECEIVE_MAXIMUM_EXCEEDED)
            self._received.add(packet.packet_id)
        return packet

    def _without_alias(self, packet: Publish) -> Publish:
        alias = packet.properties.get("topic_alias")
        if alias is None:
            return packet
        if alias > self._greeting.properties.get("topic_alias_maximum", 0):
            raise ProtocolError(f"Topic alias {alias} is over the maximum.", Reason.TOPIC_ALIAS_INVALID)
        if packet.topic:
            self._aliases[alias] = packet.topic
        elif alias not in self._aliases:
            raise ProtocolError(f"Topic alias {alias} stands for nothing.", Reason.PROTOCOL_ERROR)
        return msgspec.structs.replace(packet, topic=self._aliases[alias])

    def _puback(self, packet: Puback) -> Packet | None:
        return self._done(packet, packet.packet_id, QOS_1)

    def _pubrec(self, packet: Pubrec) -> Packet | None:
        if packet.reason >= _FAILURE:
            return self._done(packet, packet.packet_id, QOS_2)
        pubrel = encode(Pubrel(packet.packet_id), self.version)
        if self._outbox.release(packet.packet_id, pubrel):
            self._output += pubrel
        else:
            self._send(Pubrel(packet.packet_id, Reason.PACKET_IDENTIFIER_NOT_FOUND))
        return None

    def _pubcomp(self, packet: Pubcomp) -> Packet | None:
        return self._done(packet, packet.packet_id, RELEASE)

    def _pubrel(self, packet: Pubrel) -> Packet | None:
        known = packet.packet_id in self._received
        self._received.discard(packet.packet_id)
        self._send(Pubcomp(packet.packet_id, Reason.SUCCESS if known else Reason.PACKET_IDENTIFIER_NOT_FOUND))
        return None

    def _done(self, packet: Packet, packet_id: int, kind: int) -> Packet | None:
        if not self._outbox.done(packet_id, kind):
            return None
        self._send_waiting()
        return packet

    def _answer(self, packet: Suback | Unsuback) -> Packet | None:
        if packet.packet_id not in self._requests:
            raise ProtocolError("The server answers a request nobody made.", Reason.PROTOCOL_ERROR)
        self._requests.remove(packet.packet_id)
        return packet

    def _pingresp(self, packet: Pingresp) -> None:
        self._ping_unanswered = False

    def _disconnected(self, packet: Disconnect) -> Packet:
        if self.version == 4:
            raise ProtocolError("A 3.1.1 server cannot send DISCONNECT.", Reason.PROTOCOL_ERROR)
        self.connection_lost()
        return packet

    def _request(self, packet: Subscribe | Unsubscribe) -> int:
        self._need_room()
        if len(self._requests) >= self._pending_max:
            raise QueueFull(f"{len(self._requests)} requests wait for the server.", "Wait for their answers.")
        self._send(packet)
        self._requests.add(packet.packet_id)
        self._last_packet_id = packet.packet_id
        return packet.packet_id

    def _send_waiting(self) -> None:
        if self.state is State.CONNECTED:
            self._output += self._outbox.take(self._quota)

    def _send(self, packet: Packet) -> None:
        self._output += encode(packet, self.version)

    def _need_connection(self) -> None:
        if self.state is not State.CONNECTED:
            raise NotConnected("The client is not connected.", "Connect and wait for the Connack first.")

    def _need_room(self) -> None:
        self._need_connection()
        if len(self._output) > self._outbound_bytes_max:
            raise QueueFull(f"{len(self._output)} bytes wait to be written.", "Write the output first.")

    def _free_packet_id(self) -> int:
        packet_id = self._last_packet_id % _PACKET_ID_MAX + 1
        while packet_id in self._outbox or packet_id in self._requests:
            packet_id = packet_id % _PACKET_ID_MAX + 1
        return packet_id


def _check(check: Callable[[str], str], name: str) -> None:
    """A name of our own caller is the caller's fault, not the peer's."""
    try:
        check(name)
    except ProtocolError as error:
        raise EncodingError(error.message) from error


_HANDLERS: dict[type, Callable[[Client, Any], Packet | None]] = {
    Publish: Client._message,
    Puback: Client._puback,
    Pubrec: Client._pubrec,
    Pubrel: Client._pubrel,
    Pubcomp: Client._pubcomp,
    Suback: Client._answer,
    Unsuback: Client._answer,
    Pingresp: Client._pingresp,
    Disconnect: Client._disconnected,
    Auth: lambda client, packet: packet,
}
