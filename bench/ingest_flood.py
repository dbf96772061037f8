"""Ingest flood: QoS 1, 60-byte JSON of three numbers, pipelined; every point is found in the history afterwards."""

import random
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial

from bench.harness import Options, Report, Row, measure, side_by_side
from bench.load import PROPERTIES, TIME_BASE_MS, TIME_STEP_MS, TOPIC, Blocks, Plan, Result, values
from bench.machine import MemoryWatch
from bench.node import PROJECT, Node, gauge
from bench.peers import Starter, amqtt, mosquitto, nats
from bench.people import people
from taihu.things.deletion import TIME_MAX

NAME = "ingest_flood"
_WINDOW = 1000
_MS = 1_000_000
_SAMPLES = 5
_SAMPLE_ROWS = 200
_CHECK_POINTS = 400_000
_AMQTT_MESSAGES = 2_000
_QUERY_PAUSE_S = 0.2
_MAX_AGE_S = 0.01  # a window also reads what holds into it: at 400,000 messages a second that is little for 10 ms


def run(options: Options) -> Report:
    """Our node in both forms, then the peers, in turn, with 1 and with 50 connections."""
    report = Report(NAME, "Ingest flood: MQTT QoS 1, 60-byte JSON with 3 numbers, pipelined, into the history")
    for connections in (1, 4) if options.smoke else (1, 50):
        contenders: dict[str, Callable[[], Row]] = {
            "taihu, device time": partial(ours, options, connections, timestamps=True),
            "taihu, stamped": partial(ours, options, connections, timestamps=False),
            "mosquitto": partial(_peer, options, connections, mosquitto, _WINDOW),
            "nats-server": partial(_peer, options, connections, nats, _WINDOW),
            "amqtt": partial(_peer, options, connections, amqtt, 50, _AMQTT_MESSAGES),
        }
        side_by_side(report, contenders, 1 if options.smoke else options.runs, "messages/s")
    people(report, options)
    report.note(
        "taihu: an ack means decoded, checked and fdatasync'ed; every acked point was read back through the history "
        "API, which a query thread asked meanwhile; CPU includes the history catching up."
    )
    report.note(
        "mosquitto (tcp_nodelay, persistence off) stores and decodes nothing; nats-server writes without a sync; "
        "amqtt stores nothing. None of them has a history."
    )
    report.note(
        "Goal: 450,000 points/s for 60 s with all found and at most 700 MB, at least mosquitto's rate in the same run."
    )
    return report


class Queries:
    """A thread that asks while the flood runs: an hour by minutes or the last 1,000, and newest values."""

    def __init__(self, node: Node, things: list[str], timestamps: bool) -> None:
        self.taken_s: list[float] = []
        self.failures: list[str] = []
        self._node = node
        self._things = things
        self._timestamps = timestamps
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Queries":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def median_ms(self) -> float | None:
        """The median answer's time."""
        return statistics.median(self.taken_s) * 1000 if self.taken_s else None

    def _run(self) -> None:
        names = PROPERTIES[self._timestamps]
        turn = 0
        while not self._stop.wait(_QUERY_PAUSE_S):
            thing = self._things[turn % len(self._things)]
            began = time.perf_counter()
            try:
                if self._timestamps:
                    start, end = TIME_BASE_MS * _MS, (TIME_BASE_MS + 3_600_000) * _MS
                    self._node.history(thing, names[turn % 3], start, end, every="1m")
                else:
                    self._node.history(thing, names[turn % 3], 0, TIME_MAX, limit=1000, order="desc")
                self._node.get(f"/projects/{PROJECT}/values", thing=thing)
            except (RuntimeError, OSError) as error:
                self.failures.append(str(error))
            self.taken_s.append(time.perf_counter() - began)
            turn += 1


def ours(options: Options, connections: int, *, timestamps: bool) -> Row:
    """A row of our node."""
    names = PROPERTIES[timestamps]
    things = [f"device-{number:03d}" for number in range(connections)]
    with Node(things, {name: gauge("Cel", max_age_s=_MAX_AGE_S) for name in names}) as node:
        plan = _plan(options, *node.mqtt, tuple(node.tokens[thing] for thing in things), _WINDOW, timestamps=timestamps)
        began = node.status()["now"]
        with MemoryWatch(list(node.pids.values())) as memory, Queries(node, things, timestamps) as queries:
            measured = measure(plan, node.pids, node.settle)
        assert not queries.failures, queries.failures[:3]
        if timestamps:
            found = _check_timed(node, things, measured.result, plan)
        else:
            found = check_stamped(node, things, measured.result, plan, began)
        return {
            "server": f"taihu, {'device time' if timestamps else 'stamped'}",
            "connections": connections,
            "messages/s": measured.rate,
            "points/s": 3 * measured.rate,
            "CPU us/message": measured.us(),
            "ingest us": measured.us("ingest"),
            "worker us": measured.us("worker"),
            "CPU us/point": measured.us() / 3,
            "ack p50 ms": measured.result.p50_ms,
            "ack p99 ms": measured.result.p99_ms,
            "query ms": queries.median_ms,
            "peak RSS MB": memory.peak_rss,
            "peak PSS MB": memory.peak_pss,
            "points found": found,
        }


def _peer(options: Options, connections: int, start: Starter, window: int, messages_max: int = 0) -> Row:
    with start() as peer:
        plan = _plan(options, "127.0.0.1", peer.port, ("",) * connections, window, messages_max=messages_max)
        with MemoryWatch(list(peer.pids.values())) as memory:
            measured = measure(plan, peer.pids)
        assert measured.result.acked == sum(measured.result.sent_by_connection)
        return {
            "server": peer.name,
            "connections": connections,
            "messages/s": measured.rate,
            "points/s": None,
            "CPU us/message": measured.us(),
            "ack p50 ms": measured.result.p50_ms,
            "ack p99 ms": measured.result.p99_ms,
            "peak RSS MB": memory.peak_rss,
            "peak PSS MB": memory.peak_pss,
        }


def _plan(
    options: Options,
    host: str,
    port: int,
    users: tuple[str, ...],
    window: int,
    *,
    timestamps: bool = False,
    messages_max: int = 0,
) -> Plan:
    messages = messages_max or 1 << 40
    if options.smoke:
        messages = min(messages, 2_000 * len(users))
    return Plan(
        host=host,
        port=port,
        users=users,
        seconds=options.seconds,
        window=window,
        timestamps=timestamps,
        messages_max=messages,
    )


def check_stamped(
    node: Node, things: list[str], result: Result, plan: Plan, began: int, sample: int | None = None
) -> int:
    """Count the points of every thing, or of some, by the time they came; returns how many, or fails."""
    assert result.acked == sum(result.sent_by_connection), "the server did not acknowledge all"
    ended = node.status()["now"] + 1
    pairs = list(zip(things, result.sent_by_connection, strict=True))
    total = 0
    for thing, sent in pairs if sample is None else random.sample(pairs, min(sample, len(pairs))):
        slice_s = min(3599, max(1, int(_CHECK_POINTS * (ended - began) / 1e9 / max(1, sent))))
        for name in PROPERTIES[False]:
            found = node.count(thing, name, began, ended, slice_s)
            expected = sent + plan.warm_up
            assert found == expected, f"{thing}/{name}: {expected} acked, {found} found"
            total += found
    return total


def _check_timed(node: Node, things: list[str], result: Result, plan: Plan) -> int:
    """Count the points of every thing by device time and compare some values; returns how many, or fails."""
    assert result.acked == sum(result.sent_by_connection), "the server did not acknowledge all"
    total = 0
    for thing, sent in zip(things, result.sent_by_connection, strict=True):
        for name in PROPERTIES[True]:
            found = node.count(thing, name, TIME_BASE_MS * _MS, (TIME_BASE_MS + sent * TIME_STEP_MS) * _MS, 3600)
            assert found == sent, f"{thing}/{name}: {sent} acked, {found} found"
            total += found
        _check_values(node, thing, sent, plan)
    return total


def _check_values(node: Node, thing: str, sent: int, plan: Plan) -> None:
    """Compare some stretches, or all when they are few, value by value with what was sent."""
    blocks = Blocks(TOPIC, plan.window, timestamps=True)
    rows = values(blocks.count * blocks.size)
    starts = [random.randrange(max(1, sent - _SAMPLE_ROWS)) for _ in range(_SAMPLES)] if sent > 10_000 else [0]
    length = _SAMPLE_ROWS if sent > 10_000 else sent
    for first in starts:
        for column, name in enumerate(PROPERTIES[True]):
            begin = TIME_BASE_MS + first * TIME_STEP_MS
            end = begin + length * TIME_STEP_MS
            readings = node.history(thing, name, begin * _MS, end * _MS, limit=length + 1)["readings"]
            expected = [
                ((begin + row * TIME_STEP_MS) * _MS, rows[(first + row) % len(rows)][column]) for row in range(length)
            ]
            got = [(reading["observed_at"], reading["value"]) for reading in readings]
            assert got == expected, f"{thing}/{name}: values differ from what was sent near {begin}"
