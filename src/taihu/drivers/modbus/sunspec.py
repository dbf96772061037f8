"""SunSpec: the models a device says it has, as things and points.

Source: SunSpec Device Information Model Specification 1.1, and the SunSpec Alliance's models as pysunspec2 carries them
(`sunspec.json`, made by tools/sunspec_models.py; see NOTICE.md).
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from taihu.drivers.port import Point, ThingPlan
from taihu.kernel.units import UnitError, parse_unit
from taihu.things.property import DataType, Kind, Property

BASES = (40_000, 50_000, 0)
MARK = [0x5375, 0x6E53]  # "SunS"
_END = 0xFFFF
_MODELS_MAX = 64
_COMMON = 1
_UNITS = {
    "Wh": "W.h", "WH": "W.h", "VAh": "VA.h", "varh": "var.h", "Varh": "var.h", "Var": "var", "Pct": "%", "%": "%",
    "C": "Cel", "Secs": "s", "PF": "1", "cos()": "1", "ohms": "Ohm", "Ah": "A.h", "AH": "A.h",
}  # fmt: skip
MISSING = {
    "int16": -(1 << 15), "uint16": (1 << 16) - 1, "int32": -(1 << 31), "uint32": (1 << 32) - 1, "int64": -(1 << 63),
    "uint64": (1 << 64) - 1, "acc32": 0, "acc64": 0, "enum16": (1 << 16) - 1, "bitfield16": (1 << 16) - 1,
    "bitfield32": (1 << 32) - 1,
}  # fmt: skip
_TYPES = {"acc32": "uint32", "acc64": "uint64", "enum16": "uint16", "bitfield16": "uint16", "bitfield32": "uint32"}
_PASSED = {"sunssf", "pad", "count"}

Read = Callable[[int, int], Awaitable[Sequence[int] | None]]
"""Holding registers by start and count; None where the device has none there."""


class Found(msgspec.Struct, frozen=True):
    """A model of a device: its number, and where its block begins."""

    number: int
    start: int
    length: int


async def find_models(read: Read) -> list[Found]:
    """The models that a device lists after its mark, in order; none when it is no SunSpec device."""
    for base in BASES:
        if list(await read(base, 2) or ()) == MARK:
            return await _walk(read, base + 2)
    return []


async def _walk(read: Read, place: int) -> list[Found]:
    found: list[Found] = []
    while len(found) < _MODELS_MAX and place < 65_534:
        head = await read(place, 2)
        if head is None or head[0] == _END:
            break
        found.append(Found(head[0], place, head[1] + 2))
        place += head[1] + 2
    return found


def thing_of(name: str, found: Sequence[Found], common: Sequence[int]) -> tuple[ThingPlan, list[str]]:
    """One thing of all models that a device has, and notes on what is left out. `common` is the first model's block."""
    points: list[Point] = []
    notes: list[str] = []
    taken: set[str] = set()
    for model in found:
        if model.number == _COMMON:
            continue
        known = models().get(str(model.number))
        if known is None:
            notes.append(f"SunSpec model {model.number} at register {model.start} is not known here.")
            continue
        for point in _points(model, known):
            if point.definition.name not in taken:  # a model may stand twice: the first one counts
                taken.add(point.definition.name)
                points.append(point)
    maker, kind, serial = (_text(common, start, size) for start, size in ((2, 16), (18, 16), (50, 16)))
    title = " ".join(part for part in (maker, kind) if part)
    description = f"Serial number {serial}." if serial else ""
    return ThingPlan(name=name, title=title, description=description, points=tuple(points)), notes


def _points(model: Found, known: dict[str, Any]) -> list[Point]:
    scales = {one["name"]: model.start + one["at"] for one in known["points"] if one["type"] == "sunssf"}
    found = []
    for one in known["points"]:
        if one["at"] < 2 or one["type"] in _PASSED or one["at"] + one["size"] > model.length:
            continue
        where: dict[str, Any] = {"register": model.start + one["at"], "type": _TYPES.get(one["type"], one["type"])}
        if one["type"] == "string":
            where["length"] = one["size"]
        if one["type"] in MISSING:
            where["missing"] = MISSING[one["type"]]
        scale = one.get("sf")
        if isinstance(scale, int):
            where["scale"] = 10.0**scale
        elif scale in scales:
            where["scale_register"] = scales[scale]
        if one["type"] == "enum16" and one.get("symbols"):
            where["symbols"] = one["symbols"]
        found.append(Point(definition=_definition(model.number, one, where), where=where))
    return found


def _definition(number: int, one: dict[str, Any], where: dict[str, Any]) -> Property:
    counter = one["type"].startswith("acc")
    named = "symbols" in where
    text = named or one["type"] == "string"
    whole = one["type"].startswith("bitfield") or (one["type"] == "enum16" and not named)
    kind = Kind.STATE if text or whole else Kind.COUNTER if counter else Kind.GAUGE
    return Property(
        name=one["name"],
        kind=kind,
        data_type=DataType.STRING if text else DataType.INTEGER if whole else DataType.NUMBER,
        unit=_unit(one.get("unit")) if kind in (Kind.GAUGE, Kind.COUNTER) else None,
        wrap=2.0**32 if one["type"] == "acc32" and "scale" not in where and "scale_register" not in where else None,
        writable=bool(one.get("write")),
        title=one.get("label", ""),
        description=f"SunSpec model {number}, {one['name']}.",
    )


def _unit(text: str | None) -> str | None:
    """The UCUM code of a model's unit; None leaves it undeclared (§2)."""
    if text is None:
        return None
    text = text.strip()
    code = "%" if text.startswith("%") and "/" not in text else _UNITS.get(text, text)
    try:
        return parse_unit(code).code
    except UnitError:
        return None


def _text(words: Sequence[int], start: int, size: int) -> str:
    data = b"".join(word.to_bytes(2, "big") for word in words[start : start + size])
    return data.split(b"\0", 1)[0].decode("ascii", "replace").strip()


@cache
def models() -> dict[str, Any]:
    """The models that are known, by their number."""
    content = files("taihu.drivers.modbus").joinpath("sunspec.json").read_bytes()
    models: dict[str, Any] = msgspec.json.decode(content)
    return models
