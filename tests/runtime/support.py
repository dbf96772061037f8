"""A registry, claims and sources for what runs between the doors and the journal, without either."""

from array import array
from collections.abc import Mapping as Definitions
from typing import Any

import msgspec

from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.limits import DEFAULT, Limits
from taihu.kernel.retention import ages_of
from taihu.runtime.ingest.intake import Claim, Intake
from taihu.runtime.ingest.quarantine import Refused
from taihu.things.batch import Batch
from taihu.things.mapping.matcher import Matcher
from taihu.things.mapping.rules import builtin_mappings
from taihu.things.property import Property

NOW_NS = 1_700_000_000 * NS_PER_S
PROJECT = "plant"
TELEMETRY = "v1/devices/me/telemetry"


class Things:
    """Implements `intake.Registry` in memory."""

    def __init__(self, **things: Definitions[str, Property]) -> None:
        self.things = {name: dict(definitions) for name, definitions in things.items()}
        self.commissioned: dict[str, int] = {}
        self.models: dict[str, str] = {}

    def definitions(self, project: str, thing: str) -> Definitions[str, Property] | None:
        return self.things.get(thing)

    def model_of(self, project: str, thing: str) -> str:
        return self.models.get(thing, "")

    def commissioned_at(self, project: str, thing: str) -> int:
        return self.commissioned.get(thing, 0)

    full: frozenset[str] = frozenset()

    def full_reason(self, project: str) -> str:
        return f"{project} is full"

    def raw_age(self, project: str, definition: Property) -> int:
        return ages_of(definition.retention)[0]

    def infer(self, project: str, thing: str, properties: Definitions[str, Property]) -> None:
        self.things[thing] = {**self.things[thing], **properties}

    def create(self, project: str, thing: str) -> None:
        self.things[thing] = {}


class Cell(msgspec.Struct, frozen=True, order=True):
    """One reading of a batch."""

    thing: str
    name: str
    observed_at: int
    value: Any
    flags: int


class Bench:
    """An intake and what comes out of it."""

    def __init__(self, things: Things, limits: Limits = DEFAULT) -> None:
        self.clock = SimClock(NOW_NS)
        self.things = things
        self.refused: list[Refused] = []
        self.intake = Intake(things, self.clock, limits, self.refused.append)

    def take(self, *readings: tuple[Claim, bytes]) -> list[Batch]:
        """One group."""
        self.intake.add(readings)
        return self.intake.finish()

    def cells(self, *readings: tuple[Claim, bytes]) -> list[Cell]:
        """One group's readings, one by one."""
        return cells(self.take(*readings))


def property_of(name: str, **fields: Any) -> Property:
    """A property as short as may be."""
    return Property(name=name, **fields)


def properties_of(*properties: Property) -> dict[str, Property]:
    """By name."""
    return {definition.name: definition for definition in properties}


def claim_of(thing: str | None = "pump", topic: str = TELEMETRY, may_create: bool = False) -> Claim:
    """What a topic's match makes of a message."""
    match = Matcher(builtin_mappings(), PROJECT).match(topic)
    assert match is not None
    return Claim(PROJECT, match.thing or thing, match.decoder(thing), match.mapping, may_create)


def cells(batches: list[Batch]) -> list[Cell]:
    """Every reading of some batches."""
    found = []
    for batch in batches:
        observed = array("q", batch.observed)
        things = [batch.things[index] for index in array("i", batch.thing_of)] if batch.thing_of else None
        for name, column in zip(batch.properties, batch.columns, strict=True):
            for row, value in enumerate(column.values()):
                thing = things[row] if things else batch.things[0]
                found.append(Cell(thing, name, observed[row], value, batch.flags[row] if batch.flags else 0))
    return found
