"""Properties of MQTT 5.0 (clause 2.2.2): which exist, of what type, and in which packets each may stand."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from taihu.protocols.mqtt.errors import ProtocolError
from taihu.protocols.mqtt.packets import NO_PROPERTIES, Properties
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.topics import check_topic
from taihu.protocols.mqtt.wire import (
    binary,
    malformed,
    read_binary,
    read_byte,
    read_text,
    read_u16,
    read_u32,
    read_variable_integer,
    text,
    variable_integer,
)

WILL, CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)


class Type(NamedTuple):
    """How a property's value is read and written."""

    read: Callable[[bytes, int], tuple[Any, int]]
    write: Callable[[Any], bytes]


class Definition(NamedTuple):
    """One property: its type, the packets it may stand in, the values it may have and whether it may repeat."""

    identifier: int
    name: str
    type: Type
    packets: frozenset[int]
    low: int = 0
    high: int = 0xFFFF_FFFF
    repeats: bool = False


def _read_pair(body: bytes, at: int) -> tuple[tuple[str, str], int]:
    name, at = read_text(body, at)
    value, at = read_text(body, at)
    return (name, value), at


def _write_pair(pair: tuple[str, str]) -> bytes:
    return text(pair[0]) + text(pair[1])


BYTE = Type(read_byte, lambda value: int(value).to_bytes(1, "big"))
U16 = Type(read_u16, lambda value: int(value).to_bytes(2, "big"))
U32 = Type(read_u32, lambda value: int(value).to_bytes(4, "big"))
VARIABLE = Type(read_variable_integer, variable_integer)
TEXT = Type(read_text, text)
BINARY = Type(read_binary, binary)
PAIR = Type(_read_pair, _write_pair)

_MESSAGE = frozenset((PUBLISH, WILL))
_AUTHENTICATION = frozenset((CONNECT, CONNACK, AUTH))
_BOTH_GREETINGS = frozenset((CONNECT, CONNACK))
_ONLY_CONNECT = frozenset((CONNECT,))
_ONLY_CONNACK = frozenset((CONNACK,))
_ANSWERS = frozenset((CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH))
_ALL = frozenset(range(16)) - {PINGREQ, PINGRESP}

DEFINITIONS = (
    Definition(0x01, "payload_format_indicator", BYTE, _MESSAGE, high=1),
    Definition(0x02, "message_expiry_interval", U32, _MESSAGE),
    Definition(0x03, "content_type", TEXT, _MESSAGE),
    Definition(0x08, "response_topic", TEXT, _MESSAGE),
    Definition(0x09, "correlation_data", BINARY, _MESSAGE),
    Definition(0x0B, "subscription_identifier", VARIABLE, frozenset((PUBLISH, SUBSCRIBE)), low=1, repeats=True),
    Definition(0x11, "session_expiry_interval", U32, frozenset((CONNECT, CONNACK, DISCONNECT))),
    Definition(0x12, "assigned_client_identifier", TEXT, _ONLY_CONNACK),
    Definition(0x13, "server_keep_alive", U16, _ONLY_CONNACK),
    Definition(0x15, "authentication_method", TEXT, _AUTHENTICATION),
    Definition(0x16, "authentication_data", BINARY, _AUTHENTICATION),
    Definition(0x17, "request_problem_information", BYTE, _ONLY_CONNECT, high=1),
    Definition(0x18, "will_delay_interval", U32, frozenset((WILL,))),
    Definition(0x19, "request_response_information", BYTE, _ONLY_CONNECT, high=1),
    Definition(0x1A, "response_information", TEXT, _ONLY_CONNACK),
    Definition(0x1C, "server_reference", TEXT, frozenset((CONNACK, DISCONNECT))),
    Definition(0x1F, "reason_string", TEXT, _ANSWERS),
    Definition(0x21, "receive_maximum", U16, _BOTH_GREETINGS, low=1),
    Definition(0x22, "topic_alias_maximum", U16, _BOTH_GREETINGS),
    Definition(0x23, "topic_alias", U16, frozenset((PUBLISH,)), low=1),
    Definition(0x24, "maximum_qos", BYTE, _ONLY_CONNACK, high=1),
    Definition(0x25, "retain_available", BYTE, _ONLY_CONNACK, high=1),
    Definition(0x26, "user_property", PAIR, _ALL, repeats=True),
    Definition(0x27, "maximum_packet_size", U32, _BOTH_GREETINGS, low=1),
    Definition(0x28, "wildcard_subscription_available", BYTE, _ONLY_CONNACK, high=1),
    Definition(0x29, "subscription_identifier_available", BYTE, _ONLY_CONNACK, high=1),
    Definition(0x2A, "shared_subscription_available", BYTE, _ONLY_CONNACK, high=1),
)
_BY_IDENTIFIER = {definition.identifier: definition for definition in DEFINITIONS}
_BY_NAME = {definition.name: definition for definition in DEFINITIONS}


def decode_properties(body: bytes, at: int, packet: int) -> tuple[Properties, int]:
    """The properties that begin at `at` in the body of a packet of type `packet` (`WILL` for a will's)."""
    if at < len(body) and not body[at]:
        return NO_PROPERTIES, at + 1
    length, at = read_variable_integer(body, at)
    end = at + length
    if end > len(body):
        malformed("The packet ends inside its properties.")
    within = body[:end]
    found: dict[str, Any] = {}
    while at < end:
        identifier, at = read_variable_integer(within, at)
        definition = _BY_IDENTIFIER.get(identifier)
        if definition is None or packet not in definition.packets:
            malformed(f"Property {identifier:#x} may not stand in this packet.")
        value, at = definition.type.read(within, at)
        _check_value(definition, value)
        if definition.repeats:
            found.setdefault(definition.name, []).append(value)
        elif definition.name in found:
            _refuse(f"{definition.name} occurs twice.")
        else:
            found[definition.name] = value
    _check_together(found, packet)
    return found, end


def encode_properties(properties: Properties, packet: int) -> bytes:
    """The bytes of `properties`, with their length; ValueError for one that `packet` may not hold."""
    if not properties:
        return b"\0"
    out = bytearray()
    for name, value in properties.items():
        definition = _BY_NAME.get(name)
        if definition is None or packet not in definition.packets:
            raise ValueError(f"{name} may not stand in this packet")
        values: Sequence[Any] = value if definition.repeats else (value,)
        for each in values:
            _check_value(definition, each)
            out += variable_integer(definition.identifier) + definition.type.write(each)
    _check_together(properties, packet)
    return variable_integer(len(out)) + out


def _check_value(definition: Definition, value: Any) -> None:
    if isinstance(value, int) and not definition.low <= value <= definition.high:
        _refuse(f"{definition.name} is {value}; it must be in {definition.low}..{definition.high}.")
    if definition.name == "response_topic":
        check_topic(value)


def _check_together(found: Properties, packet: int) -> None:
    if "authentication_data" in found and "authentication_method" not in found:
        _refuse("authentication_data stands without authentication_method.")
    if packet == SUBSCRIBE and len(found.get("subscription_identifier", ())) > 1:
        _refuse("subscription_identifier occurs twice.")


def _refuse(message: str) -> None:
    raise ProtocolError(message, Reason.PROTOCOL_ERROR)
