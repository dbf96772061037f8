"""What the door asks of the group commit, and what it offers to it (§4)."""

from typing import Protocol


class Sleeper(Protocol):
    """A sender that stopped because there is no room."""

    def resume(self) -> None:
        """There is room again: go on reading."""
        ...


class Source(Protocol):
    """Something for the next group commit, with somebody who waits for it."""

    def take(self) -> list[tuple[object, bytes]]:
        """Called once at the start of a group: the readings; what is acknowledged at `committed` is fixed now."""
        ...

    def committed(self) -> None:
        """The group survives power loss: acknowledge."""
        ...


class Pipeline(Protocol):
    """The group commit. At the start of each group it also takes `Broker.take_log`."""

    full: bool

    def submit(self, source: Source, size: int = 0, senders: int = 1) -> None:
        """Take `source` into the next group; it just got `size` bytes more, of so many `senders`."""
        ...

    def pause(self, sleeper: Sleeper) -> None:
        """`sleeper` stopped reading because the pipeline is full; it is resumed later."""
        ...
