"""The topics of Sparkplug B (chapter 4): `spBv1.0/GROUP/VERB/NODE[/DEVICE]` and `spBv1.0/STATE/HOST`."""

import re
from enum import StrEnum
from typing import NamedTuple

from taihu.protocols.sparkplug.errors import SparkplugError

NAMESPACE = "spBv1.0"
_FORBIDDEN = re.compile(r"[+/#\0\ud800-\udfff]")
_ID_LENGTH_MAX = 256


class Verb(StrEnum):
    """What a message is."""

    NBIRTH = "NBIRTH"
    NDEATH = "NDEATH"
    NDATA = "NDATA"
    NCMD = "NCMD"
    DBIRTH = "DBIRTH"
    DDEATH = "DDEATH"
    DDATA = "DDATA"
    DCMD = "DCMD"
    STATE = "STATE"


class Source(NamedTuple):
    """An edge node, or a device of one."""

    group: str
    node: str
    device: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Topic(NamedTuple):
    """A topic, in its parts; of STATE the source is the host's identifier alone."""

    verb: Verb
    source: Source


def parse_topic(topic: str) -> Topic:
    """The parts of a topic; raises SparkplugError.

    >>> parse_topic("spBv1.0/plant/DDATA/line-3/motor").source.device
    'motor'
    """
    parts = topic.split("/")
    if len(parts) == 3 and parts[:2] == [NAMESPACE, Verb.STATE]:
        return Topic(Verb.STATE, Source("", check_id(parts[2])))
    if len(parts) not in (4, 5) or parts[0] != NAMESPACE or parts[2] not in Verb.__members__ or parts[2] == Verb.STATE:
        raise SparkplugError(f"{topic[:80]!r} is no topic of Sparkplug B.")
    verb = Verb(parts[2])
    source = Source(check_id(parts[1]), *map(check_id, parts[3:]))
    if verb.startswith("D") != bool(source.device):
        raise SparkplugError(f"{topic[:80]!r} has a device where none can be, or none where one must.")
    return Topic(verb, source)


def topic_of(verb: Verb, source: Source) -> str:
    """The topic of a verb, `D…` when the source is a device.

    >>> topic_of(Verb.NDATA, Source("plant", "line-3"))
    'spBv1.0/plant/NDATA/line-3'
    """
    place = "/".join(source[1:]).rstrip("/")
    return f"{NAMESPACE}/{verb}/{place}" if verb is Verb.STATE else f"{NAMESPACE}/{source.group}/{verb}/{place}"


def check_id(text: str) -> str:
    """Return an identifier that can stand in a topic; raises SparkplugError."""
    if not text or len(text) > _ID_LENGTH_MAX or _FORBIDDEN.search(text):
        raise SparkplugError(f"{text[:80]!r} cannot be an identifier: use no + / # and not none.")
    return text
