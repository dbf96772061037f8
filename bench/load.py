"""The load generator, a process of its own: `python -m bench.load` reads a plan from stdin and answers in JSON lines.

It says `{"ready": true}` once every connection has its CONNACK, begins when it reads a line, and answers with what it
saw. Packets are encoded beforehand; with `timestamps` the device's time is patched into them by numpy, so that every
message is a reading of its own.
"""

import select
import socket
import struct
import sys
import time
from collections import deque
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
_CONNACK = 4
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
    topics: tuple[str, ...] = (TOPIC,)
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
    errors: list[str] = []


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
        return packets.tobytes()


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
            answer = one.recv(_CONNACK, socket.MSG_WAITALL)
            if answer[:1] != b"\x20" or answer[3:] != b"\x00":
                raise RuntimeError(f"a connection was refused: {answer.hex()}")
            one.setblocking(False)
        sockets += fresh
    return sockets


class _Pipe:
    """A connection that keeps its window full, block by block."""

    def __init__(self, one: socket.socket) -> None:
        self.socket = one
        self.blocks_sent = 0
        self.acked = 0
        self.ack_bytes = 0
        self.rest: memoryview | bytes = b""
        self.waiting: deque[tuple[int, float]] = deque()


def flood(plan: Plan, sockets: list[socket.socket]) -> Result:
    """Keep every connection's window full for `seconds`, then wait for what is outstanding."""
    blocks = Blocks(plan.topics[0], plan.window, plan.timestamps)
    poll = select.epoll()
    pipes = {one.fileno(): _Pipe(one) for one in sockets}
    both, read_only = select.EPOLLIN | select.EPOLLOUT, select.EPOLLIN
    for number in pipes:
        poll.register(number, both)
    latencies: list[float] = []
    blocks_max = plan.messages_max // blocks.size // len(pipes) or 1
    size, window = blocks.size, plan.window
    target = blocks_max * size * len(pipes)
    acked = acked_in_time = 0
    cpu = time.process_time()
    began = now = time.perf_counter()
    deadline = ended = began + plan.seconds
    sending = True

    def fill(pipe: _Pipe) -> None:
        while True:
            if pipe.rest:
                try:
                    pipe.rest = pipe.rest[pipe.socket.send(pipe.rest) :]
                except BlockingIOError:
                    pass
                if pipe.rest:
                    poll.modify(pipe.socket.fileno(), both)
                    return
            if not sending or pipe.blocks_sent * size + size - pipe.acked > window or pipe.blocks_sent >= blocks_max:
                poll.modify(pipe.socket.fileno(), read_only)
                return
            pipe.rest = memoryview(blocks.block(pipe.blocks_sent))
            pipe.blocks_sent += 1
            pipe.waiting.append((pipe.blocks_sent * size, time.perf_counter()))

    while True:
        events = poll.poll(0.2)
        now = time.perf_counter()
        if sending and now >= deadline:
            sending, ended, acked_in_time = False, now, acked
        for number, event in events:
            pipe = pipes[number]
            if event & select.EPOLLIN:
                data = pipe.socket.recv(262_144)
                if not data:
                    raise RuntimeError("the server closed a connection")
                pipe.ack_bytes += len(data)
                fresh = pipe.ack_bytes // 4 - pipe.acked
                pipe.acked += fresh
                acked += fresh
                waiting = pipe.waiting
                while waiting and waiting[0][0] <= pipe.acked:
                    latencies.append(now - waiting.popleft()[1])
            fill(pipe)
        if acked >= target or not sending:
            sent = sum(pipe.blocks_sent for pipe in pipes.values()) * size
            if acked >= sent:
                break
        if now > deadline + _DRAIN_S:
            break
    if sending:
        ended, acked_in_time = now, acked
    return Result(
        acked=acked,
        sent_by_connection=[pipe.blocks_sent * size for pipe in pipes.values()],
        acked_in_time=acked_in_time,
        seconds=ended - began,
        drained_s=now - ended,
        cpu_s=time.process_time() - cpu,
        **_percentiles(latencies),
    )


def warm_up(plan: Plan, sockets: list[socket.socket]) -> None:
    """One message on each connection, acknowledged."""
    packet = encode_publish(plan.topics[0], 65_535, payloads(1, timestamps=False)[0])
    for start in range(0, len(sockets), _CONNECT_BATCH):
        batch = sockets[start : start + _CONNECT_BATCH]
        for one in batch:
            one.sendall(packet)
        for one in batch:
            one.setblocking(True)
            one.recv(4, socket.MSG_WAITALL)
            one.setblocking(False)


def singles(plan: Plan, sockets: list[socket.socket]) -> Result:
    """One packet a segment: each connection sends at `rate`, or at once after the last ack, within its window."""
    topics = [plan.topics[index % len(plan.topics)] for index in range(len(sockets))]
    texts = payloads(1024, timestamps=False)
    packets = {topic: [encode_publish(topic, at + 1, text) for at, text in enumerate(texts)] for topic in set(topics)}
    poll = select.epoll()
    count = len(sockets)
    index_of = {one.fileno(): index for index, one in enumerate(sockets)}
    of = [packets[topic] for topic in topics]
    sends = [one.send for one in sockets]
    receives = [one.recv for one in sockets]
    sent, acked = [0] * count, [0] * count
    waiting: list[deque[float]] = [deque() for _ in sockets]
    for number in index_of:
        poll.register(number, select.EPOLLIN)
    latencies: list[float] = []
    total_acked = total_sent = held_back = acked_in_time = 0
    clock = time.perf_counter
    cpu = time.process_time()
    began = clock()
    deadline = ended = began + plan.seconds
    period = 1 / plan.rate / count if plan.rate else 0.0
    due, turn = began, 0
    if not plan.rate:
        for index in range(count):
            waiting[index].append(clock())
            sends[index](of[index][0])
            sent[index] = 1
        total_sent = count
    sending = True
    while True:
        now = clock()
        if sending and now >= deadline:
            sending, ended, acked_in_time = False, now, total_acked
        if not sending and (total_acked >= total_sent or now > deadline + _DRAIN_S):
            break
        if plan.rate and sending:
            while due <= now:
                index = turn % count
                turn += 1
                due += period
                if len(waiting[index]) >= plan.window:
                    held_back += 1
                    continue
                try:
                    sends[index](of[index][sent[index] & 1023])
                except BlockingIOError:
                    held_back += 1
                    continue
                waiting[index].append(clock())
                sent[index] += 1
                total_sent += 1
        for number, _ in poll.poll(max(0.0, min(0.1, due - clock())) if plan.rate and sending else 0.1):
            index = index_of[number]
            data = receives[index](4096)
            if not data:
                raise RuntimeError("the server closed a connection")
            now = clock()
            queue = waiting[index]
            for _ in range(len(data) >> 2):
                latencies.append(now - queue.popleft())
                acked[index] += 1
                total_acked += 1
            if sending and not plan.rate:
                queue.append(now)
                sends[index](of[index][sent[index] & 1023])
                sent[index] += 1
                total_sent += 1
    return Result(
        acked=total_acked,
        sent_by_connection=sent,
        acked_in_time=acked_in_time,
        seconds=ended - began,
        drained_s=clock() - ended,
        cpu_s=time.process_time() - cpu,
        held_back=held_back,
        **_percentiles(latencies),
    )


def _percentiles(latencies: list[float]) -> dict[str, float]:
    if not latencies:
        return {"p50_ms": 0.0, "p99_ms": 0.0}
    p50, p99 = np.percentile(np.array(latencies) * 1000, (50, 99)).tolist()
    return {"p50_ms": p50, "p99_ms": p99}


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
    one_by_one = plan.window == 1 or plan.rate
    _say((singles if one_by_one else flood)(plan, sockets))
    for one in sockets:
        one.close()


if __name__ == "__main__":
    main()
