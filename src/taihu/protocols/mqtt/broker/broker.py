"""The MQTT server without sockets, clock or tasks: the shell feeds it bytes and the time, and sends what it answers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt import packets
from taihu.protocols.mqtt.broker import greeting, publishing, subscribing
from taihu.protocols.mqtt.broker.connection import Connection
from taihu.protocols.mqtt.broker.core import Core
from taihu.protocols.mqtt.broker.counters import Counters
from taihu.protocols.mqtt.broker.lifecycle import arm, due, elapsed_s, settle
from taihu.protocols.mqtt.broker.lot import Lot
from taihu.protocols.mqtt.broker.message import Message, forwarded
from taihu.protocols.mqtt.broker.ports import Identity, Policy
from taihu.protocols.mqtt.broker.queue import Spool
from taihu.protocols.mqtt.broker.router import reply, retain_allowed, route
from taihu.protocols.mqtt.broker.router import retain as retain_message
from taihu.protocols.mqtt.broker.session import Session
from taihu.protocols.mqtt.broker.singles import take_singles
from taihu.protocols.mqtt.broker.snapshot import restore_snapshot, take_snapshot
from taihu.protocols.mqtt.broker.space import NOBODY
from taihu.protocols.mqtt.broker.store import Event, Store
from taihu.protocols.mqtt.broker.withdraw import withdraw
from taihu.protocols.mqtt.packets import NO_PROPERTIES, Properties
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.topics import filter_covers

_HANDLERS: dict[type, Callable[[Any, Any], None]] = {
    packets.Connect: greeting.on_connect,
    packets.Publish: publishing.on_publish,
    packets.Puback: publishing.on_puback,
    packets.Pubrec: publishing.on_pubrec,
    packets.Pubrel: publishing.on_pubrel,
    packets.Pubcomp: publishing.on_pubcomp,
    packets.Subscribe: subscribing.on_subscribe,
    packets.Unsubscribe: subscribing.on_unsubscribe,
    packets.Pingreq: subscribing.on_pingreq,
    packets.Disconnect: subscribing.on_disconnect,
    packets.Connack: subscribing.on_unexpected,
    packets.Suback: subscribing.on_unexpected,
    packets.Unsuback: subscribing.on_unexpected,
    packets.Pingresp: subscribing.on_unexpected,
    packets.Auth: subscribing.on_unexpected,
}


class Broker:
    """MQTT 3.1.1 and 5.0 for many topic spaces.

    Args:
        policy: who may do what, and which topics carry readings.
        limits: the `mqtt_*` bounds.
        new_id: makes what is unique in assigned client identifiers.
        spool: where long queues lie; without one they stay in memory.
    """

    def __init__(self, policy: Policy, limits: Limits, new_id: Callable[[], str], spool: Spool | None = None) -> None:
        self._core = Core(policy, limits, new_id, spool)
        self._core.handlers = _HANDLERS

    @property
    def counters(self) -> Counters:
        return self._core.counters

    @property
    def dirty(self) -> dict[Connection, None]:
        """Connections that have output, or must close, because of others; the shell empties it."""
        return self._core.dirty

    @property
    def lot(self) -> Lot:
        """The open lot: what the next group commit takes."""
        return self._core.lot

    @property
    def pending(self) -> bool:
        """Whether the open lot, `take_log` or the spool has something for the next group commit."""
        core = self._core
        return bool(core.lot or core.store.log or (core.store.spool is not None and core.store.spool.pending))

    def open(self, peer: str, now: float, certificate: str | None = None) -> Connection:
        """A connection for a new socket; it has `mqtt_connect_timeout_s` to send its CONNECT."""
        core = self._core
        core.now = now
        connection = Connection(core, peer, certificate)
        core.connections[connection] = None
        core.wheel.schedule(connection, now + core.limits.mqtt_connect_timeout_s, now)
        return connection

    def receive(self, arrived: Iterable[tuple[Connection, bytes]], now: float, now_ns: int) -> list[Connection]:
        """Take a chunk from each of many clients; returns the connections whose output the shell must look at."""
        core = self._core
        core.now, core.now_ns = now, now_ns
        others = take_singles(core, arrived)
        for connection, data in others:
            connection.receive(data, now, now_ns)
        return [connection for connection, _ in others]

    def next_timer(self) -> float | None:
        """The monotonic time at which `tick` has something to do; None for never."""
        return self._core.wheel.next_timer()

    def tick(self, now: float, now_ns: int) -> None:
        """Do what is due: keep alives, wills, session expiry."""
        core = self._core
        core.now, core.now_ns = now, now_ns
        for item in core.wheel.due(now):
            if isinstance(item, Session):
                due(core, item)
            else:
                item.due()
        settle(core)

    def publish(
        self,
        space: str,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties = NO_PROPERTIES,
    ) -> bool:
        """Publish a message of the server's own; False when it should be retained and there is no room."""
        core = self._core
        kept, expires_ns = forwarded(properties, core.now_ns)
        message = Message(topic, payload, qos, retain, kept, expires_ns)
        home = core.store.space(space)
        if retain:
            if not retain_allowed(core, home, message):
                core.counters.retained_refused += 1
                return False
            retain_message(core, home, message)
        route(core, home, message, None)
        settle(core)
        return True

    def tell(
        self,
        space: str,
        who: str | Callable[[Any], bool],
        topic: str,
        payload: bytes,
        qos: int = 1,
        received: Callable[[], None] | None = None,
    ) -> None:
        """Send a message of the server's own to the clients of a thing, or those `who` picks, if they subscribed to it.

        `received` is called once, when one of them acknowledges it at QoS 1.
        """
        core, message = self._core, Message(topic, payload, qos)
        if received is not None:
            core.watch(message, received)
        everybody = core.store.space(space).connections_of(who) if isinstance(who, str) else list(core.connections)
        for connection in everybody:
            identity, session = connection.identity, connection.session
            here = identity is not None and identity.space == space
            if session is not None and here and (isinstance(who, str) or who(identity)):
                reply(core, session, message)
        settle(core)

    def subscribed(self, space: str, topic: str, chosen: Callable[[str], bool], thing: str | None = None) -> bool:
        """Whether a connected client, of a thing or any, gets a topic by a filter that `chosen` accepts."""
        home = self._core.store.space(space)
        if thing is None:
            return any(
                target.session.connection is not None and any(chosen(one.options.filter) for one in target.entries)
                for target in home.targets(topic).sessions
            )
        return any(
            chosen(topic_filter) and filter_covers(topic_filter, topic)
            for connection in home.connections_of(thing)
            if connection.session is not None
            for topic_filter in connection.session.subscriptions
        )

    def routes(self, space: str, topic: str) -> bool:
        """Whether somebody, connected or not, subscribed to a topic."""
        return self._core.store.space(space).targets(topic) is not NOBODY

    def listens(self, space: str, levels: Sequence[str]) -> bool:
        """Whether a subscription of a space may be of `$` topics that begin with these levels."""
        home = self._core.store.spaces.get(space)
        return home is not None and home.subscriptions.begins(levels)

    def publish_status(self) -> None:
        """Publish each space's own figures under `$SYS/broker/`, retained, where they changed."""
        core = self._core
        for home in list(core.store.spaces.values()):
            figures = {
                "clients/connected": home.connected,
                "clients/total": len(home.sessions),
                "subscriptions/count": home.subscriptions.size,
                "retained messages/count": home.retained.count,
                "messages/received": home.received,
                "messages/sent": home.sent,
            }
            for name, value in figures.items():
                topic, payload = f"$SYS/broker/{name}", str(value).encode()
                old = home.retained.get(topic)
                if old is None or old.payload != payload:
                    self.publish(home.name, topic, payload, retain=True)

    def disconnect(self, who: Callable[[Identity], bool], reason: int = Reason.ADMINISTRATIVE_ACTION) -> int:
        """Disconnect every client of the identities that `who` picks, as when a credential is revoked; how many."""
        chosen = [each for each in self._core.connections if each.identity is not None and who(each.identity)]
        for connection in chosen:
            connection.fail(reason, "its credential was revoked or an operator disconnected it")
        settle(self._core)
        return len(chosen)

    def withdraw(self, space: str, gone: Callable[[Message], bool]) -> Iterator[None]:
        """Forget the retained, queued and unacknowledged messages that `gone` picks, a bounded part at each step."""
        return withdraw(self._core, space, gone)

    def remove_space(self, space: str) -> None:
        """Forget a space: its clients are disconnected, their sessions end without a word, nothing is retained."""
        core = self._core
        home = core.store.spaces.get(space)
        if home is None:
            return
        for session in list(home.sessions.values()):
            core.store.set_will(session, None)
        self.disconnect(lambda identity: identity.space == space)
        for session in list(home.sessions.values()):
            core.wheel.cancel(session)
            core.store.close_session(session)
        for message in list(home.retained):
            core.store.unretain(space, message.topic)
        del core.store.spaces[space]

    def invalidate(self, space: str) -> None:
        """Rights or claims of a space changed: forget what was remembered of them."""
        self._core.store.space(space).changed()

    def shut_down(self, now: float, now_ns: int) -> None:
        """Tell every client that the server goes; sessions stay."""
        core = self._core
        core.now, core.now_ns = now, now_ns
        for connection in list(core.connections):
            if connection.session is not None and connection.version == 5:
                connection.send(packets.Disconnect(Reason.SERVER_SHUTTING_DOWN))
            connection.end("the server shuts down")
        settle(core)

    def take_log(self) -> list[Event]:
        """The events since the last call: what a group commit must make durable, in order."""
        log, self._core.store.log = self._core.store.log, []
        return log

    def take_lot(self) -> Lot:
        """The open lot, for a group commit; another is opened."""
        lot, self._core.lot = self._core.lot, Lot()
        return lot

    def committed(self, lot: Lot) -> list[tuple[Connection, bytes, int]]:
        """A lot survives power loss: the acknowledgements to send, in order, but to who is `closing` (§4)."""
        for connection, _, count in lot.acks:
            connection.acks_pending -= count
        acks, lot.acks, lot.readings = lot.acks, [], []
        lot.durable = True
        return acks

    def apply(self, events: Iterable[Sequence[Any]]) -> None:
        """Replay logged events onto a restored state, from any position before its snapshot on; raises DamagedError."""
        self._core.store.apply(events)

    def begin_anew(self, events: Sequence[Sequence[Any]]) -> None:
        """Forget all sessions and what is retained, after a log with a gap that these events end."""
        old = self._core.store
        self._core.store = Store(old.limits, old.spool)
        self._core.store.chunk_number = old.chunk_number  # the snapshot's chunks are not to be overwritten
        self._core.store.sequence = int(events[-1][0])

    def chunks(self) -> set[int]:
        """The numbers of the chunks in the spool that queues are made of."""
        return {chunk.number for one in self._core.store.sessions.values() if one.queue for chunk in one.queue.chunks}

    def snapshot(self) -> bytes:
        """The persistent state: with the events logged after it, all that must survive."""
        return take_snapshot(self._core.store)

    def restore(self, data: bytes) -> None:
        """Take the state of a snapshot; only on a new broker; raises DamagedError."""
        restore_snapshot(self._core.store, data)

    def resume(self, now: float, now_ns: int) -> None:
        """After replay: sessions whose connection the crash ended are offline from now on, and all timers are set."""
        core = self._core
        core.now, core.now_ns = now, now_ns
        for session in list(core.store.persistent_sessions()):
            if session.ended_ns == 0:
                core.store.offline(session, now_ns)
            arm(core, session, elapsed_s(core, session))
        settle(core)
