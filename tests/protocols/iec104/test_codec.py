"""Frames, ASDUs and times: there and back, in any pieces, and from any bytes (§13)."""

import struct
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.protocols.iec104.apci import Control, Decoder, Frame, Function, Information, Supervisory, encode
from taihu.protocols.iec104.asdu import MONITORED, OBJECTS_MAX, Asdu, Quality, Value, decode_asdu, encode_asdu
from taihu.protocols.iec104.errors import Iec104Error
from taihu.protocols.iec104.time56 import decode_time, encode_time

numbers = st.integers(0, 32_767)
frames = st.one_of(
    st.builds(Information, numbers, numbers, st.binary(min_size=1, max_size=249)),
    st.builds(Supervisory, numbers),
    st.builds(Control, st.sampled_from(Function)),
)
times = st.integers(946_684_800_000, 4_102_444_800_000).map(lambda ms: ms * 1_000_000)
RAW = {
    1: st.booleans(), 3: st.integers(0, 3), 5: st.integers(-64, 63), 7: st.integers(0, 2**32 - 1),
    9: st.integers(-32_768, 32_767).map(lambda raw: raw / 32_768), 11: st.integers(-32_768, 32_767),
    13: st.floats(width=32, allow_nan=False), 15: st.integers(-(2**31), 2**31 - 1),
    21: st.integers(-32_768, 32_767).map(lambda raw: raw / 32_768),
}  # fmt: skip
UNTIMED = {30: 1, 31: 3, 32: 5, 33: 7, 34: 9, 35: 11, 36: 13, 37: 15}


@st.composite
def asdus(draw: st.DrawFn) -> tuple[Asdu, bool]:
    kind = draw(st.sampled_from(sorted(MONITORED)))
    plain, sequence = UNTIMED.get(kind, kind), draw(st.booleans())
    first = draw(st.integers(0, 2**24 - 200))
    count = draw(st.integers(1, 8))
    quality = (
        st.just(Quality(0)) if plain in (15, 21) else st.sampled_from([Quality(0), Quality.INVALID, Quality.BLOCKED])
    )
    values = tuple(
        Value(
            first + place if sequence else draw(st.integers(0, 2**24 - 1)),
            draw(RAW[plain]),
            draw(quality),
            draw(times) if kind in UNTIMED else None,
        )
        for place in range(count)
    )
    cause, station = draw(st.integers(0, 63)), draw(st.integers(0, 65_535))
    one = Asdu(type=kind, cause=cause, station=station, values=values, negative=draw(st.booleans()),
               test=draw(st.booleans()), originator=draw(st.integers(0, 255)))  # fmt: skip
    return one, sequence


@given(asdus())
def test_asdus_there_and_back(case: tuple[Asdu, bool]) -> None:
    asdu, sequence = case
    assert decode_asdu(encode_asdu(asdu, sequence=sequence)) == asdu


@given(st.lists(frames, max_size=6), st.lists(st.integers(1, 20), min_size=1, max_size=20))
def test_frames_in_any_pieces(wanted: list[Frame], sizes: list[int]) -> None:
    data = b"".join(map(encode, wanted))
    assert list(Decoder().feed(data)) == wanted
    decoder, place = Decoder(), 0
    found: list[Frame] = []
    for size in sizes * (len(data) // sum(sizes) + 1):
        found += decoder.feed(data[place : place + size])
        place += size
    assert found == wanted
    assert [one for byte in data for one in decoder.feed(bytes((byte,)))] == wanted


@given(st.binary(max_size=600))
def test_any_bytes_give_frames_or_the_one_error_13(data: bytes) -> None:
    decoder = Decoder()
    with suppress(Iec104Error):
        for frame in decoder.feed(data):
            if isinstance(frame, Information):
                decode_asdu(frame.asdu)
    with suppress(Iec104Error):
        decode_asdu(data)


@given(times)
def test_times_there_and_back(time_ns: int) -> None:
    data = encode_time(time_ns)
    assert decode_time(data) == time_ns
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    assert (data[4] & 31, data[5], data[6] + 2000) == (moment.day, moment.month, moment.year)
    assert data[4] >> 5 == moment.isoweekday()


@pytest.mark.parametrize(
    "data", ["ffff0000010100", "0000bc00010118", "00000000000118", "00000000011d02", "00003d00010118"]
)
def test_a_time_that_is_none_is_missing(data: str) -> None:
    assert decode_time(bytes.fromhex(data)) is None


def test_an_octet_string_of_the_standard() -> None:
    """A short float with quality good, cause spontaneous, from station 1, object 400."""
    data = bytes((13, 1, 3, 0, 1, 0, 0x90, 0x01, 0x00)) + struct.pack("<fB", 230.5, 0)
    assert decode_asdu(data).values == (Value(400, 230.5),)


def test_what_does_not_fit_is_refused() -> None:
    for kind, value in ((11, 40_000), (13, "x"), (7, -1), (15, 2**31), (99, 1)):
        with pytest.raises(Iec104Error):
            encode_asdu(Asdu(type=kind, cause=3, station=1, values=(Value(1, value),)))
    many = tuple(Value(one, True) for one in range(OBJECTS_MAX + 1))
    with pytest.raises(Iec104Error):
        encode_asdu(Asdu(type=1, cause=3, station=1, values=many))


def test_an_unknown_type_is_told_as_such() -> None:
    asdu = decode_asdu(bytes((127, 1, 13, 0, 1, 0)) + b"file")
    assert (asdu.known, asdu.values, asdu.body) == (False, (), b"file")
