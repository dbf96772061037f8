"""SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT and what a client may not send (clauses 3.8 to 3.15)."""

from taihu.protocols.mqtt.broker.connection import Connection
from taihu.protocols.mqtt.broker.trie import split_filter, split_share
from taihu.protocols.mqtt.errors import ProtocolError
from taihu.protocols.mqtt.packets import (
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
)
from taihu.protocols.mqtt.reasons import Reason


def on_subscribe(connection: Connection, packet: Subscribe) -> None:
    """Grant or refuse each filter, and send what is retained for those granted."""
    identifier = packet.properties.get("subscription_identifier", [0])[0]
    reasons = tuple(_subscribe(connection, options, identifier) for options in packet.subscriptions)
    if connection.version == 4:
        reasons = tuple(min(reason, Reason.UNSPECIFIED_ERROR) for reason in reasons)
    _answer(connection, Suback(packet.packet_id, reasons))
    connection.pump()


def on_unsubscribe(connection: Connection, packet: Unsubscribe) -> None:
    """Remove the subscriptions; those that are not there are reported [MQTT-3.11.3-2]."""
    session, store = connection.session, connection.core.store
    assert session is not None
    reasons = tuple(
        Reason.SUCCESS if store.unsubscribe(session, each) else Reason.NO_SUBSCRIPTION_EXISTED
        for each in packet.filters
    )
    _answer(connection, Unsuback(packet.packet_id, reasons))


def on_pingreq(connection: Connection, packet: Pingreq) -> None:
    """Answer [MQTT-3.12.4-1]."""
    connection.send(Pingresp())


def on_disconnect(connection: Connection, packet: Disconnect) -> None:
    """The client goes; without a reason code other than 0 its will goes too [MQTT-3.14.4-3]."""
    session = connection.session
    assert session is not None
    expiry_s = packet.properties.get("session_expiry_interval")
    if expiry_s is not None:
        if expiry_s and not session.expiry_s:
            raise ProtocolError("A session that ends with its connection cannot be prolonged.", Reason.PROTOCOL_ERROR)
        session.expiry_s = min(expiry_s, connection.core.limits.mqtt_session_expiry_max_s)
    connection.end("the client disconnected", keep_will=packet.reason != Reason.SUCCESS)


def on_unexpected(connection: Connection, packet: Packet) -> None:
    """What only a server sends, or an AUTH that nobody asked for."""
    raise ProtocolError(f"A client may not send {type(packet).__name__.upper()} now.", Reason.PROTOCOL_ERROR)


def _subscribe(connection: Connection, options: Subscription, identifier: int) -> int:
    """Subscribe to one filter; returns the QoS granted or the reason code of the refusal."""
    session, home, core = connection.session, connection.home, connection.core
    assert session is not None and home is not None
    refusal = _refusal(connection, options.filter)
    if refusal:
        core.counters.subscriptions_refused += 1
        text = "MQTT client %s may not subscribe to %.200r: %s"
        core.notice(connection.ids, text, connection.name, options.filter, Reason(refusal).name)
        return refusal
    known = options.filter in session.subscriptions
    entry = core.store.subscribe(session, options, identifier)
    share, levels = split_filter(options.filter)
    if not share and (options.retain_handling == 0 or (options.retain_handling == 1 and not known)):
        found = [message.topic for message in home.retained.match(levels)]
        topics = [topic for topic in found if not core.policy.denied(home.name, topic)]
        if topics:
            connection.retain_later(entry, topics)
    return options.qos


def _refusal(connection: Connection, topic_filter: str) -> int:
    session, home, identity, core = connection.session, connection.home, connection.identity, connection.core
    assert session is not None and home is not None and identity is not None
    limits = core.limits
    _, bare = split_share(topic_filter)
    if bare.count("/") >= limits.mqtt_topic_levels_max or len(topic_filter) > limits.mqtt_topic_length_max:
        return Reason.TOPIC_FILTER_INVALID
    refusal = core.policy.may_subscribe(identity, bare)
    if refusal or topic_filter in session.subscriptions:
        return refusal
    if (
        len(session.subscriptions) >= limits.mqtt_subscriptions_per_session_max
        or home.subscriptions.size >= limits.mqtt_subscriptions_per_project_max
    ):
        return Reason.QUOTA_EXCEEDED
    return Reason.SUCCESS


def _answer(connection: Connection, packet: Suback | Unsuback) -> None:
    """The answer waits until the change is durable if the session is to outlive its connection (§4)."""
    session = connection.session
    assert session is not None
    if session.persistent:
        connection.hold(packet)
    else:
        connection.send(packet)
