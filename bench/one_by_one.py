"""One by one: 500 connections, one message in flight each: what devices that wait for their ack cost."""

from collections.abc import Callable

from bench.harness import Options, Report, Row, measure, side_by_side
from bench.ingest_flood import check_stamped
from bench.load import PROPERTIES, Plan
from bench.machine import MemoryWatch
from bench.node import Node, gauge
from bench.peers import Starter, mosquitto, nats

NAME = "one_by_one"
_CONNECTIONS = 500


def run(options: Options) -> Report:
    """Our node and brokers in turn."""
    report = Report(NAME, "One by one: 500 connections, QoS 1, one message in flight each")
    connections = 20 if options.smoke else _CONNECTIONS
    contenders: dict[str, Callable[[], Row]] = {
        "taihu": lambda: _ours(options, connections),
        "mosquitto": lambda: _peer(options, connections, mosquitto),
        "nats-server": lambda: _peer(options, connections, nats),
    }
    side_by_side(report, contenders, 1 if options.smoke else options.runs, "messages/s")
    _ratios(report)
    report.note(
        "taihu: fdatasync before each ack, decoded, in twin and history; mosquitto: nothing on disk; nats-server: no "
        "sync. The generator shares the cores and costs about what a server does: CPU says more than the rate."
    )
    report.note("Goal: CPU at most 1.7 of mosquitto's, rate at least 0.6 of it (0.8 beyond), p99 at most 15 ms.")
    return report


def _ratios(report: Report) -> None:
    by_name = {row["server"]: row for row in report.rows}
    ours, theirs = by_name.get("taihu"), by_name.get("mosquitto")
    if ours and theirs:
        rate = float(ours["messages/s"] or 0) / float(theirs["messages/s"] or 1)
        ingest = float(ours["ingest us"] or 0) / float(theirs["CPU us/message"] or 1)
        every = float(ours["CPU us/message"] or 0) / float(theirs["CPU us/message"] or 1)
        report.note(
            f"Against mosquitto: rate {rate:.2f}, CPU of ingest {ingest:.2f}, of ingest and worker {every:.2f}."
        )


def _ours(options: Options, connections: int) -> Row:
    names = PROPERTIES[False]
    things = [f"device-{number:03d}" for number in range(connections)]
    with Node(things, {name: gauge("Cel") for name in names}) as node:
        plan = Plan(
            *node.mqtt, tuple(node.tokens[thing] for thing in things), seconds=options.seconds, window=1, warm_up=True
        )
        began = node.status()
        with MemoryWatch(list(node.pids.values())) as memory:
            measured = measure(plan, node.pids, node.settle)
        groups = node.status()["groups"] - began["groups"]
        check_stamped(node, things, measured.result, plan, began["now"], sample=None if options.smoke else 10)
        return {
            "server": "taihu",
            "messages/s": measured.rate,
            "CPU us/message": measured.us(),
            "ingest us": measured.us("ingest"),
            "worker us": measured.us("worker"),
            "generator us": measured.result.cpu_s / measured.result.acked * 1e6,
            "p50 ms": measured.result.p50_ms,
            "p99 ms": measured.result.p99_ms,
            "syncs/s": groups / measured.result.seconds,
            "peak RSS MB": memory.peak_rss,
        }


def _peer(options: Options, connections: int, start: Starter) -> Row:
    with start() as peer:
        plan = Plan("127.0.0.1", peer.port, ("",) * connections, seconds=options.seconds, window=1, warm_up=True)
        with MemoryWatch(list(peer.pids.values())) as memory:
            measured = measure(plan, peer.pids)
        assert measured.result.acked == sum(measured.result.sent_by_connection)
        return {
            "server": peer.name,
            "messages/s": measured.rate,
            "CPU us/message": measured.us(),
            "generator us": measured.result.cpu_s / measured.result.acked * 1e6,
            "p50 ms": measured.result.p50_ms,
            "p99 ms": measured.result.p99_ms,
            "peak RSS MB": memory.peak_rss,
        }
