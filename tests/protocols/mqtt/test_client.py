"""The client's state machine: flows of every QoS, resumption, limits and timers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.errors import LocalError
from taihu.protocols.mqtt.client import Client, State
from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.errors import EncodingError, NotConnected, ProtocolError, QueueFull, ServerSilent
from taihu.protocols.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
)
from taihu.protocols.mqtt.reasons import Reason


def written(client: Client) -> list[Packet]:
    """The packets the client wants to send."""
    decoder = Decoder(client.version)
    decoder.feed(client.take_output())
    return list(decoder.packets())


def told(client: Client, *packets: Packet, now: float = 0.0) -> list[Packet]:
    """The client's events when the server sends `packets`."""
    return client.receive(b"".join(encode(packet, client.version) for packet in packets), now)


def connected(session_present: bool = False, answer: dict[str, Any] | None = None, **options: Any) -> Client:
    client = Client("meter-1", **options)
    client.connect(now=0.0)
    assert isinstance(written(client)[0], Connect)
    connack = Connack(session_present, 0, answer or {})
    assert told(client, connack) == [connack]
    assert client.state is State.CONNECTED
    return client


def reconnect(client: Client, session_present: bool) -> list[Packet]:
    """What the client sends after its next CONNACK."""
    client.connection_lost()
    client.connect(now=100.0)
    written(client)
    told(client, Connack(session_present, 0))
    return written(client)


def test_publish_at_every_qos() -> None:
    client = connected()
    assert client.publish("a", b"0") == 0
    one = client.publish("a", b"1", qos=1, retain=True)
    two = client.publish("a", b"2", qos=2)
    assert written(client) == [
        Publish("a", b"0"),
        Publish("a", b"1", qos=1, retain=True, packet_id=one),
        Publish("a", b"2", qos=2, packet_id=two),
    ]
    assert told(client, Puback(one), Pubrec(two)) == [Puback(one)]
    assert written(client) == [Pubrel(two)]
    assert told(client, Pubcomp(two)) == [Pubcomp(two)]
    assert told(client, Puback(one), Pubcomp(two)) == []


def test_a_refused_qos_2_message_is_done() -> None:
    client = connected(version=5)
    two = client.publish("a", b"2", qos=2)
    written(client)
    refused = Pubrec(two, Reason.NOT_AUTHORIZED)
    assert told(client, refused) == [refused]
    assert written(client) == []
    assert told(client, Pubrec(two)) == []
    assert written(client) == [Pubrel(two, Reason.PACKET_IDENTIFIER_NOT_FOUND)]


def test_messages_are_acknowledged_and_qos_2_is_seen_once() -> None:
    client = connected()
    one, two = Publish("a", b"1", qos=1, packet_id=7), Publish("a", b"2", qos=2, packet_id=7)
    assert told(client, Publish("a", b"0"), one, two, two) == [Publish("a", b"0"), one, two]
    assert written(client) == [Puback(7), Pubrec(7), Pubrec(7)]
    assert told(client, Pubrel(7), two) == [two]
    assert written(client) == [Pubcomp(7), Pubrec(7)]


def test_what_was_in_flight_is_sent_again_to_a_server_with_the_session() -> None:
    client = connected(clean_start=False)
    one, two, three = (client.publish("a", b"x", qos=qos) for qos in (1, 2, 2))
    written(client)
    told(client, Pubrec(two))
    again = reconnect(client, session_present=True)
    assert again == [
        Publish("a", b"x", qos=1, dup=True, packet_id=one),
        Publish("a", b"x", qos=2, dup=True, packet_id=three),
        Pubrel(two),
    ]


def test_a_server_without_the_session_gets_the_messages_as_new() -> None:
    client = connected()
    one, two, three = (client.publish("a", b"x", qos=qos) for qos in (1, 2, 2))
    told(client, Pubrec(two))
    as_new = [Publish("a", b"x", qos=1, packet_id=one), Publish("a", b"x", qos=2, packet_id=three)]
    assert reconnect(client, session_present=False) == as_new


def test_messages_wait_for_the_connection_and_for_the_receive_maximum() -> None:
    client = Client("meter-1", version=5)
    ids = [client.publish("a", b"x", qos=1) for _ in range(3)]
    with pytest.raises(NotConnected):
        client.publish("a", b"x")
    client.connect(now=0.0)
    written(client)
    told(client, Connack(False, 0, {"receive_maximum": 2}))
    assert [packet.packet_id for packet in written(client) if isinstance(packet, Publish)] == ids[:2]
    told(client, Puback(ids[0]))
    assert [packet.packet_id for packet in written(client) if isinstance(packet, Publish)] == ids[2:]


def test_the_queue_is_bounded() -> None:
    """§6: by messages, by bytes, by requests and by output that nobody takes."""
    client = connected(pending_max=2, pending_bytes_max=1_000, outbound_bytes_max=100)
    with pytest.raises(QueueFull):
        client.publish("a", bytes(1_000), qos=1)
    one = client.publish("a", b"", qos=1)
    client.publish("a", b"", qos=2)
    with pytest.raises(QueueFull):
        client.publish("a", b"", qos=1)
    told(client, Puback(one))
    client.publish("a", b"", qos=1)
    client.subscribe([Subscription("a")])
    client.unsubscribe(["a"])
    with pytest.raises(QueueFull):
        client.subscribe([Subscription("a")])
    client.take_output()
    client.publish("a", bytes(100))
    with pytest.raises(QueueFull):
        client.publish("a", b"")
    with pytest.raises(LocalError):
        Client("a", pending_max=0)


def test_bytes_are_counted_back_when_messages_are_done() -> None:
    client = connected(pending_bytes_max=1_000)
    for _ in range(10):
        two = client.publish("a", bytes(900), qos=2)
        told(client, Pubrec(two), Pubcomp(two))
        one = client.publish("a", bytes(900), qos=1)
        told(client, Puback(one))


def test_packet_identifiers_in_use_are_not_given_again() -> None:
    client = connected()
    kept = client.publish("a", b"", qos=1)
    for _ in range(65_600):
        packet_id = client.publish("a", b"", qos=1)
        assert packet_id not in (0, kept)
        told(client, Puback(packet_id))
        client.take_output()


def test_subscribe_and_unsubscribe() -> None:
    client = connected()
    packet_id = client.subscribe([Subscription("a/#", qos=1)])
    assert written(client) == [Subscribe(packet_id, (Subscription("a/#", qos=1),))]
    assert told(client, Suback(packet_id, (1,))) == [Suback(packet_id, (1,))]
    packet_id = client.unsubscribe(["a/#"])
    assert written(client) == [Unsubscribe(packet_id, ("a/#",))]
    assert told(client, Unsuback(packet_id)) == [Unsuback(packet_id)]


def test_names_are_checked_before_they_are_sent() -> None:
    client = connected()
    with pytest.raises(EncodingError):
        client.publish("a/+", b"")
    with pytest.raises(EncodingError):
        client.subscribe([Subscription("a+")])
    with pytest.raises(EncodingError):
        client.unsubscribe([""])
    with pytest.raises(EncodingError):
        client.publish("a", b"", qos=3)
    with pytest.raises(EncodingError):
        client.publish("a", b"", properties={"topic_alias": 1})
    assert client.take_output() == b""


def test_a_refused_connection_is_closed() -> None:
    client = Client("meter-1")
    client.connect(now=0.0)
    assert told(client, Connack(False, 5)) == [Connack(False, 5)]
    assert client.state is State.CLOSED
    assert client.next_timer() is None
    with pytest.raises(NotConnected):
        client.subscribe([Subscription("a")])
    client.connect(now=1.0)
    with pytest.raises(LocalError):
        client.connect(now=1.0)


def test_keep_alive() -> None:
    client = connected(keep_alive=10)
    assert client.next_timer() == 10.0
    client.handle_timer(now=9.9)
    assert written(client) == []
    client.handle_timer(now=10.0)
    assert written(client) == [Pingreq()]
    told(client, Pingresp(), now=10.1)
    client.handle_timer(now=20.0)
    with pytest.raises(ServerSilent):
        client.handle_timer(now=30.0)
    assert client.state is State.CLOSED


def test_no_keep_alive_and_the_servers_keep_alive() -> None:
    assert connected(keep_alive=0).next_timer() is None
    assert connected(version=5, answer={"server_keep_alive": 7}).next_timer() == 7.0


def test_a_server_that_does_not_greet_is_silent() -> None:
    client = Client("meter-1", connect_timeout_s=3.0)
    client.connect(now=1.0)
    with pytest.raises(ServerSilent):
        client.handle_timer(now=4.0)


def test_the_server_assigns_an_id_and_topic_aliases() -> None:
    answer = {"assigned_client_identifier": "auto-7"}
    client = connected(version=5, properties={"topic_alias_maximum": 2}, answer=answer)
    assert client.client_id == "auto-7"
    first, second = (
        Publish("a/b", b"1", properties={"topic_alias": 2}),
        Publish("", b"2", properties={"topic_alias": 2}),
    )
    assert [packet.topic for packet in told(client, first, second) if isinstance(packet, Publish)] == ["a/b", "a/b"]
    with pytest.raises(ProtocolError) as caught:
        told(client, Publish("a", b"", properties={"topic_alias": 3}))
    assert caught.value.reason == Reason.TOPIC_ALIAS_INVALID
    assert written(client) == [Disconnect(Reason.TOPIC_ALIAS_INVALID)]
    assert client.state is State.CLOSED


def test_authentication_and_disconnect() -> None:
    client = Client("meter-1", version=5, properties={"authentication_method": "x"})
    with pytest.raises(NotConnected):
        client.authenticate(0x18, {"authentication_method": "x"})
    client.connect(now=0.0)
    written(client)
    challenge = Auth(0x18, {"authentication_method": "x", "authentication_data": b"?"})
    assert told(client, challenge) == [challenge]
    client.authenticate(0x18, {"authentication_method": "x", "authentication_data": b"!"})
    assert isinstance(written(client)[0], Auth)
    told(client, Connack(False, 0))
    client.disconnect(Reason.DISCONNECT_WITH_WILL_MESSAGE)
    assert written(client) == [Disconnect(Reason.DISCONNECT_WITH_WILL_MESSAGE)]
    assert client.state is State.CLOSED
    client.connect(now=1.0)
    told(client, Connack(False, 0))
    farewell = Disconnect(Reason.SERVER_SHUTTING_DOWN)
    assert told(client, farewell, Publish("a", b"too late")) == [farewell]
    assert client.state is State.CLOSED


OUT_OF_TURN: list[tuple[int, Packet]] = [
    (4, Connack(False, 0)),
    (4, Pingreq()),
    (4, Disconnect()),
    (4, Subscribe(1, (Subscription("a"),))),
    (4, Suback(9, (0,))),
    (4, Puback(2)),
    (4, Pubcomp(2)),
    (4, Pubrec(1)),
    (5, Connect(5, "a", True, 0)),
    (5, Publish("", b"", properties={"topic_alias": 1})),
]


@pytest.mark.parametrize(("version", "packet"), OUT_OF_TURN)
def test_what_a_server_must_not_send_is_refused(version: int, packet: Packet) -> None:
    client = connected(version=version, properties={"topic_alias_maximum": 1} if version == 5 else {})
    assert [client.publish("a", b"", qos=qos) for qos in (1, 2)] == [1, 2]
    with pytest.raises(ProtocolError):
        told(client, packet)
    assert client.state is State.CLOSED


def test_a_session_after_a_clean_start_and_packets_before_connack_are_refused() -> None:
    for packet in (Connack(True, 0), Pingresp(), Publish("a", b"")):
        client = Client("meter-1")
        client.connect(now=0.0)
        with pytest.raises(ProtocolError):
            told(client, packet)


def test_messages_before_an_error_are_not_lost() -> None:
    """They were acknowledged, so they must be seen; the error comes with the next call."""
    client = connected()
    message = Publish("a", b"1", qos=1, packet_id=1)
    assert client.receive(encode(message, 4) + b"\xff\0", 0.0) == [message]
    assert written(client) == [Puback(1)]
    assert client.state is State.CLOSED
    with pytest.raises(ProtocolError):
        client.receive(b"", 0.0)


def test_the_receive_maximum_is_kept() -> None:
    client = connected(version=5, properties={"receive_maximum": 2})
    told(client, *(Publish("a", b"", qos=2, packet_id=number) for number in (1, 2)))
    with pytest.raises(ProtocolError) as caught:
        told(client, Publish("a", b"", qos=2, packet_id=3))
    assert caught.value.reason == Reason.RECEIVE_MAXIMUM_EXCEEDED


@given(st.binary(max_size=200), st.sampled_from((4, 5)), st.booleans())
def test_any_bytes_give_events_or_the_one_error(data: bytes, version: int, greeted: bool) -> None:
    """§13."""
    client = Client("a", version=version)
    client.connect(now=0.0)
    if greeted:
        told(client, Connack(False, 0))
    try:
        client.receive(data, 0.0)
    except ProtocolError:
        assert client.state is State.CLOSED


class Server:
    """A server with one session: remembers what it received, and what of QoS 2 is not released."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.unreleased: set[int] = set()
        self.decoder = Decoder()
        self.known = False

    def receive(self, data: bytes) -> bytes:
        self.decoder.feed(data)
        return b"".join(encode(answer, 4) for packet in self.decoder.packets() for answer in self.answers(packet))

    def answers(self, packet: Packet) -> list[Packet]:
        match packet:
            case Connect():
                present, self.known = self.known, True
                return [Connack(present, 0)]
            case Publish(qos=1):
                self.messages.append(packet.payload)
                return [Puback(packet.packet_id)]
            case Publish(qos=2):
                if packet.packet_id not in self.unreleased:
                    self.unreleased.add(packet.packet_id)
                    self.messages.append(packet.payload)
                return [Pubrec(packet.packet_id)]
            case Pubrel():
                self.unreleased.discard(packet.packet_id)
                return [Pubcomp(packet.packet_id)]
        raise AssertionError(packet)


@given(
    st.lists(st.sampled_from((1, 2)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=6),
)
def test_qos_over_a_connection_that_breaks_anywhere(qos: list[int], breaks: list[tuple[int, int]]) -> None:
    """QoS 2 arrives exactly once and QoS 1 at least once, whatever bytes each broken connection still carried."""
    client, server = Client("meter-1", clean_start=False), Server()
    for number, each in enumerate(qos):
        client.publish("a", bytes((number,)), qos=each)
    for limits in [*breaks, None]:
        upward, downward = limits or (1_000_000, 1_000_000)
        server.decoder = Decoder()
        client.connect(now=0.0)
        while data := client.take_output()[:upward]:
            upward -= len(data)
            answer = server.receive(data)[:downward]
            downward -= len(answer)
            client.receive(answer, 0.0)
        if limits:
            client.connection_lost()
    first_seen = list(dict.fromkeys(server.messages))
    assert first_seen == sorted(first_seen)
    for number, each in enumerate(qos):
        count = server.messages.count(bytes((number,)))
        assert count == 1 if each == 2 else count >= 1
    assert not server.unreleased
