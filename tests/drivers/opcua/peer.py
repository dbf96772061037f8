"""A server for the OPC UA tests, in a process of its own: asyncua's, with a boiler, a line of presses and an alarm.

`python peer.py FOLDER`, with its certificate: each port that is written to it is served by a fork, which prints `ready`
and its process.
"""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from asyncua import Server, ua, uamethod
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.user_managers import UserManager

URI = "urn:wuxi:plant"


class Users(UserManager):  # type: ignore[misc]
    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
        if username is None:
            return User(role=UserRole.User)
        return User(role=UserRole.User) if (username, password) == ("engineer", "tai hu 36000") else None


@uamethod  # type: ignore[untyped-decorator]
async def add(parent: Any, a: float, b: float) -> float:
    return a + b


@uamethod  # type: ignore[untyped-decorator]
async def stop(parent: Any) -> None:
    return None


@uamethod  # type: ignore[untyped-decorator]
async def refuse(parent: Any) -> Any:
    return ua.StatusCode(ua.StatusCodes.BadInvalidState)


async def variable(parent: Any, index: int, name: str, value: Any, kind: Any, writable: bool = False) -> Any:
    node = await parent.add_variable(ua.NodeId(f"{name}", index), name, ua.Variant(value, kind))
    if writable:
        await node.set_writable()
    return node


async def measured(node: Any, low: float, high: float, unit: ua.EUInformation) -> None:
    await node.add_property(0, "EURange", ua.Variant(ua.Range(low, high), ua.VariantType.ExtensionObject))
    await node.add_property(0, "EngineeringUnits", ua.Variant(unit, ua.VariantType.ExtensionObject))


async def fill(server: Server, index: int) -> Any:
    boiler = await server.nodes.objects.add_object(ua.NodeId("Boiler", index), "Boiler")
    temperature = await variable(boiler, index, "Temperature", 61.5, ua.VariantType.Double)
    unece = "http://www.opcfoundation.org/UA/units/un/cefact"
    await measured(temperature, -20.0, 120.0, ua.EUInformation(unece, 4408652, ua.LocalizedText("°C")))
    await variable(boiler, index, "Setpoint", 60.0, ua.VariantType.Double, writable=True)
    await variable(boiler, index, "Starts", 7, ua.VariantType.UInt32)
    await variable(boiler, index, "Running", True, ua.VariantType.Boolean)
    await variable(boiler, index, "Maker", "Wuxi Kettles", ua.VariantType.String)
    await variable(boiler, index, "Stages", [1.5, 2.5], ua.VariantType.Double)
    await variable(boiler, index, "Ticks", 0.0, ua.VariantType.Double)
    await variable(boiler, index, "Locked", 5, ua.VariantType.Int16)
    mode = await boiler.add_variable(ua.NodeId("Mode", index), "Mode", ua.Variant(1, ua.VariantType.UInt32))
    names = [ua.LocalizedText(one) for one in ("off", "heating", "fault")]
    await mode.add_property(0, "EnumStrings", ua.Variant(names, ua.VariantType.LocalizedText))
    await mode.set_writable()
    broken = await variable(boiler, index, "Broken", 1.0, ua.VariantType.Double)
    value = ua.DataValue(ua.Variant(1.0), StatusCode=ua.StatusCode(ua.StatusCodes.BadSensorFailure))
    await broken.write_value(value)
    doubtful = await variable(boiler, index, "Doubtful", 1.0, ua.VariantType.Double)
    uncertain = ua.StatusCode(ua.StatusCodes.UncertainLastUsableValue)
    await doubtful.write_value(ua.DataValue(ua.Variant(7.5), StatusCode=uncertain))
    await boiler.add_method(index, "Add", add, [ua.VariantType.Double] * 2, [ua.VariantType.Double])
    await boiler.add_method(index, "Stop", stop)
    await boiler.add_method(index, "Refuse", refuse)
    line = await server.nodes.objects.add_folder(ua.NodeId("Line", index), "Line")
    for number in (1, 2):
        press = await line.add_object(index, f"Press{number}")
        await press.add_variable(ua.NodeId(f"Press{number}.Force", index), "Force", float(number))
    return boiler


async def build(folder: Path) -> tuple[Server, Any]:
    server = Server(user_manager=Users())
    await server.init()
    await server.load_certificate(str(folder / "certificate.der"))
    await server.load_private_key(str(folder / "key.pem"))
    kinds = ("Basic256Sha256_Sign", "Basic256Sha256_SignAndEncrypt", "Aes128Sha256RsaOaep_SignAndEncrypt",
             "Aes256Sha256RsaPss_SignAndEncrypt", "NoSecurity")  # fmt: skip
    server.set_security_policy([ua.SecurityPolicyType[kind] for kind in kinds])
    index = await server.register_namespace(URI)
    boiler = await fill(server, index)
    await server.nodes.server.set_event_notifier([ua.EventNotifier.SubscribeToEvents])
    return server, boiler


async def serve(server: Server, boiler: Any, port: int) -> None:
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/plant/")
    alarms = await server.get_event_generator(ua.ObjectIds.AlarmConditionType, boiler)
    ticks = server.get_node(ua.NodeId("Ticks", boiler.nodeid.NamespaceIndex))
    async with server:
        print(f"ready {os.getpid()}", flush=True)
        count = 0
        while True:
            await asyncio.sleep(0.1)
            count += 1
            await ticks.write_value(float(count))
            alarms.event.Severity = 500
            alarms.event.ConditionName = "HighTemperature"
            await alarms.trigger(message=f"too hot {count}")


def main() -> None:
    """Build once, which takes seconds, and serve in a fork for each port that comes in."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server, boiler = asyncio.run(build(Path(sys.argv[1])))
    for line in sys.stdin:
        if os.fork() == 0:
            asyncio.run(serve(server, boiler, int(line)))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
