"""The hot loop for devices that send one message at a time: chunks that are one plain PUBLISH each.

What `protocols.mqtt.scan` does for many messages of one connection, this does for one message of many connections.
"""

from collections.abc import Iterable

from taihu.protocols.mqtt.broker.connection import Connection
from taihu.protocols.mqtt.broker.core import Core
from taihu.protocols.mqtt.scan import NO_PACKET_ID, PUBACK

Chunk = tuple[Connection, bytes]


def take_singles(core: Core, arrived: Iterable[Chunk]) -> list[Chunk]:
    """Put the message of each chunk that is one plain PUBLISH into the open lot; returns the other chunks, in order."""
    lot, now = core.lot, core.now
    before, size = len(lot.readings), lot.size
    add_reading, add_ack = lot.readings.append, lot.acks.append
    others: list[Chunk] = []
    for chunk in arrived:
        connection, data = chunk
        plain, end = connection.plain, len(data)
        if plain is not None and end > 4:
            route_of, home, epoch, receive_max, version5 = plain
            length, topic = data[1], 2
            if length > 0x7F:
                high, topic = data[2], 3
                length = length + ((high - 1) << 7) if 0 < high < 0x80 else end
            packet_id = topic + 2 + data[topic + 1]
            route = route_of(data[topic:packet_id])
            if route is not None and topic + length == end and epoch == home.epoch:
                first = data[0]
                if first == 0x32 or first == 0x3A:
                    payload = packet_id + 2 + version5
                    identifier = data[packet_id : packet_id + 2]
                    pending = connection.acks_pending
                    if (
                        payload <= end
                        and identifier != NO_PACKET_ID
                        and pending < receive_max
                        and not (version5 and data[payload - 1])
                    ):
                        add_reading((route, data[payload:]))
                        add_ack((connection, PUBACK + identifier, 1))
                        connection.acks_pending = pending + 1
                        connection.lot = lot
                        connection.last_seen = now
                        home.received += 1
                        size += end
                        continue
                elif first == 0x30:
                    payload = packet_id + version5
                    if payload <= end and not (version5 and data[payload - 1]):
                        add_reading((route, data[payload:]))
                        connection.last_seen = now
                        home.received += 1
                        size += end
                        continue
        others.append(chunk)
    core.counters.publishes_received += len(lot.readings) - before
    lot.size = size
    return others
