"""MQTT control packets as events: what the codec decodes to and encodes from.

One set of structs serves both versions; what only 5.0 has (properties, most reason codes) is empty in 3.1.1.
Names follow the OASIS standards MQTT 3.1.1 and MQTT 5.0.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

Properties = Mapping[str, Any]
"""MQTT 5.0 properties by their standard name in snake case, such as `session_expiry_interval`.

`user_property` is a list of (name, value) pairs and `subscription_identifier` a list of int; both may occur many times.
"""

NO_PROPERTIES: Properties = {}


class Will(msgspec.Struct, frozen=True):
    """The message a server publishes when its client goes without a DISCONNECT."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties = NO_PROPERTIES


class Connect(msgspec.Struct, frozen=True):
    """CONNECT. `version` is 4 (3.1.1) or 5."""

    version: int
    client_id: str
    clean_start: bool
    keep_alive: int
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    properties: Properties = NO_PROPERTIES


class Connack(msgspec.Struct, frozen=True):
    """CONNACK. `reason` is a 5.0 reason code, or a 3.1.1 return code when the connection is 3.1.1."""

    session_present: bool
    reason: int
    properties: Properties = NO_PROPERTIES


class Publish(msgspec.Struct, frozen=True):
    """PUBLISH. `packet_id` is 0 at QoS 0; `topic` may be empty on the wire when an alias stands for it."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties = NO_PROPERTIES


class Puback(msgspec.Struct, frozen=True):
    """PUBACK."""

    packet_id: int
    reason: int = 0
    properties: Properties = NO_PROPERTIES


class Pubrec(msgspec.Struct, frozen=True):
    """PUBREC."""

    packet_id: int
    reason: int = 0
    properties: Properties = NO_PROPERTIES


class Pubrel(msgspec.Struct, frozen=True):
    """PUBREL."""

    packet_id: int
    reason: int = 0
    properties: Properties = NO_PROPERTIES


class Pubcomp(msgspec.Struct, frozen=True):
    """PUBCOMP."""

    packet_id: int
    reason: int = 0
    properties: Properties = NO_PROPERTIES


class Subscription(msgspec.Struct, frozen=True):
    """One entry of a SUBSCRIBE, with its options."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


class Subscribe(msgspec.Struct, frozen=True):
    """SUBSCRIBE."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = NO_PROPERTIES


class Suback(msgspec.Struct, frozen=True):
    """SUBACK."""

    packet_id: int
    reasons: tuple[int, ...]
    properties: Properties = NO_PROPERTIES


class Unsubscribe(msgspec.Struct, frozen=True):
    """UNSUBSCRIBE."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = NO_PROPERTIES


class Unsuback(msgspec.Struct, frozen=True):
    """UNSUBACK; `reasons` is empty in 3.1.1."""

    packet_id: int
    reasons: tuple[int, ...] = ()
    properties: Properties = NO_PROPERTIES


class Pingreq(msgspec.Struct, frozen=True):
    """PINGREQ."""


class Pingresp(msgspec.Struct, frozen=True):
    """PINGRESP."""


class Disconnect(msgspec.Struct, frozen=True):
    """DISCONNECT; a server may send it in 5.0 only."""

    reason: int = 0
    properties: Properties = NO_PROPERTIES


class Auth(msgspec.Struct, frozen=True):
    """AUTH (5.0 only)."""

    reason: int = 0
    properties: Properties = NO_PROPERTIES


Packet = (
    Connect
    | Connack
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
