"""A server for the OPC UA benchmark: asyncua's, whose variables change so many times a second.

`python -m bench.opcua_server PORT NODES RATE`; prints `ready`, and for each line on its input how much it has written.
"""

import asyncio
import logging
import sys
import time
from datetime import UTC, datetime

from asyncua import Server, ua

_STEP_S = 0.02


async def main() -> None:
    port, nodes, rate = map(int, sys.argv[1:4])
    logging.disable(logging.CRITICAL)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:taihu:bench")
    line = await server.nodes.objects.add_object(ua.NodeId("line", index), "line")
    places = [ua.NodeId(f"v{number}", index) for number in range(nodes)]
    for number, place in enumerate(places):
        await line.add_variable(place, f"v{number}", 0.0)
    written = 0

    async def change() -> None:
        nonlocal written
        due = time.monotonic()
        while True:
            now = datetime.now(UTC)
            for _ in range(max(1, int(rate * _STEP_S))):
                number = ua.Variant(float(written), ua.VariantType.Double)
                value = ua.DataValue(number, SourceTimestamp=now, ServerTimestamp=now)
                await server.write_attribute_value(places[written % nodes], value)
                written += 1
            due = max(due + _STEP_S, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async with server:
        print("ready", flush=True)
        work = asyncio.create_task(change())
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(written, flush=True)
        work.cancel()


if __name__ == "__main__":
    asyncio.run(main())
