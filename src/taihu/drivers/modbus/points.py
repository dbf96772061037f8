"""What registers hold, and which reads fetch them: pure functions over words of 16 bits.

`where` of a point: `register` (0-based), `table` (holding, input, coil, discrete), `type`, `order` (of the bytes of a
value, as ABCD), `scale` and `offset` (value = raw x scale + offset), `scale_register` (a SunSpec scale factor), `bit`
(of a word), `length` (words of a string), `unit` (another than the connection's), `missing` (a raw value that says so),
`symbols` (what raw values are called).
"""

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec

from taihu.drivers.address import where_of
from taihu.drivers.port import DeviceRefused, Point

REGISTERS_MAX = 125  # Modbus Application Protocol 1.1b3, clause 6.3
BITS_MAX = 2_000
SCALE_MISSING = -32_768
_ADDRESSES = 65_536

Type = Literal[
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64", "string", "bool"
]  # fmt: skip
_FORMATS: dict[str, tuple[str, int]] = {
    "int16": ("h", 1), "uint16": ("H", 1), "int32": ("i", 2), "uint32": ("I", 2), "int64": ("q", 4),
    "uint64": ("Q", 4), "float16": ("e", 1), "float32": ("f", 2), "float64": ("d", 4), "bool": ("H", 1),
}  # fmt: skip


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a point is; the module's text says what each member means."""

    register: Annotated[int, msgspec.Meta(ge=0, lt=_ADDRESSES)]
    table: Literal["holding", "input", "coil", "discrete"] = "holding"
    type: Type = "uint16"
    order: Literal["ABCD", "BADC", "CDAB", "DCBA"] = "ABCD"
    scale: float = 1.0
    offset: float = 0.0
    scale_register: Annotated[int, msgspec.Meta(ge=0, lt=_ADDRESSES)] | None = None
    bit: Annotated[int, msgspec.Meta(ge=0, le=15)] | None = None
    length: Annotated[int, msgspec.Meta(ge=1, le=REGISTERS_MAX)] = 1
    unit: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    missing: int | None = None
    symbols: dict[str, str] = {}

    @property
    def bits(self) -> bool:
        """Whether it is in a table of bits."""
        return self.table in ("coil", "discrete")

    @property
    def words(self) -> int:
        """How many registers, or bits, it takes."""
        if self.bits:
            return 1
        return self.length if self.type == "string" else _FORMATS[self.type][1]


Cells = dict[tuple[int, str], dict[int, int]]
"""What reads brought: words, or bits, by unit and table, and by register."""


class Block(msgspec.Struct, frozen=True):
    """One read: `count` registers or bits of a unit's table from `start`."""

    unit: int
    table: str
    start: int
    count: int


def address_of(point: Point) -> Address:
    """The address of a point; DeviceRefused when it is none."""
    address = where_of(point, Address, "docs/modbus.md")
    if address.register + address.words > _ADDRESSES:
        raise DeviceRefused(f"{point.definition.name} goes beyond the last register.", "Correct register or length.")
    if not address.scale:
        raise DeviceRefused(f"{point.definition.name} has the scale 0.", "Leave it out, or give one.")
    return address


def blocks(addresses: Iterable[Address], unit: int, gap: int) -> list[Block]:
    """The fewest reads that fetch all addresses, reading over gaps of at most `gap`."""
    spans: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for one in addresses:
        key = (unit if one.unit is None else one.unit, one.table)
        spans.setdefault(key, []).append((one.register, one.register + one.words))
        if one.scale_register is not None:
            spans[key].append((one.scale_register, one.scale_register + 1))
    found = []
    for (number, table), parts in spans.items():
        size_max = BITS_MAX if table in ("coil", "discrete") else REGISTERS_MAX
        start, end = -1, -1
        for begin, stop in sorted(parts):
            if start >= 0 and begin <= end + gap and max(end, stop) - start <= size_max:
                end = max(end, stop)
                continue
            if start >= 0:
                found.append(Block(number, table, start, end - start))
            start, end = begin, stop
        if start >= 0:
            found.append(Block(number, table, start, end - start))
    return found


def decode(address: Address, words: Sequence[int], scale_word: int | None = None) -> Any:
    """The value in an address's registers (or bit); None when the device says that there is none (§3).

    >>> decode(Address(register=0, type="int32", order="CDAB", scale=0.1), [0x0064, 0x0000])
    10.0
    """
    if address.bits:
        return bool(words[0])
    data = _ordered(struct.pack(f">{len(words)}H", *words), address.order)
    if address.type == "string":
        text = data.split(b"\0", 1)[0].decode("utf-8", "replace").strip()
        return text or None
    raw = struct.unpack(f">{_FORMATS[address.type][0]}", data)[0]
    if address.bit is not None:
        return bool(raw >> address.bit & 1)
    if raw == address.missing or (isinstance(raw, float) and not math.isfinite(raw)):
        return None
    if address.type == "bool":
        return bool(raw)
    if address.symbols:
        return address.symbols.get(str(raw), str(raw))
    factor = address.scale
    if address.scale_register is not None:
        if scale_word is None:
            return None
        exponent = scale_word - 65_536 if scale_word >= 32_768 else scale_word
        if exponent == SCALE_MISSING or abs(exponent) > 10:
            return None
        return _scaled(raw, factor * 10.0**exponent, address.offset)
    return raw if factor == 1 and not address.offset else _scaled(raw, factor, address.offset)


def encode(address: Address, value: Any, scale_word: int | None = None) -> list[int]:
    """The registers that hold a value; DeviceRefused when none can.

    >>> encode(Address(register=0, type="int16", scale=0.1), -2.5)
    [65511]
    """
    if address.symbols:
        numbers = {name: int(raw) for raw, name in address.symbols.items()}
        if value not in numbers:
            raise DeviceRefused(f"{value!r} is none of its states.", f"There are: {', '.join(numbers)}.")
        data = _packed(msgspec.structs.replace(address, symbols={}), numbers[value], None)
    elif address.type == "string":
        if not isinstance(value, str) or len(data := value.encode()) > 2 * address.length:
            raise DeviceRefused(f"{value!r} does not fit into {address.length} registers.", "Write a shorter text.")
        data = data.ljust(2 * address.length, b"\0")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        if not isinstance(value, bool) or address.type != "bool":
            raise DeviceRefused(f"{value!r} is no number.", "Write a number.")
        data = struct.pack(">H", value)
    else:
        data = _packed(address, value, scale_word)
    data = _ordered(data, address.order)
    return [int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2)]


def gather(block: Block, words: Sequence[int], cells: Cells) -> None:
    """Note what a read brought."""
    places = range(block.start, block.start + block.count)
    cells.setdefault((block.unit, block.table), {}).update(zip(places, words, strict=False))


def value_of(address: Address, unit: int, cells: Cells) -> Any:
    """The value of an address from what reads brought; None when a part is not there."""
    held = cells.get((unit if address.unit is None else address.unit, address.table))
    if held is None:
        return None
    try:
        words = [held[place] for place in range(address.register, address.register + address.words)]
    except KeyError:
        return None
    return decode(address, words, None if address.scale_register is None else held.get(address.scale_register))


def _packed(address: Address, value: float, scale_word: int | None) -> bytes:
    factor = address.scale
    if address.scale_register is not None:
        if scale_word is None or scale_word == 0x8000:
            raise DeviceRefused("The device gives no scale for it.", "Read it first.")
        factor *= 10.0 ** (scale_word - 65_536 if scale_word >= 32_768 else scale_word)
    raw = (value - address.offset) / factor
    letter, _ = _FORMATS[address.type]
    try:
        return struct.pack(f">{letter}", raw if address.type.startswith("float") else round(raw))
    except (struct.error, OverflowError, ValueError):
        raise DeviceRefused(f"{value:g} does not fit into {address.type}.", "Write a value in its range.") from None


def _scaled(raw: float, factor: float, offset: float) -> float:
    """Raw x factor + offset, without the noise of a decimal factor such as 0.1."""
    return float(f"{raw * factor + offset:.12g}")


def _ordered(data: bytes, order: str) -> bytes:
    """The bytes of a value from one order to big-endian, or back: each order is its own inverse."""
    if order == "ABCD":
        return data
    if order in ("BADC", "DCBA"):
        data = b"".join(data[place + 1 : place + 2] + data[place : place + 1] for place in range(0, len(data), 2))
    if order in ("CDAB", "DCBA"):
        data = b"".join(data[place : place + 2] for place in range(len(data) - 2, -1, -2))
    return data
