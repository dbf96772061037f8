"""Packets to bytes: one function per packet type (MQTT 3.1.1 and 5.0, clause 3)."""

from collections.abc import Callable
from typing import Any

from taihu.protocols.mqtt import properties as owner
from taihu.protocols.mqtt.errors import EncodingError, ProtocolError
from taihu.protocols.mqtt.packets import (
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
    Unsuback,
    Unsubscribe,
)
from taihu.protocols.mqtt.properties import encode_properties
from taihu.protocols.mqtt.wire import binary, text, variable_integer


def encode(packet: Packet, version: int) -> bytes:
    """The bytes of `packet` in `version` 4 (3.1.1) or 5.

    Properties, and reason codes that 3.1.1 has no place for, are left out in 3.1.1. Topics and filters are not
    checked for wildcards. Raises EncodingError.
    """
    try:
        return _ENCODERS[type(packet)](packet, version)
    except (OverflowError, ValueError, ProtocolError) as error:
        raise EncodingError(f"{type(packet).__name__} cannot be encoded in MQTT {version}: {error}") from error


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + variable_integer(len(body)) + body


def _connect(packet: Connect, version: int) -> bytes:
    will, username, password = packet.will, packet.username, packet.password
    if version != packet.version:
        raise ValueError(f"the CONNECT is of version {packet.version}")
    if version == 4 and password is not None and username is None:
        raise ValueError("3.1.1 has no password without a user name")
    bits = packet.clean_start << 1 | (password is not None) << 6 | (username is not None) << 7
    body = bytearray(packet.keep_alive.to_bytes(2, "big") + _properties(packet.properties, owner.CONNECT, version))
    body += text(packet.client_id)
    if will is not None:
        bits |= 0x04 | _qos(will.qos) << 3 | will.retain << 5
        body += _properties(will.properties, owner.WILL, version) + text(will.topic) + binary(will.payload)
    if username is not None:
        body += text(username)
    if password is not None:
        body += binary(password)
    return _packet(0x10, b"\0\4MQTT" + bytes((version, bits)) + body)


def _connack(packet: Connack, version: int) -> bytes:
    head = bytes((packet.session_present, packet.reason))
    return _packet(0x20, head + _properties(packet.properties, owner.CONNACK, version))


def _publish(packet: Publish, version: int) -> bytes:
    qos = packet.qos
    body = text(packet.topic)
    if qos:
        body += _packet_id(packet.packet_id)
    if version == 5:
        body += encode_properties(packet.properties, owner.PUBLISH)
    first = 0x30 | packet.dup << 3 | _qos(qos) << 1 | packet.retain
    return bytes((first,)) + variable_integer(len(body) + len(packet.payload)) + body + packet.payload


def _acknowledgement(first: int, kind: int) -> Callable[[Any, int], bytes]:
    def encode_it(packet: Puback | Pubrec | Pubrel | Pubcomp, version: int) -> bytes:
        body = _packet_id(packet.packet_id)
        return _packet(first, body + _reason_and_properties(packet.reason, packet.properties, kind, version))

    return encode_it


def _subscribe(packet: Subscribe, version: int) -> bytes:
    body = bytearray(_packet_id(packet.packet_id) + _properties(packet.properties, owner.SUBSCRIBE, version))
    for entry in packet.subscriptions:
        options = _qos(entry.qos)
        if version == 5:
            options |= entry.no_local << 2 | entry.retain_as_published << 3 | entry.retain_handling << 4
        body += text(entry.filter)
        body.append(options)
    return _packet(0x82, bytes(body))


def _suback(packet: Suback, version: int) -> bytes:
    head = _packet_id(packet.packet_id) + _properties(packet.properties, owner.SUBACK, version)
    return _packet(0x90, head + bytes(packet.reasons))


def _unsubscribe(packet: Unsubscribe, version: int) -> bytes:
    head = _packet_id(packet.packet_id) + _properties(packet.properties, owner.UNSUBSCRIBE, version)
    return _packet(0xA2, head + b"".join(text(entry) for entry in packet.filters))


def _unsuback(packet: Unsuback, version: int) -> bytes:
    head = _packet_id(packet.packet_id)
    if version == 4:
        return _packet(0xB0, head)
    return _packet(0xB0, head + encode_properties(packet.properties, owner.UNSUBACK) + bytes(packet.reasons))


def _disconnect(packet: Disconnect, version: int) -> bytes:
    return _packet(0xE0, _reason_and_properties(packet.reason, packet.properties, owner.DISCONNECT, version))


def _auth(packet: Auth, version: int) -> bytes:
    if version == 4:
        raise ValueError("AUTH does not exist in 3.1.1")
    body = _reason_and_properties(packet.reason, packet.properties, owner.AUTH, version)
    return _packet(0xF0, body + b"\0" if len(body) == 1 else body)


def _reason_and_properties(reason: int, properties: Properties, kind: int, version: int) -> bytes:
    """The end of a 5.0 packet, as short as it may be."""
    if version == 4 or not (reason or properties):
        return b""
    code = bytes((reason,))
    return code + encode_properties(properties, kind) if properties else code


def _properties(properties: Properties, kind: int, version: int) -> bytes:
    return encode_properties(properties, kind) if version == 5 else b""


def _packet_id(packet_id: int) -> bytes:
    if not packet_id:
        raise ValueError("the packet identifier is 0")
    return packet_id.to_bytes(2, "big")


def _qos(qos: int) -> int:
    if not 0 <= qos <= 2:
        raise ValueError(f"QoS {qos} is not 0, 1 or 2")
    return qos


_ENCODERS: dict[type, Callable[[Any, int], bytes]] = {
    Connect: _connect,
    Connack: _connack,
    Publish: _publish,
    Puback: _acknowledgement(0x40, owner.PUBACK),
    Pubrec: _acknowledgement(0x50, owner.PUBREC),
    Pubrel: _acknowledgement(0x62, owner.PUBREL),
    Pubcomp: _acknowledgement(0x70, owner.PUBCOMP),
    Subscribe: _subscribe,
    Suback: _suback,
    Unsubscribe: _unsubscribe,
    Unsuback: _unsuback,
    Pingreq: lambda packet, version: b"\xc0\0",
    Pingresp: lambda packet, version: b"\xd0\0",
    Disconnect: _disconnect,
    Auth: _auth,
}
