"""Batches in ThingsBoard's timed form, decoded all at once: {"ts": ..., "values": {...}} many times over.

It holds for plain ones: whole numbers of one unit as times, and values that are numbers, text or booleans. Anything
else is left to the decoders, which say what is wrong with it.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from taihu.things.mapping.lots import Lot, Value
from taihu.things.mapping.reading import Source
from taihu.things.mapping.rules import Format
from taihu.things.mapping.times import unit_of


class Timed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One thing's values at one time, as it wrote it."""

    ts: int
    values: dict[str, Value]


_FORMS_MAX = 1_024
_LARGE = 4_096  # bytes of a payload that is worth a type of its own
_FIRST = re.compile(rb'\s*(?:\{\s*"[^"\\]*"\s*:\s*)?\[\s*\{\s*"ts"\s*:\s*\d+\s*,\s*"values"\s*:\s*(\{[^{}]*\})')
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_TS, _VALUES = attrgetter("ts"), attrgetter("values")
_of_one = msgspec.json.Decoder(list[Timed]).decode
_of_many = msgspec.json.Decoder(dict[str, list[Timed]]).decode
_values_of = msgspec.json.Decoder(dict[str, Value]).decode


def timed_lots(source: Source, payload: bytes) -> list[Lot]:
    """The rows of a payload, times in UTC nanoseconds; none when the decoders have to read it."""
    mapping, limits, gateway = source.mapping, source.limits, source.mapping.format is Format.THINGSBOARD_GATEWAY
    if mapping.time != ("ts",) or mapping.rename or mapping.units:
        return []
    lots = _alike(payload, gateway=gateway) or _mixed(payload, gateway=gateway)
    if sum(map(len, lots)) > limits.payload_rows_max:
        return []
    for lot in lots:
        unit = unit_of(min(lot.times, default=0))
        plain = unit and unit == unit_of(max(lot.times))
        if not plain or not 0 < len(lot.names) <= limits.properties_per_thing_max:
            return []
        lot.times = [time * unit for time in lot.times]
    return lots


def _alike(payload: bytes, *, gateway: bool) -> list[Lot]:
    """The lots of a large payload whose rows all have the names of its first; none when they have not."""
    first = _FIRST.match(payload) if len(payload) >= _LARGE else None
    if first is None:
        return []
    try:
        names = tuple(_values_of(first[1]))
        form = _form(names)
        batch = form.of_many(payload) if gateway else {None: form.of_one(payload)}
    except (*_UNDECODABLE, ValueError):
        return []
    lots = []
    for thing, items in batch.items():
        rows = list(map(_VALUES, items))
        lots.append(Lot(thing, names, [list(map(field, rows)) for field in form.fields], list(map(_TS, items))))
    return lots


def _mixed(payload: bytes, *, gateway: bool) -> list[Lot]:
    """The lots of rows with any names; none when one of them is not plain."""
    batch: dict[str | None, list[Timed]] = {}
    try:
        if gateway:
            batch.update(_of_many(payload))
        else:
            batch[None] = _of_one(payload)
    except _UNDECODABLE:
        return []
    lots = []
    for thing, items in batch.items():
        forms: dict[tuple[str, ...], list[Timed]] = {}
        for item in items:
            forms.setdefault(tuple(item.values), []).append(item)
        for names, alike in forms.items() or [((), [])]:
            columns = list(map(list, zip(*[item.values.values() for item in alike], strict=True)))
            lots.append(Lot(thing, names, columns, list(map(_TS, alike))))
    return lots


class _Form(NamedTuple):
    """How rows of certain names are decoded, and what takes each of their values."""

    of_one: Callable[[bytes], Any]
    of_many: Callable[[bytes], Any]
    fields: list[Callable[[Any], Any]]


@lru_cache(_FORMS_MAX)
def _form(names: tuple[str, ...]) -> _Form:
    """The form of rows with just these names, in any order; ValueError for names it cannot express."""
    fields = [f"f{place}" for place in range(len(names))]
    values = msgspec.defstruct(
        "Values",
        [(field, Value) for field in fields],
        rename=dict(zip(fields, names, strict=True)),
        forbid_unknown_fields=True,
        gc=False,
    )
    item = msgspec.defstruct("Item", [("ts", int), ("values", values)], forbid_unknown_fields=True, gc=False)
    one, many = msgspec.json.Decoder(list[item]), msgspec.json.Decoder(dict[str, list[item]])  # type: ignore[valid-type]
    return _Form(one.decode, many.decode, list(map(attrgetter, fields)))
