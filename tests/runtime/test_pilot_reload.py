"""A scheduler that a reload brings, on a node that has run for weeks: its stored days let it drive, others end it."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.ports import free_port
from tests.supervised import SupervisedNode, until

from taihu.cli.main import run
from taihu.kernel.clock import SystemClock

pytest.importorskip("highspy", reason="the extra `plan` is not installed")

DAYS = 17
THINGS = ("meter", "battery", "washer")
NUMBERS = {"power": "kW", "base": "kW", "state_of_charge": "%", "setpoint": "kW"}
ANY = {
    "properties": {
        name: {"type": "number", "unit": unit, "readOnly": name != "setpoint", "taihu:maxAge": 4_000}
        for name, unit in NUMBERS.items()
    }
    | {"running": {"type": "boolean", "taihu:maxAge": 4_000}},
    "actions": {"start": {}},
}
SCHEDULER = """
[[project.scheduler]]
name = "flexible"
net = "meter/power"
base = "meter/base"
reflex_s = 1
MORE
[[project.scheduler.buys.band]]
start = "00:00"
end = "12:00"
price = 0.1
[[project.scheduler.buys.band]]
start = "12:00"
end = "00:00"
price = 0.5
[[project.scheduler.battery]]
name = "battery"
thing = "battery"
capacity_kwh = 10
power_kw = 5
"""


class Home:
    """A home without controllers, its meter's days, and who may command it."""

    def __init__(self, folder: Path) -> None:
        self.http = free_port()
        things = "".join(f'[[project.thing]]\nname = "{name}"\nmodel = "any.tm.json"\n' for name in THINGS)
        self.site = f'[mqtt]\nport = {free_port()}\n[http]\nport = {self.http}\n[[project]]\nname = "home"\n{things}'
        self.node = SupervisedNode(folder, self.site, {"any": ANY})
        self.folder, self.operator = folder, self.node.operator("home")
        self.tokens = {thing: self.node.token("home", "thing", thing=thing) for thing in THINGS}
        hour_ms = 3_600_000
        now_ms = SystemClock().now_ns() // 1_000_000
        first = now_ms // hour_ms - 24 * DAYS
        self.say("meter", [
            {"ts": hour * hour_ms, "values": {"base": 1.0 + 0.3 * math.sin(hour), "power": 1.0}}
            for hour in range(first, now_ms // hour_ms + 1)
        ])  # fmt: skip
        self.say("battery", {"power": 0.0, "state_of_charge": 50.0})
        self.say("washer", {"power": 0.0, "running": False})

    def say(self, thing: str, body: Any) -> None:
        url = f"http://127.0.0.1:{self.http}/api/v1/{self.tokens[thing]}/telemetry"
        assert httpx.post(url, json=body, trust_env=False).status_code == 200

    def use(self, more: str) -> None:
        """Reload with these schedulers of the home."""
        (self.folder / "site.toml").write_text(self.site + more)
        assert run(["reload", "--site", str(self.folder)]) == 0

    def plans(self) -> list[dict[str, Any]]:
        time.sleep(0.3)  # it is asked again and again
        found: list[dict[str, Any]] = self.operator.get("projects", "home", "plans")["plans"]
        return [one for one in found if one["decisions"]]

    def told(self) -> list[float]:
        """What the battery was told, the first first."""
        commands = self.operator.get("projects", "home", "commands")["commands"]
        mine = [one for one in commands if (one["thing"], one["name"]) == ("battery", "setpoint")]
        return [one["input"] for one in sorted(mine, key=lambda one: int(one["at"]))]

    def permits(self) -> list[Any]:
        return list(self.operator.get("projects", "home", "standing")["standing"])


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path)
    yield found
    said = found.node.stop()
    assert "waits:" not in said, said


def test_a_reload_begins_changes_and_ends_a_scheduler(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """§7, §12: it drives by what the history says it would have saved; when it ends, the battery rests."""
    assert home.plans() == []
    thought = home.folder / "thought.toml"
    thought.write_text('[[project]]\nname = "home"\n' + SCHEDULER.replace("MORE", "").replace('"battery"', '"bought"'))
    asked = ["plan", "try", "home", str(thought), "--days", "1", "--json", "--site", str(home.folder)]
    assert run(asked) == 0
    (tried,) = json.loads(capsys.readouterr().out)["tries"]
    assert (len(tried["days"]), tried["stand_ins"]) == (1, ["bought begins half full"])
    assert 1.0 < tried["lower"] == tried["mean"] == tried["upper"] < 5.0
    assert run([one for one in asked if one != "--json"]) == 0
    shown = capsys.readouterr().out
    assert "scheduler  days  from" in shown and "flexible: bought begins half full." in shown
    thought.write_text(thought.read_text().replace('"meter/base"', '"battery/state_of_charge"'))
    assert run(asked) == 3
    assert "battery/state_of_charge is in %, and flexible needs kW or kW.h" in capsys.readouterr().err
    home.use(SCHEDULER.replace("MORE", ""))
    (first,) = until(home.plans)
    assert first["decisions"][0]["mode"] == "advises"
    (plan,) = until(home.plans, lambda plans: plans[0]["decisions"][0]["mode"] == "drives")
    guard = plan["guard"]
    assert (guard["days"], guard["drives"], guard["stand_ins"]) == (14, True, ["battery begins half full"])
    assert 1.0 < guard["lower"] < guard["mean"] < guard["upper"] < 5.0
    until(home.told)
    assert [one["things"] for one in home.permits()] == ["battery"]
    capsys.readouterr()
    assert run(["plan", "show", "home", "--why", "--site", str(home.folder)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "The guard: 14 of 14 days" in shown and "It drives." in shown and "Replayed with: battery" in shown

    home.use(SCHEDULER.replace("MORE", 'mode = "advise"'))
    until(home.permits, lambda permits: permits == [])
    assert home.told()[-1] == 0.0
    (plan,) = until(home.plans, lambda plans: plans[0]["decisions"][0]["reason"] == "advises, as it is configured")
    assert plan["guard"]["days"] == 14, "who may drive is not asked anew for that"

    home.use("")
    until(home.plans, lambda plans: plans == [])
    count = len(home.told())
    time.sleep(1.5)
    assert len(home.told()) == count
