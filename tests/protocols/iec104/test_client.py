"""The controlling station's windows, timers and order, against a station written out by hand."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.protocols.iec104.apci import Control, Decoder, Function, Information, Supervisory, encode
from taihu.protocols.iec104.asdu import INTERROGATION, Asdu, Cause, Value, encode_asdu
from taihu.protocols.iec104.client import Client, Started, State, Timers
from taihu.protocols.iec104.errors import Iec104Error

POINT = Asdu(type=1, cause=Cause.SPONTANEOUS, station=1, values=(Value(5, True),))
ASK = Asdu(type=INTERROGATION, cause=Cause.ACTIVATION, station=1, values=(Value(0, 20),))


def started(timers: Timers = Timers()) -> Client:  # noqa: B008
    client = Client(timers)
    client.start(0.0)
    assert client.take_output() == encode(Control(Function.STARTDT_ACT))
    assert client.receive(encode(Control(Function.STARTDT_CON)), 0.0) == [Started()]
    return client


def told(number: int, received: int = 0) -> bytes:
    return encode(Information(number, received, encode_asdu(POINT)))


def test_what_comes_is_acknowledged_after_w_frames_or_t2() -> None:
    client = started()
    for number in range(7):
        assert client.receive(told(number), 1.0) == [POINT]
    assert client.take_output() == b""
    client.receive(told(7), 1.0)
    assert client.take_output() == encode(Supervisory(8))
    client.receive(told(8), 2.0)
    assert client.next_timer() == 12.0
    client.handle_timer(12.0)
    assert client.take_output() == encode(Supervisory(9))


def test_at_most_k_frames_are_unacknowledged() -> None:
    client = started()
    for _ in range(15):
        client.send(ASK, 0.0)
    assert len(list(Decoder().feed(client.take_output()))) == 12
    client.receive(encode(Supervisory(5)), 1.0)
    assert len(list(Decoder().feed(client.take_output()))) == 3
    with pytest.raises(Iec104Error, match="acknowledged within"):
        client.handle_timer(16.0)


def test_a_silent_line_is_tested_and_given_up() -> None:
    client = started()
    assert client.next_timer() == 20.0
    client.handle_timer(20.0)
    assert client.take_output() == encode(Control(Function.TESTFR_ACT))
    client.receive(encode(Control(Function.TESTFR_CON)), 21.0)
    client.handle_timer(41.0)
    with pytest.raises(Iec104Error, match="no answer"):
        client.handle_timer(56.0)


def test_a_test_is_answered() -> None:
    client = started()
    client.receive(encode(Control(Function.TESTFR_ACT)), 1.0)
    assert client.take_output() == encode(Control(Function.TESTFR_CON))


@pytest.mark.parametrize(
    "data",
    [
        told(1),
        encode(Supervisory(1)),
        told(0, 3),
        encode(Control(Function.STARTDT_CON)),
        encode(Control(Function.STOPDT_ACT)),
    ],
)
def test_a_station_out_of_order_is_an_error(data: bytes) -> None:
    with pytest.raises(Iec104Error):
        started().receive(data, 1.0)


def test_no_data_before_the_start() -> None:
    client = Client()
    client.start(0.0)
    with pytest.raises(Iec104Error, match="before it was started"):
        client.receive(told(0), 0.0)
    assert client.state is State.STARTING
    with pytest.raises(Iec104Error, match="no answer"):
        client.handle_timer(15.0)


def test_what_waits_is_bounded_6() -> None:
    client = Client()
    with pytest.raises(Iec104Error, match="wait to be sent"):
        for _ in range(1_001):
            client.send(ASK, 0.0)


@settings(max_examples=30)
@given(st.integers(32_760, 33_000))
def test_numbers_go_around(count: int) -> None:
    client = started(Timers(received_max=1))
    client._received = client._told = 32_750  # the frames before them change nothing
    for number in range(32_750, count):
        client.receive(told(number % 32_768), 1.0)
    assert list(Decoder().feed(client.take_output()))[-1] == Supervisory(count % 32_768)


_NUMBERS = st.integers(0, 4)
_SENT = st.one_of(
    st.binary(max_size=12),
    st.builds(lambda n, r: encode(Information(n, r, encode_asdu(POINT))), _NUMBERS, _NUMBERS),
    st.builds(lambda r: encode(Supervisory(r)), _NUMBERS),
    st.sampled_from([encode(Control(one)) for one in Function]),
)


@given(st.lists(_SENT, max_size=8))
def test_whatever_a_station_sends_gives_events_or_the_one_error_13(sent: list[bytes]) -> None:
    client = Client()
    client.start(0.0)
    with suppress(Iec104Error):
        for data in sent:
            client.receive(data, 1.0)
            client.take_output()
