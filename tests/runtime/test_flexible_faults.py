"""One fault after the other on a running node: each is said where a user looks, and ends when the fault does."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.ports import free_port
from tests.runtime.devices import Devices, Rows, model, things
from tests.supervised import SupervisedNode, until

from taihu.cli.main import run
from taihu.kernel.clock import HOUR_NS, format_iso, parse_iso, to_datetime
from taihu.kernel.config import load_site
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.decisions import Decisions
from taihu.runtime.process import clock_of
from taihu.sim.flexible import Values, Yard

pytest.importorskip("highspy", reason="the extra `plan` is not installed")

BEGIN = parse_iso("2026-10-24T08:10:00Z")  # the night to come has an hour twice
NAMES = ("meter", "battery", "heatpump")
SITE = """
[clock]
start = {start}
speed = 300
[mqtt]
port = {mqtt}
[http]
port = 0
[[project]]
name = "home"
timezone = "Europe/Berlin"
{things}
[[project.scheduler]]
name = "flexible"
net = "meter/power"
base = "meter/base"
every = "30m"
reflex_s = 60
meter_age_s = 300
import_max_kw = {limit}
[[project.scheduler.buys.band]]
start = "02:00"
end = "03:00"
price = 0.1
[[project.scheduler.buys.band]]
start = "03:00"
end = "02:00"
price = 0.4
[[project.scheduler.battery]]
name = "battery"
thing = "battery"
capacity_kwh = 10
power_kw = 5
[[project.scheduler.heat]]
name = "tank"
thing = "heatpump"
capacity_kwh_per_k = 0.35
loss_kw_per_k = 0.02
power_kw = 3
cop = 3
low_c = 45
high_c = 60
"""


class Faulty(Yard, kw_only=True):
    """A yard whose things say what `says` makes of it, and whose battery does what `does` makes of it."""

    says: dict[str, Callable[[Values], Values]] = msgspec.field(default_factory=dict)
    does: Callable[[float], float] = float

    def say(self, thing: str) -> Values:
        return self.says.get(thing, dict)(Yard.say(self, thing))

    def power(self, thing: str) -> float:
        kw = Yard.power(self, thing)
        return self.does(kw) if thing == "battery" else kw


class House:
    """The node, its devices, and what a user sees of them."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.folder, self.mqtt = folder, free_port()
        described = model()
        for one in described["properties"].values():
            one["taihu:maxAge"] = 1_800
        (folder / "any.tm.json").write_text(json.dumps(described))
        (folder / "data").mkdir()
        store = Decisions(Paths(folder / "data").decisions)
        for day in range(1, 15):
            store.add_day("home", "flexible", to_datetime(BEGIN - day * 24 * HOUR_NS).date().isoformat(), 1.0)
        store.close()
        self.node = SupervisedNode(folder, self.site(14))
        closing.callback(self.node.stop)
        self.clock = clock_of(load_site(folder))
        self.yard = Faulty(at=self.clock.now_ns(), base_kw=3.0, battery_kwh=8.0)
        devices = Devices(self.node.owner, self.mqtt, self.clock, {"home": (self.yard, NAMES)}, self._past)
        closing.callback(devices.stop)
        self.client = self.node.operator("home")

    def site(self, limit: int) -> str:
        return SITE.format(start=format_iso(BEGIN), mqtt=self.mqtt, things=things(NAMES), limit=limit)

    def plan(self) -> dict[str, Any]:
        """The scheduler as the API has it."""
        time.sleep(0.15)  # it is asked again and again
        (found,) = self.client.get("projects", "home", "plans")["plans"]
        return dict(found)

    def notes(self) -> str:
        return "; ".join(note for one in self.plan()["decisions"] for note in one["notes"])

    def noted(self, text: str) -> None:
        until(lambda: text in self.notes())

    def recovers(self, text: str) -> None:
        """It is said no longer, and the battery serves the load again."""
        until(lambda: text not in self.notes())
        self.yard.battery_kwh = 8.0
        until(self.serves)

    def serves(self) -> bool:
        return abs(self.yard.power("meter")) < 0.2

    def process(self, name: str) -> int:
        pid = self.node.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        (found,) = (int(one) for one in children if name.encode() in Path(f"/proc/{one}/cmdline").read_bytes())
        return found

    def _past(self, project: str, thing: str) -> Rows:
        first, step = self.clock.now_ns() // HOUR_NS * HOUR_NS - 2 * HOUR_NS, HOUR_NS // 12
        return [
            {"ts": (first + place * step) // 1_000_000, "values": {"base": 3.0, "power": 3.0}}
            for place in range(24 if thing == "meter" else 0)
        ]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as closing:
        yield House(tmp_path, closing)


def test_each_fault_is_said_and_ends(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """§3, §7, §12: meter, battery, sensor, processes and settings fail one after the other while a scheduler drives."""
    yard, says = house.yard, house.yard.says
    until(lambda: house.yard.told.get("battery", 0.0) < -2.0 and house.serves())
    stages = house.plan()["decisions"][0]["stages"]
    cheap = sum(one["end"] - one["start"] for one in stages if one["price"] == 0.1)
    assert cheap == 2 * HOUR_NS, "the hour from two to three is there twice"

    says["meter"] = lambda values: values | {"power": 1e12}
    house.noted("meter/power says 1e+12 kW, which cannot be: all do as planned without it, and import_max_kw cannot be")
    assert -5.0 < yard.told["battery"] < -2.0
    says["meter"] = lambda values: {"base": values["base"]}
    house.noted("meter/power says nothing")
    assert run(["plan", "show", "home", "--why", "--site", str(house.folder)]) == 0
    assert "Note: meter/power says nothing: all do as planned" in capsys.readouterr().out
    assert run(["doctor", str(house.folder), "--quick"]) in (0, 6)
    assert "home/flexible: " in capsys.readouterr().out
    del says["meter"]
    house.recovers("meter/power")

    says["battery"] = lambda values: values | {"state_of_charge": 150.0}
    says["heatpump"] = lambda values: values | {"temperature": -127.0}
    house.noted("tank is left out: it says -127 °C, which cannot be")
    house.noted("battery is left out: it says a charge of 150 %")
    until(lambda: yard.told["battery"] == 0.0)
    says.clear()
    house.recovers("left out")

    os.kill(house.process("worker"), signal.SIGKILL)
    yard.base_kw = 4.0
    until(house.serves)
    os.kill(house.process("pilot"), signal.SIGKILL)
    yard.base_kw = 3.0
    until(house.serves)
    permits = [one["things"] for one in house.client.get("projects", "home", "standing")["standing"]]
    assert permits.count("battery") == 1

    (house.folder / "site.toml").write_text(house.site(2))
    assert run(["reload", "--site", str(house.folder)]) == 0
    yard.base_kw = 5.0
    until(lambda: yard.power("meter") <= 2.05 and yard.told["battery"] < -2.5)
    assert house.plan()["decisions"][0]["mode"] == "drives"

    yard.battery_kwh, yard.does = 5.0, lambda kw: -kw / 2
    house.noted("battery does not do what it is told: it is left alone for an hour")
    until(lambda: yard.told["battery"] == 0.0)
