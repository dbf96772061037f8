"""One client's session: what outlives its connection (5.0, clause 4.1)."""

from math import inf
from typing import NamedTuple, Protocol

from taihu.protocols.mqtt.broker.message import Delivery
from taihu.protocols.mqtt.broker.queue import Queue, Usage
from taihu.protocols.mqtt.packets import Subscription, Will

PACKET_ID_MAX = 65_535

Encoded = dict[tuple[int, bool, tuple[int, ...]], bytes]
"""The QoS 0 bytes of one routed message by version, retain flag and subscription identifiers."""


class Outlet(Protocol):
    """What the broker asks of the connection a session has at the moment."""

    def deliver(self, delivery: Delivery, encoded: Encoded) -> None:
        """Send a QoS 0 delivery, or drop and count it when the client is too slow.

        `encoded` keeps the bytes of one routed message, for sessions that get it alike.
        """
        ...

    def pump(self) -> None:
        """Send what the session has queued, as far as its window and buffer allow."""
        ...

    def fail(self, reason: int, text: str) -> None:
        """Disconnect with a reason code; `text` goes to the log."""
        ...


class Session:
    """The state of one client.

    `number` names it in the event log. `owner` is the identity's key: the same client identifier of another identity
    is another session, so that nobody inherits what is not his. `persistent` says that its changes are logged.
    `queue` is None when nothing waits. `inflight` holds, by packet identifier and in the order of sending, what the
    client has not acknowledged; None when it only has to answer a PUBREL; `inflight_size` is its bytes. `received`
    holds the packet identifiers of QoS 2 messages not yet released. `ended_ns` is when its last connection ended, 0
    while it has one. `will_at` and `expires_at` are monotonic. `will_claim` marks the will as readings; a
    `will_private` one is of a topic that is not routed, and not logged.
    """

    __slots__ = (
        "client_id", "connection", "ended_ns", "expires_at", "expiry_s", "inflight", "inflight_size", "next_packet_id",
        "number", "owner", "persistent", "queue", "received", "slot", "space", "subscriptions", "usage", "will",
        "will_at", "will_claim", "will_private",
    )  # fmt: skip

    def __init__(self, number: int, space: str, owner: str, client_id: str, expiry_s: int, usage: Usage) -> None:
        self.number = number
        self.space = space
        self.owner = owner
        self.client_id = client_id
        self.expiry_s = expiry_s
        self.persistent = expiry_s > 0
        self.usage = usage
        self.connection: Outlet | None = None
        self.ended_ns = 0
        self.subscriptions: dict[str, Entry] = {}
        self.queue: Queue | None = None  # an empty one is 900 bytes, and most queues are empty
        self.inflight: dict[int, Delivery | None] = {}
        self.inflight_size = 0
        self.received: dict[int, None] = {}
        self.next_packet_id = 1
        self.will: Will | None = None
        self.will_at = inf
        self.will_claim: object | None = None
        self.will_private = False
        self.expires_at = inf
        self.slot = 0

    def push(self, delivery: Delivery) -> None:
        """Queue a message."""
        if self.queue is None:
            self.queue = Queue(self.usage)
        self.queue.push(delivery)

    def send(self, packet_id: int, delivery: Delivery | None) -> None:
        """A message is in flight, or None: only its release still is."""
        old = self.inflight.get(packet_id)
        self.inflight[packet_id] = delivery
        self._hold((delivery.message.size if delivery else 0) - (old.message.size if old else 0))

    def done(self, packet_id: int) -> None:
        """Nothing is in flight under this identifier any more."""
        delivery = self.inflight.pop(packet_id, None)
        if delivery is not None:
            self._hold(-delivery.message.size)

    def clear(self) -> None:
        """Forget all that waits and is in flight."""
        if self.queue is not None:
            self.queue.clear()
            self.queue = None
        self.inflight.clear()
        self._hold(-self.inflight_size)

    def free_packet_id(self) -> int:
        """A packet identifier that is not in flight; not all may be."""
        while self.next_packet_id in self.inflight:
            self.next_packet_id = self.next_packet_id % PACKET_ID_MAX + 1
        packet_id = self.next_packet_id
        self.next_packet_id = packet_id % PACKET_ID_MAX + 1
        return packet_id

    def _hold(self, size: int) -> None:
        self.inflight_size += size
        self.usage.held_bytes += size


class Entry(NamedTuple):
    """One subscription of one session; `identifier` is 0 when it has none."""

    session: Session
    options: Subscription
    identifier: int
