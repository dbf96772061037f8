"""The hot loop: takes runs of plain PUBLISH packets out of a decoder's buffer, without making packets of them.

A PUBLISH is plain when it is QoS 0 or 1, not retained, whole in the buffer, at most 16,386 bytes long, without 5.0
properties, and its topic is one of the routes that were resolved before. `Decoder.next` takes everything else, so
`scan` never raises and never has to know what is wrong with a packet.
"""

from typing import TypeVar

from taihu.protocols.mqtt.codec import Decoder
from taihu.protocols.mqtt.wire import text

Route = TypeVar("Route")

PLAIN_BYTES_MAX = 16_386  # a remaining length of at most two bytes
# First byte of a plain PUBLISH to the number of bytes between topic and payload: packet identifier, property length.
_GAPS_4 = {0x30: 0, 0x32: 2, 0x3A: 2}
_GAPS_5 = {0x30: 1, 0x32: 3, 0x3A: 3}
PUBACK = b"\x40\x02"
NO_PACKET_ID = b"\0\0"


def route_key(topic: str) -> bytes:
    """The key of `topic` in the routes: its bytes on the wire, with their length before them."""
    return text(topic)


def scan(
    decoder: Decoder,
    routes: dict[bytes, Route],
    quota: int,
    acks: bytearray,
    found: list[Route],
    payloads: list[bytes],
) -> int:
    """Take plain PUBLISH packets off `decoder` until one is not plain; returns how many of them were QoS 1.

    Args:
        decoder: fed, and its version known.
        routes: by `route_key`; topics beyond 255 bytes are not looked up.
        quota: how many QoS 1 messages the receive maximum still allows.
        acks: gets the PUBACKs, to be sent once the messages are durable.
        found, payloads: get the route and the payload of each message, in order.
    """
    buffer = decoder.buffer
    at = decoder.position
    version5 = decoder.version == 5
    end = len(buffer)
    packet_ids: list[bytes] = []
    route_of, gap_of = routes.get, (_GAPS_5 if version5 else _GAPS_4).get
    add_route, add_payload, add_packet_id = found.append, payloads.append, packet_ids.append
    while at + 4 < end:
        topic = at + 2
        length = buffer[at + 1]
        if length > 0x7F:
            high = buffer[topic]
            if not 0 < high < 0x80:
                break
            length += (high - 1) << 7
            topic += 1
        following = topic + length
        if following > end:
            break
        # A topic's high length byte is part of the key: were it not 0, no key would match.
        packet_id = topic + 2 + buffer[topic + 1]
        route = route_of(buffer[topic:packet_id])
        gap = gap_of(buffer[at])
        if route is None or gap is None:
            break
        payload = packet_id + gap
        if payload > following or (version5 and buffer[payload - 1]):
            break
        if gap > 1:
            identifier = buffer[packet_id : packet_id + 2]
            if identifier == NO_PACKET_ID or not quota:
                break
            quota -= 1
            add_packet_id(identifier)
        add_route(route)
        add_payload(buffer[payload:following])
        at = following
    decoder.position = at
    if packet_ids:
        acks += PUBACK + PUBACK.join(packet_ids)
    return len(packet_ids)
