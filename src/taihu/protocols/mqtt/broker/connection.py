"""One network connection: bytes in, bytes out, and its end. What packets mean is in the handlers."""

import logging
from collections.abc import Callable
from typing import Any

from taihu.protocols.mqtt.broker.core import Core
from taihu.protocols.mqtt.broker.lifecycle import detach, settle
from taihu.protocols.mqtt.broker.ports import Identity
from taihu.protocols.mqtt.broker.sender import UNLIMITED, Sender
from taihu.protocols.mqtt.broker.space import Space
from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.errors import ProtocolError
from taihu.protocols.mqtt.packets import Connack, Disconnect, Packet
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.scan import scan

log = logging.getLogger("taihu.mqtt")

_CONNACK_3 = {  # 5.0 reason codes as 3.1.1 return codes (clause 3.2.2.3); for others 3.1.1 just closes
    Reason.UNSUPPORTED_PROTOCOL_VERSION: 1,
    Reason.CLIENT_IDENTIFIER_NOT_VALID: 2,
    Reason.SERVER_UNAVAILABLE: 3,
    Reason.SERVER_BUSY: 3,
    Reason.QUOTA_EXCEEDED: 3,
    Reason.CONNECTION_RATE_EXCEEDED: 3,
    Reason.BAD_USER_NAME_OR_PASSWORD: 4,
    Reason.BAD_AUTHENTICATION_METHOD: 4,
    Reason.TOPIC_NAME_INVALID: 5,
    Reason.NOT_AUTHORIZED: 5,
    Reason.BANNED: 5,
}


Plain = tuple[Callable[[bytes], object | None], Space, int, int, int]
"""What `take_singles` needs to know: the route of a key, the space and its epoch, the receive maximum, and how many
bytes say the length of a message's properties."""


class Connection(Sender):
    """One client's connection, without its socket.

    After `receive` the shell sends `take_output()`. Acknowledgements that must follow a sync are in the open lot then;
    `lot` is the last that has some. `closing` says why the shell must close once the output is sent; it is None while
    the connection lives. The shell sets `congested` while its socket takes no more and `paused` while it does not read
    for reasons of its own. `linger` says that the client may still be sending, so that closing at once would lose the
    last words. `waiting` says that the CONNECT has no answer yet: what comes meanwhile is kept. `plain` is None while
    the next chunk cannot be a plain message. `shell` is the shell's own.
    """

    __slots__ = (
        "acks_held", "acks_pending", "aliases_in", "certificate", "closing", "congested", "decoder", "epoch",
        "held", "identity", "keep_alive_s", "last_seen", "linger", "paused", "peer", "plain", "receive_max",
        "routes", "shell", "slot", "waiting",
    )  # fmt: skip

    def __init__(self, core: Core, peer: str, certificate: str | None) -> None:
        super().__init__(core)
        self.peer = peer
        self.certificate = certificate
        self.decoder = Decoder(None, core.limits.mqtt_packet_bytes_max)
        self.identity: Identity | None = None
        self.held = bytearray()
        self.acks_held = 0
        self.acks_pending = 0
        self.closing: str | None = None
        self.keep_alive_s = 0
        self.last_seen = core.now
        self.slot = 0
        self.routes: dict[bytes, object] = {}
        self.epoch = -1
        self.plain: Plain | None = None
        self.receive_max = UNLIMITED
        self.aliases_in: dict[int, str] | None = None
        self.congested = False
        self.paused = False
        self.linger = False
        self.waiting = False
        self.shell: Any = None

    def receive(self, data: bytes, now: float, now_ns: int) -> None:
        """Take bytes from the client; never raises."""
        core = self.core
        core.now, core.now_ns = now, now_ns
        if self.closing is not None:
            return
        self.plain = None
        lot, log_before = core.lot, len(core.store.log)
        readings_before = len(lot.readings)
        decoder = self.decoder
        decoder.feed(data)
        try:
            while self.closing is None and not self.waiting:
                if self.routes:
                    self._scan()
                packet = decoder.next()
                if packet is None:
                    break
                self.last_seen = now
                core.handlers[type(packet)](self, packet)
            if self.waiting and len(decoder.buffer) > decoder.packet_bytes_max:
                raise ProtocolError("Too much came before its CONNECT was answered.", Reason.QUOTA_EXCEEDED)
        except ProtocolError as error:
            core.counters.protocol_errors += 1
            self.fail(error.reason, error.message)
        except Exception:  # one connection must not take others with it
            log.exception("MQTT client %s met a defect of this node", self.name)
            self.fail(Reason.UNSPECIFIED_ERROR, "it met a defect of this node; see the log")
        settle(core)
        waits = len(lot.readings) > readings_before or len(core.store.log) > log_before
        if self.held:
            waits = self._let_go(wait=waits)
        if waits:
            lot.size += len(data)
        if self.routes and self.home is not None and not decoder.partial:
            self.plain = self.routes.get, self.home, self.epoch, self.receive_max, self.version - 4

    def take_output(self) -> bytes:
        """The bytes to send now."""
        data = bytes(self.output)
        self.output.clear()
        self.settle_account()
        session = self.session
        if data and session is not None and (session.queue or self.backlog or self.resend):
            self.pump()
        return data

    def lost(self, now: float, now_ns: int) -> None:
        """The network connection is gone."""
        core = self.core
        core.now, core.now_ns = now, now_ns
        self.end("the network connection is gone")
        settle(core)

    # What handlers and the router use

    def hold(self, packet: Packet) -> None:
        """Send a packet when what came before it is durable, in order."""
        self.held += encode(packet, self.version)

    def fail(self, reason: int, text: str) -> None:
        """Disconnect, with the reason code where the version has one; the will is kept."""
        if self.closing is not None:
            return
        self.core.notice(self.ids, "MQTT client %s disconnected: %s", self.name, text)
        self.linger = True
        if self.session is None:
            self.refuse(reason)
        elif self.version == 5:
            self.send(Disconnect(reason))
        self.end(text)

    def refuse(self, reason: int) -> None:
        """Answer a CONNECT, as far as one could be read, with a refusal."""
        version = self.decoder.version
        if version == 5:
            self.output += encode(Connack(False, reason), 5)
        elif reason == Reason.UNSUPPORTED_PROTOCOL_VERSION or (version == 4 and reason in _CONNACK_3):
            self.output += encode(Connack(False, _CONNACK_3[Reason(reason)]), 4)

    def end(self, text: str, *, keep_will: bool = True) -> None:
        """Stop serving this connection and let its session go on without it."""
        if self.closing is not None:
            return
        self.closing = text
        self.held.clear()
        self.routes.clear()
        self.plain = None
        self.settle_account()
        core = self.core
        core.connections.pop(self, None)
        core.wheel.cancel(self)
        core.dirty[self] = None
        session, self.session = self.session, None
        if session is not None:
            if self.home is not None and self.identity is not None:
                self.home.go(self, self.identity.thing)
            core.policy.connected(self.identity, False)
            detach(core, session, keep_will=keep_will)

    @property
    def name(self) -> str:
        """Who this is, for log lines."""
        who = f"{self.session.client_id!r} of {self.identity.space}" if self.session and self.identity else "(unknown)"
        return f"{who} at {self.peer}"

    @property
    def ids(self) -> dict[str, str]:
        """The same for programs that read the log."""
        who = (
            {"project": self.identity.space, "client": self.session.client_id} if self.session and self.identity else {}
        )
        return who | {"peer": self.peer}

    def seen(self, now: float) -> None:
        """Not reading was ours, not the client's silence."""
        self.last_seen = now

    def due(self) -> None:
        """Its timer came due: no CONNECT in time, or no packet within one and a half keep alives [MQTT-3.1.2-22]."""
        core = self.core
        if self.session is None:
            core.counters.connect_timeouts += 1
            self.fail(Reason.NOT_AUTHORIZED, f"no CONNECT within {core.limits.mqtt_connect_timeout_s:g} s")
            return
        if self.paused:
            self.last_seen = core.now
        deadline = self.last_seen + 1.5 * self.keep_alive_s
        if deadline <= core.now:
            core.counters.keep_alive_timeouts += 1
            self.fail(Reason.KEEP_ALIVE_TIMEOUT, f"nothing came for {1.5 * self.keep_alive_s:g} s")
        else:
            core.wheel.schedule(self, deadline, core.now)

    def _let_go(self, *, wait: bool) -> bool:
        """Have what is held wait for the lot, if it must; what is held without need is sent at once. Returns which."""
        held, self.held = bytes(self.held), bytearray()
        count, self.acks_held = self.acks_held, 0
        if wait or self.core.store.log or (self.lot is not None and not self.lot.durable):
            self.lot = self.core.lot
            self.lot.acks.append((self, held, count))
            return True
        self.output += held
        self.acks_pending -= count
        return False

    def _scan(self) -> None:
        assert self.home is not None
        if self.epoch != self.home.epoch:
            self.routes.clear()
            return
        found: list[Any] = []
        payloads: list[bytes] = []
        quota = self.receive_max - self.acks_pending
        acks = scan(self.decoder, self.routes, quota, self.held, found, payloads)
        if found:
            core = self.core
            self.acks_pending += acks
            self.acks_held += acks
            self.last_seen = core.now
            self.home.received += len(found)
            core.counters.publishes_received += len(found)
            core.lot.readings.extend(zip(found, payloads, strict=True))
