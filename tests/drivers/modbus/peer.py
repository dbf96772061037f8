"""A device for the Modbus tests, in a process of its own: pymodbus's server, plain registers and a SunSpec inverter.

`python peer.py PORT [SUNSPEC 0|1]`; prints `ready` when it serves.
"""

import asyncio
import struct
import sys

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def text(value: str, registers: int) -> list[int]:
    data = value.encode().ljust(2 * registers, b"\0")
    return list(struct.unpack(f">{registers}H", data))


def sunspec() -> list[int]:
    """Common model, a three-phase inverter (103), storage controls (124), the end."""
    common = [
        1,
        66,
        *text("Wuxi Solar", 16),
        *text("WX-5000", 16),
        *text("", 8),
        *text("1.0", 8),
        *text("SN-42", 16),
        1,
        0x8000,
    ]
    inverter = [103, 50] + [0xFFFF] * 50
    inverter[2 + 4] = 0x10000 - 2  # A_SF
    inverter[2 + 0] = 1234  # A = 12.34
    inverter[2 + 12], inverter[2 + 13] = 3500, 0  # W, W_SF
    inverter[2 + 22], inverter[2 + 23], inverter[2 + 24] = 0, 12345, 0  # WH, WH_SF
    inverter[2 + 36] = 4  # St = MPPT
    storage = [124, 24] + [0] * 24
    storage[2] = 5000  # WChaMax
    storage[2 + 16] = 0  # WChaMax_SF
    return [0x5375, 0x6E53, *common, *inverter, *storage, 0xFFFF, 0]


def device(number: int, with_sunspec: bool) -> SimDevice:
    registers = [0] * 200
    registers[0:2] = [0x0001, 0x86A0]  # 100000, big-endian
    registers[2:4] = [0x86A0, 0x0001]  # the same, words swapped
    registers[4:6] = list(struct.unpack(">2H", struct.pack(">f", 21.5)))
    registers[6] = 0x10000 - 25
    registers[7:11] = text("pump-7", 4)
    registers[11] = 0b1000
    registers[20:140] = range(120)
    data = [SimData(0, values=registers, datatype=DataType.REGISTERS)]
    if with_sunspec:
        data.append(SimData(40_000, values=sunspec(), datatype=DataType.REGISTERS))
    return SimDevice(number, simdata=data)


async def main() -> None:
    with_sunspec = len(sys.argv) < 3 or sys.argv[2] == "1"
    server = ModbusTcpServer([device(1, with_sunspec)], address=("127.0.0.1", int(sys.argv[1])))
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
