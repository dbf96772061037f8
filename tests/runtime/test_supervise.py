"""Processes are restarted with a growing pause and stopped in order; a taken port is named with its holder."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest
from tests.faults.support import LiveNode

from taihu.kernel.clock import SystemClock
from taihu.kernel.config import parse_site
from taihu.runtime.run import PortTaken, Supervisor, check_ports, port_free
from taihu.runtime.supervise import Child, port_holder


def test_the_holder_of_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert f"(pid {os.getpid()})" in port_holder(port)
        assert not port_free("127.0.0.1", port)
    assert port_holder(port) == "another process"
    assert port_free("127.0.0.1", port)


def test_a_taken_port_stops_the_start_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        site = parse_site(f"[mqtt]\nport = 0\n[http]\nport = {port}\n", tmp_path)
        with pytest.raises(PortTaken, match=rf"Port {port} \(http.port\) is taken by .*pid {os.getpid()}"):
            check_ports(site)


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    async def body() -> None:
        mark = tmp_path / "lives"
        script = (
            f"import pathlib, time; mark = pathlib.Path({str(mark)!r}); mark.open('a').write('x')\n"
            "if mark.read_text() == 'xxx': time.sleep(600)"
        )
        child = Child("test", [sys.executable, "-c", script], SystemClock())
        await child.start()
        async with asyncio.timeout(30):
            while not (mark.exists() and mark.read_text() == "xxx"):
                await asyncio.sleep(0.02)
        assert child.restarts == 2
        pid = child.pid
        assert pid is not None
        await child.stop()
        assert child.pid is None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(body())


def test_the_supervisor_brings_back_what_was_killed(tmp_path: Path) -> None:
    """`kill -9` of ingest and worker under `taihu run`: both come back and serve."""
    node = LiveNode(tmp_path / "site", ["pump"])
    device = f"/api/v1/{node.tokens['pump']}/telemetry"

    async def body() -> None:
        supervisor = Supervisor(node.site)
        await supervisor.start()
        try:
            for index in (0, 1):
                assert (await asyncio.to_thread(node.ask, "POST", device, b'{"a": 1}')).status == 200
                pid = supervisor.children[index].pid
                assert pid is not None
                os.kill(pid, 9)
                async with asyncio.timeout(30):
                    while supervisor.children[index].pid in (pid, None):
                        await asyncio.sleep(0.01)
                    while not await asyncio.to_thread(_serves, node):
                        await asyncio.sleep(0.05)
                assert supervisor.children[index].pid != pid
        finally:
            await supervisor.stop()

    asyncio.run(body())


def _serves(node: LiveNode) -> bool:
    try:
        return bool(node.status()["worker"] == "running")
    except OSError:
        return False
