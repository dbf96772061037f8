"""Topic names and filters (MQTT 5.0, clauses 4.7 and 4.8.2)."""

from taihu.protocols.mqtt.errors import ProtocolError
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.wire import TEXT_BYTES_MAX

SHARE_PREFIX = "$share/"


def check_topic(topic: str) -> str:
    """Return `topic` if a message may be published to it, else raise ProtocolError (Topic Name invalid).

    >>> check_topic("house-03/meter")
    'house-03/meter'
    """
    if not topic or "+" in topic or "#" in topic or _unencodable(topic):
        raise ProtocolError(f"{topic[:80]!r} is not a topic name.", Reason.TOPIC_NAME_INVALID)
    return topic


def check_filter(topic_filter: str) -> str:
    """Return `topic_filter` if one may subscribe to it, else raise ProtocolError (Topic Filter invalid).

    A shared subscription is `$share/{name}/{filter}`, neither part empty.

    >>> check_filter("$share/workers/house-03/+/power/#")
    '$share/workers/house-03/+/power/#'
    """
    shared = topic_filter.startswith(SHARE_PREFIX)
    share, _, rest = topic_filter.removeprefix(SHARE_PREFIX).partition("/") if shared else ("-", "", topic_filter)
    valid = bool(share) and "+" not in share and "#" not in share and bool(rest) and not _unencodable(topic_filter)
    if valid and ("+" in rest or "#" in rest):
        levels = rest.split("/")
        valid = "#" not in "".join(levels[:-1]) and all(
            len(level) == 1 or not ("+" in level or "#" in level) for level in levels
        )
    if not valid:
        raise ProtocolError(f"{topic_filter[:80]!r} is not a topic filter.", Reason.TOPIC_FILTER_INVALID)
    return topic_filter


def filter_covers(covering: str, covered: str) -> bool:
    """Whether every topic that `covered`, a topic or filter, stands for is matched by the filter `covering`.

    >>> filter_covers("plant/+/#", "plant/press/temp"), filter_covers("plant/+", "plant/#")
    (True, False)
    """
    if covered.startswith("$") and covering[:1] in ("+", "#"):
        return False
    outer, inner = covering.split("/"), covered.split("/")
    for place, level in enumerate(outer):
        if level == "#":
            return True
        if place >= len(inner) or inner[place] == "#":
            return False
        if level not in ("+", inner[place]):
            return False
    return len(outer) == len(inner)


def _unencodable(text: str) -> bool:
    try:
        return "\0" in text or len(text.encode()) > TEXT_BYTES_MAX
    except UnicodeEncodeError:
        return True
