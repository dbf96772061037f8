"""ThingsBoard's IoT gateway, the program itself, unchanged: its socket connector's readings reach our history.

It is looked for beside the interpreter that runs the tests, or in that of TAIHU_TB_GATEWAY_PYTHON.
"""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.interop.support import Site, wait_for
from tests.waiting import WAIT_S

PROGRAM = "from thingsboard_gateway.tb_gateway import main; main()"


def interpreter() -> str:
    if importlib.util.find_spec("thingsboard_gateway"):
        return sys.executable
    given = os.environ.get("TAIHU_TB_GATEWAY_PYTHON", "")
    if not given:
        pytest.skip("thingsboard-gateway is not installed; TAIHU_TB_GATEWAY_PYTHON may name an interpreter that has it")
    return given


def settings(site: Site, port: int) -> dict[str, Any]:
    key = [{"key": "temp", "byteFrom": 0, "byteTo": 4}, {"key": "hum", "byteFrom": 4, "byteTo": -1}]
    device = {
        "address": "*:*",
        "addressFilter": "*:*",
        "deviceName": "Line 3",
        "deviceType": "default",
        "encoding": "utf-8",
        "telemetry": key,
        "attributes": [{"key": "name", "byteFrom": 0, "byteTo": 2}],
        "attributeRequests": [],
        "attributeUpdates": [],
        "serverSideRpc": [],
    }
    gateway = {
        "thingsboard": {
            "host": "127.0.0.1",
            "port": site.mqtt_port,
            "remoteShell": False,
            "remoteConfiguration": False,
            "statistics": {"enable": False, "enableCustom": False},
            "deviceFiltering": {"enable": False, "filterFile": "list.json"},
            "checkingDeviceActivity": {"checkDeviceInactivity": False},
            "security": {"type": "accessToken", "accessToken": site.tokens["plant/gateway"]},
            "qos": 1,
        },
        "storage": {"type": "sqlite", "data_file_path": "./data/", "messages_ttl_in_days": 7},
        "grpc": {"enabled": False},
        "connectors": [{"name": "Socket", "type": "socket", "configuration": "socket.json"}],
    }
    server = {"address": "127.0.0.1", "type": "TCP", "port": port, "bufferSize": 1024}
    return {
        "tb_gateway.json": gateway,
        "socket.json": {"name": "Socket", "socket": server, "devices": [device]},
        "list.json": [],
        "logs.json": {"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR", "handlers": []}},
    }


def test_the_gateway_program_delivers(site: Site, tmp_path: Path) -> None:
    python = interpreter()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name, content in settings(site, port).items():
        (tmp_path / name).write_bytes(msgspec.json.encode(content))
    (tmp_path / "data").mkdir()
    with (tmp_path / "log").open("wb") as log:
        program = subprocess.Popen(
            [python, "-c", PROGRAM],
            cwd=tmp_path,
            env=os.environ | {"TB_GW_CONFIG_DIR": str(tmp_path)},
            stdout=log,
            stderr=log,
        )
    devices: list[socket.socket] = []

    def listening() -> bool:
        assert program.poll() is None, (tmp_path / "log").read_text(errors="replace")[-3000:]
        try:
            devices.append(socket.create_connection(("127.0.0.1", port)))
        except ConnectionRefusedError:
            return False
        return True

    try:
        wait_for(listening, "the gateway's socket connector listens")
        devices[0].sendall(b"21.548.1")
        site.wait_value("plant/Line 3", "temp", "21.5")
        site.wait_value("plant/Line 3", "name", "21")
        assert [value for _, value in site.history("plant/Line 3", "hum")] == ["48.1"]
    finally:
        for device in devices:
            device.close()
        program.terminate()
        try:
            program.wait(3)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait(WAIT_S)
