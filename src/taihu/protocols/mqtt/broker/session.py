"""One client's session: what outlives its connection (5.0, clause 4.1)."""

from collections import deque
from collections.abc import Collection
from math import inf
from typing import NamedTuple, Protocol

from taihu.protocols.mqtt.broker.message import Delivery
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


class Usage:
    """What the sessions of one space hold together."""

    __slots__ = ("queued_bytes",)

    def __init__(self) -> None:
        self.queued_bytes = 0


class Session:
    """The state of one client.

    `number` names it in the event log. `owner` is the identity's key: the same client identifier of another identity
    is another session, so that nobody inherits what is not his. `persistent` says that its changes are logged.
    `inflight` holds, by packet identifier and in the order of sending, what the client has not acknowledged; None when
    it only has to answer a PUBREL. `received` holds the packet identifiers of QoS 2 messages not yet released.
    `ended_ns` is when its last connection ended, 0 while it has one. `will_at` and `expires_at` are monotonic.
    `will_claim` marks the will as readings; a `will_private` one is of a topic that is not routed, and not logged.
    """

    __slots__ = (
        "client_id", "connection", "ended_ns", "expires_at", "expiry_s", "inflight", "next_packet_id", "number",
        "owner", "persistent", "queue", "queue_bytes", "received", "slot", "space", "subscriptions", "usage", "will",
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
        self.queue: deque[Delivery] | None = None  # an empty deque is 600 bytes, and most queues are empty
        self.queue_bytes = 0
        self.inflight: dict[int, Delivery | None] = {}
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
            self.queue = deque()
        self.queue.append(delivery)
        self._account(delivery.message.size)

    def pop(self) -> Delivery:
        """The oldest queued message; there must be one."""
        assert self.queue
        delivery = self.queue.popleft()
        self._account(-delivery.message.size)
        if not self.queue:
            self.queue = None
        return delivery

    def drop(self, places: Collection[int]) -> None:
        """Forget the messages at these places of the queue."""
        kept = deque(delivery for place, delivery in enumerate(self.queue or ()) if place not in places)
        self._account(sum(delivery.message.size for delivery in kept) - self.queue_bytes)
        self.queue = kept or None

    def clear_queue(self) -> None:
        """Forget all that is queued."""
        self.queue = None
        self._account(-self.queue_bytes)

    def free_packet_id(self) -> int:
        """A packet identifier that is not in flight; not all may be."""
        while self.next_packet_id in self.inflight:
            self.next_packet_id = self.next_packet_id % PACKET_ID_MAX + 1
        packet_id = self.next_packet_id
        self.next_packet_id = packet_id % PACKET_ID_MAX + 1
        return packet_id

    def _account(self, size: int) -> None:
        self.queue_bytes += size
        self.usage.queued_bytes += size


class Entry(NamedTuple):
    """One subscription of one session; `identifier` is 0 when it has none."""

    session: Session
    options: Subscription
    identifier: int
