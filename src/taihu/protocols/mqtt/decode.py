"""Bodies of control packets to packets: one function per packet type (MQTT 3.1.1 and 5.0, clause 3)."""

from collections.abc import Callable

from taihu.protocols.mqtt import properties as owner
from taihu.protocols.mqtt import reasons
from taihu.protocols.mqtt.errors import ProtocolError
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
from taihu.protocols.mqtt.properties import decode_properties
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.topics import SHARE_PREFIX, check_filter, check_topic
from taihu.protocols.mqtt.wire import malformed, read_binary, read_byte, read_text, read_u16

BodyDecoder = Callable[[int, bytes, int], Packet]
"""Takes the four flag bits, the body and the version; raises ProtocolError."""


def protocol_level(body: bytes) -> tuple[int, int]:
    """The protocol level of a CONNECT, 4 or 5, and the index after it."""
    name, at = read_binary(body, 0)
    level, at = read_byte(body, at)
    if name != b"MQTT" or level not in (4, 5):
        raise ProtocolError(
            f"Protocol {name[:8]!r} level {level} is neither MQTT 3.1.1 nor 5.0.", Reason.UNSUPPORTED_PROTOCOL_VERSION
        )
    return level, at


def decode_connect(flags: int, body: bytes, at: int, version: int) -> Connect:
    """A CONNECT from behind its protocol level on (clause 3.1)."""
    _check_flags(flags, 0)
    bits, at = read_byte(body, at)
    has_will, has_password, has_username = bits & 0x04, bits & 0x40, bits & 0x80
    if bits & 0x01:
        malformed("A reserved flag of CONNECT is set.")
    if bits & 0x18 == 0x18 or (bits & 0x38 and not has_will):
        malformed("The will flags of CONNECT contradict each other.")
    if has_password and not has_username and version == 4:
        malformed("CONNECT has a password and no user name, which 3.1.1 forbids.")
    keep_alive, at = read_u16(body, at)
    properties, at = _properties(body, at, owner.CONNECT, version)
    client_id, at = read_text(body, at)
    will, username, password = None, None, None
    if has_will:
        will_properties, at = _properties(body, at, owner.WILL, version)
        topic, at = read_text(body, at)
        payload, at = read_binary(body, at)
        will = Will(check_topic(topic), payload, bits >> 3 & 3, bool(bits & 0x20), will_properties)
    if has_username:
        username, at = read_text(body, at)
    if has_password:
        password, at = read_binary(body, at)
    _check_end(body, at)
    return Connect(version, client_id, bool(bits & 0x02), keep_alive, username, password, will, properties)


def _connack(flags: int, body: bytes, version: int) -> Connack:
    _check_flags(flags, 0)
    acknowledge, at = read_byte(body, 0)
    if acknowledge > 1:
        malformed("A reserved flag of CONNACK is set.")
    known = reasons.CONNACK_REASONS if version == 5 else reasons.CONNACK_RETURN_CODES
    reason, at = _reason(body, at, known)
    if acknowledge and reason:
        raise ProtocolError("A CONNACK that refuses cannot have a session present.", Reason.PROTOCOL_ERROR)
    properties, at = _properties(body, at, owner.CONNACK, version)
    _check_end(body, at)
    return Connack(bool(acknowledge), reason, properties)


def _publish(flags: int, body: bytes, version: int) -> Publish:
    qos = flags >> 1 & 3
    if qos == 3 or (flags & 0x08 and not qos):
        malformed("A PUBLISH has QoS 3, or DUP at QoS 0.")
    topic, at = read_text(body, 0)
    packet_id = 0
    if qos:
        packet_id, at = _packet_id(body, at)
    properties = NO_PROPERTIES
    if version == 5:
        properties, at = decode_properties(body, at, owner.PUBLISH)
    if topic or "topic_alias" not in properties:
        check_topic(topic)
    return Publish(topic, body[at:], qos, bool(flags & 1), bool(flags & 8), packet_id, properties)


def _acknowledgement(
    kind: type[Puback | Pubrec | Pubrel | Pubcomp], packet: int, flags: int, known: frozenset[int]
) -> BodyDecoder:
    """PUBACK, PUBREC, PUBREL and PUBCOMP have one layout (5.0, clauses 3.4 to 3.7)."""

    def decode(given: int, body: bytes, version: int) -> Packet:
        _check_flags(given, flags)
        packet_id, at = _packet_id(body, 0)
        if at == len(body):
            return kind(packet_id)
        reason, properties = _reason_and_properties(body, at, packet, known, version)
        return kind(packet_id, reason, properties)

    return decode


def _subscribe(flags: int, body: bytes, version: int) -> Subscribe:
    _check_flags(flags, 2)
    packet_id, at = _packet_id(body, 0)
    properties, at = _properties(body, at, owner.SUBSCRIBE, version)
    subscriptions: list[Subscription] = []
    while at < len(body) or not subscriptions:
        topic_filter, at = read_text(body, at)
        options, at = read_byte(body, at)
        subscriptions.append(_subscription(check_filter(topic_filter), options, version))
    return Subscribe(packet_id, tuple(subscriptions), properties)


def _subscription(topic_filter: str, options: int, version: int) -> Subscription:
    qos, retain_handling = options & 3, options >> 4 & 3
    if qos == 3 or retain_handling == 3 or options & (0xC0 if version == 5 else 0xFC):
        malformed("The options of a subscription are not valid.")
    no_local = bool(options & 4)
    if no_local and topic_filter.startswith(SHARE_PREFIX):
        raise ProtocolError("A shared subscription cannot be No Local.", Reason.PROTOCOL_ERROR)
    return Subscription(topic_filter, qos, no_local, bool(options & 8), retain_handling)


def _suback(flags: int, body: bytes, version: int) -> Suback:
    _check_flags(flags, 0)
    packet_id, at = _packet_id(body, 0)
    properties, at = _properties(body, at, owner.SUBACK, version)
    known = reasons.SUBACK_REASONS if version == 5 else reasons.SUBACK_RETURN_CODES
    return Suback(packet_id, _all_reasons(body, at, known), properties)


def _unsubscribe(flags: int, body: bytes, version: int) -> Unsubscribe:
    _check_flags(flags, 2)
    packet_id, at = _packet_id(body, 0)
    properties, at = _properties(body, at, owner.UNSUBSCRIBE, version)
    filters: list[str] = []
    while at < len(body) or not filters:
        topic_filter, at = read_text(body, at)
        filters.append(check_filter(topic_filter))
    return Unsubscribe(packet_id, tuple(filters), properties)


def _unsuback(flags: int, body: bytes, version: int) -> Unsuback:
    _check_flags(flags, 0)
    packet_id, at = _packet_id(body, 0)
    if version == 4:
        _check_end(body, at)
        return Unsuback(packet_id)
    properties, at = decode_properties(body, at, owner.UNSUBACK)
    return Unsuback(packet_id, _all_reasons(body, at, reasons.UNSUBACK_REASONS), properties)


def _pingreq(flags: int, body: bytes, version: int) -> Pingreq:
    _check_flags(flags, 0)
    _check_end(body, 0)
    return Pingreq()


def _pingresp(flags: int, body: bytes, version: int) -> Pingresp:
    _check_flags(flags, 0)
    _check_end(body, 0)
    return Pingresp()


def _disconnect(flags: int, body: bytes, version: int) -> Disconnect:
    _check_flags(flags, 0)
    if not body:
        return Disconnect()
    return Disconnect(*_reason_and_properties(body, 0, owner.DISCONNECT, reasons.DISCONNECT_REASONS, version))


def _auth(flags: int, body: bytes, version: int) -> Auth:
    _check_flags(flags, 0)
    if version == 4:
        malformed("AUTH does not exist in MQTT 3.1.1.")
    if not body:
        return Auth()
    if len(body) == 1:
        malformed("An AUTH with a reason code has no properties.")
    return Auth(*_reason_and_properties(body, 0, owner.AUTH, reasons.AUTH_REASONS, version))


def _reserved(flags: int, body: bytes, version: int) -> Packet:
    malformed("Packet type 0 is reserved.")


def _reason_and_properties(
    body: bytes, at: int, packet: int, known: frozenset[int], version: int
) -> tuple[int, Properties]:
    """The end of a 5.0 packet whose properties may be left out."""
    if version == 4:
        _check_end(body, at)
    reason, at = _reason(body, at, known)
    if at == len(body):
        return reason, NO_PROPERTIES
    properties, at = decode_properties(body, at, packet)
    _check_end(body, at)
    return reason, properties


def _properties(body: bytes, at: int, packet: int, version: int) -> tuple[Properties, int]:
    return decode_properties(body, at, packet) if version == 5 else (NO_PROPERTIES, at)


def _packet_id(body: bytes, at: int) -> tuple[int, int]:
    packet_id, at = read_u16(body, at)
    if not packet_id:
        malformed("A packet identifier is 0.")
    return packet_id, at


def _reason(body: bytes, at: int, known: frozenset[int]) -> tuple[int, int]:
    reason, at = read_byte(body, at)
    if reason not in known:
        malformed(f"Reason code {reason:#x} may not stand in this packet.")
    return reason, at


def _all_reasons(body: bytes, at: int, known: frozenset[int]) -> tuple[int, ...]:
    found = tuple(body[at:])
    if not found or not known.issuperset(found):
        malformed("The reason codes are missing or not of this packet.")
    return found


def _check_flags(flags: int, wanted: int) -> None:
    if flags != wanted:
        malformed("The reserved flags of a fixed header are wrong.")


def _check_end(body: bytes, at: int) -> None:
    if at != len(body):
        malformed("A packet is longer than its content.")


BODY_DECODERS: tuple[BodyDecoder, ...] = (
    _reserved,
    _reserved,  # CONNECT: see `decode_connect`, which finds the version itself
    _connack,
    _publish,
    _acknowledgement(Puback, owner.PUBACK, 0, reasons.PUBACK_REASONS),
    _acknowledgement(Pubrec, owner.PUBREC, 0, reasons.PUBACK_REASONS),
    _acknowledgement(Pubrel, owner.PUBREL, 2, reasons.PUBREL_REASONS),
    _acknowledgement(Pubcomp, owner.PUBCOMP, 0, reasons.PUBREL_REASONS),
    _subscribe,
    _suback,
    _unsubscribe,
    _unsuback,
    _pingreq,
    _pingresp,
    _disconnect,
    _auth,
)
