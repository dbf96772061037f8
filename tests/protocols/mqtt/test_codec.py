"""The codec: every packet there and back, any bytes, any cuts, and the properties that paho writes."""

from typing import Any

import paho.mqtt.properties as paho
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from taihu.protocols.mqtt import properties as owner
from taihu.protocols.mqtt import reasons
from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.errors import ProtocolError
from taihu.protocols.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
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
from taihu.protocols.mqtt.properties import DEFINITIONS, Definition
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.wire import read_variable_integer, variable_integer

versions = st.sampled_from((4, 5))
packet_ids = st.integers(1, 65_535)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=12)
levels = st.one_of(st.just("+"), st.text("ab $é", max_size=3))
filters = st.builds(
    lambda share, parts, rest: share + ("/".join(parts) or "a") + rest,
    st.sampled_from(("", "$share/group/")),
    st.lists(levels, max_size=4),
    st.sampled_from(("", "/#")),
)


def values_of(definition: Definition) -> st.SearchStrategy[Any]:
    high = {owner.BYTE: 1, owner.U16: 65_535, owner.U32: 0xFFFF_FFFF, owner.VARIABLE: 268_435_455}
    if definition.type in high:
        value: st.SearchStrategy[Any] = st.integers(definition.low, min(definition.high, high[definition.type]))
    elif definition.name == "response_topic":
        value = topics
    else:
        value = {owner.TEXT: texts, owner.BINARY: st.binary(max_size=12), owner.PAIR: st.tuples(texts, texts)}[
            definition.type
        ]
    return st.lists(value, min_size=1, max_size=3) if definition.repeats else value


def properties_of(packet: int, version: int) -> st.SearchStrategy[dict[str, Any]]:
    if version == 4:
        return st.just({})
    choices = {entry.name: values_of(entry) for entry in DEFINITIONS if packet in entry.packets}
    if packet == owner.SUBSCRIBE:
        choices["subscription_identifier"] = st.lists(st.integers(1, 268_435_455), min_size=1, max_size=1)

    def consistent(found: dict[str, Any]) -> bool:
        return "authentication_data" not in found or "authentication_method" in found

    return st.fixed_dictionaries({}, optional=choices).filter(consistent)


def reason_of(known: frozenset[int], version: int) -> st.SearchStrategy[int]:
    return st.sampled_from(sorted(known)) if version == 5 else st.just(0)


@st.composite
def publishes(draw: st.DrawFn, version: int) -> Publish:
    qos = draw(st.integers(0, 2))
    properties = draw(properties_of(owner.PUBLISH, version))
    return Publish(
        topic=draw(st.one_of(topics, st.just("")) if "topic_alias" in properties else topics),
        payload=draw(st.one_of(st.binary(max_size=200), st.integers(0, 300).map(bytes))),
        qos=qos,
        retain=draw(st.booleans()),
        dup=draw(st.booleans()) if qos else False,
        packet_id=draw(packet_ids) if qos else 0,
        properties=properties,
    )


@st.composite
def connects(draw: st.DrawFn, version: int) -> Connect:
    username = draw(st.none() | texts)
    will = Will(
        draw(topics),
        draw(st.binary(max_size=9)),
        draw(st.integers(0, 2)),
        draw(st.booleans()),
        draw(properties_of(owner.WILL, version)),
    )
    return Connect(
        version=version,
        client_id=draw(texts),
        clean_start=draw(st.booleans()),
        keep_alive=draw(st.integers(0, 65_535)),
        username=username,
        password=draw(st.none() | st.binary(max_size=9)) if version == 5 or username is not None else None,
        will=draw(st.sampled_from((None, will))),
        properties=draw(properties_of(owner.CONNECT, version)),
    )


@st.composite
def connacks(draw: st.DrawFn, version: int) -> Connack:
    known = reasons.CONNACK_REASONS if version == 5 else reasons.CONNACK_RETURN_CODES
    reason = draw(st.sampled_from(sorted(known)))
    present = draw(st.booleans()) and not reason
    return Connack(present, reason, draw(properties_of(owner.CONNACK, version)))


@st.composite
def subscriptions(draw: st.DrawFn, version: int) -> Subscription:
    topic_filter, qos = draw(filters), draw(st.integers(0, 2))
    if version == 4:
        return Subscription(topic_filter, qos)
    no_local = draw(st.booleans()) and not topic_filter.startswith("$share")
    return Subscription(topic_filter, qos, no_local, draw(st.booleans()), draw(st.integers(0, 2)))


def packets_of(version: int) -> st.SearchStrategy[Packet]:
    def answer(kind: Any, packet: int, known: frozenset[int]) -> st.SearchStrategy[Any]:
        return st.builds(kind, packet_ids, reason_of(known, version), properties_of(packet, version))

    def several(known: frozenset[int]) -> st.SearchStrategy[tuple[int, ...]]:
        return st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=4).map(tuple)

    suback = reasons.SUBACK_REASONS if version == 5 else reasons.SUBACK_RETURN_CODES
    unsuback = several(reasons.UNSUBACK_REASONS) if version == 5 else st.just(())
    both = [
        connects(version),
        connacks(version),
        publishes(version),
        answer(Puback, owner.PUBACK, reasons.PUBACK_REASONS),
        answer(Pubrec, owner.PUBREC, reasons.PUBACK_REASONS),
        answer(Pubrel, owner.PUBREL, reasons.PUBREL_REASONS),
        answer(Pubcomp, owner.PUBCOMP, reasons.PUBREL_REASONS),
        st.builds(
            Subscribe,
            packet_ids,
            st.lists(subscriptions(version), min_size=1, max_size=4).map(tuple),
            properties_of(owner.SUBSCRIBE, version),
        ),
        st.builds(Suback, packet_ids, several(suback), properties_of(owner.SUBACK, version)),
        st.builds(
            Unsubscribe,
            packet_ids,
            st.lists(filters, min_size=1, max_size=4).map(tuple),
            properties_of(owner.UNSUBSCRIBE, version),
        ),
        st.builds(Unsuback, packet_ids, unsuback, properties_of(owner.UNSUBACK, version)),
        st.just(Pingreq()),
        st.just(Pingresp()),
        st.builds(Disconnect, reason_of(reasons.DISCONNECT_REASONS, version), properties_of(owner.DISCONNECT, version)),
    ]
    if version == 5:
        both.append(st.builds(Auth, reason_of(reasons.AUTH_REASONS, 5), properties_of(owner.AUTH, 5)))
    return st.one_of(both)


def decode_all(data: bytes, version: int | None, **options: Any) -> list[Packet]:
    decoder = Decoder(version, **options)
    decoder.feed(data)
    return list(decoder.packets())


def outcome(pieces: list[bytes], version: int | None, packet_bytes_max: int) -> tuple[list[Packet], int]:
    """What pieces of a stream give, and the reason it ended for; 0 when it did not."""
    decoder = Decoder(version, packet_bytes_max)
    packets: list[Packet] = []
    try:
        for piece in pieces:
            decoder.feed(piece)
            packets.extend(decoder.packets())
            assert len(decoder.buffer) - decoder.position == 0
            assert len(decoder.partial) <= packet_bytes_max + len(piece)
    except ProtocolError as error:
        with pytest.raises(ProtocolError):
            decoder.next()
        return packets, error.reason
    return packets, 0


versions_and_packets = versions.flatmap(lambda version: st.tuples(st.just(version), packets_of(version)))


@given(versions_and_packets)
def test_every_packet_comes_back(case: tuple[int, Packet]) -> None:
    version, packet = case
    assert decode_all(encode(packet, version), version) == [packet]


@given(versions.flatmap(lambda version: st.tuples(st.just(version), st.lists(packets_of(version), max_size=5))))
def test_byte_by_byte_equals_all_at_once(case: tuple[int, list[Packet]]) -> None:
    version, packets = case
    data = b"".join(encode(packet, version) for packet in packets)
    assert decode_all(data, version) == packets
    assert outcome([data[i : i + 1] for i in range(len(data))], version, 10_000) == (packets, 0)


@given(st.binary(max_size=300), st.sampled_from((None, 4, 5)))
@example(b"\x10\xff\xff\xff\xff\x7f", None)
@example(b"\xf0\x01\x18", 5)
def test_any_bytes_give_packets_or_the_one_error(data: bytes, version: int | None) -> None:
    """§13, and the same outcome however the bytes are cut."""
    whole = outcome([data], version, 128)
    assert outcome([data[i : i + 1] for i in range(len(data))], version, 128) == whole


@given(versions_and_packets, st.data())
def test_a_damaged_packet_gives_packets_or_the_one_error(case: tuple[int, Packet], data: st.DataObject) -> None:
    """§13: near-valid bytes reach deeper than random ones; what still decodes can be encoded and decoded again."""
    version, packet = case
    damaged = bytearray(encode(packet, version))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    packets, reason = outcome([bytes(damaged)], version, 1_000)
    assert reason in (0, *Reason)
    for found in packets:
        spoken = found.version if isinstance(found, Connect) else version
        assert decode_all(encode(found, spoken), spoken) == [found]


@given(st.integers(0, 268_435_455))
@example(127)
@example(128)
@example(16_384)
@example(2_097_152)
def test_variable_byte_integers(value: int) -> None:
    data = variable_integer(value)
    assert len(data) == 1 + (value > 127) + (value > 16_383) + (value > 2_097_151)
    assert read_variable_integer(data, 0) == (value, len(data))


PAHO_TYPES = {
    owner.BYTE: "Byte",
    owner.U16: "Two Byte Integer",
    owner.U32: "Four Byte Integer",
    owner.VARIABLE: "Variable Byte Integer",
    owner.TEXT: "UTF-8 Encoded String",
    owner.BINARY: "Binary Data",
    owner.PAIR: "UTF-8 String Pair",
}


def test_the_property_table_is_that_of_paho() -> None:
    theirs = paho.Properties(PacketTypes.PUBLISH)
    names = {identifier: name for name, identifier in theirs.names.items()}
    assert set(theirs.properties) == {entry.identifier for entry in DEFINITIONS}
    for entry in DEFINITIONS:
        kind, packets = theirs.properties[entry.identifier]
        assert names[entry.identifier].replace(" ", "_").lower() == entry.name
        assert theirs.types[kind] == PAHO_TYPES[entry.type]
        assert {owner.WILL if packet == PacketTypes.WILLMESSAGE else packet for packet in packets} == entry.packets


@given(st.data(), st.sampled_from([entry for entry in DEFINITIONS if owner.PUBLISH in entry.packets]))
def test_properties_have_the_bytes_that_paho_writes(data: st.DataObject, entry: Definition) -> None:
    value = data.draw(values_of(entry))
    theirs = paho.Properties(PacketTypes.PUBLISH)
    attribute = "".join(part.capitalize() for part in entry.name.split("_"))
    for each in value if entry.repeats else [value]:
        setattr(theirs, attribute, each)
    packed = theirs.pack()
    assert owner.encode_properties({entry.name: value}, owner.PUBLISH) == packed
    assert owner.decode_properties(packed, 0, owner.PUBLISH) == ({entry.name: value}, len(packed))


REASONS = {
    PacketTypes.CONNACK: reasons.CONNACK_REASONS - {Reason.PAYLOAD_FORMAT_INVALID},  # table 3-1 has it, paho has not
    PacketTypes.PUBACK: reasons.PUBACK_REASONS,
    PacketTypes.PUBREC: reasons.PUBACK_REASONS,
    PacketTypes.PUBREL: reasons.PUBREL_REASONS,
    PacketTypes.PUBCOMP: reasons.PUBREL_REASONS,
    PacketTypes.SUBACK: reasons.SUBACK_REASONS,
    PacketTypes.UNSUBACK: reasons.UNSUBACK_REASONS,
    PacketTypes.DISCONNECT: reasons.DISCONNECT_REASONS,
    PacketTypes.AUTH: reasons.AUTH_REASONS,
}


@pytest.mark.parametrize("packet", REASONS)
def test_the_reason_codes_of_each_packet_are_those_of_paho(packet: int) -> None:
    names = ReasonCode(PacketTypes.CONNACK).names
    theirs = {code for code, uses in names.items() if any(packet in packets for packets in uses.values())}
    assert theirs == REASONS[packet]
    assert set(names) == set(Reason)
