"""Many rows of one thing at once, column by column: what a batch of plain readings is made into."""

from dataclasses import dataclass
from typing import Annotated

import msgspec

Value = float | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str | bool
"""What needs no look at each: an integer beyond 64 bits is bent by the decoders, or refused."""


@dataclass(slots=True)
class Lot:
    """Rows of one thing that have the same names; `thing` is None for that of the connection. Times are UTC ns."""

    thing: str | None
    names: tuple[str, ...]
    columns: list[list[Value]]
    times: list[int]

    def __len__(self) -> int:
        return len(self.times)

    def row(self, place: int) -> dict[str, Value]:
        """The values of one row by name."""
        return dict(zip(self.names, [column[place] for column in self.columns], strict=True))
