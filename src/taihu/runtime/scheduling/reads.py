"""What a scheduler reads of its site: the node's API as it is now, or the stored history as it was then."""

from typing import Protocol

from taihu.runtime.forecast.foretold import Service
from taihu.runtime.pilot.api import Said


class Reads(Service, Protocol):
    """Values and windows of the properties that a scheduler names; paths may leave out the project."""

    async def windows(self, project: str, path: str, start: int, end: int, every: str) -> dict[int, float]:
        """A property's windows by their beginning, those that are covered whole."""
        ...

    async def at(self, project: str, path: str) -> float | None:
        """The number that the property of a path holds; None when it is missing or stale."""
        ...

    async def said(self, project: str, thing: str) -> Said:
        """What a thing says."""
        ...
