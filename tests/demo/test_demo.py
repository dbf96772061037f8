"""The main job, as a user starts it: `taihu demo --headless --for ... --json`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

HOUSES = 17
THINGS = HOUSES * 4 + 1


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "taihu.cli.main", "demo", "--dir", str(folder), "--headless", "--json"]
    ports = ["--port", "0", "--http-port", "0", "--console-port", "0"]
    return subprocess.Popen([*command, *ports, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result, errors


def ask(folder: Path, path: str) -> Any:
    host, port = json.loads((folder / "data" / "node.json").read_text())["http"]
    token = json.loads((folder / "data" / "secrets.json").read_text())["operator"]
    request = urllib.request.Request(f"http://{host}:{port}{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def wait_for(folder: Path, path: str) -> Any:
    for _ in range(300):
        try:
            return ask(folder, path)
        except (OSError, KeyError):
            time.sleep(0.1)
    raise AssertionError(f"no answer to {path}")


@pytest.mark.timeout(180)
def test_demo_stores_what_it_acknowledges_and_goes_on(tmp_path: Path) -> None:
    """§4, §11: all that is acknowledged is stored; a second start goes on; the district reads houses by grant only."""
    first, errors = finish(start(tmp_path, "--for", "8s"))
    assert (first["projects"], first["things"], first["refused"]) == (HOUSES + 1, THINGS, 0)
    assert first["acked"] > 0
    assert first["stored"] == first["points"] > first["acked"]
    assert "Traceback" not in errors

    process = start(tmp_path, "--for", "8s")
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
    second, errors = finish(process)
    assert second["now"] > first["now"]
    assert second["journal_position"] > first["journal_position"]
    assert "Traceback" not in errors


@pytest.mark.timeout(120)
def test_a_taken_port_is_named_and_the_next_one_used_and_ctrl_c_stops(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(tmp_path, "--http-port", str(port))
        wait_for(tmp_path, "/api/v1/node")
        process.send_signal(signal.SIGINT)
        result, errors = finish(process)
    assert result["projects"] == HOUSES + 1
    assert f"port {port} is taken by" in errors
    assert f"(pid {os.getpid()})" in errors
