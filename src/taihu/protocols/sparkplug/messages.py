"""What both roles send and hear beside payloads: publications, and the STATE of a host application (6.4.27)."""

from typing import NamedTuple

import msgspec

from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.topics import Source, Verb, topic_of

REBIRTH = "Node Control/Rebirth"
BD_SEQ = "bdSeq"
NUMBERS = 256  # of sequence numbers, and of births and deaths


class Publication(NamedTuple):
    """A message to publish, or to leave as the will."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class HostState(msgspec.Struct, frozen=True):
    """Whether a host application is there, and since which connection (ms UTC)."""

    online: bool
    timestamp: int


def state_publication(host_id: str, online: bool, timestamp: int) -> Publication:
    """The birth or death certificate of a host application."""
    topic = topic_of(Verb.STATE, Source("", host_id))
    return Publication(topic, msgspec.json.encode(HostState(online, timestamp)), qos=1, retain=True)


def decode_state(payload: bytes) -> HostState:
    """The state that a host application tells; raises SparkplugError."""
    try:
        return msgspec.json.decode(payload, type=HostState)
    except msgspec.DecodeError as error:
        raise SparkplugError(f"It is no STATE: {error}.") from None
