"""The controlling station as a state machine without I/O: frames, windows and timers (IEC 60870-5-104, clause 5).

The shell connects, calls `start`, feeds `receive`, writes `take_output` after every call, calls `handle_timer` at
`next_timer`, and closes the connection when anything raises. One `Client` serves one connection.
"""

from collections import deque
from enum import Enum
from typing import NamedTuple

from taihu.protocols.iec104.apci import NUMBERS, Control, Decoder, Frame, Function, Information, Supervisory, encode
from taihu.protocols.iec104.asdu import Asdu, decode_asdu, encode_asdu
from taihu.protocols.iec104.errors import Iec104Error

WAITING_MAX = 1_000


class Timers(NamedTuple):
    """Seconds, and windows in frames; the standard's own defaults (clause 9.6)."""

    send_s: float = 15.0  # t1: for the acknowledgement of what was sent
    acknowledge_s: float = 10.0  # t2: until what was received is acknowledged; shorter than t1
    idle_s: float = 20.0  # t3: of silence until the line is tested
    sent_max: int = 12  # k: frames that may be unacknowledged
    received_max: int = 8  # w: frames after which to acknowledge


_STANDARD = Timers()


class State(Enum):
    """Where a connection is."""

    CLOSED = "closed"
    STARTING = "starting"
    STARTED = "started"


class Started(NamedTuple):
    """The station transfers data from now on."""


Event = Started | Asdu


class Client:
    """One connection to a controlled station."""

    def __init__(self, timers: Timers = _STANDARD) -> None:
        self.state = State.CLOSED
        self._timers = timers
        self._decoder = Decoder()
        self._output = bytearray()
        self._sent = 0  # the number of the next frame sent
        self._acked = 0  # all before it are acknowledged by the station
        self._received = 0  # the number of the next frame expected
        self._told = 0  # all before it are acknowledged to the station
        self._waiting: deque[bytes] = deque()
        self._send_until: float | None = None
        self._tell_until: float | None = None
        self._test_at: float | None = None
        self._answer_until: float | None = None

    def start(self, now: float) -> None:
        """Begin data transfer; `now` and all times are monotonic seconds."""
        self.state = State.STARTING
        self._put(Control(Function.STARTDT_ACT))
        self._answer_until = now + self._timers.send_s
        self._test_at = now + self._timers.idle_s

    def send(self, asdu: Asdu, now: float) -> None:
        """Send an ASDU as soon as the window has room; raises Iec104Error when too many wait."""
        if len(self._waiting) >= WAITING_MAX:
            raise Iec104Error(f"{WAITING_MAX} ASDUs wait to be sent.", "The station does not keep up.")
        self._waiting.append(encode_asdu(asdu))
        self._send_waiting(now)

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take what the station sent; raises Iec104Error, after which the connection is to be closed."""
        events: list[Event] = []
        self._test_at = now + self._timers.idle_s
        for frame in self._decoder.feed(data):
            self._take(frame, now, events)
        if (self._received - self._told) % NUMBERS >= self._timers.received_max:
            self._tell()
        self._send_waiting(now)
        return events

    def take_output(self) -> bytes:
        """What to write now."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def next_timer(self) -> float | None:
        """When `handle_timer` has something to do."""
        due = (self._send_until, self._tell_until, self._test_at, self._answer_until)
        return min((one for one in due if one is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due; raises Iec104Error when the station left something unanswered."""
        if self._send_until is not None and now >= self._send_until:
            raise Iec104Error(f"What was sent is not acknowledged within {self._timers.send_s:g} s.")
        if self._answer_until is not None and now >= self._answer_until:
            raise Iec104Error(f"The station gives no answer within {self._timers.send_s:g} s.")
        if self._tell_until is not None and now >= self._tell_until:
            self._tell()
        if self._test_at is not None and now >= self._test_at:
            self._put(Control(Function.TESTFR_ACT))
            self._answer_until = now + self._timers.send_s
            self._test_at = None

    def _take(self, frame: Frame, now: float, events: list[Event]) -> None:
        match frame:
            case Information():
                self._take_information(frame, now, events)
            case Supervisory():
                self._acknowledge(frame.received, now)
            case Control():
                self._take_control(frame.function, now, events)

    def _take_information(self, frame: Information, now: float, events: list[Event]) -> None:
        if self.state is not State.STARTED:
            raise Iec104Error("The station sends data before it was started.")
        if frame.sent != self._received:
            raise Iec104Error(f"Frame {frame.sent} came where {self._received} should.")
        self._received = (self._received + 1) % NUMBERS
        if self._tell_until is None:
            self._tell_until = now + self._timers.acknowledge_s
        self._acknowledge(frame.received, now)
        events.append(decode_asdu(frame.asdu))

    def _take_control(self, function: Function, now: float, events: list[Event]) -> None:
        match function:
            case Function.STARTDT_CON if self.state is State.STARTING:
                self.state = State.STARTED
                self._answer_until = None
                events.append(Started())
            case Function.TESTFR_ACT:
                self._put(Control(Function.TESTFR_CON))
            case Function.TESTFR_CON:
                self._answer_until = None
            case _:
                raise Iec104Error(f"The station sends {function.name} out of turn.")

    def _acknowledge(self, received: int, now: float) -> None:
        """The station has received all frames before this number."""
        if (received - self._acked) % NUMBERS > (self._sent - self._acked) % NUMBERS:
            raise Iec104Error(f"The station acknowledges frame {received}, which was not sent.")
        if received != self._acked:
            self._acked = received
            self._send_until = None if self._acked == self._sent else now + self._timers.send_s

    def _send_waiting(self, now: float) -> None:
        while (
            self._waiting
            and self.state is State.STARTED
            and (self._sent - self._acked) % NUMBERS < self._timers.sent_max
        ):
            self._put(Information(self._sent, self._received, self._waiting.popleft()))
            self._sent = (self._sent + 1) % NUMBERS
            self._told, self._tell_until = self._received, None
            if self._send_until is None:
                self._send_until = now + self._timers.send_s

    def _tell(self) -> None:
        """Acknowledge all that was received."""
        self._put(Supervisory(self._received))
        self._told, self._tell_until = self._received, None

    def _put(self, frame: Frame) -> None:
        self._output += encode(frame)
