"""What every source of an import gives: rows, in order, each with the place where it stands."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from taihu.kernel.errors import RefusedError
from taihu.things.property import Thing


class Text(str):
    """Text of a file that knows no types: a number, a boolean or text, as the property is defined."""

    __slots__ = ()


class Row(NamedTuple):
    """Values of one thing at one time. `number` rises through the source; `where` is for people, such as a line."""

    number: int
    where: str
    thing: str
    observed_at: int
    values: dict[str, Any]


class Line(NamedTuple):
    """A line that the node reads itself."""

    number: int
    where: str
    data: bytes


class Refused(NamedTuple):
    """What could not be imported of a row, and why; `property` is empty when it is all of it."""

    number: int
    where: str
    thing: str
    property: str
    reason: str


Item = Row | Line | Refused


class SourceRefused(RefusedError):
    """A file cannot be imported as asked: say what it is, or correct it."""

    code = "import-source"


class Source(Protocol):
    """Where rows come from.

    `total` is how many steps of progress there are, `skipped` how many rows were passed by as they hold no reading.
    """

    total: int
    skipped: int

    def about(self, thing: str) -> Thing | None:
        """What the source knows of a thing and its properties."""
        ...

    def items(self, after: int) -> Iterator[Item]:
        """The rows with a number above `after`, in order; a row that cannot be read is refused."""
        ...

    def done(self) -> int:
        """The steps behind the last row given."""
        ...
