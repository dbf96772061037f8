"""What people really run: mosquitto, a subscriber in Python, and a database.

`python -m bench.people PORT STORE TARGET` is the subscriber.
"""

import http.client
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from bench.harness import ROOT, Options, Report, Row, measure, side_by_side
from bench.load import Plan
from bench.machine import MemoryWatch
from bench.peers import Absent, find, folder, free_port, mosquitto, running

_MESSAGES_A_SECOND = 15_000  # offered for each second of the run: near what such a subscriber bears
_BATCH = 2_000
_WAIT_S = 60.0


class Sink(Protocol):
    """Where a subscriber writes."""

    def write(self, rows: list[tuple[int, float, float, float]]) -> None:
        """Store rows of (UTC ns, three numbers)."""
        ...


class Influx:
    """InfluxDB 1.x, line protocol over HTTP."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._post("/query?q=CREATE+DATABASE+bench", b"")

    def write(self, rows: list[tuple[int, float, float, float]]) -> None:
        lines = [f"telemetry,device=d a={a},b={b},c={c} {moment}" for moment, a, b, c in rows]
        self._post("/write?db=bench&precision=ns", "\n".join(lines).encode())

    def _post(self, path: str, body: bytes) -> None:
        self._connection.request("POST", path, body)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"InfluxDB answered {answer.status}")


class Sqlite:
    """SQLite in WAL mode with full sync, a row a message, a transaction a batch."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA journal_mode = wal")
        self._database.execute("PRAGMA synchronous = full")
        self._database.execute("CREATE TABLE t (device TEXT, at INTEGER, a REAL, b REAL, c REAL)")
        self._database.execute("CREATE INDEX of_device ON t (device, at)")

    def write(self, rows: list[tuple[int, float, float, float]]) -> None:
        with self._database:
            self._database.executemany("INSERT INTO t VALUES ('d', ?, ?, ?, ?)", rows)


def people(report: Report, options: Options) -> None:
    """Add the rows of such systems to a report."""
    contenders = {
        "mosquitto + paho + InfluxDB": lambda: _measure(options, "InfluxDB"),
        "mosquitto + paho + SQLite": lambda: _measure(options, "SQLite"),
    }
    side_by_side(report, contenders, 1, "messages/s")
    report.note(
        "mosquitto + paho + a database: one subscriber process in Python, batches of 2,000; offered "
        f"{_MESSAGES_A_SECOND:,} messages for each second of the run, the rate counts what is in the database. An ack "
        "means received by the broker: what the subscriber has not stored is lost with it."
    )


@contextmanager
def influxd(place: Path) -> Iterator[tuple[int, int]]:
    """InfluxDB in a folder: (port, pid)."""
    program = find("influxd")
    port, backup = free_port(), free_port()
    (place / "influx.conf").write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{backup}"\n'
        f'[meta]\n  dir = "{place}/meta"\n'
        f'[data]\n  dir = "{place}/data"\n  wal-dir = "{place}/wal"\n  query-log-enabled = false\n'
        f"  max-values-per-tag = 0\n  max-series-per-database = 0\n"
        f'[http]\n  bind-address = "127.0.0.1:{port}"\n  log-enabled = false\n  max-body-size = 0\n'
        '[monitor]\n  store-enabled = false\n[logging]\n  level = "error"\n'
    )
    with running([program, "-config", str(place / "influx.conf")], port, place) as pid:
        yield port, pid


def _measure(options: Options, store: str) -> Row:
    messages = 1_000 if options.smoke else int(options.seconds * _MESSAGES_A_SECOND)
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto())
        place = stack.enter_context(folder())
        pids = dict(broker.pids)
        target = str(place / "people.sqlite")
        if store == "InfluxDB":
            port, pids["influxd"] = stack.enter_context(influxd(place))
            target = str(port)
        subscriber = stack.enter_context(_subscriber(broker.port, store, target))
        pids["subscriber"] = subscriber.pid
        plan = Plan("127.0.0.1", broker.port, ("",), seconds=_WAIT_S, window=1000, messages_max=messages)
        began = 0.0

        def wait_stored() -> None:
            assert subscriber.stdout is not None
            while int(subscriber.stdout.readline()) < messages // 125 * 125:
                pass

        with MemoryWatch(list(pids.values())) as memory:
            began = time.perf_counter()
            measured = measure(plan, pids, wait_stored)
            taken = time.perf_counter() - began
        return {
            "server": f"mosquitto + paho + {store}",
            "connections": 1,
            "messages/s": measured.result.acked / taken,
            "points/s": 3 * measured.result.acked / taken,
            "CPU us/message": measured.us(),
            "CPU us/point": measured.us() / 3,
            "peak RSS MB": memory.peak_rss,
            "peak PSS MB": memory.peak_pss,
            "points found": 3 * measured.result.acked,
        }


@contextmanager
def _subscriber(port: int, store: str, target: str) -> Iterator[subprocess.Popen[bytes]]:
    if find_spec("paho") is None:
        raise Absent("paho-mqtt is not installed")
    command = [sys.executable, "-m", "bench.people", str(port), store, target]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def main() -> None:
    """Subscribe to all, write in batches, print the total after each."""
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.enums import CallbackAPIVersion

    sink: Sink = Influx(int(sys.argv[3])) if sys.argv[2] == "InfluxDB" else Sqlite(sys.argv[3])
    rows: list[tuple[int, float, float, float]] = []
    total = 0
    last = 0

    def on_message(_client: Any, _data: Any, message: MQTTMessage) -> None:
        nonlocal last
        last = max(last + 1, time.time_ns())
        rows.append((last, *json.loads(message.payload).values()))
        if len(rows) >= _BATCH:
            flush()

    def flush() -> None:
        nonlocal total
        if rows:
            sink.write(rows)
            total += len(rows)
            rows.clear()
            print(total, flush=True)

    client = Client(CallbackAPIVersion.VERSION2, protocol=4)
    client.on_message = on_message
    client.on_subscribe = lambda *_: print("subscribed", flush=True)
    client.connect("127.0.0.1", int(sys.argv[1]))
    client.subscribe("#", qos=1)
    idle = 0
    while os.getppid() > 1:
        before = total + len(rows)
        client.loop(0.05)
        idle = 0 if total + len(rows) > before else idle + 1
        if idle > 2:
            flush()


if __name__ == "__main__":
    main()
