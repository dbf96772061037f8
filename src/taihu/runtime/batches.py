"""What many do in a short time, or a loop does often, as few entries of the audit that say how often."""

import msgspec

from taihu.identity.audit import AuditEntry
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.limits import Limits


class _Count(msgspec.Struct):
    first_ns: int
    last_ns: int
    times: int = 1


class Batches:
    """Entries that are gathered for `audit_batch_s` at most; who holds one writes what `take` gives (§7).

    A crash loses what was gathered and not yet taken. Beyond `audit_batch_entries_max` different entries those of one
    kind are told together.
    """

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._counts: dict[tuple[str, str, str, str], _Count] = {}

    def add(self, who: str, what: str, detail: str, project: str = "") -> None:
        """Gather one more."""
        now = self._clock.now_ns()
        key = (who, what, detail, project)
        if key not in self._counts and len(self._counts) >= self._limits.audit_batch_entries_max:
            key = ("", what, "others", project)
        known = self._counts.get(key)
        if known is None:
            self._counts[key] = _Count(now, now)
        else:
            known.times += 1
            known.last_ns = now

    def take(self) -> list[AuditEntry]:
        """What was gathered, in the order in which each was first seen."""
        counts, self._counts = self._counts, {}
        return [
            AuditEntry(count.first_ns, who, what, _told(detail, count), project)
            for (who, what, detail, project), count in counts.items()
        ]


def _told(detail: str, count: _Count) -> str:
    if count.times == 1:
        return detail
    within_s = (count.last_ns - count.first_ns) / NS_PER_S
    return f"{detail}, {count.times} times within {within_s:.0f} s"
