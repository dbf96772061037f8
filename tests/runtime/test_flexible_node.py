"""All kinds of flexible loads driven by a running node: devices over MQTT, a battery over Modbus, hours in a minute."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port
from tests.runtime.devices import Devices, ModbusBattery, Rows, modbus_file, model, things
from tests.supervised import SupervisedNode, until

from taihu.kernel.clock import HOUR_NS, NS_PER_S, format_iso, parse_iso, to_datetime
from taihu.kernel.config import load_site
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.decisions import Decisions
from taihu.runtime.process import clock_of
from taihu.sim.flexible import Yard

pytest.importorskip("highspy", reason="the extra `plan` is not installed")

BEGIN = parse_iso("2026-03-02T09:50:00Z")
SPEED = 200
DEAR_NS = 30 * 60 * NS_PER_S  # so long a kWh is dear
STAY_NS = 75 * 60 * NS_PER_S  # and so long the car is there
DOCK = ("meter", "grid", "charger", "heatpump", "washer", "pump", "server")
ROOF = ("meter", "pv")
LOAD = 'power_kw = 2\nminutes = 60\nearliest = "09:00"\nlatest = "14:00"\n'


def asset(kind: str, name: str, thing: str, more: str) -> str:
    return f'[[project.scheduler.{kind}]]\nname = "{name}"\nthing = "{thing}"\n{more}\n'


def site(mqtt: int) -> str:
    scheduler = '[[project.scheduler]]\nname = "flexible"\nnet = "meter/power"\nbase = "meter/base"\n'
    scheduler += 'every = "30m"\nreflex_s = 60\n'
    return (
        f'[clock]\nstart = {format_iso(BEGIN)}\nspeed = {SPEED}\n[mqtt]\nport = {mqtt}\n[http]\nport = 0\n'
        f'[[project]]\nname = "dock"\n{things(DOCK)}{scheduler}import_max_kw = 16\n'
        '[project.scheduler.buys]\nproperty = "grid/price@24h"\n'
        + asset("vehicle", "car", "charger", 'departure = "departure"\ncapacity_kwh = 60\npower_kw = 11\ntarget = 0.3\n'
                "minimum_kw = 1.4\ndischarge_kw = 5")
        + asset("heat", "tank", "heatpump", "capacity_kwh_per_k = 0.35\nloss_kw_per_k = 0.02\npower_kw = 3\ncop = 3\n"
                "low_c = 45\nhigh_c = 60")
        + asset("load", "washer", "washer", LOAD + 'start = "start"')
        + asset("load", "pump", "pump", LOAD.replace("2", "1", 1) + 'switch = "on"\non_minutes_min = 30')
        + asset("job", "batch", "server", "power_kw = 1")
        + '[[project.scheduler.group]]\nname = "quay"\nmembers = ["car", "pump"]\nimport_max_kw = 9\n'
        + f'[[project]]\nname = "roof"\n{things(ROOF)}{scheduler}export_max_kw = 2\n'
        + "[project.scheduler.buys]\nprice = 0.3\n[project.scheduler.sells]\nprice = 0.05\n"
        + asset("battery", "battery", "battery", "capacity_kwh = 10\npower_kw = 5")
        + asset("solar", "pv", "pv", 'limit = "limit"\nenergy = "power"\npower_kw = 8')
    )  # fmt: skip


class Quay:
    """The node, and what is behind its two meters."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        mqtt, modbus = free_port(), free_port()
        (folder / "any.tm.json").write_text(json.dumps(model()))
        (folder / "connections").mkdir()
        (folder / "connections" / "roof-battery.toml").write_text(modbus_file("roof", modbus))
        (folder / "data").mkdir()
        store = Decisions(Paths(folder / "data").decisions)
        for day in range(1, 15):
            date = to_datetime(BEGIN - day * 24 * HOUR_NS).date().isoformat()
            store.add_day("dock", "flexible", date, 1.0)
            store.add_day("roof", "flexible", date, 1.0)
        store.close()
        self.node = SupervisedNode(folder, site(mqtt))
        closing.callback(self.node.stop)
        self.clock = clock_of(load_site(folder))
        self.begin = now = self.clock.now_ns()
        self.dock = Yard(at=now, base_kw=6.0, departure_s=(now + STAY_NS) // NS_PER_S, deaf=frozenset({"server"}))
        self.roof = Yard(at=now, sun_kw=6.0, battery_kwh=9.4)
        battery = ModbusBattery(self.roof, self.clock, modbus)
        closing.callback(battery.stop)
        yards = {"dock": (self.dock, DOCK), "roof": (self.roof, ROOF)}
        self.devices = Devices(self.node.owner, mqtt, self.clock, yards, self._past)
        closing.callback(self.devices.stop)
        self.dock_client, self.roof_client = self.node.operator("dock"), self.node.operator("roof")

    def notes(self) -> set[str]:
        """Of all plans of the dock."""
        plans = self.dock_client.get("projects", "dock", "plans", limit=50)["plans"]
        return {note for plan in plans for one in plan["decisions"] for note in one["notes"]}

    def _past(self, project: str, thing: str) -> Rows:
        """Hours of two days, and the prices of the day to come."""
        first = self.begin // HOUR_NS * HOUR_NS - 48 * HOUR_NS
        told: dict[str, Any] = {
            "meter": {"base": 6.0 if project == "dock" else 1.0, "power": 1.0},
            "pv": {"power": 6.0},
        }
        rows: Rows = [
            {"ts": (first + hour * HOUR_NS) // 1_000_000, "values": told[thing]} for hour in range(48) if thing in told
        ]
        if thing == "grid":
            quarters = range(self.begin // (HOUR_NS // 4) - 97, self.begin // (HOUR_NS // 4) + 1)
            ends = self.begin + DEAR_NS - 24 * HOUR_NS
            rows = [
                {
                    "ts": at * (HOUR_NS // 4) // 1_000_000,
                    "values": {"price": 2.0 if at * (HOUR_NS // 4) < ends else 0.1},
                }
                for at in quarters
            ]
        return rows


@pytest.fixture(scope="module")
def quay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quay]:
    with ExitStack() as closing:
        yield Quay(tmp_path_factory.mktemp("quay"), closing)


def test_a_car_gives_back_while_it_is_dear_and_departs_with_what_it_needs(quay: Quay) -> None:
    """A load that runs goes on through plans and a start of the scheduler; who does not obey is seen and said."""
    dock, devices = quay.dock, quay.devices
    until(lambda: dock.told.get("charger", 0.0) < -4.0 and dock.car_kwh < 14.8)
    assert devices.started == []
    until(lambda: dock.washer_left_s > 0)
    assert dock.at >= quay.begin + DEAR_NS - 60 * NS_PER_S
    (pilot,) = (
        int(child)
        for child in _children(quay.node.process.pid)
        if b"pilot" in Path(f"/proc/{child}/cmdline").read_bytes()
    )
    os.kill(pilot, signal.SIGKILL)
    leaves = quay.begin + STAY_NS

    def most() -> bool:
        assert dock.power("charger") + dock.power("pump") <= 9.1
        assert dock.power("meter") <= 16.5
        return dock.at >= leaves - 60 * NS_PER_S

    until(most)
    assert dock.car_kwh >= 0.3 * dock.CAR_KWH - 0.5
    dock.plugged = False
    assert dock.tank_c > 44.5
    until(lambda: dock.washer_left_s == 0 and dock.pump_s >= 3_600 - 120)
    assert devices.started == ["washer"]
    until(lambda: "batch does not do what it is told: it is left alone for an hour" in quay.notes())
    states = {one["thing"]: one["state"] for one in quay.dock_client.get("projects", "dock", "commands")["commands"]}
    assert set(states) >= {"charger", "heatpump", "washer", "pump", "server"}


def test_a_feed_in_limit_holds_by_a_battery_over_modbus_and_then_by_the_inverter(quay: Quay) -> None:
    """§7: what the battery cannot take is curtailed, no more than the limit asks; it follows the load."""
    roof = quay.roof
    roof.battery_kwh = 9.4
    until(lambda: roof.told.get("battery", 0.0) > 0.5)
    until(lambda: roof.battery_kwh > 9.9 and roof.power("meter") == pytest.approx(-2.0, abs=0.1))
    assert roof.told["pv"] == pytest.approx(3.0 + roof.power("battery"), abs=0.15)
    roof.base_kw = 2.5
    until(
        lambda: roof.told["pv"] >= 4.3 + roof.power("battery") and roof.power("meter") == pytest.approx(-2.0, abs=0.1)
    )
    done = quay.roof_client.get("projects", "roof", "commands")["commands"]
    assert {one["thing"] for one in done if one["state"] == "done"} == {"battery", "pv"}


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
