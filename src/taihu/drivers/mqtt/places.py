"""Where a property is on a broker: a topic, a way into its payload, and how it is set. The same for all conventions."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from taihu.drivers.port import DeviceRefused, Plan, Point, Reading
from taihu.things.property import DataType

VALUE = "{value}"
_CLOSE = 1e-6
_DEPTH_MAX = 16
_NUMBER_MAX = 2**1023  # what a float holds, so that nan, infinities and what is larger are none
_SECONDS_MAX, _MS_MIN, _MS_MAX = 9_000_000_000, 100_000_000_000, 9_000_000_000_000  # in ns, what 64 bits hold
_decode = msgspec.json.Decoder().decode


class Alive(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A topic that says whether a device is there; what is neither text says nothing."""

    topic: str
    online: tuple[str, ...] = ("online",)
    offline: tuple[str, ...] = ("offline",)
    path: tuple[str | int, ...] = ()


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One property's place.

    `path` leads into a JSON payload; of the form `gateway` its first step is the device. `values` are what texts mean.
    To set it, `body` is published to `set` with the value in place of "{value}". `time` leads to the time of a payload,
    as seconds or milliseconds since 1970. `also` is a topic that tells the same value as plain text.
    """

    topic: str
    form: Literal["json", "text", "gateway"] = "json"
    path: tuple[str | int, ...] = ()
    values: dict[str, bool | float | str] = {}
    time: tuple[str | int, ...] = ()
    also: str = ""
    set: str = ""
    body: Any = VALUE
    alive: Alive | None = None


def place_of(point: Point) -> Place:
    """A point's place; raises DeviceRefused."""
    try:
        return msgspec.convert(point.where, Place)
    except msgspec.ValidationError as error:
        raise DeviceRefused(f"{point.definition.name}: {error}.", "docs/mqtt-bridge.md has what where holds.") from None


class _Known:
    """One property at a topic."""

    def __init__(self, thing: str, point: Point, place: Place) -> None:
        self.thing = thing
        self.name = point.definition.name
        self.place = place
        self.read = reader(point.definition.data_type, place.values)


class Routes:
    """What each topic's messages mean, by a plan."""

    def __init__(self, plan: Plan) -> None:
        self._known: dict[str, list[_Known]] = {}
        self._alive: dict[str, list[tuple[str, Alive]]] = {}
        self.told: set[str] = set()
        """Things that a topic says are there or not; all others are there while the broker is."""
        for thing in plan.things:
            for point in thing.points:
                place = place_of(point)
                self._known.setdefault(place.topic, []).append(_Known(thing.name, point, place))
                if place.also:
                    plain = Place(topic=place.also, form="text", values=place.values)
                    self._known.setdefault(plain.topic, []).append(_Known(thing.name, point, plain))
                if place.alive is not None:
                    self._alive.setdefault(place.alive.topic, []).append((thing.name, place.alive))
                    self.told.add(thing.name)

    def topics(self) -> list[str]:
        """All topics to hear."""
        return sorted(self._known.keys() | self._alive.keys())

    def alive(self, topic: str, payload: bytes) -> list[tuple[str, bool]]:
        """Which things a message says are there, or not."""
        found = []
        for thing, alive in self._alive.get(topic, ()):
            text = text_of(payload, alive.path)
            if text in alive.online or text in alive.offline:
                found.append((thing, text in alive.online))
        return found

    def rows(self, topic: str, payload: bytes) -> list[Reading]:
        """The readings of a message; what is not there, or of another type than it should be, is left out."""
        known = self._known.get(topic)
        if known is None:
            return []
        form = known[0].place.form
        if form == "text":
            return _together((one, one.read(payload.decode("utf-8", "replace")), None) for one in known)
        try:
            document = _decode(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return []
        if form == "gateway":
            return _gateway(known, document)
        return _together((one, one.read(step(document, one.place.path)), _time(document, one.place)) for one in known)


def _together(found: Iterable[tuple[_Known, Any, int | None]]) -> list[Reading]:
    """One row for each thing and time."""
    rows: dict[tuple[str, int | None], dict[str, Any]] = {}
    for known, value, time_ns in found:
        if value is not None:
            rows.setdefault((known.thing, time_ns), {})[known.name] = value
    return [Reading(thing, values, time_ns) for (thing, time_ns), values in rows.items()]


def _gateway(known: list[_Known], document: Any) -> list[Reading]:
    """A gateway's telemetry: lists of values with their times by device; or attributes by device."""
    found = []
    if isinstance(document, dict):
        for one in known:
            device, *rest = one.place.path
            told = document.get(device)
            for entry in told if isinstance(told, list) else [told]:
                time_ns, values = None, entry
                if isinstance(entry, dict) and isinstance(entry.get("values"), dict):
                    time_ns, values = _instant(entry.get("ts")), entry["values"]
                found.append((one, one.read(step(values, rest)), time_ns))
    return _together(found)


def reader(data_type: DataType, values: Mapping[str, Any]) -> Any:
    """A function from what a payload holds to a value of a type; None where it cannot be one."""

    def read(held: Any) -> Any:
        if values and isinstance(held, str | int) and (named := values.get(str(held))) is not None:
            held = named
        if data_type is DataType.STRING:
            return held if isinstance(held, str) else None
        if data_type is DataType.BOOLEAN:
            return held if isinstance(held, bool) else _TRUTHS.get(held) if isinstance(held, str) else None
        if data_type is DataType.OBJECT:
            return held if isinstance(held, dict | list) else None
        if isinstance(held, str):
            held = _number(held)
        if isinstance(held, bool) or not isinstance(held, int | float) or not -_NUMBER_MAX < held < _NUMBER_MAX:
            return None
        return held if data_type is DataType.NUMBER else int(held) if held == int(held) else None

    return read


_TRUTHS = {"true": True, "false": False, "ON": True, "OFF": False, "on": True, "off": False, "True": True,
           "False": False}  # fmt: skip


def _number(text: str) -> float | int | None:
    try:
        return float(text) if not text.lstrip("+-").isdecimal() else int(text)
    except ValueError:
        return None


def step(document: Any, path: Iterable[str | int]) -> Any:
    """What a path leads to in a JSON document, or None."""
    for part in path:
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and isinstance(part, int) and -len(document) <= part < len(document):
            document = document[part]
        else:
            return None
    return document


def text_of(payload: bytes, path: tuple[str | int, ...] = ()) -> str:
    """A payload, or what a path in it leads to, as text; of an object {"state": …} its state."""
    text = payload.decode("utf-8", "replace").strip()
    if path or text.startswith("{"):
        try:
            held = step(_decode(payload), path or ("state",))
        except (msgspec.DecodeError, RecursionError):
            return ""
        return held if isinstance(held, str) else msgspec.json.encode(held).decode()
    return text


def _time(document: Any, place: Place) -> int | None:
    return _instant(step(document, place.time)) if place.time else None


def _instant(held: Any) -> int | None:
    """Seconds, or milliseconds, since 1970 as nanoseconds; None for what is neither."""
    if isinstance(held, bool) or not isinstance(held, int | float):
        return None
    if 0 < held < _SECONDS_MAX:
        return int(held * 1_000_000_000)
    return int(held * 1_000_000) if _MS_MIN < held < _MS_MAX else None


def body_of(place: Place, value: Any) -> bytes:
    """What to publish to set a value."""
    said = next((text for text, meant in place.values.items() if meant == value and type(meant) is type(value)), value)
    return filled(place.body, said)


def filled(body: Any, value: Any) -> bytes:
    """A body with a value in place of "{value}": text as it is, all else as JSON.

    >>> filled({"state": "{value}"}, True)
    b'{"state":true}'
    """
    whole = _filled(body, value)
    return whole.encode() if isinstance(whole, str) else msgspec.json.encode(whole)


def _filled(body: Any, value: Any, depth: int = 0) -> Any:
    if depth > _DEPTH_MAX:
        raise DeviceRefused("The body is nested too deeply.", f"Use at most {_DEPTH_MAX} levels.")
    if isinstance(body, dict):
        return {name: _filled(one, value, depth + 1) for name, one in body.items()}
    if isinstance(body, list):
        return [_filled(one, value, depth + 1) for one in body]
    return value if body == VALUE else body


def same(one: Any, other: Any) -> bool:
    """Whether a value told is the one that was set; numbers may differ in their last digits."""
    if isinstance(one, int | float) and isinstance(other, int | float) and not isinstance(one, bool):
        return math.isclose(one, other, rel_tol=_CLOSE, abs_tol=_CLOSE)
    return bool(one == other)
