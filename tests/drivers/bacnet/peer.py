"""A BACnet device for the tests, in a process of its own: bacpypes3. `python peer.py PORT`."""

import asyncio
import sys
from typing import Any


async def main() -> None:
    from bacpypes3.ipv4.app import NormalApplication
    from bacpypes3.local.analog import AnalogInputObject, AnalogValueObjectCmd
    from bacpypes3.local.binary import BinaryValueObject
    from bacpypes3.local.device import DeviceObject
    from bacpypes3.local.multistate import MultiStateValueObject
    from bacpypes3.object import AccumulatorObject
    from bacpypes3.pdu import IPv4Address

    device = DeviceObject(
        objectIdentifier=("device", 599), objectName="air handler", vendorIdentifier=999, description="roof",
        maxApduLengthAccepted=1476, segmentationSupported="segmented-both",
    )  # fmt: skip
    app = NormalApplication(device, IPv4Address(f"127.0.0.1:{sys.argv[1]}"))
    common: dict[str, Any] = {"statusFlags": [0, 0, 0, 0], "eventState": "normal", "outOfService": False}
    supply = AnalogInputObject(
        objectIdentifier=("analog-input", 1), objectName="supply temperature", presentValue=21.5, covIncrement=0.1,
        units="degreesCelsius", description="after the coil", **common,
    )  # fmt: skip
    broken = AnalogInputObject(
        objectIdentifier=("analog-input", 2), objectName="broken", presentValue=float("nan"), covIncrement=0.1,
        units="degreesCelsius", **common,
    )  # fmt: skip
    setpoint = AnalogValueObjectCmd(
        objectIdentifier=("analog-value", 3), objectName="set/point", presentValue=20.0, relinquishDefault=20.0,
        covIncrement=0.1, units="degreesCelsius", **common,
    )  # fmt: skip
    fan = BinaryValueObject(objectIdentifier=("binary-value", 4), objectName="fan", presentValue="active", **common)
    mode = MultiStateValueObject(
        objectIdentifier=("multi-state-value", 5), objectName="mode", presentValue=2, numberOfStates=3,
        stateText=["off", "heat", "cool"], **common,
    )  # fmt: skip
    meter = AccumulatorObject(
        objectIdentifier=("accumulator", 6), objectName="energy", presentValue=1234, units="kilowattHours",
        scale={"integerScale": 0}, maxPresValue=10_000, **common,
    )  # fmt: skip
    for one in (supply, broken, setpoint, fan, mode, meter):
        app.add_object(one)
    await asyncio.gather(*app.normal.server._transport_tasks)  # until then nothing is bound
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
