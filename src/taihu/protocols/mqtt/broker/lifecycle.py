"""How sessions begin, lose their connection, send their will, expire and end."""

from math import inf

from taihu.protocols.mqtt.broker.core import Core
from taihu.protocols.mqtt.broker.message import NS_PER_S, Message, forwarded
from taihu.protocols.mqtt.broker.router import retain, retain_allowed, route
from taihu.protocols.mqtt.broker.session import Outlet, Session
from taihu.protocols.mqtt.reasons import Reason


def attach(core: Core, session: Session, connection: Outlet, expiry_s: int) -> None:
    """The session has a connection: its expiry and a delayed will no longer count [MQTT-3.1.3-9]."""
    session.connection = connection
    session.will_at = session.expires_at = inf
    core.wheel.cancel(session)
    core.store.set_will(session, None)
    if session.persistent and expiry_s == 0:
        core.store.make_transient(session)
    else:
        core.store.online(session, expiry_s)
    core.store.space(session.space).connected += 1
    core.counters.connected += 1


def detach(core: Core, session: Session, *, keep_will: bool) -> None:
    """The connection is gone: send the will now or arm it, and let the session end or wait for its client."""
    session.connection = None
    core.store.space(session.space).connected -= 1
    core.counters.connected -= 1
    if not keep_will:
        core.store.set_will(session, None)
    if session.expiry_s == 0:
        end(core, session)
        return
    core.store.offline(session, core.now_ns)
    arm(core, session, 0.0)


def arm(core: Core, session: Session, elapsed_s: float) -> None:
    """Set the timers of a session whose connection ended `elapsed_s` ago."""
    if session.will is not None:
        delay_s = session.will.properties.get("will_delay_interval", 0)
        session.will_at = core.now + delay_s - elapsed_s
        if session.will_at <= core.now:
            publish_will(core, session)
    session.expires_at = core.now + session.expiry_s - elapsed_s
    core.wheel.schedule(session, min(session.will_at, session.expires_at), core.now)


def due(core: Core, session: Session) -> None:
    """One of the session's timers came due, or the wheel's horizon did."""
    if session.connection is not None:
        return
    if core.now >= session.expires_at:
        core.counters.sessions_expired += 1
        end(core, session)
        return
    if core.now >= session.will_at:
        publish_will(core, session)
    core.wheel.schedule(session, min(session.will_at, session.expires_at), core.now)


def end(core: Core, session: Session) -> None:
    """The session ends, and with it the delay of its will [MQTT-3.1.2-8]."""
    publish_will(core, session)
    core.wheel.cancel(session)
    core.store.close_session(session)


def publish_will(core: Core, session: Session) -> None:
    """Publish the will if there still is one."""
    will = session.will
    session.will_at = inf
    if will is None:
        return
    claim, private = session.will_claim, session.will_private
    core.store.set_will(session, None)
    core.counters.wills_published += 1
    if claim is not None:
        core.lot.readings.append((claim, will.payload))
    if private:
        return
    properties, expires_ns = forwarded(will.properties, core.now_ns)
    message = Message(will.topic, will.payload, will.qos, will.retain, properties, expires_ns)
    space = core.store.space(session.space)
    if message.retain:
        if retain_allowed(core, space, message):
            retain(core, space, message)
        else:
            core.counters.retained_refused += 1
    route(core, space, message, session)


def elapsed_s(core: Core, session: Session) -> float:
    """Seconds since the session's connection ended, by wall time; never negative."""
    return max(0, core.now_ns - session.ended_ns) / NS_PER_S


def settle(core: Core) -> None:
    """Disconnect whoever routing found too slow; done apart, so that wills cannot nest without bound."""
    while core.doomed:
        connection = next(iter(core.doomed))
        reason, text = core.doomed.pop(connection)
        if reason == Reason.QUOTA_EXCEEDED:
            core.counters.quota_disconnects += 1
        connection.fail(reason, text)
