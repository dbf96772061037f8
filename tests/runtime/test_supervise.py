"""Processes are restarted with a growing pause and stopped in order; a taken port is named with its holder."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.faults.support import LiveNode, wait_until
from tests.waiting import WAIT_S

from taihu.kernel.clock import SystemClock
from taihu.kernel.config import parse_site
from taihu.kernel.errors import RefusedError
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
        async with asyncio.timeout(WAIT_S):
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
                async with asyncio.timeout(WAIT_S):
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


ORPHAN = """
import asyncio, sys
from taihu.kernel.clock import SystemClock
from taihu.runtime.supervise import Child

async def main():
    child = Child("test", [sys.executable, "-c", "import time; time.sleep(600)"], SystemClock())
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_no_child_outlives_a_supervisor_that_was_killed() -> None:
    """`kill -9` of the supervisor: nothing goes on serving the ports and holding the store behind its back."""
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        os.kill(child, 0)
        supervisor.kill()
        supervisor.wait(WAIT_S)
        wait_until(lambda: not _lives(child), "the child ends")


def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operating system short of processes or memory for a while."""

    async def body() -> None:
        child = Child("test", [sys.executable, "-c", "import time; time.sleep(600)"], SystemClock())
        await child.start()
        spawn, refusals = asyncio.create_subprocess_exec, [OSError(errno.EAGAIN, "no processes")] * 2

        async def short(*arguments: Any, **options: Any) -> Any:
            if refusals:
                raise refusals.pop()
            return await spawn(*arguments, **options)

        monkeypatch.setattr(asyncio, "create_subprocess_exec", short)
        assert child.pid is not None
        os.kill(child.pid, 9)
        async with asyncio.timeout(WAIT_S):
            while refusals or child.pid is None:
                await asyncio.sleep(0.02)
        await child.stop()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("host", "what"), [("192.0.2.1", "Nothing can listen on 192.0.2.1"), ("no.such.host.invalid", "Nothing can listen")]
)
def test_a_host_that_is_not_here_is_not_called_a_taken_port(tmp_path: Path, host: str, what: str) -> None:
    site = parse_site(f'[mqtt]\nport = 0\n[http]\nhost = "{host}"\n', tmp_path)
    with pytest.raises(RefusedError, match=what) as caught:
        check_ports(site)
    assert "[http] host" in caught.value.remedy


def test_an_ipv6_address_is_listened_on() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    assert port_free("::1", 0)


def test_what_is_stored_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Though the data folder was made by somebody else, for all to read."""
    (tmp_path / "site" / "data").mkdir(parents=True, mode=0o755)
    node = LiveNode(tmp_path / "site", ["pump"], {"flush_rows": 1})
    node.start()
    try:
        node.ask("POST", f"/api/v1/{node.tokens['pump']}/telemetry", b'{"a": 1}')
        node.settle()
        wait_until(lambda: list(node.site.data.glob("history/**/*.parquet")), "a file of the history")
    finally:
        node.stop()
    files = [path for path in node.site.data.rglob("*") if path.is_file()]
    assert [path for path in files if path.stat().st_mode & 0o077] == []


def test_a_second_start_on_one_folder_is_one_clear_line(tmp_path: Path) -> None:
    node = LiveNode(tmp_path / "site", ["pump"])
    node.start("ingest")
    try:
        found = subprocess.run(
            [sys.executable, "-m", "taihu.runtime", "ingest", str(node.folder)],
            capture_output=True,
            timeout=WAIT_S,
            text=True,
        )
        assert found.returncode == 1
        assert "Traceback" not in found.stderr
        assert "A running node holds" in found.stderr and "stop it first" in found.stderr
        node.ask("POST", f"/api/v1/{node.tokens['pump']}/telemetry", b'{"a": 1}')
    finally:
        node.stop()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
