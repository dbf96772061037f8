"""The outgoing half of a connection: what it sends of its session's messages, in its window, size and aliases."""

from collections import deque
from typing import Any

from taihu.protocols.mqtt.broker.core import Core
from taihu.protocols.mqtt.broker.lot import Lot
from taihu.protocols.mqtt.broker.message import NS_PER_S, Delivery
from taihu.protocols.mqtt.broker.session import Encoded, Entry, Session
from taihu.protocols.mqtt.broker.space import Space
from taihu.protocols.mqtt.codec import encode
from taihu.protocols.mqtt.packets import Packet, Publish, Pubrel

UNLIMITED = 1 << 60


class Sender:
    """Sends to one client.

    `window` is how many messages may be unacknowledged, `resend` those of an earlier connection that are still to be
    repeated, `backlog` retained messages for new subscriptions, sent as room allows.
    """

    __slots__ = (
        "accounted", "aliases_out", "aliases_out_max", "backlog", "core", "home", "lot", "output", "packet_bytes_max",
        "resend", "session", "version", "window",
    )  # fmt: skip

    def __init__(self, core: Core) -> None:
        self.core = core
        self.version = 0
        self.session: Session | None = None
        self.home: Space | None = None
        self.lot: Lot | None = None
        self.output = bytearray()
        self.accounted = 0
        self.window = 0
        self.packet_bytes_max = UNLIMITED
        self.aliases_out: dict[str, int] | None = None
        self.aliases_out_max = 0
        self.resend: deque[int] | None = None
        self.backlog: deque[tuple[Entry, str]] | None = None

    def send(self, packet: Packet) -> None:
        """Put a packet into the output."""
        self.output += encode(packet, self.version)

    def deliver(self, delivery: Delivery, encoded: Encoded) -> None:
        """See `Outlet.deliver`."""
        counters = self.core.counters
        if self.aliases_out_max:
            data = self._encode(delivery, 0, dup=False)
        else:
            key = (self.version, delivery.retain, delivery.identifiers)
            data = encoded.get(key) or b""
            if not data:
                data = encoded[key] = self._encode(delivery, 0, dup=False)
            elif len(data) > self.packet_bytes_max:
                data = b""
                counters.dropped_too_large += 1
        if not data:
            return
        if self._full(len(data)):
            counters.dropped_slow += 1
        else:
            self._put_message(data, 0)

    def pump(self) -> None:
        """See `Outlet.pump`."""
        session = self.session
        if session is None:
            return
        room = self.window - len(session.inflight)
        if self.resend:
            room += len(self.resend)
            room -= self._repeat(session, room)
        if self.backlog:
            self._advance_backlog(session)
        while room > 0 and (front := self.core.store.front(session)):
            packet_ids, room = self._put_first(session, front, room)
            self.core.store.sent(session, packet_ids)
            if front:
                break

    def retain_later(self, entry: Entry, topics: list[str]) -> None:
        """Send the retained messages of these topics for a new subscription."""
        if self.backlog is None:
            self.backlog = deque()
        room = self.core.limits.mqtt_retained_per_project_max - len(self.backlog)
        self.backlog.extend((entry, topic) for topic in topics[:room])
        self.core.counters.dropped_slow += max(0, len(topics) - room)

    def repeat_inflight(self) -> None:
        """Send again, under their packet identifiers, what an earlier connection did not finish [MQTT-4.4.0-1]."""
        assert self.session is not None
        if self.session.inflight:
            self.resend = deque(self.session.inflight)

    def _put_first(self, session: Session, front: deque[Delivery], room: int) -> tuple[list[int], int]:
        """Send of what is queued; returns the packet identifiers, 0 for what is dropped, and what room is left."""
        core, packet_ids = self.core, []
        inflight = session.inflight_size
        inflight_max = core.limits.mqtt_inflight_bytes_max
        for delivery in front:
            packet_id, message = 0, delivery.message
            if message.expired(core.now_ns):
                if message.topic:
                    core.counters.dropped_expired += 1
                else:
                    core.counters.dropped_lost += 1
            else:
                if room <= 0 or self._full(0) or (inflight and inflight + message.size > inflight_max):
                    break
                packet_id = session.free_packet_id()
                data = self._encode(delivery, packet_id, dup=False)
                if data:
                    self._put_message(data, delivery.qos)
                    room -= 1
                    inflight += message.size
                else:
                    packet_id = 0
            packet_ids.append(packet_id)
        return packet_ids, room

    def _repeat(self, session: Session, room: int) -> int:
        """Send the next of `resend`; returns how many."""
        assert self.resend is not None
        count = 0
        while self.resend and count < room:
            packet_id = self.resend.popleft()
            if packet_id not in session.inflight:
                continue
            delivery = session.inflight[packet_id]
            if delivery is None:
                self._put(encode(Pubrel(packet_id), self.version), qos=2)
            elif delivery.message.topic and (data := self._encode(delivery, packet_id, dup=True)):
                self._put_message(data, delivery.qos)
            else:
                self.core.store.acknowledged(session, packet_id)
                continue
            count += 1
        self.resend = self.resend or None
        return count

    def _advance_backlog(self, session: Session) -> None:
        assert self.backlog is not None and self.home is not None
        core = self.core
        part = core.store.part(session.usage)  # what is retained is in memory already, and need not wait twice
        queue_max = core.limits.mqtt_offline_queue_messages_max // 2  # the rest is for what comes live
        while self.backlog:
            entry, topic = self.backlog[0]
            message = self.home.retained.get(topic)
            wanted = session.subscriptions.get(entry.options.filter) is entry
            if message is not None and wanted and not message.expired(core.now_ns):
                qos = min(message.qos, entry.options.qos)
                identifiers = (entry.identifier,) if entry.identifier else ()
                delivery = Delivery(message, qos, True, identifiers)
                if not qos:
                    if self._full(message.size * 2):
                        return
                    self.deliver(delivery, {})
                elif session.queue is not None and (session.queue.size >= part or session.queue.count >= queue_max):
                    return
                else:
                    core.store.queue(message, [(session, delivery)])
            self.backlog.popleft()
        self.backlog = None

    def settle_account(self) -> None:
        """The output is taken, or nobody will take it."""
        self.core.outbound_bytes -= self.accounted
        self.accounted = 0

    def _full(self, size: int) -> bool:
        """Whether `size` more bytes are too many for this client or, unless it keeps up, for all together."""
        core = self.core
        if not self.output:
            return False
        return (
            len(self.output) + size > core.limits.mqtt_outbound_bytes_max
            or core.outbound_bytes + size > core.limits.mqtt_outbound_total_bytes_max
        )

    def _put_message(self, data: bytes, qos: int) -> None:
        self._put(data, qos)
        self.core.counters.publishes_sent += 1
        if self.home is not None:
            self.home.sent += 1

    def _put(self, data: bytes, qos: int) -> None:
        """Send bytes; of QoS 2, when it is durable how far the exchange is: a crash must not make it another one (§4).

        What comes after them at QoS 1 keeps its place.
        """
        session, lot = self.session, self.lot
        waits = qos == 2 or (qos == 1 and lot is not None and not lot.durable)
        if waits and session is not None and session.persistent:
            self.lot = self.core.lot
            self.lot.acks.append((self, data, 0))
            return
        self.output += data
        self.accounted += len(data)
        self.core.outbound_bytes += len(data)
        self.core.dirty[self] = None

    def _encode(self, delivery: Delivery, packet_id: int, *, dup: bool) -> bytes:
        """The PUBLISH of a delivery; empty when it is too large for this client [MQTT-3.1.2-24]."""
        message = delivery.message
        topic = message.topic
        alias = 0
        properties = message.properties
        if self.version == 5 and (delivery.identifiers or message.expires_ns or self.aliases_out_max):
            extended: dict[str, Any] = dict(properties)
            if delivery.identifiers:
                extended["subscription_identifier"] = delivery.identifiers
            if message.expires_ns:
                left_ns = max(0, message.expires_ns - self.core.now_ns)
                extended["message_expiry_interval"] = -(-left_ns // NS_PER_S)
            if self.aliases_out_max and (alias := self._alias(topic)):
                extended["topic_alias"] = abs(alias)
                topic = "" if alias > 0 else topic
            properties = extended
        packet = Publish(topic, message.payload, delivery.qos, delivery.retain, dup, packet_id, properties)
        data = encode(packet, self.version)
        if len(data) > self.packet_bytes_max:
            self.core.counters.dropped_too_large += 1
            return b""
        if alias < 0 and self.aliases_out is not None:
            self.aliases_out[message.topic] = -alias
        return data

    def _alias(self, topic: str) -> int:
        """The alias the client knows for `topic`, or a free one, negative; 0 when there is none."""
        if self.aliases_out is None:
            self.aliases_out = {}
        alias = self.aliases_out.get(topic, 0)
        if not alias and len(self.aliases_out) < self.aliases_out_max:
            return -(len(self.aliases_out) + 1)
        return alias
