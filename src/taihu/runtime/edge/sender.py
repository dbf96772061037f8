"""One project's line to the centre: what is new first, then, newest first, what the centre lacks.

A cut of the link costs nothing but time: what was on its way is sent again, and readings have an identity, so a second
time changes nothing (§5). Old readings take a bounded share of the link: the time that one piece was on its way is
followed by a rest.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from taihu.drivers.line import Line
from taihu.kernel.clock import Clock
from taihu.kernel.errors import RemoteError, TaihuError
from taihu.protocols.mqtt.packets import Connack, Disconnect, Packet, Puback
from taihu.protocols.mqtt.reasons import Reason
from taihu.runtime.edge.cut import Cutter, Piece
from taihu.runtime.edge.ledger import Ledger, Stretch

log = logging.getLogger("taihu.edge")

_NEW_MAX = 8  # pieces of what is new on their way
_RECORDS_MAX = 4_096
_WINDOW = 16_384  # positions that are read forward when gaps are filled from their end
_RETRY_S_MIN, _RETRY_S_MAX = 0.5, 30.0
_IDLE_S = 1.0
_POISON = (
    Reason.PAYLOAD_FORMAT_INVALID,
    Reason.IMPLEMENTATION_SPECIFIC_ERROR,
    Reason.UNSPECIFIED_ERROR,
    Reason.MALFORMED_PACKET,
    Reason.PROTOCOL_ERROR,
    Reason.PACKET_TOO_LARGE,
)
_TRIES = 3


class CentreRefuses(RemoteError):
    """The centre does not let this node in, or does not take what it sends."""

    code = "centre"


class Sender:
    """Sends one project's readings until `run` is cancelled.

    Args:
        connect: makes a new line, each time with a new session.
        share: of the link's time that old readings may take, 0 to 1.
        keep: called when the ledger has changed.
        put_aside: keeps what cannot be sent: its position and its messages.
    """

    def __init__(
        self,
        project: str,
        connect: Callable[[], Line],
        cutter: Cutter,
        ledger: Ledger,
        clock: Clock,
        *,
        share: float,
        keep: Callable[[], None],
        put_aside: Callable[[int, Sequence[bytes]], None],
        random: Random,
    ) -> None:
        self.connected = False
        self.ledger = ledger
        self._project = project
        self._connect = connect
        self._cutter = cutter
        self._clock = clock
        self._share = share
        self._keep = keep
        self._put_aside = put_aside
        self._random = random
        self._line: Line | None = None
        self._on_way: dict[int, Piece] = {}  # by packet identifier
        self._durable = 0
        self._known = asyncio.Event()  # until then, what the journal holds would be taken for new
        self._old_until = 0  # what came before the connection began
        self._next_new = 1
        self._old: Piece | None = None
        self._old_sent_at = 0.0
        self._rest_until = 0.0
        self._careful: Stretch | None = None  # a piece that the centre may have choked on
        self._tries: Counter[int] = Counter()  # of single positions
        self._moved = asyncio.Event()
        self._pause = _RETRY_S_MIN
        self._told = False

    @property
    def behind(self) -> int:
        """How many positions the centre lacks."""
        return sum(last - first + 1 for first, last in self.ledger.gaps(self._durable))

    def durable(self, position: int) -> None:
        """The journal holds everything up to `position`."""
        self._known.set()
        if position > self._durable:
            self._durable = position
            self._moved.set()

    async def run(self) -> None:
        """Connect and stay connected. Logs once on loss and once on return."""
        await self._known.wait()
        while True:
            self._line = self._connect()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._send())
                    group.create_task(self._line.serve(self._took))
            except* (OSError, TaihuError) as errors:
                self._lost(errors.exceptions[0])
            finally:
                self._forget()
            await asyncio.sleep(self._pause * (0.5 + self._random.random()))
            self._pause = min(2 * self._pause, _RETRY_S_MAX)

    def _lost(self, error: BaseException) -> None:
        if not self._told:
            log.warning("%s has lost the centre: %s", self._project, error)
        self._told = True

    def _forget(self) -> None:
        """The connection has ended: what was on its way is not known to have arrived."""
        self.connected = False
        self._keep()
        self._on_way.clear()
        self._old = None

    async def _took(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            match packet:
                case Connack(reason=Reason.SUCCESS):
                    self._begin()
                case Connack():
                    raise CentreRefuses(f"It says {Reason(packet.reason).name.lower()}.", "Issue another token there.")
                case Puback():
                    self._answered(packet)
                case Disconnect():
                    self._dismissed(packet.reason)

    def _begin(self) -> None:
        if self._told:
            log.info("%s reaches the centre again; it lacks %d positions", self._project, self.behind)
        self._told, self._pause, self.connected = False, _RETRY_S_MIN, True
        self._old_until = self._durable
        self._next_new = self._durable + 1
        self._keep()
        self._moved.set()

    def _answered(self, packet: Puback) -> None:
        piece = self._on_way.pop(packet.packet_id, None)
        if piece is None:
            return
        if packet.reason >= Reason.UNSPECIFIED_ERROR:
            self._suspect(piece, packet.reason)
            raise CentreRefuses(f"It answers {Reason(packet.reason).name.lower()}.", "See its log.")
        piece.unacked -= 1
        if not piece.unacked:
            self._arrived(piece)
        self._moved.set()

    def _arrived(self, piece: Piece) -> None:
        self.ledger.acknowledged(piece.first, piece.last, piece.values)
        if piece is self._old:
            took_s = self._clock.monotonic() - self._old_sent_at
            self._rest_until = self._clock.monotonic() + took_s * (1 - self._share) / self._share
            self._old = None
        self._keep()

    def _dismissed(self, reason: int) -> None:
        oldest = next(iter(self._on_way.values()), None)
        if oldest is not None:
            self._suspect(oldest, reason)
        raise CentreRefuses(f"It ends the connection: {Reason(reason).name.lower()}.", "See its log.")

    def _suspect(self, piece: Piece, reason: int) -> None:
        """The centre may have choked on a piece: it is sent again in halves, until the bad record is known."""
        if reason not in _POISON:
            return
        self._careful = (piece.first, piece.last)
        if piece.first < piece.last:
            return
        self._tries[piece.first] += 1
        if self._tries[piece.first] >= _TRIES:
            self._put_aside(piece.first, piece.messages)
            self.ledger.set_aside(piece.first)
            self._tries.clear()
            self._keep()

    async def _send(self) -> None:
        while True:
            self._moved.clear()
            wait_s = _IDLE_S
            if self.connected:
                if await self._send_new():
                    continue
                wait_s = await self._send_old()
            try:
                async with asyncio.timeout(wait_s):
                    await self._moved.wait()
            except TimeoutError:
                continue

    async def _send_new(self) -> bool:
        """Send a piece of what came since the connection began, if there is room; whether it did."""
        if self._next_new > self._durable or len(self._on_way) >= _NEW_MAX or self._careful is not None:
            return False
        piece = await self._cut(self._next_new, self._durable, _RECORDS_MAX)
        self._next_new = self._durable + 1 if piece is None else piece.last + 1
        if piece is not None:
            self._give(piece)
        return True

    async def _send_old(self) -> float:
        """Send a piece of what the centre lacks, if it may be now; returns how long to wait for the next (s)."""
        rest = self._rest_until - self._clock.monotonic()
        if self._old is not None or rest > 0:
            return _IDLE_S if self._old is not None else rest
        wanted = self._wanted()
        if wanted is None:
            return _IDLE_S
        piece = await self._cut(*wanted)
        if piece is None:
            return 0.0
        if piece.messages:
            self._old, self._old_sent_at = piece, self._clock.monotonic()
        self._give(piece)
        return _IDLE_S if piece.messages else 0.0

    def _wanted(self) -> tuple[int, int, int] | None:
        """What to send next of what the centre lacks: first and last position, and how many records at most."""
        if self._careful is not None:
            first, last = self._careful
            for gap in self.ledger.gaps(last):
                if gap[1] >= first:
                    return max(gap[0], first), gap[1], max(1, (last - first + 1) // 2)
            self._careful = None
        gaps = self.ledger.gaps(self._old_until)
        if not gaps:
            return None
        first, last = gaps[-1]
        return max(first, last - _WINDOW + 1), last, _RECORDS_MAX

    async def _cut(self, first: int, last: int, records: int) -> Piece | None:
        """The first piece from `first` on; what the journal no longer holds before it is lost, and told."""
        piece = await asyncio.to_thread(self._cutter.cut, first, last, records)
        end = last + 1 if piece is None else piece.first
        if end > first:
            log.error("positions %d to %d of the journal are gone before %s sent them", first, end - 1, self._project)
            self.ledger.lost(first, end - 1)
            self._keep()
        return piece

    def _give(self, piece: Piece) -> None:
        """Hand a piece to the line; one without readings of the project is done."""
        for position in piece.unreadable:
            log.error("record %d of the journal is no batch of readings: %s does not send it", position, self._project)
            self.ledger.set_aside(position)
        if not piece.messages:
            self.ledger.acknowledged(piece.first, piece.last, {})
            self._keep()
            return
        assert self._line is not None
        for message in piece.messages:
            self._on_way[self._line.client.publish(f"edge/{self._project}", message, qos=1)] = piece
        self._line.flush_soon()
