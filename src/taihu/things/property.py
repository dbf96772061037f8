"""What a property is: its kind, unit, type and rules (§2). Rollup, filling and late-data rules follow from the kind."""

from enum import StrEnum
from math import inf
from typing import Any

import msgspec

from taihu.kernel.retention import Retention

Value = float | int | bool | str | list[Any] | dict[str, Any]


class Kind(StrEnum):
    """How a property behaves in time."""

    GAUGE = "gauge"  # holds until `max_age_s`
    COUNTER = "counter"  # monotonic register; consumption is its increase
    INTERVAL = "interval"  # an amount over [observed_at, observed_at + interval_s)
    STATE = "state"  # one of few values; holds until it changes or `max_age_s`
    EVENT = "event"  # happens at an instant, holds for none


class DataType(StrEnum):
    """W3C Thing Description data types; `object` holds arrays too."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRING = "string"
    OBJECT = "object"


class OnBad(StrEnum):
    """What happens to a reading that breaks its property's definition."""

    REFUSE = "refuse"  # to the quarantine, with the reason
    FLAG = "flag"  # stored, with quality `suspect`


class Signal(StrEnum):
    """Of which electricity an intensity is: the two never stand for each other (§8)."""

    AVERAGE = "average"  # of all that a grid generates
    MARGINAL = "marginal"  # of one kWh more or less


class Swap(msgspec.Struct, frozen=True):
    """A meter was replaced at `at` (UTC ns): the old one showed `old_final`, the new one began at `new_initial`.

    Both are register values, before the transformer ratio. A reading at `at` itself is the new meter's.
    """

    at: int
    old_final: float
    new_initial: float


class Property(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The definition of one property.

    `unit` is a UCUM code; None says `unit undeclared`, and the property takes no part in sums.
    `max_age_s` bounds how long a gauge or state holds. `interval_s` is the length of an interval's [start, end).
    `wrap` is where a counter's register starts again from zero; `ratio` is the transformer ratio already
    applied by `things.counter` when increases are formed; `swaps` are the meters it had before. `period_s` is how
    often the device means to report. `formula` makes it a calculated property: nothing is sent of it, and it is worked
    out of others when asked for (`things.formula`). `signal` says of which electricity an intensity is. `retention`
    says how long its readings are kept, where that is said of it.
    """

    name: str
    kind: Kind = Kind.GAUGE
    data_type: DataType = DataType.NUMBER
    unit: str | None = None
    resolution: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_age_s: float = 900.0
    period_s: float | None = None
    interval_s: float | None = None
    wrap: float | None = None
    ratio: float = 1.0
    swaps: tuple[Swap, ...] = ()
    enum: tuple[str, ...] = ()
    on_bad: OnBad = OnBad.REFUSE
    writable: bool = False
    observable: bool = True
    inferred: bool = False
    formula: str = ""
    signal: Signal | None = None
    retention: Retention | None = None
    title: str = ""
    description: str = ""


def hold_s(definition: Property) -> float:
    """How old a value may be to be held (§3); what a counter, interval or event said stays true."""
    if definition.kind not in (Kind.GAUGE, Kind.STATE):
        return inf
    return max(definition.max_age_s, definition.interval_s or 0.0)


def is_stale(definition: Property, age_s: float) -> bool:
    """Whether a value of that age is held no longer (§3)."""
    return age_s > hold_s(definition)


class Quality(StrEnum):
    """How far a reading can be trusted."""

    GOOD = "good"
    SUSPECT = "suspect"  # doubted by its sender, or broke its property's definition and was stored by its rule
    STAMPED = "stamped"  # good, but observed_at is the receiver's time (§1)


class ThingModel(msgspec.Struct, frozen=True, kw_only=True):
    """A Thing Model, parsed: what all things of one type share.

    `document` is the model as JSON, with its bases merged in; empty for one made in code.
    """

    name: str
    title: str = ""
    version: str = "1"
    properties: dict[str, Property] = {}
    document: bytes = b""


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """One thing: the name of its model and what differs from it.

    `properties` holds only what the model does not define or the thing overrides. `inferred` marks a thing that
    registered itself and whose properties were inferred from its traffic. `commissioned_at` (UTC ns, 0 when unknown) is
    the earliest moment it can have observed anything. `registered_id` is the identifier of the Thing Description it was
    registered by; empty for one that has its own here. `actions` are those that its model does not have, as a Thing
    Description says them, without forms.
    """

    name: str
    model: str = ""
    title: str = ""
    properties: dict[str, Property] = {}
    site: str = ""
    building: str = ""
    parent: str = ""
    role: str = ""
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    inferred: bool = False
    created_at: int = 0
    commissioned_at: int = 0
    registered_id: str = ""
    actions: dict[str, Any] = {}
