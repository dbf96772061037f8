"""What was refused on the way in, with its reason: bounded per thing and project, shown by the API and the tail."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable

import msgspec

from taihu.kernel.ids import NAME_LENGTH_MAX
from taihu.kernel.limits import Limits
from taihu.things.deletion import Deletion


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """One refused message or value. `reason` is for people; `payload` is cut to `quarantine_payload_bytes_max`."""

    project: str
    thing: str
    property: str = ""
    reason: str
    payload: bytes = b""
    received_at: int


class Quarantine:
    """The latest refusals of each thing, and how many there were. Each project has its own room (§11)."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._projects: dict[str, _Project] = {}

    def add(self, refused: Refused) -> None:
        """Keep a refusal; the oldest of the project's thing that was quiet longest goes when there is no room.

        Names are as the sender wrote them, and cut to the length of a name.
        """
        cut = {name: getattr(refused, name)[:NAME_LENGTH_MAX] for name in ("thing", "property")}
        cut["payload"] = refused.payload[: self._limits.quarantine_payload_bytes_max]
        self._projects.setdefault(refused.project, _Project()).add(
            msgspec.structs.replace(refused, **cut), self._limits
        )

    def withdraw(self, deletion: Deletion) -> None:
        """Forget the refusals that a deletion may be of: what was refused as a whole may hold any property."""
        project = self._projects.get(deletion.project)
        if project is not None:
            project.withdraw(lambda refused: _is_of(refused, deletion))

    def total(self, project: str) -> int:
        """How much of a project was refused since the start."""
        return self._projects.get(project, _NOTHING).total

    def count(self, project: str, thing: str) -> int:
        """How much of a thing was refused; of further things than `quarantine_entries_max` it is not counted."""
        return self._projects.get(project, _NOTHING).counts[thing]

    def of_project(self, project: str, thing: str | None = None) -> list[Refused]:
        """The refusals kept of a project, newest first; of one thing when it is named."""
        entries = self._projects.get(project, _NOTHING).entries
        found = [refused for name, of_thing in entries.items() if thing in (None, name) for refused in of_thing]
        return sorted(found, key=lambda refused: refused.received_at, reverse=True)


class _Project:
    """One project's part."""

    def __init__(self) -> None:
        self.entries: OrderedDict[str, deque[Refused]] = OrderedDict()
        self.counts: Counter[str] = Counter()
        self.total = 0
        self._held = 0

    def add(self, refused: Refused, limits: Limits) -> None:
        self.total += 1
        if refused.thing in self.counts or len(self.counts) < limits.quarantine_entries_max:
            self.counts[refused.thing] += 1
        of_thing = self.entries.setdefault(refused.thing, deque())
        self.entries.move_to_end(refused.thing)
        of_thing.append(refused)
        self._held += 1
        if len(of_thing) > limits.quarantine_entries_per_thing_max:
            of_thing.popleft()
            self._held -= 1
        while self._held > limits.quarantine_entries_max:
            oldest = next(iter(self.entries))
            self.entries[oldest].popleft()
            self._held -= 1
            if not self.entries[oldest]:
                del self.entries[oldest]

    def withdraw(self, gone: Callable[[Refused], bool]) -> None:
        for thing, of_thing in list(self.entries.items()):
            kept = deque(refused for refused in of_thing if not gone(refused))
            self._held -= len(of_thing) - len(kept)
            if kept:
                self.entries[thing] = kept
            else:
                del self.entries[thing]


def _is_of(refused: Refused, deletion: Deletion) -> bool:
    """A message that named no thing counts when the thing's name stands in it."""
    of_thing = deletion.names(refused.thing) or (not refused.thing and deletion.thing.encode() in refused.payload)
    of_property = not refused.property or deletion.property in ("", refused.property)
    return of_thing and of_property and deletion.start <= refused.received_at < deletion.end


_NOTHING = _Project()
