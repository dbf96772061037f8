"""Registers and values: every type in every order, there and back; reads that are few and bounded."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.drivers.modbus.points import (
    BITS_MAX,
    REGISTERS_MAX,
    Address,
    Block,
    Cells,
    Type,
    address_of,
    blocks,
    decode,
    encode,
    gather,
    value_of,
)
from taihu.drivers.port import DeviceRefused, Point
from taihu.things.property import Property

ORDERS = st.sampled_from(["ABCD", "BADC", "CDAB", "DCBA"])
RANGES = {"int16": (-(2**15), 2**15 - 1), "uint16": (0, 2**16 - 1), "int32": (-(2**31), 2**31 - 1),
          "uint32": (0, 2**32 - 1), "int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}  # fmt: skip


@given(st.sampled_from(sorted(RANGES)), ORDERS, st.data())
def test_integers_there_and_back(kind: str, order: Any, data: st.DataObject) -> None:
    address = Address(register=0, type=kind, order=order)  # type: ignore[arg-type]
    value = data.draw(st.integers(*RANGES[kind]))
    if abs(value) < 2**53:
        assert decode(address, encode(address, value)) == value


@given(ORDERS, st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_there_and_back(order: Any, value: float) -> None:
    address = Address(register=0, type="float32", order=order)
    assert decode(address, encode(address, value)) == value


@given(ORDERS, st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8))
def test_texts_there_and_back(order: Any, value: str) -> None:
    address = Address(register=0, type="string", order=order, length=4)
    assert decode(address, encode(address, value)) == value


@given(st.integers(-3000, 3000))
def test_scaled_values_are_decimals_without_noise(tenths: int) -> None:
    address = Address(register=0, type="int16", scale=0.1)
    assert decode(address, [tenths % 65_536]) == tenths / 10
    assert encode(address, tenths / 10) == [tenths % 65_536]


@given(st.sampled_from(get_args(Type)), ORDERS, st.lists(st.integers(0, 65_535), min_size=4, max_size=4))
def test_any_registers_give_a_value_or_none(kind: Any, order: Any, words: list[int]) -> None:
    address = Address(register=0, type=kind, order=order, length=4, scale=0.01, offset=1)
    decode(address, words[: address.words], words[0])


def test_missing_is_missing_3() -> None:
    assert decode(Address(register=0, type="int16", missing=-32_768), [0x8000]) is None
    assert decode(Address(register=0, type="float32"), [0x7FC0, 0]) is None
    scaled = Address(register=0, type="int16", scale_register=9)
    assert decode(scaled, [7], 0x8000) is None
    assert decode(scaled, [7], None) is None
    assert decode(scaled, [7], 0xFFFF) == 0.7
    assert encode(scaled, 0.7, 0xFFFF) == [7]


def test_bits_and_symbols() -> None:
    assert decode(Address(register=0, bit=3), [0b1000]) is True
    state = Address(register=0, symbols={"4": "MPPT"})
    assert (decode(state, [4]), decode(state, [9]), encode(state, "MPPT")) == ("MPPT", "9", [4])
    assert decode(Address(register=0, table="coil"), [1]) is True


@pytest.mark.parametrize(
    ("address", "value"),
    [
        (Address(register=0, type="int16"), 40_000),
        (Address(register=0, type="uint16"), -1),
        (Address(register=0, type="int16"), "5"),
        (Address(register=0, type="int16"), True),
        (Address(register=0, type="string", length=1), "long"),
        (Address(register=0, type="string", length=1), 5),
        (Address(register=0, symbols={"1": "on"}), "off"),
        (Address(register=0, type="int16", scale_register=3), 5),
        (Address(register=0, type="float16"), 1e9),
    ],
)
def test_what_no_register_holds_is_refused(address: Address, value: Any) -> None:
    with pytest.raises(DeviceRefused):
        encode(address, value)


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"register": -1},
        {"register": 65_535, "type": "int32"},
        {"register": 0, "scale": 0},
        {"register": "a"},
        {"register": 0, "type": "int24"},
        {"register": 0, "registre": 1},
    ],
)
def test_an_address_that_cannot_be_is_refused(where: dict[str, Any]) -> None:
    with pytest.raises(DeviceRefused, match="power"):
        address_of(Point(definition=Property(name="power"), where=where))


addresses = st.builds(
    lambda register, kind, table: Address(register=register, type=kind, table=table),
    st.integers(0, 400),
    st.sampled_from(["uint16", "int32", "float64"]),
    st.sampled_from(["holding", "coil"]),
)


@given(st.lists(addresses, max_size=40), st.integers(0, 20))
def test_reads_fetch_everything_and_are_bounded(wanted: list[Address], gap: int) -> None:
    found = blocks(wanted, 1, gap)
    cells: Cells = {}
    for block in found:
        assert 0 < block.count <= (BITS_MAX if block.table == "coil" else REGISTERS_MAX)
        gather(block, [0] * block.count, cells)
    assert all(value_of(one, 1, cells) is not None for one in wanted)
    assert len(found) <= len(wanted)


def test_neighbours_are_one_read() -> None:
    wanted = [Address(register=place) for place in (0, 1, 5, 100, 101)]
    assert blocks(wanted, 7, 4) == [Block(7, "holding", 0, 6), Block(7, "holding", 100, 2)]
