"""What the door asks of the group commit, and what it offers to it (§4)."""

from typing import Protocol


class Source(Protocol):
    """A sender with something for the next group commit."""

    def take(self) -> list[tuple[object, bytes]]:
        """Called once at the start of a group: the readings; what is acknowledged at `committed` is fixed now."""
        ...

    def committed(self) -> None:
        """The group survives power loss: acknowledge."""
        ...

    def resume(self) -> None:
        """There is room again: go on reading."""
        ...


class Pipeline(Protocol):
    """The group commit. At the start of each group it also takes `Broker.take_log`."""

    full: bool

    def submit(self, source: Source, size: int = 0) -> None:
        """Take `source` into the next group; `size` is how many bytes it just added. Idempotent until taken."""
        ...

    def pause(self, source: Source) -> None:
        """`source` stopped reading because the pipeline is full; it is resumed later."""
        ...
