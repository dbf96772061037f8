"""Which MQTT messages carry readings that a deletion is of: told by topic, and by payload where the topic does not."""

from collections.abc import Callable

from taihu.kernel.clock import HOUR_NS
from taihu.things.deletion import TIME_MAX, TIME_MIN, Deletion
from taihu.things.mapping.errors import PayloadError
from taihu.things.mapping.matcher import Match, Matcher
from taihu.things.ports import Refusal, Row


class Carried:
    """Says of a message whether it carries any of the readings.

    When it cannot be told whose readings they are, or from when, they count: what is deleted must be gone. So does a
    message that cannot be read on a topic of the thing.
    """

    def __init__(self, matcher: Matcher, deletion: Deletion) -> None:
        self._match: Callable[[str], Match | None] = matcher.match
        self._deletion = deletion

    def __call__(self, topic: str, payload: bytes) -> bool:
        match, deletion = self._match(topic), self._deletion
        if match is None or (match.thing and not deletion.names(match.thing)):
            return False
        if match.thing and not deletion.property and (deletion.start, deletion.end) == (TIME_MIN, TIME_MAX):
            return True
        decoder = match.decoder(None)
        try:
            rows, later = decoder(payload, 0), decoder(payload, HOUR_NS)
        except PayloadError:
            return True
        return any(self._is_of(row, other, match.thing) for row, other in zip(rows, later, strict=True))

    def _is_of(self, row: Row | Refusal, other: Row | Refusal, thing: str | None) -> bool:
        """`other` is the same row an hour later: one that is timed by its arrival has another time there."""
        if isinstance(row, Refusal) or isinstance(other, Refusal):
            return True
        deletion, named = self._deletion, row.thing or thing
        if named and not deletion.names(named):
            return False
        if deletion.property and deletion.property not in row.values:
            return False
        at = row.observed_at
        return at is None or at != other.observed_at or deletion.start <= at < deletion.end
