"""SQL: 10 M points through `taihu query` beside DuckDB on the same files, and ingestion beside a heavy query."""

import http.client
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np

from bench.harness import Options, Report, Row, measure
from bench.load import PROPERTIES, Plan
from bench.node import PROJECT, Node, gauge
from bench.points import METRICS, Points
from taihu.kernel.config import load_site

NAME = "sql"
_REPEAT = 7
_QUESTIONS = {
    "group-by": "SELECT thing, avg({power}) FROM {rows} GROUP BY thing",
    "hourly means": "SELECT {hour} AS h, avg({power}) FROM {rows} GROUP BY h",
    "one thing": "SELECT count(*), avg({power}) FROM {rows} WHERE thing = {seven}",
}
_HEAVY = "SELECT thing, median(power), mode(temperature), entropy(voltage) FROM device GROUP BY thing"
_PLAIN = "import duckdb, sys; duckdb.connect(config={'threads': 2}).execute(sys.argv[1]).fetchall()"


def run(options: Options) -> Report:
    """Our node only; the floor is DuckDB on its files."""
    report = Report(NAME, "SQL: 10 M points, 1,000 devices x 4 metrics, in files; the same answer from DuckDB alone")
    points = Points(50, 100) if options.smoke else Points(1_000, 2_500)
    with Node(["device"], {name: gauge("kW") for name in METRICS}, things=points.names) as node:
        _fill(node, points)
        node.stop()  # all of it is in files now, which both read
        node.start()
        for name, question in _QUESTIONS.items():
            report.rows.append(_asked(name, question, node, 1 if options.smoke else _REPEAT))
        for name, heavy in (("alone", False), ("beside a heavy query", True), ("alone again", False)):
            report.rows.append(_flooded(name, options, points, heavy))
    report.note(
        f"ms: medians of {_REPEAT}; all answer alike. `taihu query` and the new process start Python; POST /sql "
        "is what a program waits for; the warm connection has DuckDB loaded and the files' footers cached."
    )
    report.note(
        "Ingestion: MQTT QoS 1 from one connection, pipelined, three numbers a message, while one question after the "
        "other runs in a process behind everything else (nice 10)."
    )
    report.note("Goal: POST /sql within 150 ms of the warm connection; ingestion CPU per message as without.")
    return report


def _fill(node: Node, points: Points) -> None:
    """All points over HTTP, some rounds of every device at a time, as a gateway sends them."""
    host, port = node.addresses["http"]
    connection = http.client.HTTPConnection(host, port, timeout=120)
    headers = {"Authorization": f"Bearer {node.operator}", "Content-Type": "application/json"}
    names = points.names
    for chunk in points.chunks():
        for part in np.array_split(np.arange(len(chunk)), max(1, len(chunk) // 5_000)):
            body: dict[str, list[Any]] = {}
            columns = (chunk.device[part].tolist(), chunk.time_ms[part].tolist(), chunk.values[part].tolist())
            for device, moment, values in zip(*columns, strict=True):
                row = {"ts": moment, "values": dict(zip(METRICS, values, strict=True))}
                body.setdefault(names[device], []).append(row)
            connection.request("POST", f"/api/v1/projects/{PROJECT}/readings", msgspec.json.encode(body), headers)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, said
    connection.close()
    node.settle(600)


def _asked(name: str, question: str, node: Node, repeat: int) -> Row:
    """One question by every way; all answers are the same."""
    hour = "date_trunc('hour', {time})"
    ours = question.format(power="power", rows="device", hour=hour.format(time="observed_at"), seven="'device-0007'")
    files = load_site(node.folder).data / "history" / PROJECT
    theirs = question.format(
        power=_power(files),
        rows=f"(SELECT * FROM read_parquet('{files}/*/*.parquet', union_by_name = true))",
        hour=hour.format(time="make_timestamp_ns(observed_at)"),
        seven="7",
    )
    body = msgspec.json.encode({"sql": ours})
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET parquet_metadata_cache = true")
    means = [row[1] for row in node.post(f"/projects/{PROJECT}/sql", body)["rows"]]
    assert np.allclose(sorted(means), sorted(row[1] for row in connection.execute(theirs).fetchall()))
    command = [sys.executable, "-m", "taihu.cli.main", "query", PROJECT, ours, "--json", "--site", str(node.folder)]
    return {
        "what": name,
        "rows": float(len(means)),
        "taihu query ms": _median(lambda: _run(command), repeat),
        "POST /sql ms": _median(lambda: node.post(f"/projects/{PROJECT}/sql", body), repeat),
        "DuckDB, new process ms": _median(lambda: _run([sys.executable, "-c", _PLAIN, theirs]), repeat),
        "DuckDB, warm connection ms": _median(lambda: connection.execute(theirs).fetchall(), repeat),
    }


def _power(files: Path) -> str:
    """The metric's columns in the files as one number."""
    names = duckdb.execute(
        f"DESCRIBE SELECT * FROM read_parquet('{files}/*/*.parquet', union_by_name = true)"
    ).fetchall()
    forms = [name for name, *_ in names if name.partition("__")[0] == "power"]
    return f"coalesce({', '.join(f'CAST({form} AS DOUBLE)' for form in forms)})"


def _run(command: list[str]) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _median(ask: Callable[[], object], repeat: int) -> float:
    taken = []
    for _ in range(repeat + 1):
        began = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:]) * 1000


def _flooded(name: str, options: Options, points: Points, heavy: bool) -> Row:
    """The flood on a node that holds the points, with questions beside it or without."""
    with Node(["device-x"], {each: gauge("kW") for each in (*METRICS, *PROPERTIES[True])}, things=points.names) as node:
        _fill(node, Points(points.devices, points.samples // 5))
        plan = Plan(*node.mqtt, (node.tokens["device-x"],), seconds=options.seconds, timestamps=True)
        with _asking(node) if heavy else _nobody() as asked:
            measured = measure(plan, node.pids, node.settle)
        return {
            "what": f"flood {name}",
            "messages/s": measured.rate,
            "ingest us": measured.us("ingest"),
            "worker us": measured.us("worker"),
            "ack p99 ms": measured.result.p99_ms,
            "questions answered": float(len(asked)) if heavy else None,
        }


@contextmanager
def _asking(node: Node) -> Iterator[list[int]]:
    """One heavy question after the other."""
    answered: list[int] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answered.append(len(node.post(f"/projects/{PROJECT}/sql", msgspec.json.encode({"sql": _HEAVY}))["rows"]))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield answered
    finally:
        done.set()
        asking.join()


@contextmanager
def _nobody() -> Iterator[list[int]]:
    yield []
