"""Things from plain JSON: every leaf is a property; of Shelly and Tasmota devices units, kinds and switches are known.

Sources: Shelly API, Gen1 and Gen2+ component documentation; Tasmota, JSON status responses.
"""

import re
from typing import Any, NamedTuple

import msgspec

from taihu.drivers.port import Plan, Point, ThingPlan
from taihu.drivers.resources import leaves, pointer_of
from taihu.kernel.ids import NameRefused
from taihu.kernel.limits import Limits
from taihu.things.infer import infer_property
from taihu.things.property import DataType, Kind, Property


class Known(NamedTuple):
    """What is known of the leaves whose name matches: unit, kind, scale; how to write those that can be."""

    pattern: str
    unit: str | None = None
    kind: Kind | None = None
    scale: float = 1.0
    write: dict[str, Any] | None = None
    words: dict[str, Any] | None = None


class Profile(NamedTuple):
    """A family of devices: the resources that are polled, what is left out, and what is known of the rest."""

    name: str
    resources: tuple[str, ...]
    skip: str
    known: tuple[Known, ...]
    strip: str = ""


_ON_OFF = {"true": "on", "false": "off"}
PLAIN = Profile("", (), "", ())
SHELLY_1 = Profile(
    "Shelly (Gen1)",
    ("/status",),
    r"(wifi_sta|cloud|mqtt|update|actions_stats)\..*|time|unixtime|serial|has_update|mac|ram_.*|fs_.*|cfg_.*|"
    r".*\.(timer_.*|has_timer|source|is_valid|timestamp|counters.*)|(tmp|ext_temperature).*\.?tF|(tmp\.)?is_valid",
    (
        Known(r"relays\.(\d+)\.ison",
              write={"href": "/relay/{0}?turn={{value}}", "method": "GET", "words": _ON_OFF}),
        Known(r"lights\.(\d+)\.ison",
              write={"href": "/light/{0}?turn={{value}}", "method": "GET", "words": _ON_OFF}),
        Known(r"lights\.(\d+)\.brightness", "%",
              write={"href": "/light/{0}?brightness={{value}}", "method": "GET"}),
        Known(r"meters\.\d+\.total", "W.h", Kind.COUNTER, 1 / 60),
        Known(r"emeters\.\d+\.(total|total_returned)", "W.h", Kind.COUNTER),
        Known(r"(e?meters)\.\d+\.power", "W"),
        Known(r"emeters\.\d+\.reactive", "var"),
        Known(r"emeters\.\d+\.voltage|voltage", "V"),
        Known(r"emeters\.\d+\.current", "A"),
        Known(r"emeters\.\d+\.pf", "1"),
        Known(r"temperature|tmp\.(tC|value)|ext_temperature\.\d+\.tC", "Cel"),
        Known(r"hum\.value|ext_humidity\.\d+\.hum|bat\.value", "%"),
        Known(r"lux\.value", "lx"),
        Known(r"uptime", "s"),
    ),
)  # fmt: skip
SHELLY_2 = Profile(
    "Shelly (Gen2+)",
    ("/rpc/Shelly.GetStatus",),
    r"(ble|cloud|mqtt|ws|wifi|eth|sys|script:\d+|ui|knx|matter|plugs_ui|bthome)(\..*)?|"
    r".*\.(id|source|minute_ts|by_minute.*|timer_.*|tF|transition.*|errors.*|flags.*)",
    (
        Known(r"switch:(\d+)\.output",
              write={"href": "/rpc/Switch.Set", "method": "POST", "body": {"id": 0, "on": "$value"}}),
        Known(r"light:(\d+)\.output",
              write={"href": "/rpc/Light.Set", "method": "POST", "body": {"id": 0, "on": "$value"}}),
        Known(r"light:(\d+)\.brightness", "%",
              write={"href": "/rpc/Light.Set", "method": "POST", "body": {"id": 0, "brightness": "$value"}}),
        Known(r"cover:(\d+)\.current_pos", "%",
              write={"href": "/rpc/Cover.GoToPosition", "method": "POST", "body": {"id": 0, "pos": "$value"}}),
        Known(r".*\.(aenergy|ret_aenergy)\.total|em1?data:\d+\.(\w_)?total_act(_ret)?(_energy)?|"
              r"em1?data:\d+\.total_act_ret_energy", "W.h", Kind.COUNTER),
        Known(r".*\.(apower|act_power|\w_act_power|total_act_power)", "W"),
        Known(r".*\.(aprtpower|aprt_power|\w_aprt_power|total_aprt_power)", "VA"),
        Known(r".*\.(voltage|\w_voltage)", "V"),
        Known(r".*\.(current|\w_current|total_current)", "A"),
        Known(r".*\.(pf|\w_pf)", "1"),
        Known(r".*\.(freq|\w_freq)", "Hz"),
        Known(r".*\.tC", "Cel"),
        Known(r".*\.(rh|battery\.percent|percent)", "%"),
        Known(r".*\.lux", "lx"),
    ),
)  # fmt: skip
TASMOTA = Profile(
    "Tasmota",
    ("/cm?cmnd=Status%2010", "/cm?cmnd=State"),
    r"(.*\.)?(Time|TempUnit|PressureUnit|SpeedUnit|TotalStartTime|Uptime|Heap|SleepMode|Sleep|LoadAvg|MqttCount|Berry.*|"
    r"Wifi.*|POWERONSTATE|Id)",
    (
        Known(r"POWER(\d*)", kind=Kind.STATE, words={"ON": True, "OFF": False},
              write={"href": "/cm?cmnd=Power{0}%20{{value}}", "method": "GET", "words": _ON_OFF}),
        Known(r"Dimmer", "%", write={"href": "/cm?cmnd=Dimmer%20{{value}}", "method": "GET"}),
        Known(r"ENERGY\.(Total|ExportActive|Yesterday|Today)", "kW.h", Kind.COUNTER),
        Known(r"ENERGY\.Power", "W"),
        Known(r"ENERGY\.ApparentPower", "VA"),
        Known(r"ENERGY\.ReactivePower", "var"),
        Known(r"ENERGY\.Factor", "1"),
        Known(r"ENERGY\.Voltage", "V"),
        Known(r"ENERGY\.Current", "A"),
        Known(r"ENERGY\.Frequency", "Hz"),
        Known(r".*\.Humidity", "%"),
        Known(r".*\.CarbonDioxide|.*\.eCO2", "[ppm]"),
        Known(r".*\.Illuminance", "lx"),
        Known(r"UptimeSec", "s"),
    ),
    "StatusSNS.",
)  # fmt: skip


def profile_of(document: Any) -> Profile | None:
    """Which family answers so at /shelly or /cm?cmnd=Status%200."""
    if not isinstance(document, dict):
        return None
    if "gen" in document and "id" in document and "app" in document:
        return SHELLY_2
    if "type" in document and "mac" in document and "fw" in document:
        return SHELLY_1
    return TASMOTA if isinstance(document.get("Status"), dict) and "StatusFWR" in document else None


def title_of(profile: Profile, document: Any) -> str:
    """What the device is called by whoever set it up, else its model."""
    if profile is TASMOTA:
        return str(document["Status"].get("DeviceName") or "Tasmota")[:128]
    return str(document.get("name") or f"Shelly {document.get('app') or document.get('type')}")[:128]


def thing_of(
    name: str, title: str, profile: Profile, documents: dict[str, Any], limits: Limits
) -> tuple[ThingPlan, list[str]]:
    """A thing of the leaves of what its resources answered, and what was left out."""
    points: dict[str, Point] = {}
    notes: list[str] = []
    skip = re.compile(profile.skip) if profile.skip else None
    for href, document in documents.items():
        for path, value in leaves(document):
            label = ".".join(path).removeprefix(profile.strip) or "value"
            if skip is not None and skip.fullmatch(label):
                continue
            try:
                definition = infer_property(label, value)
            except NameRefused as error:
                notes.append(str(error))
                continue
            if definition is None or label in points:
                continue
            if len(points) >= limits.properties_per_thing_max:
                return _thing(name, title, points), [*notes, f"Values beyond {len(points)} are left out."]
            where: dict[str, Any] = {"href": href} | ({"pointer": pointer_of(path)} if path else {})
            points[label] = _informed(definition, where, profile, _temperature(documents, profile))
    return _thing(name, title, points), notes


def plan_of(name: str, title: str, profile: Profile, documents: dict[str, Any], limits: Limits) -> Plan:
    """A plan of one thing."""
    thing, notes = thing_of(name, title, profile, documents, limits)
    if profile is PLAIN:
        notes.append("Units are undeclared: write those you know into the connection's file.")
    else:
        notes.append(f"It is a {profile.name} device.")
    return Plan(things=(thing,), notes=tuple(notes))


def _thing(name: str, title: str, points: dict[str, Point]) -> ThingPlan:
    return ThingPlan(name=name, title=title, points=tuple(points.values()))


def _temperature(documents: dict[str, Any], profile: Profile) -> str:
    """The unit in which a Tasmota device says temperatures."""
    if profile is not TASMOTA:
        return ""
    units = [one["StatusSNS"].get("TempUnit") for one in documents.values()
             if isinstance(one, dict) and isinstance(one.get("StatusSNS"), dict)]  # fmt: skip
    return "[degF]" if "F" in units else "Cel"


def _informed(definition: Property, where: dict[str, Any], profile: Profile, temperature: str) -> Point:
    """A point with what its family knows of it."""
    label = definition.name
    for known in profile.known:
        found = re.fullmatch(known.pattern, label)
        if found is None:
            continue
        if known.scale != 1.0:
            where["scale"] = known.scale
        if known.words is not None:
            where["words"] = known.words
        if known.write is not None:
            where["write"] = _numbered(known.write, next(iter(found.groups()), ""))
        data_type = DataType.BOOLEAN if known.words is not None else definition.data_type
        definition = msgspec.structs.replace(
            definition, unit=known.unit, kind=known.kind or definition.kind, data_type=data_type,
            writable=known.write is not None,
        )  # fmt: skip
        break
    else:
        if temperature and re.fullmatch(r".*\.(Temperature|DewPoint)", label):
            definition = msgspec.structs.replace(definition, unit=temperature)
    return Point(definition=msgspec.structs.replace(definition, inferred=definition.unit is None), where=where)


def _numbered(write: dict[str, Any], number: str) -> dict[str, Any]:
    """A family's request for the component of that number."""
    filled = {**write, "href": write["href"].format(number)}
    if isinstance(body := write.get("body"), dict):
        filled["body"] = {**body, "id": int(number or 0)}
    return filled
