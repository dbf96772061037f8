"""CONNECT, keep alive, takeover and the end of a connection."""

from typing import Any

import pytest

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.codec import encode
from taihu.protocols.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Will,
)
from taihu.protocols.mqtt.reasons import Reason


@pytest.mark.parametrize("version", [4, 5])
def test_first_packet_must_be_connect(world: Any, version: int) -> None:
    """[MQTT-3.1.0-1]."""
    peer = world.open(version).send(Pingreq())
    assert peer.ended
    assert peer.connection.take_output() == b""


def test_second_connect_is_a_protocol_error(world: Any) -> None:
    """[MQTT-3.1.0-2]."""
    peer = world.client()
    peer.send(Connect(5, "c", True, 0))
    assert peer.got() == [Disconnect(Reason.PROTOCOL_ERROR)]
    assert peer.ended


def test_other_protocol_versions_are_answered(world: Any) -> None:
    """[MQTT-3.1.2-2]: 3.1.1's return code 1 tells a client of any version."""
    peer = world.open(4).send_bytes(b"\x10\x0c\x00\x04MQTT\x03\x02\x00\x00\x00\x00")
    assert peer.got() == [Connack(False, 1)]
    assert peer.ended


def test_server_assigns_an_identifier(world: Any) -> None:
    """[MQTT-3.1.3-6], [MQTT-3.1.3-7]."""
    first, second = world.client(""), world.client("", clean=False)
    names = [peer.connack.properties["assigned_client_identifier"] for peer in (first, second)]
    assert len(set(names)) == 2 and all(names)
    assert world.client("", 4).connack.reason == 0


def test_empty_identifier_needs_a_clean_session_in_311(world: Any) -> None:
    """3.1.1 [MQTT-3.1.3-8]: return code 2, then close."""
    peer = world.client("", 4, clean=False, ok=False)
    assert peer.connack == Connack(False, 2)
    assert peer.ended


@pytest.mark.parametrize(("user", "code", "reason"), [("stranger", 4, 0x86), ("banned", 5, 0x87)])
def test_refused_identities_get_their_code(world: Any, user: str, code: int, reason: int) -> None:
    """[MQTT-3.1.4-2]: each version its own code."""
    assert world.client(version=4, user=user, ok=False).connack == Connack(False, code)
    assert world.client(version=5, user=user, ok=False).connack == Connack(False, reason)
    assert world.broker.counters.connects_refused == 2


def test_extended_authentication_is_refused(world: Any) -> None:
    """[MQTT-4.12.0-1]."""
    peer = world.client(ok=False, authentication_method="SCRAM")
    assert peer.connack.reason == Reason.BAD_AUTHENTICATION_METHOD
    other = world.client()
    other.send(Auth())
    assert other.got() == [Disconnect(Reason.PROTOCOL_ERROR)]


def test_limits_are_announced(make_world: Any) -> None:
    """5.0, clause 3.2.2.3: what the server allows."""
    world = make_world(Limits(mqtt_receive_maximum=7, mqtt_topic_alias_max=3, mqtt_packet_bytes_max=5_000))
    properties = world.client().connack.properties
    assert properties["receive_maximum"] == 7
    assert properties["topic_alias_maximum"] == 3
    assert properties["maximum_packet_size"] == 5_000


def test_long_client_identifiers_are_refused(world: Any) -> None:
    """§6: what names a session is bounded."""
    assert world.client("x" * 257, ok=False).connack.reason == Reason.CLIENT_IDENTIFIER_NOT_VALID
    assert world.client("x" * 256).connack.reason == 0


def test_sessions_of_a_project_are_bounded(make_world: Any) -> None:
    """§6."""
    world = make_world(Limits(mqtt_sessions_per_project_max=2))
    world.client("a")
    world.client("b")
    assert world.client("c", ok=False).connack.reason == Reason.QUOTA_EXCEEDED
    assert world.client("c", 4, ok=False).connack.reason == 3
    assert world.client("c", user="other").connack.reason == 0
    assert world.client("a").connack.reason == 0


def test_connect_must_come_in_time(world: Any) -> None:
    """A slow-loris connection is closed, however it trickles."""
    peer = world.open()
    for _ in range(9):
        world.advance(1)
        peer.send_bytes(b"\x10" if _ == 0 else b"\x7f" if _ == 1 else b"\x00")
    assert not peer.ended
    world.advance(2)
    assert peer.ended
    assert world.broker.counters.connect_timeouts == 1


@pytest.mark.parametrize("version", [4, 5])
def test_silence_for_one_and_a_half_keep_alives(world: Any, version: int) -> None:
    """[MQTT-3.1.2-22]: the connection ends and its will is published."""
    watcher = world.client("w")
    watcher.subscribe("gone")
    peer = world.client("c", version, keep_alive=10, will=Will("gone", b"c", 0, False))
    for _ in range(3):
        world.advance(14)
        assert peer.send(Pingreq()).got() == [Pingresp()]
    world.advance(14.9)
    assert not peer.ended
    world.advance(0.5)
    assert peer.ended
    assert peer.got() == ([Disconnect(Reason.KEEP_ALIVE_TIMEOUT)] if version == 5 else [])
    assert watcher.payloads() == [b"c"]


def test_half_a_packet_is_not_a_sign_of_life(world: Any) -> None:
    """[MQTT-3.1.2-22] counts control packets."""
    peer = world.client(keep_alive=10)
    for _ in range(8):
        world.advance(2)
        peer.send_bytes(b"\x30\x40\x00" if _ == 0 else b"a")
    assert peer.ended


def test_time_in_which_the_server_does_not_read_does_not_count(world: Any) -> None:
    """§6: the sender is slowed, not disconnected."""
    peer = world.client(keep_alive=10)
    peer.connection.paused = True
    world.advance(100)
    assert not peer.ended


def test_server_keep_alive(make_world: Any) -> None:
    """[MQTT-3.1.2-21]: the client uses what the server says."""
    world = make_world(Limits(mqtt_keepalive_max_s=60))
    peer = world.client(keep_alive=120)
    assert peer.connack.properties["server_keep_alive"] == 60
    assert "server_keep_alive" not in world.client("d", keep_alive=60).connack.properties
    world.advance(91)
    assert peer.ended


@pytest.mark.parametrize("version", [4, 5])
def test_takeover(world: Any, version: int) -> None:
    """[MQTT-3.1.4-3]: the older connection of a client is told and closed."""
    first = world.client(version=version)
    second = world.client(version=version)
    assert first.got() == ([Disconnect(Reason.SESSION_TAKEN_OVER)] if version == 5 else [])
    assert first.connection.closing is not None
    assert second.send(Pingreq()).got() == [Pingresp()]
    assert world.broker.counters.takeovers == 1


def test_takeover_keeps_the_session(world: Any) -> None:
    """[MQTT-3.1.2-5]: the new connection goes on with it."""
    first = world.client(clean=False, session_expiry_interval=100)
    first.subscribe("a")
    second = world.client(clean=False, session_expiry_interval=100)
    assert second.connack.session_present
    world.client("p").publish("a", b"1")
    assert second.payloads() == [b"1"]
    first.lose()
    assert second.send(Pingreq()).got() == [Pingresp()]


def test_another_identity_has_another_session(world: Any) -> None:
    """Nobody takes over, or reads, what belongs to another credential."""
    mine = world.client(clean=False, user="p:me", session_expiry_interval=100)
    mine.subscribe("a")
    other = world.client(clean=False, user="p:you", session_expiry_interval=100)
    assert not other.connack.session_present
    assert mine.connection.closing is None


def test_nothing_is_processed_after_a_refusal(world: Any) -> None:
    """[MQTT-3.1.4-6]."""
    peer = world.open(5)
    connect = Connect(5, "c", True, 0, "banned")
    peer.send(connect, Publish("a", b"1"), Subscribe(1, (Subscription("a"),)))
    assert [type(packet) for packet in peer.got()] == [Connack]
    assert world.broker.counters.publishes_received == 0


def test_packets_may_follow_connect_at_once(world: Any) -> None:
    """[MQTT-3.1.4-5], non-normative part: a client need not wait for the CONNACK."""
    peer = world.open(5)
    peer.send(Connect(5, "c", True, 0), Subscribe(1, (Subscription("a"),)), Publish("a", b"1"))
    assert [type(packet) for packet in peer.got()] == [Connack, Suback, Publish]


def test_what_only_servers_send_is_a_protocol_error(world: Any) -> None:
    """5.0, clause 4.13."""
    for packet in (Connack(False, 0), Suback(1, (0,)), Pingresp()):
        peer = world.client()
        peer.send_bytes(encode(packet, 5))
        assert peer.got() == [Disconnect(Reason.PROTOCOL_ERROR)]


def test_malformed_bytes_end_one_connection_only(world: Any) -> None:
    """§13: one typed error, the others unharmed."""
    bad, good = world.client("bad"), world.client("good")
    bad.send_bytes(b"\x36\x05\x00\x01a\x00\x01")
    assert bad.got() == [Disconnect(Reason.MALFORMED_PACKET)]
    assert good.send(Pingreq()).got() == [Pingresp()]
    assert world.broker.counters.protocol_errors == 1


def test_too_large_a_packet(make_world: Any) -> None:
    """[MQTT-3.2.2-15]: 0x95."""
    world = make_world(Limits(mqtt_packet_bytes_max=200))
    peer = world.client()
    peer.send_bytes(encode(Publish("a", bytes(300)), 5)[:10])
    assert peer.got() == [Disconnect(Reason.PACKET_TOO_LARGE)]


def test_shut_down_tells_and_keeps_sessions(world: Any) -> None:
    """5.0 clients are told; sessions stay."""
    five = world.client("five", session_expiry_interval=100)
    four = world.client("four", 4, clean=False)
    world.broker.shut_down(world.now, world.now_ns)
    world.drain()
    assert five.got() == [Disconnect(Reason.SERVER_SHUTTING_DOWN)]
    assert four.got() == [] and four.connection.closing is not None
    world.crash()
    assert world.client("five", clean=False, session_expiry_interval=100).connack.session_present
    assert world.client("four", 4, clean=False).connack.session_present


def test_revoked_credentials_are_disconnected(world: Any) -> None:
    """An operator's word ends the connections of one identity, and no other."""
    mine, other = world.client("a", user="p:me"), world.client("b", user="p:you")
    assert world.broker.disconnect(lambda identity: identity.key == "me", Reason.NOT_AUTHORIZED) == 1
    assert mine.got() == [Disconnect(Reason.NOT_AUTHORIZED)]
    assert other.connection.closing is None


def test_presence_is_told(world: Any) -> None:
    """Who has a connection: one up and one down for each, takeovers included."""
    one = world.client("a", user="p:one")
    world.client("a", user="p:one")
    world.client("b", user="p:one").lose()
    assert world.policy.online == {"one": 1}
    one.lose()
    world.client("x", user="banned", ok=False).lose()
    assert world.policy.online == {"one": 1}


def test_log_lines_are_few(world: Any, caplog: Any) -> None:
    """One clear line for each refused connection, and a sum when there are too many."""
    for _ in range(100):
        world.client(user="banned", ok=False)
    assert len(caplog.records) == 20
    assert "NOT_AUTHORIZED" in caplog.text
    world.advance(11)
    world.client(user="banned", ok=False)
    assert "80 more such lines" in caplog.text
