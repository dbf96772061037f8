"""The ports between layers (`typing.Protocol`): what each side may rely on, and no more."""

from typing import Any, Protocol

import msgspec

from taihu.things.property import Property


class Record(msgspec.Struct, frozen=True):
    """One durable journal record. Positions start at 1 and rise by 1."""

    position: int
    kind: int
    payload: bytes


class Journal(Protocol):
    """The durable, ordered log, written by one process."""

    @property
    def next_position(self) -> int:
        """The position the next appended record gets."""
        ...

    @property
    def durable(self) -> int:
        """The highest position that survives power loss; 0 when empty."""
        ...

    def append(self, kind: int, payload: bytes) -> int:
        """Buffer a record and return its position; not durable before `commit` returns."""
        ...

    def commit(self) -> int:
        """Write and sync all records appended so far; blocks (call it from a thread); returns the durable position.

        One thread commits while another appends. OSError (such as ENOSPC) leaves the records buffered: call again.
        """
        ...

    def read(self, start: int, bytes_max: int = 4_194_304) -> list[Record]:
        """Durable records from position `start` on, at least one if there is one, about `bytes_max` in all.

        A `start` older than what is kept answers from the oldest record kept.
        """
        ...

    def lag_bytes(self, position: int) -> int:
        """About how many durable bytes are before a reader whose next position is `position`."""
        ...

    def trim(self, keep_from: int, now_ns: int) -> int:
        """Drop whole segments that hold only positions below `keep_from`; returns the oldest position kept.

        Each reader keeps its checkpoint with what it made of the records, in one step: neither is without the other.
        """
        ...

    def close(self) -> None:
        """Commit what is buffered and close."""
        ...


class Group(Protocol):
    """What one source put into a group commit; told when the group is durable."""

    def committed(self) -> None:
        """The group survives power loss: acknowledge."""
        ...


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading, as queries and the tail give it."""

    project: str
    thing: str
    property: str
    observed_at: int
    received_at: int
    value: Any
    quality: str = "good"
    seq: int = 0


class Row(msgspec.Struct, frozen=True, array_like=True):
    """What a payload decoder makes of one message: one thing's values at one time.

    `thing` is None for the thing of the connection. `observed_at` is None when the payload has no time.
    `units` names the units the payload itself declares (as SenML does), by property; `definitions` are those that the
    sender goes by, for properties that are not known here yet. `suspect` says that the sender itself doubts the values.
    """

    values: dict[str, Any]
    observed_at: int | None = None
    thing: str | None = None
    units: dict[str, str] = {}
    definitions: dict[str, Property] = {}
    suspect: bool = False


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """A part of a message that gives no row, and why; the other parts count."""

    reason: str
    payload: bytes
