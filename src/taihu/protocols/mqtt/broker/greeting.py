"""CONNECT: who is it, which session is his, and what both sides agree on (clause 3.1)."""

from functools import partial
from typing import Any

from taihu.protocols.mqtt.broker.connection import Connection
from taihu.protocols.mqtt.broker.core import Core
from taihu.protocols.mqtt.broker.lifecycle import attach, end
from taihu.protocols.mqtt.broker.ports import Identity, Later
from taihu.protocols.mqtt.errors import ProtocolError
from taihu.protocols.mqtt.packets import Connack, Connect
from taihu.protocols.mqtt.reasons import Reason


def on_connect(connection: Connection, packet: Connect) -> None:
    """Serve or refuse the client [MQTT-3.1.4-1 to -6]."""
    if connection.session is not None:
        raise ProtocolError("A second CONNECT on one connection.", Reason.PROTOCOL_ERROR)
    core = connection.core
    connection.version = packet.version
    identity = _check_form(connection, packet) or core.policy.authenticate(
        packet, connection.peer, connection.certificate
    )
    if isinstance(identity, Later):
        connection.waiting = True
        identity.give = partial(_go_on, connection, packet)
    else:
        _serve(connection, packet, identity)


def _go_on(connection: Connection, packet: Connect, identity: Identity | int) -> None:
    """It is known now who it is: answer, and take what the client has sent meanwhile."""
    if connection.closing is not None:
        return
    core = connection.core
    connection.waiting = False
    _serve(connection, packet, identity)
    core.dirty[connection] = None
    connection.receive(b"", core.now, core.now_ns)


def _serve(connection: Connection, packet: Connect, identity: Identity | int) -> None:
    core = connection.core
    refusal = identity if isinstance(identity, int) else _check_rights(core, identity, packet)
    if isinstance(identity, int) or refusal:
        core.counters.connects_refused += 1
        connection.fail(refusal, f"its CONNECT as {packet.client_id[:80]!r} is refused with {Reason(refusal).name}")
        return
    connection.identity = identity
    connection.home = home = core.store.space(identity.space)
    connection.epoch = home.epoch
    client_id = packet.client_id or f"auto-{core.new_id()}"
    found = home.sessions.get((identity.key, client_id))
    if found is not None and found.connection is not None:
        core.counters.takeovers += 1
        found.connection.fail(Reason.SESSION_TAKEN_OVER, "another connection took over its session")
        found = home.sessions.get((identity.key, client_id))
    if found is not None and packet.clean_start:
        end(core, found)
        found = None
    expiry_s = 0 if identity.space.startswith("$") else _expiry_s(core, packet)  # a space of no project keeps nothing
    session = found or core.store.open_session(identity.space, identity.key, client_id, expiry_s)
    connection.session = session
    attach(core, session, connection, expiry_s)
    home.come(connection, identity.thing)
    core.policy.connected(connection.identity, True)
    if packet.will is not None:
        claim = core.policy.claim(identity, packet.will.topic)
        private = core.policy.answer(identity, packet.will.topic, b"") is not None
        core.store.set_will(session, packet.will, claim=claim, private=private)
    core.counters.connections += 1
    properties = _agree(connection, packet, expiry_s)
    if not packet.client_id:
        properties["assigned_client_identifier"] = client_id
    connection.send(Connack(found is not None, 0, properties))
    connection.repeat_inflight()
    connection.pump()


def _check_form(connection: Connection, packet: Connect) -> int:
    """The reason code to refuse with whoever it is, or 0."""
    limits = connection.core.limits
    if packet.version == 4 and not packet.client_id and not packet.clean_start:
        return Reason.CLIENT_IDENTIFIER_NOT_VALID  # [MQTT-3.1.3-8] of 3.1.1
    if len(packet.client_id) > limits.mqtt_client_id_length_max:
        return Reason.CLIENT_IDENTIFIER_NOT_VALID
    if "authentication_method" in packet.properties:
        return Reason.BAD_AUTHENTICATION_METHOD
    will = packet.will
    if will is not None:
        too_long = len(will.topic) > limits.mqtt_topic_length_max
        if will.topic.startswith("$") or will.topic.count("/") >= limits.mqtt_topic_levels_max or too_long:
            return Reason.TOPIC_NAME_INVALID
    return Reason.SUCCESS


def _check_rights(core: Core, identity: Identity, packet: Connect) -> int:
    """The reason code to refuse this identity with, or 0."""
    will = packet.will
    refusal = core.policy.may_publish(identity, will.topic, will.retain) if will is not None else Reason.SUCCESS
    if refusal or _has_room(core, identity, packet):
        return refusal
    return Reason.QUOTA_EXCEEDED


def _has_room(core: Core, identity: Identity, packet: Connect) -> bool:
    home = core.store.space(identity.space)
    known = (identity.key, packet.client_id) in home.sessions
    if known or len(home.sessions) < core.limits.mqtt_sessions_per_project_max:
        return True
    core.counters.sessions_refused += 1
    return False


def _expiry_s(core: Core, packet: Connect) -> int:
    """How long the session outlives its connection, in seconds."""
    longest = core.limits.mqtt_session_expiry_max_s
    if packet.version == 4:
        return 0 if packet.clean_start else longest
    return min(int(packet.properties.get("session_expiry_interval", 0)), longest)


def _agree(connection: Connection, packet: Connect, expiry_s: int) -> dict[str, Any]:
    """Take what the client allows, set the keep alive, and return what the server allows."""
    core = connection.core
    limits = core.limits
    given = packet.properties
    connection.window = min(given.get("receive_maximum", limits.mqtt_inflight_max), limits.mqtt_inflight_max)
    connection.keep_alive_s = packet.keep_alive
    properties: dict[str, Any] = {}
    if packet.version == 5:
        connection.receive_max = limits.mqtt_receive_maximum
        connection.packet_bytes_max = given.get("maximum_packet_size", connection.packet_bytes_max)
        connection.aliases_out_max = min(given.get("topic_alias_maximum", 0), limits.mqtt_topic_alias_max)
        properties["receive_maximum"] = limits.mqtt_receive_maximum
        properties["maximum_packet_size"] = limits.mqtt_packet_bytes_max
        properties["topic_alias_maximum"] = limits.mqtt_topic_alias_max
        if packet.keep_alive > limits.mqtt_keepalive_max_s:
            connection.keep_alive_s = properties["server_keep_alive"] = limits.mqtt_keepalive_max_s
        if expiry_s != given.get("session_expiry_interval", 0):
            properties["session_expiry_interval"] = expiry_s
    if connection.keep_alive_s:
        core.wheel.schedule(connection, core.now + 1.5 * connection.keep_alive_s, core.now)
    else:
        core.wheel.cancel(connection)
    return properties
