"""History: 10 M points of 1,000 devices x 4 metrics into our store and others': rate, bytes, latencies, memory.

Each store runs in a process of its own: `python -m bench.history STORE DEVICES SAMPLES` prints its row.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import msgspec

from bench.harness import ROOT, Options, Report, Row, side_by_side
from bench.machine import cpu_seconds, peak_rss_mb
from bench.peers import Absent, folder
from bench.points import METRICS, PERIOD_MS, START_MS, Points
from bench.stores import DuckTable, InfluxStore, SqliteTable, Store, Taihu, Victoria, hour_of

NAME = "history"
_STORES: dict[str, str] = {
    "taihu, modelled": "",
    "taihu, untyped": "",
    "taihu, untyped, 1 value a message": "",
    "VictoriaMetrics": "times in ms; what it acks is in memory for up to 5 s",
    "InfluxDB 1.6": "acks after its log, without a sync by default",
    "DuckDB table": "doubles; one writer, no other process reads it meanwhile; compacted = written again in order",
    "SQLite table": "a fifth of the points; rows, not columns",
}
_SHARE = {"SQLite table": 5}
_REPEAT = 5


def run(options: Options) -> Report:
    """Every store once, one after the other."""
    report = Report(NAME, "History: 10 M points, 1,000 devices x 4 metrics, 10 s apart, 2 decimals, jitter of 3 ms")
    devices, samples = (100, 100) if options.smoke else (1000, 2500)
    contenders: dict[str, Callable[[], Row]] = {
        name: partial(_in_process, name, devices, samples // _SHARE.get(name, 1)) for name in _STORES
    }
    side_by_side(report, contenders, 1, "points/s")
    for name, less in _STORES.items():
        if less:
            report.note(f"{name}: {less}.")
    report.note(
        "CPU is that of the store's process; embedded stores include making the batches, servers do not. Latencies: "
        f"medians of {_REPEAT}, warm, each answer's count checked. Newest: ours from the twin, others by a scan."
    )
    report.note("Goal: at most 1.2 bytes a point as modelled things and 1.8 untyped, compacted, times included.")
    return report


def _in_process(name: str, devices: int, samples: int) -> Row:
    command = [sys.executable, "-m", "bench.history", name, str(devices), str(samples)]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, check=True)
    answer = msgspec.json.decode(done.stdout)
    if "absent" in answer:
        raise Absent(answer["absent"])
    row: Row = answer
    return row


def measure(name: str, points: Points, stack: ExitStack) -> Row:
    """Load, flush, ask, compact, ask again."""
    store = _open(name, points, stack)
    taken = 0.0
    cpu = _cpu(store)
    for chunk in points.chunks():
        prepared = store.prepare(chunk)
        began = time.perf_counter()
        store.write(prepared)
        taken += time.perf_counter() - began
    began = time.perf_counter()
    store.flush()
    taken += time.perf_counter() - began
    cpu = _cpu(store) - cpu
    loaded = store.bytes()
    began = time.perf_counter()
    store.compact()
    compacting = time.perf_counter() - began
    row: Row = {
        "store": name,
        "points": points.total,
        "points/s": points.total / taken,
        "CPU us/point": cpu / points.total * 1e6,
        "B/point loaded": loaded / points.total,
        "B/point compacted": store.bytes() / points.total,
        "compaction s": compacting,
    }
    row |= _ask(store, points)
    row["peak RSS MB"] = _peak_rss_mb(store)
    return row


def _ask(store: Store, points: Points) -> Row:
    """The median latency of each question, and whether what it found is all there is."""
    start, end = hour_of(points)
    minutes = (points.end_ms - 1) // 60_000 - START_MS // 60_000 + 1
    series = min(points.devices, 100)
    questions: dict[str, tuple[Callable[[], int], range]] = {
        "newest ms": (store.newest, _exactly(points.devices * len(METRICS))),
        "1 h ms": (store.hour, _about((end - start) // PERIOD_MS, 1)),
        "1-min means ms": (store.minutes, _about(series * minutes, 2 * series)),
        "group-by ms": (store.groups, _exactly(points.total)),
    }
    row: Row = {}
    for name, (question, expected) in questions.items():
        times = []
        for _ in range(_REPEAT + 1):
            began = time.perf_counter()
            found = question()
            times.append(time.perf_counter() - began)
            assert found in expected, f"{name}: {found} found, {expected} expected"
        row[name] = statistics.median(times[1:]) * 1000
    return row


def _exactly(count: int) -> range:
    return range(count, count + 1)


def _about(count: int, margin: int) -> range:
    """Jitter moves a reading over the edge, and engines differ in which end of a window is in it."""
    return range(count - margin, count + margin + 1)


def _open(name: str, points: Points, stack: ExitStack) -> Store:
    place = stack.enter_context(folder())
    match name:
        case "taihu, modelled":
            return Taihu(place, points, "modelled")
        case "taihu, untyped":
            return Taihu(place, points, "untyped")
        case "taihu, untyped, 1 value a message":
            return Taihu(place, points, "single")
        case "VictoriaMetrics":
            return Victoria(place, points, stack)
        case "InfluxDB 1.6":
            return InfluxStore(place, points, stack)
        case "DuckDB table":
            return DuckTable(place, points)
        case _:
            return SqliteTable(place, points)


def _cpu(store: Store) -> float:
    return time.process_time() if store.pid is None else cpu_seconds(store.pid)


def _peak_rss_mb(store: Store) -> float:
    if store.pid is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return peak_rss_mb(store.pid)


def main() -> None:
    """One store's row, as JSON."""
    with ExitStack() as stack:
        try:
            answer: object = measure(sys.argv[1], Points(int(sys.argv[2]), int(sys.argv[3])), stack)
        except Absent as absent:
            answer = {"absent": str(absent)}
        print(msgspec.json.encode(answer).decode())


if __name__ == "__main__":
    main()
