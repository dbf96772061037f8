"""What was refused on the way in, with its reason: bounded per thing and in all, shown by the API and the tail."""

from collections import Counter, OrderedDict, deque

import msgspec

from taihu.kernel.limits import Limits


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """One refused message or value. `reason` is for people; `payload` is cut to `quarantine_payload_bytes_max`."""

    project: str
    thing: str
    property: str = ""
    reason: str
    payload: bytes = b""
    received_at: int


class Quarantine:
    """The latest refusals of each thing, and how many there were."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries: OrderedDict[tuple[str, str], deque[Refused]] = OrderedDict()
        self._held = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.totals: Counter[str] = Counter()

    def add(self, refused: Refused) -> None:
        """Keep a refusal; the oldest of the thing that was quiet longest goes when there is no room."""
        key = (refused.project, refused.thing)
        if key in self.counts or len(self.counts) < self._limits.quarantine_entries_max:
            self.counts[key] += 1
        self.totals[refused.project] += 1
        if len(refused.payload) > self._limits.quarantine_payload_bytes_max:
            refused = msgspec.structs.replace(
                refused, payload=refused.payload[: self._limits.quarantine_payload_bytes_max]
            )
        entries = self._entries.setdefault(key, deque())
        self._entries.move_to_end(key)
        entries.append(refused)
        self._held += 1
        if len(entries) > self._limits.quarantine_entries_per_thing_max:
            entries.popleft()
            self._held -= 1
        while self._held > self._limits.quarantine_entries_max:
            oldest = next(iter(self._entries))
            self._entries[oldest].popleft()
            self._held -= 1
            if not self._entries[oldest]:
                del self._entries[oldest]

    def of_project(self, project: str, thing: str | None = None) -> list[Refused]:
        """The refusals kept of a project, newest first; of one thing when it is named."""
        found = [
            refused
            for (owner, name), entries in self._entries.items()
            if owner == project and thing in (None, name)
            for refused in entries
        ]
        return sorted(found, key=lambda refused: refused.received_at, reverse=True)
