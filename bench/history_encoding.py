"""How many bytes a point takes in each encoding that docs/adr/0002-history.md weighs.

10 M points: 1,000 devices x 4 metrics, 10 s apart with +-3 ms jitter, random walks of 2 decimals. `cyclic` arrives
device after device in batches of 1,000 rows; `fleet` has random phases, 5 to 25 ms of latency and 50 ms commit groups.
Run: python bench/history_encoding.py
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from taihu.history.parquet import Field, ParquetWriter
from taihu.history.repack import ROW_GROUP
from taihu.kernel.files import OsFiles

DEVICES, SAMPLES, METRICS = 1_000, 2_500, 4
POINTS = DEVICES * SAMPLES * METRICS
NS, MS = 1_000_000_000, 1_000_000
T0 = 1_700_000_000 * NS
OPTIONS = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT 1, ROW_GROUP_SIZE 122880"


def rows(fleet: bool) -> dict[str, Any]:
    """All rows, sorted by thing and time."""
    random = np.random.default_rng(1)
    jitter = random.integers(-3, 4, (SAMPLES, DEVICES)) * MS
    phase = random.integers(0, 10_000, DEVICES) * MS if fleet else np.zeros(DEVICES, np.int64)
    observed = (T0 + np.arange(SAMPLES)[:, None] * 10 * NS + jitter + phase).ravel()
    thing = np.tile(np.arange(DEVICES, dtype=np.int32), SAMPLES)
    walk = random.normal(0, 0.05, (METRICS, SAMPLES, DEVICES))
    walk[random.random(walk.shape) < 0.3] = 0
    values = np.round(20 + np.cumsum(walk, axis=1), 2).reshape(METRICS, -1)
    if fleet:
        arrived = observed + random.integers(5 * MS, 25 * MS, len(observed))
        order = np.argsort(arrived)
        group = arrived[order] // (50 * MS)
        _, first, record = np.unique(group, return_index=True, return_inverse=True)
        row = np.arange(len(order)) - first[record]
        received = (group + 1) * 50 * MS + random.integers(0, MS, len(first))[record]
    else:
        order = np.arange(len(observed))
        record, row = order // 1_000, order % 1_000
        received = (T0 + np.cumsum(random.integers(300_000, 3_000_000, SAMPLES)))[record]
    thing, observed, values = thing[order], observed[order], values[:, order]
    place = np.lexsort((observed, thing))
    columns = {
        "thing": thing,
        "observed": observed,
        "received": received,
        "record": record,
        "row": row.astype(np.int32),
    }
    columns |= {f"v{metric}": values[metric] for metric in range(METRICS)}
    return {name: column[place] for name, column in columns.items()}


def measure(path: Path, columns: dict[str, Any], select: str, level: int = 6) -> tuple[float, float]:
    """Bytes a point and seconds of a file."""
    with duckdb.connect(":memory:", config={"threads": 2}) as db:
        db.register("rows", columns)
        begun = time.perf_counter()
        db.execute(f"COPY (SELECT {select} FROM rows) TO '{path}' ({OPTIONS}, COMPRESSION_LEVEL {level})")
        return path.stat().st_size / POINTS, time.perf_counter() - begun


def packed(path: Path, columns: dict[str, Any], fields: Sequence[Field]) -> tuple[float, float]:
    """The same of a file by our own writer; decimals as integers."""
    path.unlink(missing_ok=True)
    file = OsFiles().append(path)
    begun = time.perf_counter()
    writer = ParquetWriter(file, fields)
    for first in range(0, SAMPLES * DEVICES, ROW_GROUP):
        writer.add([columns[field.name][first : first + ROW_GROUP] for field in fields])
    writer.close()
    file.close()
    return path.stat().st_size / POINTS, time.perf_counter() - begun


def measure_packed(path: Path, columns: dict[str, Any], name: str) -> None:
    """What our own writer makes of the columns."""
    whole = {f"v{metric}": np.rint(columns[f"v{metric}"] * 100).astype(np.int64) for metric in range(METRICS)}
    milliseconds = columns["received"] // MS * MS
    columns = columns | whole | {"received": milliseconds, "flags": np.zeros(len(milliseconds), np.int8)}
    values = [Field(value, "decimal", 2) for value in whole]
    observed, received = Field("observed", "int64"), Field("received", "int64")
    place = [Field("record", "int64"), Field("row", "int32")]
    system = [Field("thing", "int32"), observed, received, *place, Field("flags", "int8")]
    sets = {"values": values, "observed, ns": [observed], "received, ms": [received], "record and row": place}
    for what, fields in (sets | {"chosen": system + values}).items():
        size, seconds = packed(path, columns, fields)
        print(f"{name:7} whole bytes: {what:13} {size:6.3f} B/point {seconds:6.2f} s")
    size, _ = packed(path, columns, system + values[:1])
    print(f"{name:7} whole bytes: one value a row {size * METRICS:6.3f} B/point")


def main() -> None:
    decimals = ", ".join(f"CAST(v{m} AS DECIMAL(18, 2)) AS v{m}" for m in range(METRICS))
    received = "received // 1000000 * 1000000 AS received"
    system = f"thing, observed, {received}, record, row, 0::TINYINT AS flags"
    variants = {
        "values as DOUBLE": ", ".join(f"v{m}" for m in range(METRICS)),
        "values as DECIMAL(18, 2)": decimals,
        "observed, ns": "observed",
        "observed, ms and rest": "observed // 1000000 AS ms, CAST(observed % 1000000 AS INTEGER) AS rest",
        "received, ns": "received",
        "received, whole ms": received,
        "received - observed, ms": "(received - observed) // 1000000 AS delay",
        "seq, one number": "record << 20 | row AS seq",
        "record and row": "record, row",
        "chosen": f"{system}, {decimals}",
    }
    single = f"{system}, CAST(v0 AS DECIMAL(18, 2)) AS v0"
    with tempfile.TemporaryDirectory() as folder:
        for name, fleet in (("cyclic", False), ("fleet", True)):
            columns = rows(fleet)
            for variant, select in variants.items():
                size, seconds = measure(Path(folder) / "x.parquet", columns, select)
                print(f"{name:7} {variant:26} {size:6.3f} B/point {seconds:6.2f} s")
            for level in (1, 3, 9):
                size, seconds = measure(Path(folder) / "x.parquet", columns, variants["chosen"], level)
                print(f"{name:7} chosen at zstd level {level:<5} {size:6.3f} B/point {seconds:6.2f} s")
            size, _ = measure(Path(folder) / "x.parquet", columns, single)
            print(f"{name:7} one value a row            {size * METRICS:6.3f} B/point")
            measure_packed(Path(folder) / "x.parquet", columns, name)


if __name__ == "__main__":
    main()
