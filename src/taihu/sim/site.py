"""The demo's site: 17 houses with a meter, an inverter and a battery each, and the district that may read them.

Most devices speak MQTT; two batteries are behind the Modbus driver, one inverter behind that for OPC UA.

Each house's battery has a controller. The demo begins with five weeks of measured hours, so its
guard can judge at once, and its forecasts have something to learn from.
"""

import shutil
from pathlib import Path

from taihu.kernel.clock import HOUR_NS, format_iso
from taihu.sim.district import BATTERY_KW, BATTERY_KWH, HOUSES, ONE_WAY_EFFICIENCY, START_NS, TIME_ZONE

DISTRICT = "district"
_MODELS = Path(__file__).parent / "models"
_FIRST_HOUR = (35 * 24 + 12) * HOUR_NS  # the demo begins at noon, with five weeks of hours behind it
_THINGS = (
    ("meter", "Main meter", "main_meter"),
    ("pv", "PV inverter", "generator"),
    ("battery", "Home battery", "storage"),
    ("shadow", "Shadow meter: the same house, its battery at rest", "shadow"),
)
# What the meter saw, and what house, inverter and battery did behind it, is in the carbon ledger, hour by hour.
_ACCOUNTS = f"""[[project.account]]
meter = "meter"
net = "energy"
region = "CITYLEARN-2022"
intensity = "{DISTRICT}/grid/carbon_intensity"

[[project.account]]
meter = "meter"
name = "load"
import = "load"
behind = "meter"
intensity = "{DISTRICT}/grid/carbon_intensity"

[[project.account]]
meter = "pv"
generation = "energy"
region = "CITYLEARN-2022"
certificates = true

[[project.account]]
meter = "battery"
storage = "{{storage}}"
"""

_CONTROLLER = f"""[[project.controller]]
name = "battery"
battery = "battery"
net = "meter/power"
load = "meter/load"
generation = "pv/energy"
intensity = "{DISTRICT}/grid/carbon_intensity"
price = "{DISTRICT}/grid/price"
energy = "meter/energy"
shadow = "shadow/energy"
capacity_kwh = {BATTERY_KWH}
power_kw = {BATTERY_KW}
one_way = {ONE_WAY_EFFICIENCY:.4f}
cost_weight = 0.0
carbon_weight = 1.0
reflex_s = 300
meter_error = 0.01
factor_error = 0.1
"""

HOUSE_NAMES = tuple(f"house-{number:02d}" for number in range(1, HOUSES + 1))
MODBUS_BATTERIES = {"house-02": 5020, "house-03": 5021}  # and the port that each asks for
OPCUA_INVERTER = ("house-04", "pv")
WIRED = (*((house, "battery") for house in MODBUS_BATTERIES), OPCUA_INVERTER)
DEVICES = (*((house, thing) for house in HOUSE_NAMES for thing, _, _ in _THINGS), (DISTRICT, "grid"))


def write_models(folder: Path) -> None:
    """Put the Thing Models into the site folder."""
    target = folder / "models"
    target.mkdir(exist_ok=True)
    for path in _MODELS.glob("*.json"):
        shutil.copyfile(path, target / path.name)


def site_text(ports: dict[str, int], speed: float) -> str:
    """The demo's `site.toml`, for these ports and this speed of its clock."""
    start = format_iso(START_NS + _FIRST_HOUR + HOUR_NS)
    parts = [
        f"""# Written by `taihu demo` at each start; changes here do not last.
[site]
name = "sierra-crest"
title = "Sierra Crest district"
timezone = "{TIME_ZONE}"

[clock]
start = {start}
speed = {speed:g}

[mqtt]
port = {ports["mqtt"]}

[http]
port = {ports["http"]}

[console]
port = {ports["console"]}
""",
        _project(DISTRICT, "Sierra Crest district", (("grid", "Grid signal", "grid"),)),
        _forecasts("grid/load", "grid/generation"),
    ]
    for number, house in enumerate(HOUSE_NAMES, 1):
        parts.append(_project(house, f"House {number}", _THINGS))
        # what went into a battery that does not count it is reckoned from its power, as far as that was seen
        parts.append(_ACCOUNTS.replace("{storage}", "power" if house in MODBUS_BATTERIES else "energy"))
        parts.append(_forecasts("meter/load", "pv/energy"))
        parts.append(_CONTROLLER)
        parts.append(f'[[grant]]\nfrom = "{DISTRICT}"\nto = "{house}"\nrights = ["read"]\n')
        parts.append(f'[[grant]]\nfrom = "{house}"\nto = "{DISTRICT}"\nrights = ["read"]\n')
    return "\n".join(parts)


def _project(name: str, title: str, things: tuple[tuple[str, str, str], ...]) -> str:
    text = f'[[project]]\nname = "{name}"\ntitle = "{title}"\n'
    for thing, thing_title, role in things:
        text += f'\n[[project.thing]]\nname = "{thing}"\ntitle = "{thing_title}"\nmodel = "models/{thing}.tm.json"\n'
        text += f'site = "{name}"\nrole = "{role}"\n'
        if role in ("generator", "storage"):
            text += 'parent = "meter"\n'
    return text


def _forecasts(*properties: str) -> str:
    return "\n".join(f'[[project.forecast]]\nproperty = "{one}"\nevery = "1h"\nhorizon = "24h"\n' for one in properties)
