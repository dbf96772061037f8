"""The door's own duties: back-pressure both ways, limits, timers, closing, WebSocket (§4, §6)."""

import socket
import ssl
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.waiting import WAIT_S
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as websocket_connect
from websockets.typing import Subprotocol

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Subscribe,
    Subscription,
)
from taihu.protocols.mqtt.reasons import Reason

pytestmark = pytest.mark.parametrize("start", ["asyncio", "uvloop", "transports"], indirect=True)


class Raw:
    """A client over a plain socket that reads only when told."""

    def __init__(self, port: int, name: str = "c", version: int = 5, *, greet: bool = True, **properties: Any) -> None:
        self.version = version
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.decoder = Decoder(version)
        if greet:
            self.send(Connect(version, name, True, 0, properties=properties))
            assert isinstance(self.next(), Connack)

    def send(self, *packets: Packet) -> None:
        self.socket.sendall(b"".join(encode(packet, self.version) for packet in packets))

    def next(self) -> Packet | None:
        """The next packet; None at the end of the connection."""
        while (packet := self.decoder.next()) is None:
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.decoder.feed(data)
        return packet

    def count(self, kind: type[Packet], wanted: int) -> None:
        while wanted:
            wanted -= isinstance(self.next(), kind)


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def raw() -> Iterator[Callable[..., Raw]]:
    made: list[Raw] = []

    def make(*arguments: Any, **more: Any) -> Raw:
        made.append(Raw(*arguments, **more))
        return made[-1]

    yield make
    for each in made:
        each.socket.close()


def test_pipelined_readings_are_all_taken_and_acknowledged(running: Any, raw: Any) -> None:
    """§4: every PUBACK stands for a reading in the group commit, in order."""
    client = raw(running.port, version=4)
    for start in range(0, 20_000, 500):
        ids = range(start, start + 500)
        client.send(*(Publish(f"readings/{n % 7}", b"%d" % n, 1, packet_id=n + 1) for n in ids))
    for number in range(20_000):
        assert client.next() == Puback(number + 1)
    assert [payload for _, payload in running.pipeline.readings] == [b"%d" % n for n in range(20_000)]


def test_reading_stops_while_the_pipeline_is_full(running: Any, raw: Any) -> None:
    """§6: the sender is slowed, nothing is dropped, and it is not taken for silent."""
    client = raw(running.port, version=4)
    running.call(lambda: setattr(running.pipeline, "full", True))
    client.send(Publish("readings/1", b"1", 1, packet_id=1))
    assert client.next() == Puback(1)
    assert len(running.pipeline.paused) == 1
    client.send(Publish("readings/1", b"2", 1, packet_id=2))
    other = raw(running.port, "other")
    other.send(Pingreq())
    assert other.next() == Pingresp()
    assert len(running.pipeline.readings) == 1
    running.call(running.pipeline.make_room)
    assert client.next() == Puback(2)


def test_a_subscriber_that_never_reads(start: Callable[..., Any], raw: Any) -> None:
    """§6: what waits for it is bounded, it is disconnected with its reason, and others go on."""
    running = start(Limits(mqtt_outbound_bytes_max=200_000, mqtt_offline_queue_messages_max=500))
    deaf, good, publisher = (raw(running.port, name) for name in ("deaf", "good", "publisher"))
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    for each in (deaf, good):
        each.send(Subscribe(1, (Subscription("t/#", 1),)))
    good.next()
    body = bytes(5_000)
    for number in range(3_000):
        publisher.send(Publish("t/1", body, 1, packet_id=number % 60_000 + 1))
        message = good.next()
        good.send(Puback(message.packet_id))
        assert isinstance(publisher.next(), Puback)
    counters = running.broker.counters
    assert counters.quota_disconnects == 1
    assert running.call(lambda: running.broker._core.outbound_bytes) < 300_000
    publisher.send(Publish("t/1", b"after", 0))
    assert good.next().payload == b"after"


def test_a_client_that_sends_and_never_reads(running: Any, raw: Any) -> None:
    """§6: its answers fill its socket, then it is not read any more."""
    client = raw(running.port, version=4)
    client.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        for _ in range(10_000):
            client.socket.sendall(b"\xc0\0" * 50_000)
    assert running.call(lambda: sum(len(each.output) for each in running.broker._core.connections)) < 10_000_000


def test_last_words_arrive_though_the_client_still_sends(start: Callable[..., Any], raw: Any) -> None:
    """[MQTT-4.13.2-1]: a DISCONNECT is not lost to a reset when the client was in the middle of sending."""
    running = start(Limits(mqtt_receive_maximum=10))
    client = raw(running.port)
    client.send(*(Publish("t", bytes(1_000), 2, packet_id=number) for number in range(1, 500)))
    last = None
    while (packet := client.next()) is not None:
        last = packet
    assert isinstance(last, Disconnect) and last.reason == Reason.RECEIVE_MAXIMUM_EXCEEDED


def test_connections_are_bounded(start: Callable[..., Any], raw: Any) -> None:
    """§6: in all and by address; a place is free again when one goes."""
    running = start(Limits(mqtt_connections_max=2))
    first, second = raw(running.port, "1"), raw(running.port, "2")
    refused = raw(running.port, greet=False)
    assert refused.next() is None
    first.socket.close()
    eventually(lambda: running.call(lambda: len(running.door._clients)) == 1)
    raw(running.port, "3")
    second.send(Pingreq())
    assert second.next() == Pingresp()


def test_silent_connections_are_closed(start: Callable[..., Any], raw: Any) -> None:
    """A slow-loris connection ends at the CONNECT timeout."""
    running = start(Limits(mqtt_connect_timeout_s=0.3))
    silent = raw(running.port, greet=False)
    silent.socket.sendall(b"\x10")
    assert silent.next() is None
    assert running.broker.counters.connect_timeouts == 1


def test_closing_tells_clients_and_keeps_sessions(running: Any, raw: Any) -> None:
    """5.0 clients get Server shutting down; the end of their connections is logged for the last group."""
    client = raw(running.port, session_expiry_interval=100)
    running.stop()
    assert client.next() == Disconnect(Reason.SERVER_SHUTTING_DOWN)
    assert client.next() is None
    assert not running.broker.pending and running.pipeline.log


def test_nothing_is_heard_of_a_closed_connection_twice(running: Any, raw: Any) -> None:
    """A client that goes without a word: its session ends, its place is free, its readings stay."""
    client = raw(running.port)
    client.send(Publish("readings/1", b"1", 1, packet_id=1))
    client.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: running.call(lambda: len(running.door._clients)) == 0)
    assert running.call(lambda: len(running.broker._core.store.sessions)) == 0


def test_status_topics(running: Any, raw: Any) -> None:
    """$SYS: each space sees its own figures."""
    client = raw(running.port)
    client.send(Subscribe(1, (Subscription("$SYS/broker/clients/connected"),)))
    client.next()
    running.call(running.broker.publish_status)
    assert client.next().payload == b"1"


def test_websocket_needs_the_subprotocol(running: Any) -> None:
    """[MQTT-6.0.0-3]."""
    with pytest.raises(InvalidStatus):
        websocket_connect(f"ws://127.0.0.1:{running.websocket_port}/mqtt", proxy=None)


def test_websocket_text_frames_are_refused(running: Any) -> None:
    """[MQTT-6.0.0-1]; and packets may cross frames [MQTT-6.0.0-2]."""
    address = f"ws://127.0.0.1:{running.websocket_port}/mqtt"
    with websocket_connect(address, subprotocols=[Subprotocol("mqtt")], proxy=None) as socket_:
        assert socket_.subprotocol == "mqtt"
        data = encode(Connect(4, "c", True, 0), 4)
        socket_.send(data[:5])
        socket_.send(data[5:])
        assert socket_.recv(WAIT_S) == encode(Connack(False, 0), 4)
        socket_.send("text")
        with pytest.raises(Exception, match="1003"):
            socket_.recv(WAIT_S)
    eventually(lambda: running.call(lambda: len(running.door._clients)) == 0)


def test_plain_bytes_at_a_websocket(running: Any, raw: Any) -> None:
    """§13: whatever comes, the connection ends and the others live."""
    odd = raw(running.websocket_port, greet=False)
    odd.socket.sendall(bytes(range(256)) * 10)
    while odd.socket.recv(65_536):
        pass
    raw(running.port)


def test_plain_bytes_at_tls(start: Callable[..., Any], raw: Any) -> None:
    """A failed handshake costs nothing and is nobody else's."""
    running = start(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    odd = raw(running.tls_port, greet=False)
    odd.socket.sendall(bytes(100))
    assert odd.next() is None
    raw(running.port)


def test_idle_connections_are_small(running: Any, raw: Any) -> None:
    """§6: at most 4 kB each; the kernel's share is not ours."""
    raw(running.port, "first")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    count = 300
    clients = [raw(running.port, f"c{number}", 4) for number in range(count)]
    held = running.call(lambda: tracemalloc.get_traced_memory()[0]) - before
    tracemalloc.stop()
    assert len(clients) == count
    assert held / count < 6_000  # both ends of each are in this process
