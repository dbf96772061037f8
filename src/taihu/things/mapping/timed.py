"""Batches in ThingsBoard's timed form, decoded all at once: {"ts": ..., "values": {...}} many times over.

It holds for plain ones: whole numbers of one unit as times, and values that are numbers, text or booleans. Anything
else is left to the decoders, which say what is wrong with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from taihu.kernel.limits import DEFAULT, Limits
from taihu.things.mapping.rules import Format, Mapping
from taihu.things.mapping.times import unit_of

Value = float | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str | bool
"""What needs no look at each: an integer beyond 64 bits is bent by the decoders, or refused."""


class Timed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One thing's values at one time, as it wrote it."""

    ts: int
    values: dict[str, Value]


@dataclass(slots=True)
class Lot:
    """Rows of one thing that have the same names in the same order; `thing` is None for that of the connection."""

    thing: str | None
    names: tuple[str, ...]
    values: list[dict[str, Value]]
    times: list[int]

    def __len__(self) -> int:
        return len(self.times)


_of_one = msgspec.json.Decoder(list[Timed]).decode
_of_many = msgspec.json.Decoder(dict[str, list[Timed]]).decode


def timed_lots(payload: bytes, mapping: Mapping, limits: Limits = DEFAULT) -> list[Lot]:
    """The rows of a payload, times in UTC nanoseconds; none when the decoders have to read it.

    >>> timed_lots(b'[{"ts": 1700000000, "values": {"power": 3}}]', Mapping(name="m", topic="t", format="thingsboard"))
    [Lot(thing=None, names=('power',), values=[{'power': 3}], times=[1700000000000000000])]
    """
    if mapping.time != ("ts",) or mapping.rename or mapping.units:
        return []
    batch: dict[str | None, list[Timed]] = {}
    try:
        if mapping.format is Format.THINGSBOARD:
            batch[None] = _of_one(payload)
        elif mapping.format is Format.THINGSBOARD_GATEWAY:
            batch.update(_of_many(payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    if sum(map(len, batch.values())) > limits.payload_rows_max:
        return []
    lots = []
    for thing, items in batch.items():
        found = _lots(thing, items, limits)
        if not found:
            return []
        lots += found
    return lots


def _lots(thing: str | None, items: Sequence[Timed], limits: Limits) -> list[Lot]:
    """The lots of one thing; none when a row of it is not plain."""
    times = [item.ts for item in items]
    unit = unit_of(min(times, default=0))
    if not unit or unit != unit_of(max(times)):
        return []
    values = [item.values for item in items]
    forms = dict.fromkeys(map(tuple, values))
    if () in forms or max(map(len, forms)) > limits.properties_per_thing_max:
        return []
    if len(forms) == 1:
        (names,) = forms
        return [Lot(thing, names, values, [time * unit for time in times])]
    lots = {names: Lot(thing, names, [], []) for names in forms}
    for row, time in zip(values, times, strict=True):
        lot = lots[tuple(row)]
        lot.values.append(row)
        lot.times.append(time * unit)
    return list(lots.values())
