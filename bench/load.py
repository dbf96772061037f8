"""The load generator, a process of its own: `python -m bench.load` reads a plan from stdin and answers in JSON lines.

It says `{"ready": true}` once every connection has its CONNACK, begins when it reads a line, and answers with what it
saw. Packets are encoded beforehand; with `timestamps` the device's time is patched into them by numpy, so that every
message is a reading of its own.
"""

import select
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

TIME_BASE_MS = 1_577_836_800_000  # 2020-01-01: the first device time of each connection; one message each TIME_STEP_MS
TIME_STEP_MS = 10
TOPIC = "v1/devices/me/telemetry"
PROPERTIES = {True: ("temp", "hum", "volt"), False: ("temperature", "humidity", "supply_voltage")}
"""The three numbers of a payload with and without the device's time: about 60 bytes either way."""

_BLOCK = 125
_POOL = 64  # blocks of different values
_ACK_BYTES = 4  # of a PUBACK, and of a CONNACK
_SINGLES = 1024  # different messages of a connection
_BOTH = select.EPOLLIN | select.EPOLLOUT
_CONNECT_BATCH = 200
_DRAIN_S = 60.0
_DIGITS = np.frombuffer(b"".join(b"%04d" % number for number in range(10_000)), np.uint8).reshape(-1, 4)

Bytes = NDArray[np.uint8]


class Plan(msgspec.Struct, frozen=True):
    """What to send. A user name a connection; `rate` is messages a second and connection, 0 as fast as acks allow.

    `window` is how many messages a connection may have unacknowledged; 1 or a `rate` sends one packet a segment.
    With `warm_up` each connection has had one message acknowledged before the run begins.
    """

    host: str
    port: int
    users: tuple[str, ...]
    topic: str = TOPIC
    seconds: float = 5.0
    window: int = 1000
    rate: float = 0.0
    warm_up: bool = False
    timestamps: bool = False
    messages_max: int = 1 << 40
    client_prefix: str = "load"


class Result(msgspec.Struct):
    """What was seen. Latencies are publish to ack; of a block, to the ack of its last message."""

    acked: int
    sent_by_connection: list[int]
    acked_in_time: int
    seconds: float
    drained_s: float
    p50_ms: float
    p99_ms: float
    cpu_s: float
    held_back: int = 0


def encode_publish(topic: str, packet_id: int, payload: bytes) -> bytes:
    """An MQTT 3.1.1 PUBLISH at QoS 1."""
    body = len(topic).to_bytes(2, "big") + topic.encode() + packet_id.to_bytes(2, "big") + payload
    size = len(body)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    return b"\x32" + length + body


def encode_connect(client_id: str, user: str) -> bytes:
    """An MQTT 3.1.1 CONNECT with a clean session."""
    fields = [client_id.encode()] + ([user.encode()] if user else [])
    body = b"\x00\x04MQTT\x04" + (b"\x82" if user else b"\x02") + b"\x00\x00"
    body += b"".join(len(field).to_bytes(2, "big") + field for field in fields)
    size = len(body)
    return b"\x10" + (bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])) + body


def values(count: int, seed: int = 7) -> list[list[float]]:
    """What the payloads say, a row of three numbers each: they drift slowly, with two decimals."""
    random = np.random.default_rng(seed)
    steps = random.integers(-9, 10, (count, 3)) * (random.random((count, 3)) > 0.3)
    walk = 1000 + np.abs(4000 + np.cumsum(steps, axis=0)) % 9000  # always four digits
    return [[number / 100 for number in row] for row in walk.tolist()]


def payloads(count: int, timestamps: bool) -> list[bytes]:
    """`values` as JSON objects, all of one length: 58 bytes with a time and 61 without."""
    numbers = ",".join(f'"{name}":%.2f' for name in PROPERTIES[timestamps])
    form = f'{{"ts":{TIME_BASE_MS},{numbers}}}' if timestamps else f"{{{numbers}}}"
    return [(form % tuple(row)).encode() for row in values(count)]


class Blocks:
    """Blocks of pre-encoded packets, all of one length; packet identifiers follow the block's place in the window."""

    def __init__(self, topic: str, window: int, timestamps: bool) -> None:
        self.size = min(_BLOCK, max(1, window // 4))
        slots = window // self.size + 1
        self.count = slots * max(1, _POOL // slots)
        texts = payloads(self.count * self.size, timestamps)
        packets = [encode_publish(topic, index % (slots * self.size) + 1, text) for index, text in enumerate(texts)]
        self._packets: Bytes = np.frombuffer(b"".join(packets), np.uint8).reshape(self.count, self.size, -1).copy()
        self._time_at = packets[0].index(b'"ts":') + 5 if timestamps else 0
        self._offsets = np.arange(self.size, dtype=np.int64) * TIME_STEP_MS

    def block(self, number: int) -> bytes:
        """Block `number` of a connection, from 0 up."""
        packets = self._packets[number % self.count]
        if self._time_at:
            moments = self._offsets + (TIME_BASE_MS + number * self.size * TIME_STEP_MS)
            at = self._time_at
            high, low = np.divmod(moments, 10_000)
            high, middle = np.divmod(high, 10_000)
            top, high = np.divmod(high, 10_000)
            packets[:, at] = top + 48
            packets[:, at + 1 : at + 5] = _DIGITS[high]
            packets[:, at + 5 : at + 9] = _DIGITS[middle]
            packets[:, at + 9 : at + 13] = _DIGITS[low]
        data: bytes = packets.tobytes()
        return data


def connect(plan: Plan) -> list[socket.socket]:
    """One socket a user, each with its CONNACK; RuntimeError when one is refused."""
    sockets: list[socket.socket] = []
    for start in range(0, len(plan.users), _CONNECT_BATCH):
        fresh = []
        for number, user in enumerate(plan.users[start : start + _CONNECT_BATCH], start):
            one = socket.create_connection((plan.host, plan.port), timeout=30)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.sendall(encode_connect(f"{plan.client_prefix}-{number}", user))
            fresh.append(one)
        for one in fresh:
            answer = one.recv(_ACK_BYTES, socket.MSG_WAITALL)
            if answer[:1] != b"\x20" or answer[3:] != b"\x00":
                raise RuntimeError(f"a connection was refused: {answer.hex()}")
            one.setblocking(False)
        sockets += fresh
    return sockets


def warm_up(plan: Plan, sockets: list[socket.socket]) -> None:
    """One message on each connection, acknowledged."""
    packet = encode_publish(plan.topic, 65_535, payloads(1, timestamps=False)[0])
    for start in range(0, len(sockets), _CONNECT_BATCH):
        batch = sockets[start : start + _CONNECT_BATCH]
        for one in batch:
            one.sendall(packet)
        for one in batch:
            one.setblocking(True)
            one.recv(_ACK_BYTES, socket.MSG_WAITALL)
            one.setblocking(False)


class _Pipe:
    """A connection that keeps its window full, block by block."""

    def __init__(self, one: socket.socket) -> None:
        self.socket = one
        self.blocks_sent = 0
        self.acked = 0
        self.ack_bytes = 0
        self.rest = memoryview(b"")
        self.waiting: deque[tuple[int, float]] = deque()  # the messages sent with a block, and when


class Flood:
    """Keeps every connection's window full for `seconds`, then waits for what is outstanding."""

    def __init__(self, plan: Plan, sockets: list[socket.socket]) -> None:
        self._plan = plan
        self._blocks = Blocks(plan.topic, plan.window, plan.timestamps)
        self._pipes = {one.fileno(): _Pipe(one) for one in sockets}
        self._blocks_max = plan.messages_max // self._blocks.size // len(sockets) or 1
        self._poll = select.epoll()
        for number in self._pipes:
            self._poll.register(number, _BOTH)
        self._latencies: list[float] = []
        self._acked = 0
        self._sending = True

    def run(self) -> Result:
        """Send until the time or the messages are over."""
        size = self._blocks.size
        target = self._blocks_max * size * len(self._pipes)
        acked_in_time = 0
        cpu = time.process_time()
        began = time.perf_counter()
        deadline = ended = began + self._plan.seconds
        while True:
            events = self._poll.poll(0.2)
            now = time.perf_counter()
            for number, event in events:
                pipe = self._pipes[number]
                if event & select.EPOLLIN:
                    self._take_acks(pipe, now)
                self._fill(pipe)
            if self._sending and (now >= deadline or self._acked >= target):
                self._sending, ended, acked_in_time = False, now, self._acked
            if not self._sending:
                sent = sum(pipe.blocks_sent for pipe in self._pipes.values()) * size
                if self._acked >= sent or now > ended + _DRAIN_S:
                    break
        p50_ms, p99_ms = _percentiles_ms(self._latencies)
        return Result(
            acked=self._acked,
            sent_by_connection=[pipe.blocks_sent * size for pipe in self._pipes.values()],
            acked_in_time=acked_in_time,
            seconds=ended - began,
            drained_s=time.perf_counter() - ended,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            cpu_s=time.process_time() - cpu,
        )

    def _take_acks(self, pipe: _Pipe, now: float) -> None:
        data = pipe.socket.recv(262_144)
        if not data:
            raise RuntimeError("the server closed a connection")
        pipe.ack_bytes += len(data)
        fresh = pipe.ack_bytes // _ACK_BYTES - pipe.acked
        pipe.acked += fresh
        self._acked += fresh
        while pipe.waiting and pipe.waiting[0][0] <= pipe.acked:
            self._latencies.append(now - pipe.waiting.popleft()[1])

    def _fill(self, pipe: _Pipe) -> None:
        size = self._blocks.size
        number = pipe.socket.fileno()
        while True:
            if pipe.rest:
                with suppress(BlockingIOError):
                    pipe.rest = pipe.rest[pipe.socket.send(pipe.rest) :]
                if pipe.rest:
                    self._poll.modify(number, _BOTH)
                    return
            full = pipe.blocks_sent * size + size - pipe.acked > self._plan.window
            if full or not self._sending or pipe.blocks_sent >= self._blocks_max:
                self._poll.modify(number, select.EPOLLIN)
                return
            pipe.rest = memoryview(self._blocks.block(pipe.blocks_sent))
            pipe.blocks_sent += 1
            pipe.waiting.append((pipe.blocks_sent * size, time.perf_counter()))


class Singles:
    """One packet a segment: each connection sends at `rate`, or at once after its last ack."""

    def __init__(self, plan: Plan, sockets: list[socket.socket]) -> None:
        self._plan = plan
        self._packets = [
            encode_publish(plan.topic, at + 1, text) for at, text in enumerate(payloads(_SINGLES, timestamps=False))
        ]
        self._sends = [one.send for one in sockets]
        self._receives = {one.fileno(): (index, one.recv) for index, one in enumerate(sockets)}
        self._sent = [0] * len(sockets)
        self._waiting: list[deque[float]] = [deque() for _ in sockets]
        self._turn = 0
        self._held_back = 0

    def run(self) -> Result:
        """Send until the time is over, then wait for what is outstanding."""
        plan, clock = self._plan, time.perf_counter
        poll = select.epoll()
        for number in self._receives:
            poll.register(number, select.EPOLLIN)
        latencies: list[float] = []
        acked = acked_in_time = 0
        period = 1 / plan.rate / len(self._sends) if plan.rate else 0.0
        cpu = time.process_time()
        began = due = clock()
        deadline = ended = began + plan.seconds
        for index in range(0 if plan.rate else len(self._sends)):
            self._send(index, clock())
        sending = True
        while sending or (any(self._waiting) and clock() < ended + _DRAIN_S):
            if sending and clock() >= deadline:
                sending, ended, acked_in_time = False, clock(), acked
            while sending and plan.rate and due <= clock():
                due += period
                self._send_next()
            for number, _ in poll.poll(max(0.0, min(0.1, due - clock())) if plan.rate and sending else 0.1):
                index, receive = self._receives[number]
                data = receive(4096)
                if not data:
                    raise RuntimeError("the server closed a connection")
                now = clock()
                waiting = self._waiting[index]
                for _ in range(len(data) // _ACK_BYTES):
                    latencies.append(now - waiting.popleft())
                    acked += 1
                if sending and not plan.rate:
                    self._send(index, now)
        p50_ms, p99_ms = _percentiles_ms(latencies)
        return Result(
            acked=acked,
            sent_by_connection=self._sent,
            acked_in_time=acked_in_time,
            seconds=ended - began,
            drained_s=clock() - ended,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            cpu_s=time.process_time() - cpu,
            held_back=self._held_back,
        )

    def _send(self, index: int, now: float) -> None:
        self._waiting[index].append(now)
        self._sends[index](self._packets[self._sent[index] % _SINGLES])
        self._sent[index] += 1

    def _send_next(self) -> None:
        """The next connection's message, unless its window is full or its socket takes no more."""
        index = self._turn % len(self._sends)
        self._turn += 1
        if len(self._waiting[index]) >= self._plan.window:
            self._held_back += 1
            return
        try:
            self._send(index, time.perf_counter())
        except BlockingIOError:
            self._waiting[index].pop()
            self._held_back += 1


def _percentiles_ms(latencies: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in ms."""
    if not latencies:
        return 0.0, 0.0
    p50, p99 = np.percentile(np.array(latencies) * 1000, (50, 99)).tolist()
    return p50, p99


def _say(value: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Read the plan, connect, wait for the word, send, report."""
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)
    sockets = connect(plan)
    if plan.warm_up:
        warm_up(plan, sockets)
    _say({"ready": True})
    sys.stdin.buffer.readline()
    generator = Singles(plan, sockets) if plan.window == 1 or plan.rate else Flood(plan, sockets)
    _say(generator.run())
    for one in sockets:
        one.close()


if __name__ == "__main__":
    main()
