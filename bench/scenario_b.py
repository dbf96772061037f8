"""ThingsBoard's published scenario B: 5,000 devices at one message of three values a second; then ten times that."""

from bench.harness import Options, Report, Row, measure
from bench.ingest_flood import check_stamped
from bench.load import PROPERTIES, Plan
from bench.machine import MemoryWatch
from bench.node import Node, gauge
from bench.peers import Absent, mosquitto

NAME = "scenario_b"
_DEVICES = 5_000
_IN_FLIGHT = 20
_SAMPLE = 20


def run(options: Options) -> Report:
    """Both loads on our node, and the first on mosquitto for comparison."""
    report = Report(NAME, "Scenario B: 5,000 connections at 1 message/s, 3 values each; then offered ten times that")
    devices = 100 if options.smoke else _DEVICES
    things = [f"device-{number:04d}" for number in range(devices)]
    for rate in (1.0, 10.0):
        with Node(things, {name: gauge("Cel") for name in PROPERTIES[False]}) as node:
            report.rows.append(_ours(options, node, things, rate))
    try:
        for rate in (1.0, 10.0):
            report.rows.append(_mosquitto(options, devices, rate))
    except Absent as absent:
        report.note(f"mosquitto is left out: {absent}.")
    report.note(
        "taihu: every acked reading of three values was synced before its ack and is in the history (all counted, and "
        f"those of {_SAMPLE} devices read back); mosquitto stores nothing. Latency is from sending to the ack. Offered "
        f"more than it takes, a device keeps at most {_IN_FLIGHT} messages in flight and waits. Each device has sent "
        "one message before the run."
    )
    report.note(
        "ThingsBoard's own figure for scenario B: 2 vCPU at 95 %. Goal: at most 30 % of a core and p99 at most "
        "50 ms; offered ten times that, at least 25,000/s and nothing acked lost."
    )
    return report


def _ours(options: Options, node: Node, things: list[str], rate: float) -> Row:
    plan = Plan(
        *node.mqtt,
        tuple(node.tokens[thing] for thing in things),
        seconds=options.seconds,
        window=_IN_FLIGHT,
        rate=rate,
        warm_up=True,
    )
    before = node.status()
    with MemoryWatch(list(node.pids.values()), period_s=1.0) as memory:
        measured = measure(plan, node.pids, node.settle)
    after = node.status()
    assert after["stored"] == 3 * (measured.result.acked + len(things)), "acked and stored differ"
    check_stamped(node, things, measured.result, plan, before["now"], sample=_SAMPLE)
    seconds = measured.result.seconds + measured.result.drained_s
    return {
        "server": "taihu",
        "offered/s": rate * len(things),
        "acked/s": measured.rate,
        "share of a core %": sum(measured.cpu_s.values()) / seconds * 100,
        "ingest %": measured.cpu_s["ingest"] / seconds * 100,
        "worker %": measured.cpu_s["worker"] / seconds * 100,
        "CPU us/message": measured.us(),
        "p50 ms": measured.result.p50_ms,
        "p99 ms": measured.result.p99_ms,
        "syncs/s": (after["groups"] - before["groups"]) / seconds,
        "generator %": measured.result.cpu_s / seconds * 100,
        "peak RSS MB": memory.peak_rss,
    }


def _mosquitto(options: Options, devices: int, rate: float) -> Row:
    with mosquitto() as peer:
        plan = Plan(
            "127.0.0.1", peer.port, ("",) * devices, seconds=options.seconds, window=_IN_FLIGHT, rate=rate, warm_up=True
        )
        measured = measure(plan, peer.pids)
        seconds = measured.result.seconds + measured.result.drained_s
        return {
            "server": peer.name,
            "offered/s": rate * devices,
            "acked/s": measured.rate,
            "share of a core %": sum(measured.cpu_s.values()) / seconds * 100,
            "CPU us/message": measured.us(),
            "p50 ms": measured.result.p50_ms,
            "p99 ms": measured.result.p99_ms,
            "generator %": measured.result.cpu_s / seconds * 100,
        }
