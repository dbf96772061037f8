"""Home Assistant's MQTT discovery: retained descriptions of entities, with short keys and templates.

Of templates the forms that devices use for a plain value are understood: `{{ value }}`, `{{ value_json.a.b }}`,
`{{ value_json['a'][0] }}`, with filters that only round or convert. Any other leaves its entity out, with a note.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from taihu.drivers.mqtt.found import Found

_SHORT = {
    "stat_t": "state_topic", "cmd_t": "command_topic", "val_tpl": "value_template", "dev": "device",
    "unit_of_meas": "unit_of_measurement", "dev_cla": "device_class", "stat_cla": "state_class", "pl_on": "payload_on",
    "pl_off": "payload_off", "avty_t": "availability_topic", "pl_avail": "payload_available",
    "pl_not_avail": "payload_not_available", "uniq_id": "unique_id", "obj_id": "object_id", "avty": "availability",
    "stat_val_tpl": "state_value_template", "stat_on": "state_on", "stat_off": "state_off", "t": "topic",
    "ids": "identifiers", "cmps": "components", "p": "platform", "cmd_tpl": "command_template",
}  # fmt: skip
_SWITCHES = ("switch", "binary_sensor", "light", "fan", "siren")
_SETTABLE = ("switch", "number", "select", "text", "light", "fan", "siren")
_COMPONENTS = ("sensor", "number", "select", "text", *_SWITCHES)
_TEMPLATE = re.compile(r"\{\{\s*(value_json|value)((?:\.\w+|\[(?:'[^']*'|\"[^\"]*\"|\d+)\])*)\s*((?:\|[^|}]*)*)\}\}")
_STEP = re.compile(r"\.(\w+)|\['([^']*)'\]|\[\"([^\"]*)\"\]|\[(\d+)\]")
_FILTERS = re.compile(r"(?:\s*\|\s*(?:float|int|round|string|default|is_defined)\s*(?:\([^()]*\))?)*\s*")
_ENTITIES_MAX = 100_000


def find(heard: Mapping[str, bytes], prefix: str) -> tuple[list[Found], list[str]]:
    """The entities that devices describe under a prefix, and notes on those left out."""
    found: list[Found] = []
    notes: list[str] = []
    for topic, payload in heard.items():
        parts = topic.split("/")
        if parts[0] != prefix or parts[-1] != "config" or len(parts) not in (4, 5) or len(found) > _ENTITIES_MAX:
            continue
        try:
            config = _long(msgspec.json.decode(payload))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue
        if not isinstance(config, dict):
            continue
        entities = config.get("components") if parts[1] == "device" else {parts[-2]: config}
        for name, entity in entities.items() if isinstance(entities, dict) else ():
            whole = {key: value for key, value in config.items() if key != "components"} | (
                entity if isinstance(entity, dict) else {}
            )
            component = str(whole.get("platform", "")) if parts[1] == "device" else parts[1]
            one = _entity(component, name, whole)
            if isinstance(one, Found):
                found.append(one)
            elif one:
                notes.append(f"Home Assistant's {topic}: {one}")
    return found, notes


def _entity(component: str, name: str, config: dict[str, Any]) -> Found | str:
    state = config.get("state_topic")
    if component not in _COMPONENTS:
        return f"{component} is no kind of entity that has a plain value."
    if not isinstance(state, str) or not state:
        return f"{name} tells no state."
    template = str(config.get("value_template") or config.get("state_value_template") or "")
    path = _path(template)
    if path is None:
        return f"{name} has a template that is not understood: {template[:60]}"
    where: dict[str, Any] = {"topic": state}
    if path:
        where["path"] = path
    elif "value_json" not in template:
        where["form"] = "text"
    if component in _SWITCHES:
        on, off = str(config.get("payload_on", "ON")), str(config.get("payload_off", "OFF"))
        where["values"] = {str(config.get("state_on", on)): True, str(config.get("state_off", off)): False}
    command = config.get("command_topic")
    if component in _SETTABLE and isinstance(command, str) and not config.get("command_template"):
        where["set"] = command
    _availability(config, where)
    unit = str(config.get("unit_of_measurement") or "")
    number = component == "number" or (component == "sensor" and (unit or config.get("state_class")))
    said_type = "number" if number else "boolean" if component in _SWITCHES else "string"
    device = config.get("device")
    thing = device.get("name") if isinstance(device, dict) else None
    title = config["name"] if isinstance(config.get("name"), str) else name
    counter = config.get("state_class") == "total_increasing"
    whose = str(thing or config.get("object_id") or name)
    return Found(whose, title, where, None, unit=unit, title=title, said_type=said_type, counter=counter)


def _availability(config: dict[str, Any], where: dict[str, Any]) -> None:
    given = config.get("availability")
    entry = given[0] if isinstance(given, list) and given and isinstance(given[0], dict) else config
    topic = entry.get("topic") if entry is not config else config.get("availability_topic")
    if isinstance(topic, str) and topic:
        online = str(entry.get("payload_available", "online"))
        offline = str(entry.get("payload_not_available", "offline"))
        where["alive"] = {"topic": topic, "online": [online], "offline": [offline]}


def _long(config: Any) -> Any:
    """A description with its whole keys, and with its base topic in place of ~."""
    if not isinstance(config, dict):
        return config
    base = config.get("~", "")

    def whole(value: Any, depth: int = 0) -> Any:
        if isinstance(value, dict) and depth < 8:
            return {_SHORT.get(key, key): whole(one, depth + 1) for key, one in value.items() if key != "~"}
        if isinstance(value, list) and depth < 8:
            return [whole(one, depth + 1) for one in value]
        if isinstance(value, str) and base and isinstance(base, str):
            return base + value[1:] if value.startswith("~") else value[:-1] + base if value.endswith("~") else value
        return value

    return whole(config)


def _path(template: str) -> list[str | int] | None:
    """The way that a template goes into a payload, [] for the whole; None when it does more than that."""
    if not template.strip():
        return []
    match = _TEMPLATE.fullmatch(template.strip())
    if match is None or _FILTERS.fullmatch(match.group(3)) is None or (match.group(1) == "value" and match.group(2)):
        return None
    return [int(number) if number else dotted or single or double
            for dotted, single, double, number in _STEP.findall(match.group(2))]  # fmt: skip
