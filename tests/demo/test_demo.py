"""The main job, as a user starts it: `taihu demo --headless --for ... --json`."""

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient
from tests.waiting import WAIT_S

from taihu.drivers.files import read_connection
from taihu.kernel.clock import HOUR_NS

HOUSES = 17
THINGS = HOUSES * 4 + 1


def start(folder: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "taihu.cli.main", "demo", "--dir", str(folder), "--headless", "--json"]
    ports = ["--port", "0", "--http-port", "0", "--console-port", "0"]
    return subprocess.Popen(
        [*command, *ports, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | environment,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    output, errors = process.communicate(timeout=2 * WAIT_S)
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result, errors


def ask(folder: Path, path: str) -> Any:
    host, port = json.loads((folder / "data" / "node.json").read_text())["http"]
    token = json.loads((folder / "data" / "secrets.json").read_text())["operator"]
    request = urllib.request.Request(f"http://{host}:{port}{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        return json.load(answer)


def wait_for(folder: Path, path: str) -> Any:
    for _ in range(600):
        try:
            return ask(folder, path)
        except (OSError, KeyError):
            time.sleep(0.1)
    raise AssertionError(f"no answer to {path}")


def test_demo_stores_what_it_acknowledges_and_goes_on(tmp_path: Path) -> None:
    """§4, §11: all that is acknowledged is stored; a second start goes on; the district reads houses by grant only."""
    process = start(tmp_path)
    try:
        until(lambda: "demand" in newest(tmp_path, "house-17", "meter"))
    finally:
        process.send_signal(signal.SIGINT)
    first, errors = finish(process)
    assert (first["projects"], first["things"], first["refused"]) == (HOUSES + 1, THINGS, 0)
    assert first["acked"] > 0
    assert first["stored"] == first["points"] > first["acked"]
    assert "Traceback" not in errors

    process = start(tmp_path)
    try:
        energy = wait_for(tmp_path, "/api/v1/projects/house-01/history?thing=meter&property=energy&start=-24h&every=1h")
        covered = [window for window in energy["windows"] if window["coverage"] == 1.0]
        assert len(covered) >= 20
        assert all(window["sum"] is None for window in energy["windows"] if window["coverage"] == 0)
        now: dict[str, Any] = {}
        while "meter/demand" not in now:  # it is missing until all devices have said something
            values = wait_for(tmp_path, "/api/v1/projects/house-01/values")["values"]
            now = {f"{one['thing']}/{one['property']}": one["value"] for one in values}
            time.sleep(0.05)
        demand = now["meter/power"] + now["pv/power"] - now["battery/power"]
        assert now["meter/demand"] == pytest.approx(demand)
    finally:
        process.send_signal(signal.SIGINT)
    second, errors = finish(process)
    assert second["now"] > first["now"]
    assert second["journal_position"] > first["journal_position"]
    assert "Traceback" not in errors


def test_a_taken_port_is_named_and_the_next_one_used_and_its_time_ends_it(tmp_path: Path) -> None:
    """So is what is not installed: then the inverter speaks MQTT."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['asyncua'] = None")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result, errors = finish(start(tmp_path, "--for", "1s", "--http-port", str(port), PYTHONPATH=str(tmp_path)))
    assert result["projects"] == HOUSES + 1
    assert f"port {port} is taken by" in errors
    assert f"(pid {os.getpid()})" in errors
    assert "pip install 'taihu[opcua]'" in errors
    assert not (tmp_path / "connections" / "house-04-pv.toml").exists()


def post(folder: Path, path: str, body: Any, token: str | None = None) -> Any:
    host, port = json.loads((folder / "data" / "node.json").read_text())["http"]
    token = token or (folder / "data" / "admin.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://{host}:{port}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        return json.load(answer)


def until(true: Callable[[], Any]) -> None:
    for _ in range(1_200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it has not come")


def newest(folder: Path, project: str, thing: str) -> dict[str, Any]:
    values = wait_for(folder, f"/api/v1/projects/{project}/values?thing={thing}")["values"]
    return {one["property"]: one for one in values}


async def told(port: int) -> float:
    """The setpoint that a battery has itself: SunSpec 704 WSet, in steps of 10 W, discharging is positive."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    assert await client.connect()
    answer = await client.read_holding_registers(40_158, count=2, device_id=1)
    client.close()
    raw: int = struct.unpack(">i", struct.pack(">2H", *answer.registers))[0]
    return -raw / 100


def tell_until(tell: Callable[[], None], has_it: Callable[[], bool], tries: int = 600) -> None:
    """Tell a battery until it is seen to have it: once its controller drives, that may tell it otherwise."""
    for _ in range(tries):
        tell()
        if has_it():
            return
        time.sleep(0.1)
    raise AssertionError("the battery never had what it was told")


def test_batteries_on_modbus_and_an_inverter_on_opcua_are_things_as_any_other(tmp_path: Path) -> None:
    """§7: a battery behind Modbus does what the command line, the API and a standing permit say; its answer is the end.

    The inverter's hours have no gap where OPC UA takes over from MQTT.
    """
    process = start(tmp_path)
    try:
        until(lambda: "mode" in newest(tmp_path, "house-02", "battery"))
        battery = newest(tmp_path, "house-02", "battery")
        assert -5 <= battery["power"]["value"] <= 5
        assert 0 <= battery["state_of_charge"]["value"] <= 100
        port = read_connection(tmp_path / "connections" / "house-02-battery.toml").connection.parts.port
        assert port

        command = [sys.executable, "-m", "taihu.cli.main", "command", "send", "--site", str(tmp_path), "--json"]

        def by_command() -> None:
            sent = subprocess.run([*command, "house-02/battery/setpoint", "1.23"], capture_output=True, text=True)
            assert json.loads(sent.stdout)["state"] == "done", sent.stderr

        tell_until(by_command, lambda: asyncio.run(told(port)) == 1.23)

        owner = {"project": "house-02", "kind": "operator"}
        token = post(tmp_path, "/api/v1/admin/token-issue", owner)["token"]
        permit = {"things": "battery", "name": "setpoint", "low": -5, "high": 5, "per_minute": 60, "hours": 24}
        standing = post(tmp_path, "/api/v1/projects/house-02/standing", permit, token)["id"]
        wanted = {"thing": "battery", "property": "setpoint", "input": -2.5, "standing": standing, "wait_s": 20}

        def by_permit() -> None:
            given = post(tmp_path, "/api/v1/projects/house-02/commands", wanted, token)
            assert [step["state"] for step in given["steps"]] == ["queued", "permitted", "sent", "done"]

        tell_until(by_permit, lambda: asyncio.run(told(port)) == -2.5)
        tell_until(by_permit, lambda: newest(tmp_path, "house-02", "battery").get("setpoint", {}).get("value") == -2.5)

        states = tmp_path / "data" / "field.json"
        until(lambda: any(
            one["name"] == "house-04-pv" and one["counts"].get("readings")
            for one in json.loads(states.read_bytes() or b'{"connections": []}')["connections"]
        ))  # fmt: skip
        by_mqtt = newest(tmp_path, "house-04", "pv")["energy"]["observed_at"]
        until(lambda: newest(tmp_path, "house-04", "pv")["energy"]["observed_at"] > by_mqtt)
        end = newest(tmp_path, "house-04", "pv")["energy"]["observed_at"]
        asked = f"thing=pv&property=energy&start={end - 30 * HOUR_NS}&end={end}&every=1h"
        hours = wait_for(tmp_path, f"/api/v1/projects/house-04/history?{asked}")["windows"]
        assert [one["coverage"] for one in hours] == [1.0] * 30
    finally:
        process.send_signal(signal.SIGINT)
    result, errors = finish(process)
    assert result["stored"] == result["points"]
    assert "Traceback" not in errors
