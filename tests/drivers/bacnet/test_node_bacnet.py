"""A device that node-bacnet makes is found, subscribed to and commanded: a peer of others, on another stack."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.drivers.conformance import Collected, free_port
from tests.waiting import WAIT_S

pytest.importorskip("bacpypes3", reason="bacpypes3 is not installed (the extra bacnet)")

from taihu.drivers.bacnet.driver import BacnetDriver
from taihu.drivers.port import Connection, Result
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT

PEER = Path(__file__).parents[2] / "peers" / "node-bacnet" / "serve.js"
MODULES = os.environ.get("TAIHU_NODE_BACNET", "")


@pytest.mark.skipif(
    not MODULES or shutil.which("node") is None,
    reason="node-bacnet is not installed: TAIHU_NODE_BACNET names no folder with its node_modules, or there is no node",
)
def test_it_is_found_subscribed_to_and_commanded() -> None:
    port = free_port()
    environment = os.environ | {"NODE_PATH": str(Path(MODULES) / "node_modules")}
    command = ["node", str(PEER), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout is not None

    async def body() -> None:
        # node-bacnet takes no request from 127.0.0.1
        options = {"bind": "127.0.0.2:0", "timeout_s": 1.0}
        connection = Connection(name="node", url=f"bacnet://127.0.0.1:{port}", period_s=5.0, options=options)
        driver = BacnetDriver.open(connection, SystemClock(), DEFAULT)
        plan = await driver.discover()
        (thing,) = plan.things
        setpoint = thing.point("setpoint")
        assert thing.title == "from node"
        assert setpoint
        assert (setpoint.definition.unit, setpoint.definition.writable) == ("Cel", True)
        out = Collected()
        task = asyncio.create_task(driver.run(plan, out))
        async with asyncio.timeout(WAIT_S):
            while out.newest().get("node") != {"setpoint": 20.0}:
                await asyncio.sleep(0.01)
            assert (await driver.write("node", setpoint, 23.5)).result is Result.DONE
            while out.newest()["node"]["setpoint"] != 23.5:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await driver.close()

    try:
        assert process.stdout.readline().strip() == "ready"
        asyncio.run(body())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
