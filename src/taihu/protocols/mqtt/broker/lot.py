"""What one group commit takes of the broker."""

from typing import Any

Reading = tuple[object, bytes]
"""A claim and its payload."""


class Lot:
    """Readings in the order of their arrival, and the acknowledgements that wait until they are durable (§4).

    Each of `acks` is a connection, the bytes for it, and how many QoS 1 messages they acknowledge; messages of QoS 2 to
    sessions that outlive a crash wait among them. `size` is how many
    bytes came in from which something waits now.
    """

    __slots__ = ("acks", "durable", "readings", "size")

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.acks: list[tuple[Any, bytes, int]] = []
        self.size = 0
        self.durable = False

    def __bool__(self) -> bool:
        return bool(self.readings or self.acks)
