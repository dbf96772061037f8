"""The generator's packets are what a device would send: our decoder and the JSON in them say so."""

import msgspec
import pytest
from bench.load import (
    PROPERTIES,
    TIME_BASE_MS,
    TIME_STEP_MS,
    TOPIC,
    Blocks,
    encode_connect,
    encode_publish,
    payloads,
    values,
)

from taihu.protocols.mqtt.codec import Decoder
from taihu.protocols.mqtt.packets import Connect, Packet, Publish


def decoded(data: bytes, version: int | None = 4) -> list[Packet]:
    decoder = Decoder(version, 1 << 20)
    decoder.feed(data)
    found = []
    while (packet := decoder.next()) is not None:
        found.append(packet)
    return found


def test_a_connect_carries_the_token_as_user_name() -> None:
    [connect] = decoded(encode_connect("load-1", "token"), version=None)
    assert isinstance(connect, Connect)
    assert (connect.client_id, connect.username, connect.clean_start) == ("load-1", "token", True)


@pytest.mark.parametrize("size", [1, 60, 200])
def test_a_publish_is_whole_with_one_and_two_length_bytes(size: int) -> None:
    [publish] = decoded(encode_publish("a/b", 7, b"x" * size))
    assert isinstance(publish, Publish)
    assert (publish.topic, publish.packet_id, publish.payload, publish.qos) == ("a/b", 7, b"x" * size, 1)


@pytest.mark.parametrize("timestamps", [True, False])
def test_payloads_are_of_one_length_near_60_bytes_and_say_the_values(timestamps: bool) -> None:
    texts = payloads(2_000, timestamps)
    assert {len(text) for text in texts} == {58 if timestamps else 61}
    for text, row in zip(texts, values(2_000), strict=True):
        said = msgspec.json.decode(text)
        assert [said[name] for name in PROPERTIES[timestamps]] == row


def test_each_message_of_a_connection_has_its_own_time_and_no_identifier_is_in_flight_twice() -> None:
    blocks = Blocks(TOPIC, 100, timestamps=True)
    rows = values(blocks.count * blocks.size)
    numbers = [*range(blocks.count + 3), 123_456]
    packets = [packet for number in numbers for packet in decoded(blocks.block(number))]
    places = [number * blocks.size + at for number in numbers for at in range(blocks.size)]
    for place, packet in zip(places, packets, strict=True):
        assert isinstance(packet, Publish)
        said = msgspec.json.decode(packet.payload)
        assert said["ts"] == TIME_BASE_MS + place * TIME_STEP_MS
        assert [said[name] for name in PROPERTIES[True]] == rows[place % len(rows)]
    consecutive = [packet.packet_id for packet in packets[: -blocks.size] if isinstance(packet, Publish)]
    for start in range(len(consecutive) - 100):
        assert len(set(consecutive[start : start + 100])) == 100


def test_stamped_blocks_have_no_time() -> None:
    blocks = Blocks(TOPIC, 1000, timestamps=False)
    [first, *_] = decoded(blocks.block(5))
    assert isinstance(first, Publish)
    assert set(msgspec.json.decode(first.payload)) == set(PROPERTIES[False])
