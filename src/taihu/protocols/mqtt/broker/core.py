"""What all parts of the broker share: its ports, limits, state, timers, counters and the time of this moment."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.broker.counters import Counters
from taihu.protocols.mqtt.broker.lot import Lot
from taihu.protocols.mqtt.broker.message import Message
from taihu.protocols.mqtt.broker.ports import Policy
from taihu.protocols.mqtt.broker.queue import Spool
from taihu.protocols.mqtt.broker.session import Outlet, Session
from taihu.protocols.mqtt.broker.store import Store
from taihu.protocols.mqtt.broker.wheel import Wheel

log = logging.getLogger("taihu.mqtt")

_NOTICES_PER_WINDOW = 20
_NOTICE_WINDOW_S = 10.0
_WATCHED_MAX = 10_000


class Core:
    """The shared state. `now` and `now_ns` are set at every entry into the broker.

    `dirty` holds the connections that got output from others; `doomed` those to disconnect once routing is done.
    `lot` is what the next group commit takes.
    `watched` holds, by identity, messages of the server whose acknowledgement somebody waits for.
    `handlers` maps a packet type to what handles it on a connection.
    """

    def __init__(self, policy: Policy, limits: Limits, new_id: Callable[[], str], spool: Spool | None) -> None:
        self.policy = policy
        self.limits = limits
        self.new_id = new_id
        self.store = Store(limits, spool)
        self.wheel: Wheel[Any] = Wheel()
        self.counters = Counters()
        self.connections: dict[Any, None] = {}
        self.dirty: dict[Any, None] = {}
        self.doomed: dict[Outlet, tuple[int, str]] = {}
        self.handlers: dict[type, Callable[[Any, Any], None]] = {}
        self.watched: dict[int, tuple[Message, Callable[[], None]]] = {}
        self.outbound_bytes = 0
        self.lot = Lot()
        self.now = 0.0
        self.now_ns = 0
        self._notices = 0
        self._notices_until = 0.0

    def watch(self, message: Message, received: Callable[[], None]) -> None:
        """Call `received` when a client acknowledges this very message; of too many the oldest are forgotten."""
        while len(self.watched) >= _WATCHED_MAX:
            del self.watched[next(iter(self.watched))]
        self.watched[id(message)] = message, received

    def spill(self, session: Session) -> None:
        """See `Store.spill`; what the next group commit writes for it is of the open lot's size."""
        spilled = self.store.spill(session)
        self.counters.spilled_bytes += spilled
        self.lot.size += spilled

    def notice(self, ids: Mapping[str, str], text: str, *values: object) -> None:
        """One log line about one refused or limited connection; many alike are summed up, not written."""
        if self.now >= self._notices_until:
            if self._notices > _NOTICES_PER_WINDOW:
                log.warning("and %d more such lines in %g s", self._notices - _NOTICES_PER_WINDOW, _NOTICE_WINDOW_S)
            self._notices = 0
            self._notices_until = self.now + _NOTICE_WINDOW_S
        self._notices += 1
        if self._notices <= _NOTICES_PER_WINDOW:
            log.warning(text, *values, extra=ids)
