"""An application message inside the broker, and one delivery of it to one session."""

from collections.abc import Sequence
from typing import Any

import msgspec

from taihu.protocols.mqtt.packets import NO_PROPERTIES, Properties

NS_PER_S = 1_000_000_000
_OVERHEAD_BYTES = 100  # what a queued message weighs beside its topic and payload


class Message(msgspec.Struct, frozen=True, array_like=True):
    """An application message.

    `properties` holds only what is forwarded unaltered (5.0, clause 3.3.2.3). `expires_ns` is wall time; 0 is never.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES
    expires_ns: int = 0

    @property
    def size(self) -> int:
        """About how many bytes it holds in memory."""
        return _OVERHEAD_BYTES + len(self.topic) + len(self.payload)

    def expired(self, now_ns: int) -> bool:
        return 0 < self.expires_ns <= now_ns


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """One message on its way to one session, with what its subscriptions made of it."""

    message: Message
    qos: int
    retain: bool = False
    identifiers: tuple[int, ...] = ()


def forwarded(properties: Properties, now_ns: int) -> tuple[Properties, int]:
    """What of the properties of a PUBLISH or will is passed on, and when the message expires (0: never)."""
    if not properties:
        return NO_PROPERTIES, 0
    interval = properties.get("message_expiry_interval")
    kept: dict[str, Any] = {name: value for name, value in properties.items() if name in _FORWARDED}
    return kept or NO_PROPERTIES, 0 if interval is None else now_ns + interval * NS_PER_S


def as_message(row: Message | Sequence[Any]) -> Message:
    """A message from its row in the event log or a snapshot."""
    return row if isinstance(row, Message) else Message(*row)


_FORWARDED = frozenset(
    ("payload_format_indicator", "content_type", "response_topic", "correlation_data", "user_property")
)
