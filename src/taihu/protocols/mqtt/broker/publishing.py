"""PUBLISH and its acknowledgements, from clients and to them (clauses 3.3 to 3.7)."""

from functools import partial

from taihu.protocols.mqtt.broker.connection import Connection
from taihu.protocols.mqtt.broker.core import Core
from taihu.protocols.mqtt.broker.message import Message, forwarded
from taihu.protocols.mqtt.broker.ports import Answers, Later
from taihu.protocols.mqtt.broker.router import reply, retain, retain_allowed, route
from taihu.protocols.mqtt.broker.session import Session
from taihu.protocols.mqtt.broker.space import NOBODY
from taihu.protocols.mqtt.errors import ProtocolError
from taihu.protocols.mqtt.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.scan import PLAIN_BYTES_MAX, route_key

_NOBODY: tuple[None, None] = (None, None)


def on_publish(connection: Connection, packet: Publish) -> None:
    """A message from the client: journal, retain and route it, and acknowledge once it is durable (§4)."""
    session, home = connection.session, connection.home
    assert session is not None and home is not None
    core = connection.core
    topic = _resolve(connection, packet)
    core.counters.publishes_received += 1
    home.received += 1
    if packet.qos == 2 and packet.packet_id in session.received:
        connection.hold(Pubrec(packet.packet_id))  # a repetition: the message was taken already [MQTT-4.3.3-10]
        return
    if packet.qos and connection.acks_pending + len(session.received) >= connection.receive_max:
        raise ProtocolError("More messages in flight than the receive maximum.", Reason.RECEIVE_MAXIMUM_EXCEEDED)
    reason = _accept(connection, topic, packet)
    if reason:
        core.counters.publishes_refused += 1
        text = "MQTT client %s may not publish to %.200r: %s"
        core.notice(connection.ids, text, connection.name, topic, Reason(reason).name)
    shown = reason if connection.version == 5 else Reason.SUCCESS
    if packet.qos == 1:
        connection.acks_pending += 1
        connection.acks_held += 1
        connection.hold(Puback(packet.packet_id, shown))
    elif packet.qos == 2:
        if shown == Reason.SUCCESS:
            core.store.received(session, packet.packet_id)
        connection.hold(Pubrec(packet.packet_id, shown))


def on_pubrel(connection: Connection, packet: Pubrel) -> None:
    """The client releases its QoS 2 message."""
    session = connection.session
    assert session is not None
    if packet.packet_id in session.received:
        connection.core.store.released(session, packet.packet_id)
        connection.hold(Pubcomp(packet.packet_id))
    else:
        connection.hold(Pubcomp(packet.packet_id, Reason.PACKET_IDENTIFIER_NOT_FOUND))


def on_puback(connection: Connection, packet: Puback) -> None:
    """The client has a QoS 1 message, or refuses it."""
    core = connection.core
    if core.watched and connection.session is not None:
        delivery = connection.session.inflight.get(packet.packet_id)
        _, received = core.watched.pop(id(delivery.message), _NOBODY) if delivery is not None else _NOBODY
        if received is not None and packet.reason < Reason.UNSPECIFIED_ERROR:
            received()
    _finish(connection, packet.packet_id, qos=1)


def on_pubrec(connection: Connection, packet: Pubrec) -> None:
    """The client has, or refuses, a QoS 2 message."""
    session = connection.session
    assert session is not None
    packet_id = packet.packet_id
    if packet.reason >= Reason.UNSPECIFIED_ERROR:
        _finish(connection, packet_id, qos=2)
        return
    known = packet_id in session.inflight
    delivery = session.inflight.get(packet_id)
    if delivery is not None:
        if delivery.qos != 2:
            raise ProtocolError("A PUBREC for a QoS 1 message.", Reason.PROTOCOL_ERROR)
        connection.core.store.half_acknowledged(session, packet_id)
    release = Pubrel(packet_id, Reason.SUCCESS if known else Reason.PACKET_IDENTIFIER_NOT_FOUND)
    if session.persistent:
        connection.hold(release)  # the client forgets the identifier then, and would take a repetition for a message
    else:
        connection.send(release)


def on_pubcomp(connection: Connection, packet: Pubcomp) -> None:
    """The exchange of a QoS 2 message is over."""
    _finish(connection, packet.packet_id, qos=2)


def _finish(connection: Connection, packet_id: int, qos: int) -> None:
    session = connection.session
    assert session is not None
    if packet_id not in session.inflight:
        return
    delivery = session.inflight[packet_id]
    if (delivery.qos if delivery is not None else 2) != qos:
        raise ProtocolError("An acknowledgement of the other quality of service.", Reason.PROTOCOL_ERROR)
    connection.core.store.acknowledged(session, packet_id)
    connection.pump()


def _resolve(connection: Connection, packet: Publish) -> str:
    """The topic of a PUBLISH, with the alias it may set or use [MQTT-3.3.2-8 to -12]."""
    alias = packet.properties.get("topic_alias")
    if alias is None:
        return packet.topic
    if alias > connection.core.limits.mqtt_topic_alias_max:
        raise ProtocolError(f"Topic alias {alias} is over the maximum.", Reason.TOPIC_ALIAS_INVALID)
    if connection.aliases_in is None:
        connection.aliases_in = {}
    if packet.topic:
        if len(packet.topic) <= connection.core.limits.mqtt_topic_length_max:  # a longer one is refused anyway
            connection.aliases_in[alias] = packet.topic
        return packet.topic
    topic = connection.aliases_in.get(alias)
    if topic is None:
        raise ProtocolError(f"Topic alias {alias} was never set.", Reason.TOPIC_ALIAS_INVALID)
    return topic


def _accept(connection: Connection, topic: str, packet: Publish) -> int:
    """Take the message, or say why not."""
    core, identity, home, session = connection.core, connection.identity, connection.home, connection.session
    assert identity is not None and home is not None and session is not None
    if topic.startswith("$"):
        return Reason.NOT_AUTHORIZED  # such topics are the server's own (4.7.2)
    limits = core.limits
    if topic.count("/") >= limits.mqtt_topic_levels_max or len(topic) > limits.mqtt_topic_length_max:
        return Reason.TOPIC_NAME_INVALID
    refusal = core.policy.may_publish(identity, topic, packet.retain)
    if refusal:
        return refusal
    answers = core.policy.answer(identity, topic, packet.payload)
    if isinstance(answers, Later):
        answers.give = partial(_answer, core, session)
        return Reason.SUCCESS
    properties, expires_ns = forwarded(packet.properties, core.now_ns)
    message = Message(topic, packet.payload, packet.qos, packet.retain, properties, expires_ns)
    if answers is None and packet.retain and not retain_allowed(core, home, message):
        core.counters.retained_refused += 1
        return Reason.QUOTA_EXCEEDED
    claim = core.policy.claim(identity, topic)
    if claim is not None:
        core.lot.readings.append((claim, packet.payload))
        if not answers and (answers is not None or home.targets(topic) is NOBODY):
            _remember(connection, topic, claim)
    if answers is not None:
        _answer(core, session, answers)
        return Reason.SUCCESS
    if packet.retain:
        retain(core, home, message)
    route(core, home, message, session)
    return Reason.SUCCESS


def _answer(core: Core, session: Session, answers: Answers) -> None:
    """Answer a session, if there still is one, at QoS 0: an answer may be a secret, which no log may hold."""
    for name, payload in answers:
        reply(core, session, Message(name, payload))


def _remember(connection: Connection, topic: str, claim: object) -> None:
    """Let `scan` take the next message of this topic, until the space's subscriptions or rights change."""
    assert connection.home is not None
    if connection.decoder.packet_bytes_max < PLAIN_BYTES_MAX:
        return
    if connection.epoch != connection.home.epoch or len(connection.routes) >= _ROUTES_MAX:
        connection.routes.clear()
        connection.epoch = connection.home.epoch
    connection.routes[route_key(topic)] = claim


_ROUTES_MAX = 1_024
