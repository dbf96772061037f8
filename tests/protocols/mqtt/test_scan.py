"""The hot loop takes exactly the packets that the decoder would have given, for any stream cut anywhere."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.errors import ProtocolError
from taihu.protocols.mqtt.packets import Packet, Pingreq, Puback, Publish, Pubrel
from taihu.protocols.mqtt.scan import PLAIN_BYTES_MAX, route_key, scan

TOPICS = ["a", "house-03/meter", "unknown", "é" * 64, "long/" + "x" * 251]
ROUTES = {route_key(topic): topic for topic in TOPICS if topic != "unknown"}
QUOTA_ALL = 65_535

versions = st.sampled_from((4, 5))
plain = st.builds(
    lambda topic, payload, first, packet_id: Publish(
        topic, payload, qos=first >> 1, dup=first == 3, packet_id=packet_id if first else 0
    ),
    st.sampled_from(TOPICS),
    st.one_of(st.binary(max_size=20), st.integers(100, 400).map(bytes)),
    st.sampled_from((0, 2, 2, 3)),
    st.integers(1, 65_535),
)
others = st.sampled_from(
    [
        Pingreq(),
        Puback(7),
        Pubrel(8),
        Publish("a", b"kept", retain=True),
        Publish("a", b"twice", qos=2, packet_id=9),
        Publish("a", b"tagged", qos=1, packet_id=10, properties={"message_expiry_interval": 1}),
        Publish("a", bytes(PLAIN_BYTES_MAX - 5), qos=0),
        Publish("a", bytes(PLAIN_BYTES_MAX - 4), qos=0),
    ]
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def as_read(packet: Packet) -> object:
    """A packet as the scan sees it: it does not tell DUP from a first delivery."""
    return (packet.topic, packet.payload) if isinstance(packet, Publish) else packet


def by_decoder(pieces: list[bytes], version: int) -> tuple[list[object], bytes, bool]:
    """What the decoder alone gives, with the PUBACKs for it, and whether the stream was wrong."""
    decoder, seen, acks = Decoder(version), list[object](), b""
    try:
        for piece in pieces:
            decoder.feed(piece)
            for packet in decoder.packets():
                seen.append(as_read(packet))
                if isinstance(packet, Publish) and packet.qos == 1:
                    acks += encode(Puback(packet.packet_id), version)
    except ProtocolError:
        return seen, acks, True
    return seen, acks, False


def by_scan(pieces: list[bytes], version: int, quota: int = QUOTA_ALL) -> tuple[list[object], bytes, bool]:
    """The same by scan, with the decoder for the rest."""
    decoder, seen, acks = Decoder(version), list[object](), bytearray()
    try:
        for piece in pieces:
            decoder.feed(piece)
            while True:
                found, payloads = list[str](), list[bytes]()
                before = len(acks)
                count = scan(decoder, ROUTES, quota, acks, found, payloads)
                assert count <= quota
                assert len(acks) - before == 4 * count
                seen.extend(zip(found, payloads, strict=True))
                packet = decoder.next()
                if packet is None:
                    break
                seen.append(as_read(packet))
                if isinstance(packet, Publish) and packet.qos == 1:
                    acks += encode(Puback(packet.packet_id), version)
    except ProtocolError:
        return seen, bytes(acks), True
    return seen, bytes(acks), False


@given(versions, st.lists(st.one_of(plain, plain, others), max_size=12), st.lists(st.integers(0, 50_000), max_size=6))
def test_scan_and_decoder_give_what_the_decoder_gives(version: int, packets: list[Packet], places: list[int]) -> None:
    pieces = cut(b"".join(encode(packet, version) for packet in packets), places)
    assert by_scan(pieces, version) == by_decoder(pieces, version)
    assert by_scan(pieces, version, quota=1) == by_decoder(pieces, version)


@given(versions, st.lists(plain, min_size=1, max_size=5), st.data())
def test_damaged_streams_give_what_the_decoder_gives(version: int, packets: list[Publish], data: st.DataObject) -> None:
    """§13: what scan is not sure of it leaves to the decoder."""
    stream = bytearray(b"".join(encode(packet, version) for packet in packets))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(
            st.sampled_from((0, 1, 2, 0x30, 0x32, 0x80, 255))
        )
    pieces = cut(bytes(stream), data.draw(st.lists(st.integers(0, 5_000), max_size=4)))
    assert by_scan(pieces, version) == by_decoder(pieces, version)


@given(versions, st.binary(max_size=60))
def test_any_bytes_give_what_the_decoder_gives(version: int, tail: bytes) -> None:
    for first in (b"", b"\x30", b"\x32", b"\x3a"):
        assert by_scan([first + tail], version) == by_decoder([first + tail], version)


EDGES = [
    (4, "32 05 00 01 61 00 01  30 03 00 01 61"),  # nothing behind the packet identifier
    (4, "32 03 00 01 61  00 01 30 00"),  # a packet identifier that belongs to the next packet
    (4, "32 04 00 01 61 00  01 30 00"),
    (5, "32 05 00 01 61 00 01  00 30 00"),  # a property length that belongs to the next packet
    (5, "30 03 00 01 61  00 30 00"),
    (4, "30 02 00 01 61 30 00"),  # a topic that ends behind its packet
    (4, "32 05 00 01 61 00 00"),  # packet identifier 0
    (4, "3a 05 00 01 61 00 00"),
    (4, "38 04 00 01 61 31"),  # DUP at QoS 0
    (4, "30 84 00 00 01 61 31"),  # remaining length longer than needed: 5.0 forbids it
    (5, "30 84 00 00 01 61 00"),
    (4, "30 84 80 00 00 01 61 31"),
    (4, "30 84 ff ff ff 7f"),
    (4, "30 82 01 00 01 61" + 127 * "31"),
    (5, "30 81 01 00 01 61 00" + 125 * "31"),
    (5, "32 07 00 01 61 00 01 00 31  32 08 00 01 61 00 01 02 01 01"),  # properties after none
]


@pytest.mark.parametrize(("version", "stream"), EDGES)
def test_edges_cut_at_every_byte(version: int, stream: str) -> None:
    data = bytes.fromhex(stream)
    for place in range(len(data) + 1):
        pieces = [data[:place], data[place:]]
        assert by_scan(pieces, version) == by_decoder(pieces, version)
    pieces = [data[place : place + 1] for place in range(len(data))]
    assert by_scan(pieces, version) == by_decoder(pieces, version)


def fed(version: int, packets: list[Packet]) -> Decoder:
    decoder = Decoder(version)
    decoder.feed(b"".join(encode(packet, version) for packet in packets))
    return decoder


def test_plain_packets_never_reach_the_decoder() -> None:
    messages = [
        Publish("a", b"1", qos=1, packet_id=1),
        Publish("a", b"2"),
        Publish("house-03/meter", bytes(200), qos=1, dup=True, packet_id=513),
        Publish("a", b""),
    ]
    for version in (4, 5):
        decoder, acks, found, payloads = fed(version, [*messages]), bytearray(), list[str](), list[bytes]()
        assert scan(decoder, ROUTES, QUOTA_ALL, acks, found, payloads) == 2
        assert decoder.position == len(decoder.buffer)
        assert acks == b"\x40\2\0\1\x40\2\2\1"
        assert list(zip(found, payloads, strict=True)) == [(entry.topic, entry.payload) for entry in messages]


def test_it_stops_at_the_receive_maximum() -> None:
    """§6: a message beyond the quota is left to the decoder, and so to the rule for it."""
    messages: list[Packet] = [Publish("a", b"", qos=1, packet_id=number) for number in (1, 2, 3)]
    decoder, acks, found, payloads = fed(4, messages), bytearray(), list[str](), list[bytes]()
    assert scan(decoder, ROUTES, 2, acks, found, payloads) == 2
    assert len(found) == len(payloads) == 2
    assert decoder.next() == messages[2]
