"""Controllers through a running node: devices over MQTT, a plan, commands, devices that obey, and what the API tells.

The site of docs/flexible-loads.md, one that loses and has a solver that is late, and a battery with a controller.
"""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port
from tests.runtime.devices import Devices, model, things
from tests.waiting import WAIT_S

from taihu.cli.client import NodeClient, connect
from taihu.kernel.clock import HOUR_NS, NS_PER_S, format_iso, parse_iso, to_datetime
from taihu.kernel.config import load_site
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.decisions import Decisions
from taihu.runtime.process import clock_of
from taihu.sim.flexible import Yard

pytest.importorskip("highspy", reason="the extra `plan` is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "flexible-loads.md"
BEGIN = parse_iso("2026-03-02T20:02:00Z")  # 04:02 at the site: cheap hours
THINGS = ("meter", "grid", "battery", "charger", "heatpump", "washer", "server", "pv")
MORE = """
[[project]]
name = "loser"
[[project.scheduler]]
name = "flexible"
net = "meter/power"
base = "meter/base"
solver_s = 0.000001
[project.scheduler.buys]
price = 0.3
[[project.scheduler.vehicle]]
name = "car"
thing = "charger"
capacity_kwh = 60
power_kw = 11
[[project]]
name = "single"
[[project.controller]]
name = "battery"
battery = "battery"
net = "meter/power"
load = "meter/base"
generation = "pv/power"
intensity = "grid/intensity"
cost_weight = 0
carbon_weight = 1
capacity_kwh = 10
power_kw = 5
"""


def site_text(mqtt: int, http: int) -> str:
    """The page's own text, and the other two projects."""
    text = PAGE.read_text("utf-8")
    block = re.search(r"one of each:\n\n((?:    .*\n|\n)+)", text)
    assert block is not None
    home = re.sub(r"^    ", "", block[1], flags=re.MULTILINE)
    loser, single = MORE.split('[[project]]\nname = "single"')
    return (
        f"[clock]\nstart = {format_iso(BEGIN)}\nspeed = 2\n[mqtt]\nport = {mqtt}\n[http]\nport = {http}\n{home}"
        f'{things(THINGS)}{loser}{things(("meter", "charger"))}[[project]]\nname = "single"{single}'
        f"{things(('meter', 'grid', 'battery', 'pv'))}"
    )


class Live:
    """The node and the devices of three projects, each with a yard of its own."""

    def __init__(self, folder: Path) -> None:
        self.mqtt, self.http = free_port(), free_port()
        (folder / "any.tm.json").write_text(json.dumps(model()))
        (folder / "site.toml").write_text(site_text(self.mqtt, self.http))
        self.site = load_site(folder)
        self.site.data.mkdir(exist_ok=True)
        store = Decisions(Paths(self.site.data).decisions)
        for day in range(14):
            date = (
                to_datetime(BEGIN - (day - 1) * 24 * HOUR_NS).date().isoformat()
            )  # the site's day begins before UTC's
            store.add_day("home", "flexible", date, 1.0)
            store.add_day("loser", "flexible", date, -1.0)
        store.close()
        command = [sys.executable, "-m", "taihu.cli.main", "run", str(folder)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "API on" in line:
                break
        self.log = threading.Thread(target=self.process.stderr.read, daemon=True)
        self.log.start()
        self.owner = connect(None, None, folder)
        self.clock = clock_of(self.site)
        now = self.clock.now_ns()
        self.yards = {
            name: Yard(at=now, sun_kw=0.5 if name == "single" else 0.0, departure_s=(now + 4 * HOUR_NS) // NS_PER_S)
            for name in ("home", "loser", "single")
        }
        self.yards["single"].base_kw = 1.5
        names = {project.name: [thing.name for thing in project.things] for project in self.site.projects}
        self.devices = Devices(
            self.owner,
            self.mqtt,
            self.clock,
            {name: (yard, names[name]) for name, yard in self.yards.items()},
            self._days,
        )

    def client(self, project: str) -> NodeClient:
        token = self.owner.post("admin", "token-issue", body={"project": project, "kind": "operator"})["token"]
        return NodeClient(self.owner.url, token)

    def end(self) -> None:
        self.devices.stop()
        self.process.terminate()
        self.process.wait(WAIT_S)
        self.log.join(WAIT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _days(self, project: str, thing: str) -> list[dict[str, Any]]:
        """Hours of 16 days: sun at noon and a load in the evening, or nothing to win."""
        if thing not in ("meter", "grid", "pv"):
            return []
        first, rows = self.clock.now_ns() // HOUR_NS * HOUR_NS - 16 * 24 * HOUR_NS, []
        for hour in range(16 * 24):
            clock = (first // HOUR_NS + hour) % 24
            day = project == "single"
            values = {
                "meter": {"base": 2.0 if day and clock > 16 else 0.5, "power": 0.5},
                "grid": {"intensity": 0.5},
                "pv": {"power": 4.0 if day and 8 <= clock < 16 else 0.0},
            }[thing]
            rows.append({"ts": (first + hour * HOUR_NS) // 1_000_000, "values": values})
        return rows


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    found = Live(tmp_path_factory.mktemp("pilot"))
    yield found
    found.end()


def until(look: Callable[[], Any], seconds: float = WAIT_S) -> Any:
    """What is looked for, once it is there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not come about")


def decided(client: NodeClient, project: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("projects", project, "plans", limit=5)["plans"][0]["decisions"]
    return found


def test_what_is_planned_is_commanded_done_and_told(live: Live) -> None:
    """§7, §10: from the device to the plan, to the device, to the API."""
    home, yard = live.client("home"), live.yards["home"]
    last = until(lambda: decided(home, "home"))[0]
    assert (last["mode"], last["reason"][:6]) == ("drives", "drives")
    assert {one["kind"] for one in last["assets"]} == {"battery", "vehicle", "heat", "load", "job", "solar"}
    assert len(last["stages"]) == 96
    assert last["inputs"]["base"] == "meter/base"
    assert last["with_money"] <= last["without_money"]
    driven = {"battery", "charger", "server", "heatpump"}
    until(lambda: driven <= set(yard.told))
    assert max(abs(yard.power(thing)) for thing in driven) > 0.5
    assert yard.power("meter") < 15.01
    commands = until(lambda: done_of(home)) and done_of(home)
    assert driven <= {one["thing"] for one in commands}
    assert all(one["standing"] and one["why"].startswith("flexible: plan of") for one in commands)
    until(
        lambda: (
            "setpoint" in {one["property"] for one in home.get("projects", "home", "values", thing="charger")["values"]}
        )
    )


def done_of(client: NodeClient) -> list[dict[str, Any]]:
    """Commands that the devices have done; none until each of those driven has."""
    commands: list[dict[str, Any]] = client.get("projects", "home", "commands")["commands"]
    done = [one for one in commands if one["state"] == "done"]
    return done if len({one["thing"] for one in done}) >= 4 else []


def test_a_loser_advises_and_a_late_solver_leaves_the_plan_to_the_rule(live: Live) -> None:
    """§12: the guard keeps it from driving; there is a plan all the same."""
    client = live.client("loser")
    last = until(lambda: decided(client, "loser"))[0]
    assert (last["mode"], last["method"]) == ("advises", "rule")
    assert any("the solver had no answer within" in note for note in last["notes"])
    assert client.get("projects", "loser", "commands")["commands"] == []
    assert live.yards["loser"].told == {}


def test_a_battery_with_stored_days_is_driven_at_once(live: Live) -> None:
    """§7, §12: 14 days are replayed from the history, then its setpoints bring the meter to zero."""
    client, yard = live.client("single"), live.yards["single"]
    last = until(lambda: decided(client, "single"))[0]
    assert (last["mode"], last["guard"]["days"]) == ("drives", 14)
    until(lambda: yard.told.get("battery", 0.0) == pytest.approx(-1.0, abs=0.05))
    assert yard.power("meter") == pytest.approx(0.0, abs=0.05)
