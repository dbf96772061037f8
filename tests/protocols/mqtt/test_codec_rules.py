"""What both standards forbid, case by case: malformed packets, packets that cannot be encoded, topics and filters."""

from typing import Any

import pytest

from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.errors import EncodingError, ProtocolError
from taihu.protocols.mqtt.packets import Auth, Connect, Disconnect, Packet, Puback, Publish, Unsuback
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.topics import check_filter, check_topic


def decode_all(data: bytes, version: int | None, **options: Any) -> list[Packet]:
    decoder = Decoder(version, **options)
    decoder.feed(data)
    return list(decoder.packets())


MALFORMED = [
    (4, "00 00", "reserved packet type"),
    (4, "31 00", "PUBLISH without a topic"),
    (4, "30 02 00 00", "empty topic"),
    (4, "30 03 00 01 00", "U+0000"),
    (4, "30 05 00 03 ed a0 80", "surrogate"),
    (4, "30 03 00 01 ff", "not UTF-8"),
    (4, "30 03 00 01 2b", "wildcard in a topic"),
    (4, "38 03 00 01 61", "DUP at QoS 0"),
    (4, "36 05 00 01 61 00 01", "QoS 3"),
    (4, "32 05 00 01 61 00 00", "packet identifier 0"),
    (4, "32 04 00 01 61 00", "cut packet identifier"),
    (4, "40 02 00 00", "packet identifier 0"),
    (4, "40 03 00 01 00", "reason code in 3.1.1"),
    (5, "40 03 00 01 01", "reason code not of PUBACK"),
    (4, "41 02 00 01", "reserved flags"),
    (4, "60 02 00 01", "PUBREL without its flags"),
    (4, "80 06 00 01 00 01 61 00", "SUBSCRIBE without its flags"),
    (4, "82 02 00 01", "no subscriptions"),
    (4, "82 06 00 01 00 01 61 03", "QoS 3"),
    (4, "82 06 00 01 00 01 61 04", "5.0 options in 3.1.1"),
    (5, "82 07 00 01 00 00 01 61 30", "retain handling 3"),
    (5, "82 07 00 01 00 00 01 61 40", "reserved options"),
    (5, "82 0f 00 01 00 00 09 24 73 68 61 72 65 2f 61 2f 62 04", "shared and no local"),
    (5, "82 0b 00 01 04 0b 01 0b 02 00 01 61 00", "two subscription identifiers"),
    (4, "82 07 00 01 00 02 61 23 00", "a# is no filter"),
    (4, "a2 02 00 01", "nothing to unsubscribe"),
    (5, "b0 03 00 01 00", "no reasons"),
    (4, "c0 01 00", "PINGREQ with a body"),
    (4, "e0 01 00", "DISCONNECT of 3.1.1 with a reason"),
    (5, "e0 01 01", "reason code not of DISCONNECT"),
    (4, "f0 00", "AUTH in 3.1.1"),
    (5, "f0 01 18", "AUTH without properties"),
    (5, "20 03 02 00 00", "reserved CONNACK flag"),
    (5, "20 03 01 87 00", "session present and refused"),
    (5, "20 06 00 00 03 21 00 00", "receive maximum 0"),
    (5, "20 05 00 00 02 24 02", "maximum QoS 2"),
    (5, "20 07 00 00 04 24 01 24 01", "property twice"),
    (5, "30 06 00 01 61 02 01 02", "payload format 2"),
    (5, "30 07 00 01 61 03 23 00 00", "topic alias 0"),
    (5, "30 06 00 01 61 02 0b 00", "subscription identifier 0"),
    (5, "30 08 00 01 61 04 21 00 01 61", "property not of PUBLISH"),
    (5, "30 05 00 01 61 05 01", "properties beyond the packet"),
    (5, "30 06 00 01 61 80 00 00", "variable integer too long"),
    (5, "30 08 00 01 61 04 08 00 01 2b", "wildcard in the response topic"),
    (5, "30 83 00 00 01 61", "remaining length too long"),
    (4, "30 ff ff ff ff 01", "remaining length of five bytes"),
    (None, "10 0c 00 04 4d 51 54 54 04 01 00 00 00 00", "reserved CONNECT flag"),
    (None, "10 0e 00 04 4d 51 54 54 04 42 00 00 00 00 00 00", "password without user name"),
    (None, "10 0c 00 04 4d 51 54 54 04 0a 00 00 00 00", "will QoS without will"),
    (None, "10 0d 00 04 4d 51 54 54 04 02 00 00 00 00 00", "bytes left over"),
    (None, "c0 00", "not a CONNECT first"),
]


@pytest.mark.parametrize(("version", "data", "why"), MALFORMED)
def test_what_the_standard_forbids_is_refused(version: int | None, data: str, why: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_all(bytes.fromhex(data), version)
    assert Reason(caught.value.reason) >= Reason.MALFORMED_PACKET
    assert "correct the device" in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"\0\4MQTT\3\2\0\0\0\0", b"\0\6MQIsdp\3\2\0\0\0\0", b"\0\4MQTT\6\2\0\0\0\0", b"\0\4mqtt\4\2\0\0\0\0"],
)
def test_other_protocol_levels_are_unsupported(body: bytes) -> None:
    decoder = Decoder()
    decoder.feed(bytes((0x10, len(body))) + body)
    with pytest.raises(ProtocolError) as caught:
        decoder.next()
    assert caught.value.reason == Reason.UNSUPPORTED_PROTOCOL_VERSION
    assert decoder.version is None


def test_the_version_is_known_even_when_the_rest_of_a_connect_is_wrong() -> None:
    decoder = Decoder()
    decoder.feed(bytes.fromhex("10 0d 00 04 4d 51 54 54 05 03 00 00 00 00 00"))
    with pytest.raises(ProtocolError):
        decoder.next()
    assert decoder.version == 5


def test_a_packet_too_large_is_refused_at_its_fixed_header() -> None:
    """§6: 256 MB that are announced are never waited for."""
    decoder = Decoder(4, packet_bytes_max=1_000)
    decoder.feed(b"\x30\xff\xff\xff\x7f")
    with pytest.raises(ProtocolError) as caught:
        decoder.next()
    assert caught.value.reason == Reason.PACKET_TOO_LARGE
    largest = encode(Publish("a", bytes(994)), 4)
    assert len(largest) == 1_000
    assert len(decode_all(largest, 4, packet_bytes_max=1_000)) == 1
    with pytest.raises(ProtocolError):
        decode_all(largest, 4, packet_bytes_max=999)


def test_what_was_not_taken_yet_stays_before_what_comes() -> None:
    decoder = Decoder(4)
    data = encode(Publish("a", b"1"), 4) + encode(Publish("a", b"2"), 4)
    decoder.feed(data)
    assert decoder.next() == Publish("a", b"1")
    decoder.feed(data)
    assert [packet.payload for packet in decoder.packets() if isinstance(packet, Publish)] == [b"2", b"1", b"2"]


def test_a_drained_decoder_holds_nothing() -> None:
    """§6: an idle connection does not keep the last chunk it sent."""
    decoder = Decoder(4)
    for pieces in ([bytes.fromhex("c000") * 1_000], [b"\xc0", b"\0"]):
        for piece in pieces:
            decoder.feed(piece)
            list(decoder.packets())
        assert decoder.buffer == b""
        assert not decoder.partial


UNENCODABLE = [
    (Publish("a" * 65_536, b""), 4),
    (Publish("a\0", b""), 4),
    (Publish("\ud800", b""), 4),
    (Publish("a", b"", qos=3, packet_id=1), 4),
    (Publish("a", b"", qos=1), 4),
    (Puback(65_536), 5),
    (Puback(1, 256), 5),
    (Publish("a", b"", properties={"receive_maximum": 1}), 5),
    (Publish("a", b"", properties={"topic_alias": 0}), 5),
    (Publish("a", b"", properties={"no_such": 0}), 5),
    (Connect(4, "a", True, 0, password=b"x"), 4),
    (Connect(5, "a", True, 65_536), 5),
    (Connect(5, "a", True, 0), 4),
    (Auth(), 4),
]


@pytest.mark.parametrize(("packet", "version"), UNENCODABLE)
def test_what_mqtt_cannot_express_is_our_callers_fault(packet: Packet, version: int) -> None:
    with pytest.raises(EncodingError):
        encode(packet, version)


def test_311_leaves_out_what_it_cannot_carry() -> None:
    properties = {"user_property": [("a", "b")]}
    assert encode(Publish("a", b"1", properties=properties), 4) == b"\x30\x04\0\1a1"
    assert encode(Puback(1, 0x87, properties), 4) == b"\x40\2\0\1"
    assert encode(Unsuback(1, (0,)), 4) == b"\xb0\2\0\1"
    assert encode(Disconnect(4, properties), 4) == b"\xe0\0"


VALID_FILTERS = [
    "a",
    "+",
    "#",
    "/",
    "+/+",
    "a/+/b",
    "a/#",
    "/#",
    "$SYS/#",
    "$share/g/a",
    "$share/g/#",
    "$sharex",
    "a//b",
]
INVALID_FILTERS = ["", "a+", "+a/b", "a#", "#/a", "a/#/b", "a/b#", "a\0", "$share/g", "$share//a", "$share/+/a", "##"]
INVALID_FILTERS += ["$share/g/", "a" * 65_536, "\ud800"]


@pytest.mark.parametrize("topic_filter", VALID_FILTERS)
def test_valid_filters(topic_filter: str) -> None:
    assert check_filter(topic_filter) == topic_filter


@pytest.mark.parametrize("topic_filter", INVALID_FILTERS)
def test_invalid_filters(topic_filter: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_filter(topic_filter)
    assert caught.value.reason == Reason.TOPIC_FILTER_INVALID


@pytest.mark.parametrize("topic", ["", "a/+", "#", "\0", "é" * 32_768, "\ud800"])
def test_invalid_topics(topic: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_topic(topic)
    assert caught.value.reason == Reason.TOPIC_NAME_INVALID
    assert check_topic("$SYS/a b/é") == "$SYS/a b/é"
