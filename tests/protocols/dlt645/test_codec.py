"""Frames and numbers of DL/T 645-2007: there and back, in any pieces, from any bytes (§13)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.units import parse_unit
from taihu.protocols.dlt645.errors import Dlt645Error
from taihu.protocols.dlt645.frame import ANY_METER, Control, Decoder, Frame, encode, read_frame
from taihu.protocols.dlt645.items import ITEMS, number_of, octets_of

digits = st.text("0123456789", min_size=12, max_size=12)
frames = st.builds(Frame, digits, st.integers(0, 255), st.binary(max_size=200))


@given(st.lists(frames, max_size=5), st.integers(1, 40))
def test_frames_in_any_pieces(wanted: list[Frame], size: int) -> None:
    data = b"".join(map(encode, wanted))
    assert list(Decoder().feed(data)) == wanted
    decoder = Decoder()
    pieces = [data[place : place + size] for place in range(0, len(data), size)]
    assert [one for piece in pieces for one in decoder.feed(piece)] == wanted
    assert [one for byte in data for one in decoder.feed(bytes((byte,)))] == wanted


@given(st.binary(max_size=800))
def test_any_bytes_give_frames_and_wait_for_little_13(data: bytes) -> None:
    decoder = Decoder()
    for frame in decoder.feed(data):
        assert len(frame.data) <= 255
    assert len(decoder._data) <= 270


@given(frames, st.binary(max_size=20), st.data())
def test_noise_and_one_broken_octet_do_not_hide_the_next_frame(frame: Frame, noise: bytes, data: st.DataObject) -> None:
    good = encode(frame)
    place = data.draw(st.integers(4, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= 0x01
    found = list(Decoder().feed(bytes(bad) + good * (2 + 300 // len(good))))
    assert frame in found


def test_the_octets_of_a_request() -> None:
    """The forward active energy of meter 1, as the standard writes it."""
    assert encode(read_frame("000000000001", 0x00010000)).hex() == "fefefefe6801000000000068110433333433b316"
    assert encode(Frame(ANY_METER, Control.READ_ADDRESS)).hex() == "fefefefe68aaaaaaaaaaaa681300df16"


def test_who_answers_whom() -> None:
    request = read_frame("000000000001", 0x00010000)
    assert Frame("000000000001", 0x91, bytes.fromhex("0000010012345600")).answers(request)
    assert not Frame("000000000001", 0x91, bytes.fromhex("0001010212345600")).answers(request)  # late, for another
    assert Frame("000000000001", 0xB1).more
    refused = Frame("000000000001", 0xD1, b"\x02")
    assert refused.answers(request) and refused.refused
    assert not Frame("000000000002", 0x91).answers(request)
    assert not Frame("000000000001", 0x11).answers(request)
    assert not Frame("000000000001", 0x93).answers(request)
    assert Frame("000000000002", 0x93).answers(Frame(ANY_METER, Control.READ_ADDRESS))


@given(st.integers(-79_999_999, 79_999_999), st.integers(0, 4))
def test_signed_numbers_there_and_back(whole: int, decimals: int) -> None:
    value = whole / 10**decimals
    assert number_of(octets_of(value, 4, decimals, signed=True), decimals, signed=True) == value


@given(st.integers(0, 99_999_999))
def test_counters_there_and_back(whole: int) -> None:
    assert number_of(octets_of(whole / 100, 4, 2, signed=False), 2, signed=False) == whole / 100


@given(st.binary(max_size=8), st.booleans())
def test_any_octets_are_a_number_or_missing_3(data: bytes, signed: bool) -> None:
    number_of(data, 2, signed=signed)


def test_what_does_not_fit_is_refused() -> None:
    for value, signed in ((100_000_000, False), (-1, False), (80_000_000, True)):
        with pytest.raises(Dlt645Error):
            octets_of(value, 4, 0, signed=signed)
    for address in ("meter", "1234567890123", ""):
        if address:
            with pytest.raises(Dlt645Error):
                encode(Frame(address, 0x11))
    with pytest.raises(Dlt645Error):
        encode(Frame("1", 0x11, b"\0" * 256))


def test_items_have_units_and_stand_once() -> None:
    assert len({item.number for item in ITEMS}) == len(ITEMS) == len({item.name for item in ITEMS})
    for item in ITEMS:
        parse_unit(item.unit)
