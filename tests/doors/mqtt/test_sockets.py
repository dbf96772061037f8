"""Plain connections on their own epoll: what sockets do not take, who is heard when, no descriptors left (§4, §6)."""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.waiting import WAIT_S

from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.packets import Connack, Connect, Packet, Pingreq, Pingresp, Puback, Publish

pytestmark = pytest.mark.parametrize("start", ["asyncio", "uvloop"], indirect=True)


class Device:
    """A 3.1.1 client over a plain socket."""

    def __init__(self, port: int, name: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.decoder = Decoder(4)
        self.send(Connect(4, name, True, 0))
        assert isinstance(self.next(), Connack)

    def send(self, *packets: Packet) -> None:
        self.socket.sendall(b"".join(encode(packet, 4) for packet in packets))

    def next(self) -> Packet:
        while (packet := self.decoder.next()) is None:
            data = self.socket.recv(65_536)
            assert data, "the server closed the connection"
            self.decoder.feed(data)
        return packet


@pytest.fixture
def device(running: Any) -> Iterator[Callable[[str], Device]]:
    made: list[Device] = []

    def make(name: str) -> Device:
        made.append(Device(running.port, name))
        return made[-1]

    yield make
    for each in made:
        each.socket.close()


def reading(number: int, body: bytes = b"1") -> Publish:
    return Publish("readings/1", body, 1, packet_id=number)


def eventually(check: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < until
        time.sleep(0.005)


def wire_of(running: Any, name: str) -> Any:
    """The server's end of a device's connection."""
    (connection,) = [each for each in running.broker._core.connections if each.session.client_id == name]
    return connection.shell.wire


def test_acknowledgements_that_the_socket_does_not_take(running: Any, device: Any) -> None:
    """§4: they come whole and in order once the device reads again; meanwhile it is not read."""
    slow = device("slow")
    slow.send(reading(1))
    assert slow.next() == Puback(1)
    wire = wire_of(running, "slow")
    real = wire._client.send
    taken: list[int] = []

    def half(data: bytes) -> int:
        """A socket that takes three bytes, then none, then fills up."""
        taken.append(len(data))
        if len(taken) % 3 == 0:
            raise BlockingIOError
        return int(real(data[:3]))

    running.call(lambda: setattr(wire._client, "send", half))
    for number in range(2, 200):
        slow.send(reading(number))
        if running.call(lambda: wire._client.send) is not half:  # sent at last: make it half again
            running.call(lambda: setattr(wire._client, "send", half))
    assert [slow.next() for _ in range(2, 200)] == [Puback(number) for number in range(2, 200)]
    assert 4 in taken


def test_a_backlog_is_sent_when_the_device_reads(running: Any, device: Any) -> None:
    """§6: a socket that is full stops the reading of it, and all comes when there is room."""
    slow = device("slow")
    wire = wire_of(running, "slow")
    running.call(lambda: wire.write(bytes(20_000_000)))
    assert wire._client.connection.congested and not wire.reading
    got = 0
    while got < 20_000_000:
        got += len(slow.socket.recv(1_000_000))
    eventually(lambda: running.call(lambda: wire.reading and wire._client.send is not None))
    slow.send(Pingreq())
    assert slow.next() == Pingresp()


def test_a_flood_leaves_the_others_their_turn(running: Any, device: Any) -> None:
    """§6: a connection gives one chunk a turn, whatever it has."""
    flood, small = device("flood"), device("small")
    turns: list[int] = []
    receive = running.door.receive

    def heard(arrived: list[Any]) -> None:
        turns.append(len(arrived))
        receive(arrived)

    running.call(lambda: setattr(running.door, "receive", heard))
    body = bytes(1_000)
    packets = b"".join(encode(reading(number, body), 4) for number in range(1, 1_001))
    wire = wire_of(running, "flood")
    running.call(wire.pause_reading)
    flood.socket.settimeout(WAIT_S)
    flood.socket.sendall(packets)
    small.send(reading(1))
    running.call(wire.resume_reading)
    assert small.next() == Puback(1)
    for number in range(1, 1_001):
        assert flood.next() == Puback(number)
    assert len(turns) > len(packets) // 65_536


def test_no_descriptors_left(running: Any, device: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Who wants to connect waits; one log line when it begins and one when it is over, and nobody else notices."""
    before = device("before")
    accept, refusals = socket.socket.accept, [0]

    def no_room(listener: socket.socket) -> Any:
        if refusals[0] < 2:
            refusals[0] += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", no_room)
    monkeypatch.setattr("taihu.doors.mqtt.sockets._REST_S", 0.02)
    with caplog.at_level(logging.WARNING, "taihu.mqtt"):
        after = device("after")
    after.send(Pingreq())
    assert after.next() == Pingresp()
    before.send(Pingreq())
    assert before.next() == Pingresp()
    lines = [record.message for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == [
        "MQTT connections have to wait",
        "MQTT connections are accepted again",
    ]


def test_an_address_that_is_taken(running: Any) -> None:
    with pytest.raises(OSError, match="in use") as caught:
        asyncio.run_coroutine_threadsafe(running.door.listen("127.0.0.1", running.port), running.loop).result(WAIT_S)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_paused_connection_that_ends_costs_nothing(running: Any, device: Any) -> None:
    """While it is not read its end is not heard, and does not keep the loop busy; then it is."""
    gone = device("gone")
    wire = wire_of(running, "gone")
    running.call(lambda: running.pipeline.pause(wire._client))
    running.call(wire._client.pause)
    gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, at once
    gone.socket.close()
    poll = running.door._sockets._epoll
    assert running.call(lambda: poll.poll(0.1)) == []
    running.call(running.pipeline.make_room)
    eventually(lambda: running.call(lambda: not running.door._clients))
