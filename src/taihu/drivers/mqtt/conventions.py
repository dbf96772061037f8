"""Conventions by which devices use a broker, as data: what to hear, what topics carry, how devices tell what they are.

Built-in ones are TOML files in `conventions/`; a person's own are named by their paths (docs/mqtt-bridge.md).
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import msgspec

from taihu.drivers.mqtt import home_assistant
from taihu.drivers.mqtt.found import Found, join
from taihu.drivers.mqtt.places import VALUE, Alive, step, text_of
from taihu.drivers.port import DeviceRefused, Plan

BUILT_IN = ("zigbee2mqtt", "homie", "tasmota", "homeassistant", "thingsboard-gateway")
_BYTES_MAX = 1_048_576
_LEAVES_MAX = 1_000
_DEPTH_MAX = 6


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic that carries values. In its pattern {thing}, {property} and other names stand for one level each."""

    topic: str
    form: Literal["json", "text", "gateway"] = "json"
    property: str = ""
    skip: tuple[str, ...] = ()
    values: dict[str, bool | float | str] = {}
    time: tuple[str | int, ...] = ()
    also: str = ""
    set: str = ""
    body: Any = VALUE
    settable: str = ""  # a regular expression of the properties that can be set; empty for what is said to be


class There(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic that says whether a thing is there."""

    topic: str
    online: tuple[str, ...] = ("online",)
    offline: tuple[str, ...] = ("offline",)
    path: tuple[str | int, ...] = ()


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic that says something of a property."""

    topic: str
    says: Literal["unit", "title", "type", "settable"]


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic with a list of things and their properties; each member says under which key a part of it stands."""

    topic: str
    thing: str
    properties: tuple[str | int, ...]
    name: str
    nested: str = ""
    unit: str = ""
    title: str = ""
    type: str = ""
    on: str = ""
    off: str = ""
    access: str = ""
    settable_bit: int = 2
    state: str
    set: str = ""
    there: str = ""


class Convention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One convention; `units` are regular expressions of properties, and their units."""

    listen: tuple[str, ...]
    title: str = ""
    state: tuple[State, ...] = ()
    there: tuple[There, ...] = ()
    about: tuple[About, ...] = ()
    catalogue: tuple[Catalogue, ...] = ()
    home_assistant: str = ""
    units: dict[str, str] = {}


def load(names: Sequence[Any]) -> dict[str, Convention]:
    """Conventions by name or path; all built-in ones for none. Raises DeviceRefused."""
    found: dict[str, Convention] = {}
    for name in names or BUILT_IN:
        try:
            if name in BUILT_IN:
                content = files("taihu.drivers.mqtt").joinpath("conventions", f"{name}.toml").read_text("utf-8")
            else:
                path = Path(str(name))
                if path.stat().st_size > _BYTES_MAX:
                    raise DeviceRefused(f"{path} is larger than {_BYTES_MAX} bytes.", "A convention is short.")
                content = path.read_text("utf-8")
            convention = msgspec.convert(tomllib.loads(content), Convention)
            for state in convention.state:
                re.compile(state.settable)
            for pattern in convention.units:
                re.compile(pattern)
            found[str(name)] = convention
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, re.error) as error:
            known = ", ".join(BUILT_IN)
            raise DeviceRefused(f"The convention {name!r:.80}: {error}.", f"Name a TOML file, or: {known}.") from None
    return found


def plan_of(heard: Mapping[str, bytes], conventions: Mapping[str, Convention], notes: Iterable[str] = ()) -> Plan:
    """The things that messages tell of, by the first convention that knows each topic."""
    found: list[Found] = []
    said: list[str] = list(notes)
    for name, convention in conventions.items():
        known = len(found)
        for rule in convention.catalogue:
            found += _catalogue(rule, heard.get(rule.topic, b""))
        if convention.home_assistant:
            some, left = home_assistant.find(heard, convention.home_assistant)
            found += some
            said += left
        found += _states(convention, heard)
        _there(convention, heard, found[known:])
        if len(found) > known:
            said.append(f"{convention.title or name}: {len({one.thing for one in found[known:]})} things.")
    return join(found, said)


def _states(convention: Convention, heard: Mapping[str, bytes]) -> list[Found]:
    abouts = [(_pattern(rule.topic), rule.says) for rule in convention.about]
    patterns = [(_pattern(rule.topic), rule) for rule in convention.state]
    about: dict[tuple[str, ...], dict[str, str]] = {}
    for topic, payload in heard.items():
        for pattern, says in abouts:
            if (match := pattern.fullmatch(topic)) is not None:
                about.setdefault(tuple(match.groups()), {})[says] = text_of(payload)
    found: list[Found] = []
    for topic, payload in heard.items():
        for pattern, rule in patterns:
            match = pattern.fullmatch(topic)
            if match is not None:
                found += _told(convention, rule, topic, match, payload, about.get(tuple(match.groups()), {}))
                break
    return found


def _told(
    convention: Convention, rule: State, topic: str, match: re.Match[str], payload: bytes, about: dict[str, str]
) -> Iterable[Found]:
    names = match.groupdict()
    if rule.form == "text":
        leaves: list[tuple[tuple[str | int, ...], Any]] = [((), text_of(payload))]
    else:
        try:
            document = msgspec.json.decode(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return
        leaves = list(_gateway(document)) if rule.form == "gateway" else list(_leaves(document, rule.skip))
    for path, value in leaves[:_LEAVES_MAX]:
        inner = path[1:] if rule.form == "gateway" else path
        name = ".".join(map(str, inner)) if inner else fill(rule.property or "{property}", names)
        given = {"property": name} | names | ({"thing": str(path[0])} if rule.form == "gateway" else {})
        settable = about.get("settable") == "true" or bool(rule.settable and re.fullmatch(rule.settable, name))
        where: dict[str, Any] = {"topic": topic}
        where |= {"form": rule.form} if rule.form != "json" else {}
        where |= {"path": list(path)} if path else {}
        where |= {"values": dict(rule.values)} if rule.values and str(value) in rule.values else {}
        where |= {"time": list(rule.time)} if rule.time else {}
        where |= {"also": fill(rule.also, given)} if rule.also else {}
        if settable and rule.set:
            where |= {"set": fill(rule.set, given)} | ({"body": fill(rule.body, given)} if rule.body != VALUE else {})
        unit = about.get("unit") or next((u for p, u in convention.units.items() if re.fullmatch(p, name)), "")
        yield Found(given.get("thing", "thing"), name, where, rule.values.get(str(value), value), unit=unit,
                    title=about.get("title", ""), said_type=about.get("type", ""))  # fmt: skip


def _leaves(document: Any, skip: Sequence[str], path: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], Any]]:
    """All values of a JSON object that are no objects, with the ways to them."""
    if isinstance(document, dict) and len(path) < _DEPTH_MAX:
        for name, value in document.items():
            if name not in skip:
                yield from _leaves(value, skip, (*path, name))
    elif path and isinstance(document, str | int | float):
        yield path, document


def _gateway(document: Any) -> Iterable[tuple[tuple[str, ...], Any]]:
    for device, told in document.items() if isinstance(document, dict) else ():
        entry = told[-1] if isinstance(told, list) and told else told
        values = entry.get("values", entry) if isinstance(entry, dict) else {}
        yield from _leaves(values, ("ts",), (device,))


def _catalogue(rule: Catalogue, payload: bytes) -> list[Found]:
    try:
        things = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return []
    found: list[Found] = []

    def add(thing: str, entry: Any, depth: int = 0) -> None:
        if not isinstance(entry, dict) or depth > _DEPTH_MAX or len(found) > _LEAVES_MAX * 100:
            return
        if rule.nested and isinstance(entry.get(rule.nested), list) and not entry.get(rule.name):
            for one in entry[rule.nested]:
                add(thing, one, depth + 1)
            return
        name = entry.get(rule.name)
        if not isinstance(name, str) or not name:
            return
        names = {"thing": thing, "property": name}
        on, off = entry.get(rule.on), entry.get(rule.off)
        where: dict[str, Any] = {"topic": fill(rule.state, names), "path": [name]}
        where |= {"values": {str(on): True, str(off): False}} if isinstance(on, str) and isinstance(off, str) else {}
        access = entry.get(rule.access)
        if rule.set and (access & rule.settable_bit if isinstance(access, int) else False):
            where |= {"set": fill(rule.set, names), "body": {name: VALUE}}
        texts = {key: str(entry.get(at) or "") for key, at in (("unit", rule.unit), ("title", rule.title))}
        found.append(Found(thing, name, where, None, unit=texts["unit"], title=texts["title"],
                           said_type=str(entry.get(rule.type, ""))))  # fmt: skip

    for entry in things if isinstance(things, list) else ():
        thing = entry.get(rule.thing) if isinstance(entry, dict) else None
        listed = step(entry, rule.properties) if isinstance(thing, str) else None
        for one in listed if isinstance(listed, list) else ():
            add(str(thing), one)
    return found


def _there(convention: Convention, heard: Mapping[str, bytes], found: list[Found]) -> None:
    """Put to each thing's first place the topic that says whether it is there."""
    first: dict[str, Found] = {}
    for one in found:
        first.setdefault(one.thing, one)
    for rule in convention.there:
        pattern = _pattern(rule.topic)
        for topic in heard:
            match = pattern.fullmatch(topic)
            owner = None if match is None else first.get(match.groupdict().get("thing", ""))
            if owner is not None and "alive" not in owner.where:
                alive = Alive(topic=topic, online=rule.online, offline=rule.offline, path=rule.path)
                owner.where["alive"] = msgspec.to_builtins(alive)


def _pattern(topic: str) -> re.Pattern[str]:
    """A topic with {names} as a regular expression; each stands for one level."""
    parts = re.split(r"\{(\w+)\}", topic)
    return re.compile(
        "".join(re.escape(part) if at % 2 == 0 else f"(?P<{part}>[^/$][^/]*)" for at, part in enumerate(parts))
    )


def fill(body: Any, names: Mapping[str, str]) -> Any:
    """A text, or the texts of a structure, with names in place of {names}; "{value}" stays."""
    if isinstance(body, str):
        return re.sub(r"\{(\w+)\}", lambda match: names.get(match.group(1), match.group(0)), body)
    if isinstance(body, dict):
        return {fill(name, names): fill(value, names) for name, value in body.items()}
    return [fill(one, names) for one in body] if isinstance(body, list) else body
