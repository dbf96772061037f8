"""Observers over HTTP: a thousand open streams of server-sent events, and what a delivered event costs."""

import select
import socket
import statistics
import time
from collections.abc import Sequence

import msgspec

from bench.harness import Options, Report, Row
from bench.machine import cpu_seconds, memory_mb
from bench.node import PROJECT, Node, gauge

NAME = "observers"
_OBSERVERS = 1_000
_ROUNDS_PER_S = 4
_CONNECT_S = 30.0


class Streams:
    """Open streams and what came over them: each value is the time it was sent at."""

    def __init__(self, node: Node, things: Sequence[str]) -> None:
        self.delays: list[float] = []
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._rest: dict[int, bytes] = {}
        host, port = node.addresses["http"]
        for thing in things:
            one = socket.create_connection((host, port))
            path = f"/api/v1/projects/{PROJECT}/things/{thing}/properties/at/observe"
            head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {node.operator}\r\n\r\n"
            one.sendall(head.encode())
            self._sockets[one.fileno()], self._rest[one.fileno()] = one, b""
            self._poll.register(one.fileno(), select.EPOLLIN)
        until = time.perf_counter() + _CONNECT_S
        while not all(b"\r\n\r\n" in rest for rest in self._rest.values()):
            if time.perf_counter() > until:
                raise RuntimeError("not every observer was let in")
            for number, _ in self._poll.poll(0.1):
                self._rest[number] += self._sockets[number].recv(65_536)
        assert all(rest.startswith(b"HTTP/1.1 200") for rest in self._rest.values()), "an observer was refused"
        for number, came in self._rest.items():
            self._rest[number] = b""
            self._take(number, came.partition(b"\r\n\r\n")[2])

    def take(self, until: float, count: int) -> None:
        """Read until `count` values came in all, or the time is up."""
        while len(self.delays) < count and (left := until - time.perf_counter()) > 0:
            for number, _ in self._poll.poll(min(left, 0.05)):
                self._take(number, self._sockets[number].recv(65_536))

    def _take(self, number: int, came: bytes) -> None:
        *lines, self._rest[number] = (self._rest[number] + came).split(b"\n")
        now = time.perf_counter()
        self.delays += [now - float(line[6:]) for line in lines if line.startswith(b"data: ")]

    def close(self) -> None:
        for one in self._sockets.values():
            one.close()


def run(options: Options) -> Report:
    """Each observer on a thing of its own, and all on one."""
    report = Report(NAME, "Observers: 1,000 open streams of server-sent events")
    count = 50 if options.smoke else _OBSERVERS
    things = [f"device-{number:04d}" for number in range(count)]
    with Node(["device"], {"at": gauge("s", 1e9)}, things=things) as node:
        idle = memory_mb(node.pids["ingest"])["pss"]
        alone = _round_cpu(node, things, options.seconds)
        report.rows.append(_observed("each its own thing", node, things, things, options.seconds, alone))
        alone = _round_cpu(node, things[:1], options.seconds)
        report.rows.append(_observed("all one thing", node, things[:1], things[:1] * count, options.seconds, alone))
        open_now = Streams(node, things)
        report.rows[0]["kB an observer"] = (memory_mb(node.pids["ingest"])["pss"] - idle) * 1024 / count
        open_now.close()
    report.note(
        f"{_ROUNDS_PER_S} rounds a second, in each of which every observed property gets a new value by one POST. CPU "
        "of the ingest process beyond that of the same rounds without observers; delay from before the POST to after "
        "the value was read, sync included, with sender and reader in one process on the same machine."
    )
    report.note("Goal: 1,000 open observers.")
    return report


def _observed(
    name: str, node: Node, things: Sequence[str], observed: Sequence[str], seconds: float, alone_s: float
) -> Row:
    streams = Streams(node, observed)
    streams.take(time.perf_counter() + _CONNECT_S, len(observed))  # the newest value, which each is told first
    streams.delays.clear()
    before = cpu_seconds(node.pids["ingest"])
    rounds = max(1, round(seconds * _ROUNDS_PER_S))
    began = time.perf_counter()
    for number in range(1, rounds + 1):
        _post(node, things)
        streams.take(began + number / _ROUNDS_PER_S, 1 << 60)
    streams.take(time.perf_counter() + 5, rounds * len(observed))
    used = cpu_seconds(node.pids["ingest"]) - before
    streams.close()
    told = len(streams.delays)
    assert told == rounds * len(observed), f"{told} of {rounds * len(observed)} events came"
    return {
        "observers": name,
        "streams": len(observed),
        "events/s": told / (time.perf_counter() - began),
        "ingest us/event": (used - alone_s * rounds) / told * 1e6,
        "p50 ms": statistics.median(streams.delays) * 1000,
        "p99 ms": sorted(streams.delays)[int(told * 0.99)] * 1000,
    }


def _round_cpu(node: Node, things: Sequence[str], seconds: float) -> float:
    """CPU seconds of one round without observers."""
    rounds = max(1, round(seconds * _ROUNDS_PER_S))
    before = cpu_seconds(node.pids["ingest"])
    for _ in range(rounds):
        _post(node, things)
        time.sleep(1 / _ROUNDS_PER_S)
    return (cpu_seconds(node.pids["ingest"]) - before) / rounds


def _post(node: Node, things: Sequence[str]) -> None:
    value = time.perf_counter()
    body = msgspec.json.encode({thing: [{"at": value}] for thing in things})
    assert node.post(f"/projects/{PROJECT}/readings", body)["accepted"] == len(things)
