"""Data items: what a meter's numbers mean (DL/T 645-2007, annex A).

An item's number is its identifier DI3 DI2 DI1 DI0 as eight hexadecimal digits. Numbers are packed BCD, the lowest octet
first; where an item may be negative, the highest bit of the highest octet is the sign.
"""

import msgspec

from taihu.protocols.dlt645.errors import Dlt645Error


class Item(msgspec.Struct, frozen=True):
    """One data item: octets, decimals, sign, UCUM unit, and whether it only ever rises."""

    number: int
    name: str
    size: int
    decimals: int
    unit: str
    signed: bool = False
    counter: bool = False


def _phases(first: int, name: str, size: int, decimals: int, unit: str, *, signed: bool = False) -> list[Item]:
    found = [
        Item(first + (phase << 8), f"{name}_{'abc'[phase - 1]}", size, decimals, unit, signed) for phase in (1, 2, 3)
    ]
    return found


_ENERGIES = {0x0001: "import_energy", 0x0002: "export_energy"}
_REACTIVE = {0x0003: "reactive_energy_1", 0x0004: "reactive_energy_2"}
ITEMS = (
    *(Item(kind << 16, name, 4, 2, "kW.h", counter=True) for kind, name in _ENERGIES.items()),
    *(Item(kind << 16, name, 4, 2, "kvar.h", signed=True) for kind, name in _REACTIVE.items()),
    *_phases(0x02010000, "voltage", 2, 1, "V"),
    *_phases(0x02020000, "current", 3, 3, "A", signed=True),
    Item(0x02030000, "power", 3, 4, "kW", signed=True),
    *_phases(0x02030000, "power", 3, 4, "kW", signed=True),
    Item(0x02040000, "reactive_power", 3, 4, "kvar", signed=True),
    Item(0x02050000, "apparent_power", 3, 4, "kVA", signed=True),
    Item(0x02060000, "power_factor", 2, 3, "1", signed=True),
    Item(0x02800002, "frequency", 2, 2, "Hz"),
)
"""What a multi-function meter is asked for unless a plan says otherwise."""


def number_of(data: bytes, decimals: int, *, signed: bool) -> float | None:
    """The number in packed BCD; None when it is none, as where a meter has no such phase.

    >>> number_of(bytes.fromhex("341280"), 3, signed=True)
    -1.234
    """
    octets = bytearray(data[::-1])
    if not octets:
        return None
    negative = signed and bool(octets[0] & 0x80)
    if signed:
        octets[0] &= 0x7F
    digits = octets.hex()
    if not digits.isdecimal():
        return None
    value: float = int(digits) / 10**decimals
    return -value if negative else value


def octets_of(value: float, size: int, decimals: int, *, signed: bool) -> bytes:
    """Packed BCD of a number; raises Dlt645Error when it does not fit."""
    whole = round(abs(value) * 10**decimals)
    digits = f"{whole:0{2 * size}d}"
    negative = value < 0 and whole > 0
    if len(digits) > 2 * size or (negative and not signed) or (signed and int(digits[0]) > 7):
        raise Dlt645Error(f"{value:g} does not fit into {size} octets.")
    octets = bytearray.fromhex(digits)
    octets[0] |= 0x80 if negative else 0
    return bytes(octets[::-1])
