"""The stores of the history benchmark: ours and others', behind one small interface."""

import http.client
import sqlite3
import time
import urllib.parse
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import duckdb
import msgspec
import numpy as np

from bench.peers import find, free_port, running
from bench.people import influxd
from bench.points import METRICS, PERIOD_MS, START_MS, Chunk, Points
from taihu.history.history import History
from taihu.kernel.clock import SystemClock
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import Limits
from taihu.things.batch import Batch, Column
from taihu.things.property import Kind, Property
from taihu.twin.twin import Twin

_MS = 1_000_000
_HOUR_MS = 3_600_000
_MINUTES_DEVICES = 100
_FEW = 1_000_000


class Store(Protocol):
    """What is measured. Queries return how many values, windows or points they found, to be checked."""

    pid: int | None

    def prepare(self, chunk: Chunk) -> Any:
        """A chunk as the store takes it; not timed where a server parses it."""

    def write(self, prepared: Any) -> None:
        """Take over a prepared chunk."""

    def flush(self) -> None:
        """Have all on disk."""

    def compact(self) -> None:
        """Have it as small as it becomes."""

    def bytes(self) -> int:
        """Bytes on disk."""

    def newest(self) -> int:
        """The newest value of everything."""

    def hour(self) -> int:
        """One metric of one device over an hour in the middle."""

    def minutes(self) -> int:
        """Means by the minute of one metric of 100 devices over all time."""

    def groups(self) -> int:
        """Means by device and metric over all; returns the points counted."""


def size_of(place: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def hour_of(points: Points) -> tuple[int, int]:
    """The hour that is asked for, or all when there is less; ms."""
    middle = START_MS + points.samples // 2 * PERIOD_MS
    start = max(START_MS, middle - _HOUR_MS // 2)
    return start, min(start + _HOUR_MS, points.end_ms)


class Taihu:
    """Our history. `form` is modelled, untyped (a model's message without a model) or single (a value a message)."""

    pid: int | None = None

    def __init__(self, place: Path, points: Points, form: str) -> None:
        self._points = points
        self._form = form
        kept = Property(name="", kind=Kind.GAUGE, unit="kW", resolution=0.01, max_age_s=600)
        properties = {name: msgspec.structs.replace(kept, name=name) for name in METRICS}
        self._history = History(place, OsFiles(), SystemClock(), Limits(), lambda _project, _thing: properties)
        self._twin = Twin()
        self._place = place
        self._position = 0
        self._jitter = np.random.default_rng(5)
        self._last: list[Batch] = []

    def prepare(self, chunk: Chunk) -> list[Batch]:
        if self._form != "single":
            return [self._batch(chunk, METRICS, chunk.time_ms)]
        times = [chunk.time_ms + self._jitter.integers(0, 4, len(chunk)) for _ in METRICS]
        return [self._batch(chunk, (name,), moment) for name, moment in zip(METRICS, times, strict=True)]

    def write(self, prepared: list[Batch]) -> None:
        for batch in prepared:
            self._position += 1
            self._history.apply(self._position, batch)
            if self._history.due():
                self._history.flush()
        self._last = prepared

    def flush(self) -> None:
        self._history.flush()

    def compact(self) -> None:
        self._history.compact()

    def bytes(self) -> int:
        return size_of(self._place)

    def newest(self) -> int:
        if self._last:
            for position, batch in enumerate(self._last, 1):
                self._twin.apply(position, batch)
            self._last = []
        return sum(len(self._twin.newest("bench", name)) for name in self._points.names)

    def hour(self) -> int:
        start, end = hour_of(self._points)
        return len(self._history.read_columns("bench", self._points.names[7], METRICS[0], start * _MS, end * _MS))

    def minutes(self) -> int:
        names = self._points.names[:_MINUTES_DEVICES]
        found = self._history.window_many("bench", names, METRICS[0], START_MS * _MS, self._points.end_ms * _MS, "1m")
        return sum(int(np.count_nonzero(windows.coverage)) for windows in found.values())

    def groups(self) -> int:
        return sum(group.count for name in METRICS for group in self._history.aggregate("bench", name).values())

    def _batch(self, chunk: Chunk, names: tuple[str, ...], time_ms: Any) -> Batch:
        columns = [chunk.values[:, METRICS.index(name)] for name in names]
        return Batch(
            project="bench",
            model="device" if self._form == "modelled" else "",
            properties=names,
            things=tuple(self._points.names),
            thing_of=chunk.device.astype(np.int32).tobytes(),
            received_at=int(time_ms[-1]) * _MS,
            observed=(time_ms * _MS).astype(np.int64).tobytes(),
            flags=b"",
            columns=tuple(Column("d", np.ascontiguousarray(column).tobytes()) for column in columns),
        )


class DuckTable:
    """A DuckDB table of doubles, a row a message, a commit a chunk; compacted by writing it again in order."""

    pid: int | None = None

    def __init__(self, place: Path, points: Points) -> None:
        self._points = points
        self._path = place / "points.duckdb"
        self._database = duckdb.connect(str(self._path))
        self._database.execute("SET threads = 2")
        fields = ", ".join(f"{name} DOUBLE" for name in METRICS)
        self._database.execute(f"CREATE TABLE p (device INTEGER, time_ms BIGINT, {fields})")

    def prepare(self, chunk: Chunk) -> dict[str, Any]:
        columns = {name: np.ascontiguousarray(chunk.values[:, at]) for at, name in enumerate(METRICS)}
        return {"device": chunk.device, "time_ms": chunk.time_ms} | columns

    def write(self, prepared: dict[str, Any]) -> None:
        self._database.register("fresh", prepared)
        self._database.execute("INSERT INTO p SELECT * FROM fresh")

    def flush(self) -> None:
        self._database.execute("CHECKPOINT")

    def compact(self) -> None:
        sorted_path = self._path.with_name("sorted.duckdb")
        self._database.execute(f"ATTACH '{sorted_path}' AS s")
        self._database.execute("CREATE TABLE s.p AS SELECT * FROM p ORDER BY device, time_ms")
        self._database.execute("CHECKPOINT s")
        self._database.execute("USE s")
        self._path = sorted_path

    def bytes(self) -> int:
        return self._path.stat().st_size

    def newest(self) -> int:
        fields = ", ".join(f"arg_max({name}, time_ms)" for name in METRICS)
        return len(METRICS) * len(self._ask(f"SELECT device, {fields} FROM p GROUP BY device"))

    def hour(self) -> int:
        start, end = hour_of(self._points)
        return len(
            self._ask(
                f"SELECT time_ms, {METRICS[0]} FROM p WHERE device = 7 AND time_ms >= {start} AND time_ms < {end}"
            )
        )

    def minutes(self) -> int:
        where = f"device < {_MINUTES_DEVICES}"
        return len(self._ask(f"SELECT device, time_ms // 60000, avg({METRICS[0]}) FROM p WHERE {where} GROUP BY ALL"))

    def groups(self) -> int:
        fields = ", ".join(f"avg({name})" for name in METRICS)
        rows = self._ask(f"SELECT device, count(*), {fields} FROM p GROUP BY device")
        return sum(int(row[1]) for row in rows) * len(METRICS)

    def _ask(self, statement: str) -> list[Any]:
        return self._database.execute(statement).fetchall()


class SqliteTable:
    """An SQLite table in WAL mode, PRIMARY KEY (device, time_ms), a transaction a chunk."""

    pid: int | None = None

    def __init__(self, place: Path, points: Points) -> None:
        self._points = points
        self._place = place
        self._database = sqlite3.connect(place / "points.sqlite")
        self._database.execute("PRAGMA journal_mode = wal")
        fields = ", ".join(f"{name} REAL" for name in METRICS)
        self._database.execute(
            f"CREATE TABLE p (device INTEGER, time_ms INTEGER, {fields}, PRIMARY KEY (device, time_ms)) WITHOUT ROWID"
        )

    def prepare(self, chunk: Chunk) -> list[tuple[float, ...]]:
        columns = [chunk.device.tolist(), chunk.time_ms.tolist(), *chunk.values.T.tolist()]
        return list(zip(*columns, strict=True))

    def write(self, prepared: list[tuple[float, ...]]) -> None:
        with self._database:
            self._database.executemany(f"INSERT INTO p VALUES (?, ?{', ?' * len(METRICS)})", prepared)

    def flush(self) -> None:
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def compact(self) -> None:
        self._database.execute("VACUUM")
        self.flush()

    def bytes(self) -> int:
        return size_of(self._place)

    def newest(self) -> int:
        fields = ", ".join(METRICS)
        statement = f"SELECT {fields} FROM p WHERE device = ? ORDER BY time_ms DESC LIMIT 1"
        return sum(
            len(self._database.execute(statement, (number,)).fetchone()) for number in range(self._points.devices)
        )

    def hour(self) -> int:
        statement = f"SELECT time_ms, {METRICS[0]} FROM p WHERE device = 7 AND time_ms >= ? AND time_ms < ?"
        return len(self._database.execute(statement, hour_of(self._points)).fetchall())

    def minutes(self) -> int:
        statement = f"SELECT device, time_ms / 60000, avg({METRICS[0]}) FROM p WHERE device < ? GROUP BY 1, 2"
        return len(self._database.execute(statement, (_MINUTES_DEVICES,)).fetchall())

    def groups(self) -> int:
        fields = ", ".join(f"avg({name})" for name in METRICS)
        rows = self._database.execute(f"SELECT device, count(*), {fields} FROM p GROUP BY device").fetchall()
        return sum(int(row[1]) for row in rows) * len(METRICS)


class _Server:
    """What the two servers share: HTTP, and lines of InfluxDB's protocol with milliseconds."""

    def __init__(self, points: Points, port: int, pid: int) -> None:
        self._points = points
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self.pid: int | None = pid

    def prepare(self, chunk: Chunk) -> bytes:
        form = ",".join(f"{name}=%.2f" for name in METRICS)
        rows = zip(chunk.device.tolist(), *chunk.values.T.tolist(), chunk.time_ms.tolist(), strict=True)
        return "\n".join([f"p,d=%04d {form} %d" % row for row in rows]).encode()

    def write(self, prepared: bytes) -> None:
        self._post("/write?db=bench&precision=ms", prepared)

    def _post(self, path: str, body: bytes | dict[str, Any] = b"") -> bytes:
        """The answer to a POST of bytes, or of a form."""
        if isinstance(body, dict):
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            self._connection.request("POST", path, urllib.parse.urlencode(body), form)
        else:
            self._connection.request("POST", path, body)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {said[:300]!r}")
        return said


class Victoria(_Server):
    """VictoriaMetrics."""

    def __init__(self, place: Path, points: Points, stack: ExitStack) -> None:
        port = free_port()
        command = [find("victoria-metrics"), f"-storageDataPath={place}", f"-httpListenAddr=127.0.0.1:{port}"]
        command += ["-retentionPeriod=100y", "-search.latencyOffset=0s", "-search.disableCache", "-loggerLevel=ERROR"]
        command += ["-search.maxUniqueTimeseries=1000000", "-influx.maxLineSize=1048576"]
        pid = stack.enter_context(running(command, port, place))
        super().__init__(points, port, pid)
        self._place = place

    def flush(self) -> None:
        self._post("/internal/force_flush")

    def compact(self) -> None:
        self._post("/internal/force_merge")
        for _ in range(300):
            time.sleep(0.2)
            if b"vm_active_force_merges 0" in self._post("/metrics"):
                break
        self.flush()

    def bytes(self) -> int:
        return size_of(self._place / "data") + size_of(self._place / "indexdb")

    def newest(self) -> int:
        return len(self._ask("last_over_time({__name__=~'p_.*'}[1d])"))

    def hour(self) -> int:
        start, end = hour_of(self._points)
        found = self._ask(f"p_{METRICS[0]}{{d='0007'}}[{end - start}ms]", end - 1)
        return sum(len(series["values"]) for series in found)

    def minutes(self) -> int:
        end = self._points.end_ms // 60_000 * 60
        names = "|".join(f"{number:04d}" for number in range(_MINUTES_DEVICES))
        query = f"avg_over_time(p_{METRICS[0]}{{d=~'{names}'}}[1m])"
        where = {"query": query, "start": START_MS // 1000 + 60, "end": end, "step": 60}
        answer = self._post("/api/v1/query_range", where)
        return sum(len(series["values"]) for series in msgspec.json.decode(answer)["data"]["result"])

    def groups(self) -> int:
        span = f"{self._points.end_ms - START_MS + 3_600_000}ms"
        self._ask(f"avg_over_time({{__name__=~'p_.*'}}[{span}])")
        return self._counted(span)

    def _counted(self, span: str) -> int:
        found = self._ask(f"sum(count_over_time({{__name__=~'p_.*'}}[{span}]))")
        return int(found[0]["value"][1])

    def _ask(self, query: str, at_ms: int | None = None) -> list[Any]:
        moment = (self._points.end_ms if at_ms is None else at_ms) / 1000
        answer = self._post("/api/v1/query", {"query": query, "time": f"{moment:.3f}"})
        result: list[Any] = msgspec.json.decode(answer)["data"]["result"]
        return result


class InfluxStore(_Server):
    """InfluxDB 1.x."""

    def __init__(self, place: Path, points: Points, stack: ExitStack) -> None:
        port, pid = stack.enter_context(influxd(place))
        super().__init__(points, port, pid)
        self._place = place
        self._post("/query?q=CREATE+DATABASE+bench")

    def flush(self) -> None:
        """What is acknowledged is in its write-ahead log."""

    def compact(self) -> None:
        """Wait until its files have stood still for a while: it compacts when it likes."""
        quiet_s = 5.0 if self._points.total > _FEW else 0.5
        before, since = self.bytes(), time.perf_counter()
        while time.perf_counter() - since < quiet_s:
            time.sleep(quiet_s / 5)
            if (now := self.bytes()) != before:
                before, since = now, time.perf_counter()

    def bytes(self) -> int:
        return size_of(self._place / "data") + size_of(self._place / "wal")

    def newest(self) -> int:
        return sum(len(row) - 1 for series in self._ask("SELECT last(*) FROM p GROUP BY d") for row in series["values"])

    def hour(self) -> int:
        start, end = (moment * _MS for moment in hour_of(self._points))
        found = self._ask(f"SELECT {METRICS[0]} FROM p WHERE d = '0007' AND time >= {start} AND time < {end}")
        return sum(len(series["values"]) for series in found)

    def minutes(self) -> int:
        where = f"d =~ /^00\\d\\d$/ AND time >= {START_MS * _MS} AND time < {self._points.end_ms * _MS}"
        found = self._ask(f"SELECT mean({METRICS[0]}) FROM p WHERE {where} GROUP BY d, time(1m) fill(none)")
        return sum(len(series["values"]) for series in found)

    def groups(self) -> int:
        self._ask("SELECT mean(*) FROM p GROUP BY d")
        return sum(sum(series["values"][0][1:]) for series in self._ask("SELECT count(*) FROM p GROUP BY d"))

    def _ask(self, statement: str) -> list[Any]:
        result = msgspec.json.decode(self._post("/query", {"db": "bench", "q": statement}))["results"][0]
        if "error" in result:
            raise RuntimeError(result["error"])
        series: list[Any] = result.get("series", [])
        return series
