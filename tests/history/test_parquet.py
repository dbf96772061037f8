"""The Parquet writer of merged files: DuckDB and DataFusion read back what was written, whatever it was."""

import zlib
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.history.parquet import Field, ParquetWriter, pack_deltas
from taihu.history.thrift import varint, zigzag
from taihu.kernel.files import OsFiles

INT64 = st.integers(-(2**63), 2**63 - 1)
STEP = st.sampled_from([0, 1, -1, 5, 130, -200, 70_000, -(2**33), 10_000_000_000])


def write(path: Path, fields: list[Field], groups: list[list[Any]]) -> None:
    path.unlink(missing_ok=True)
    file = OsFiles().append(path)
    writer = ParquetWriter(file, fields)
    for columns in groups:
        writer.add(columns)
    writer.close()
    file.close()
    assert writer.crc32 == zlib.crc32(path.read_bytes())


def read(path: Path, fields: list[Field]) -> list[list[Any]]:
    with duckdb.connect(":memory:") as db:
        rows = db.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
    return [[row[index] for row in rows] for index in range(len(fields))]


def masked(values: list[Any], dtype: Any) -> Any:
    filler = "" if dtype is np.object_ else 0
    data = np.array([filler if value is None else value for value in values], dtype)
    return np.ma.array(data, mask=[value is None for value in values])


ROWS = st.lists(
    st.tuples(
        st.none() | INT64,
        st.none() | st.floats(allow_nan=False),
        st.none() | st.booleans(),
        st.none() | st.text(max_size=5),
    ),
    min_size=1,
    max_size=80,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_any_values_come_back(tmp_path_factory: pytest.TempPathFactory, groups: list[Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.parquet"
    fields = [Field("i", "int64"), Field("d", "double"), Field("b", "bool"), Field("t", "text")]
    kinds = (np.int64, np.float64, np.bool_, np.object_)
    columns = [[list(column) for column in zip(*rows, strict=True)] for rows in groups]
    write(path, fields, [[masked(c, kind) for c, kind in zip(own, kinds, strict=True)] for own in columns])
    assert read(path, fields) == [[value for own in columns for value in own[index]] for index in range(4)]


@settings(max_examples=60, deadline=None)
@given(INT64, st.lists(st.tuples(STEP, st.integers(1, 900)), max_size=8), st.lists(INT64, max_size=5))
def test_runs_and_jumps_of_integers_come_back(
    tmp_path_factory: pytest.TempPathFactory, first: int, runs: list[tuple[int, int]], last: list[int]
) -> None:
    """Differences that are constant, drift, step back or wrap; blocks that are full, ragged or alone."""
    steps = np.array([first, *(step for step, count in runs for _ in range(count))], np.int64)
    values = np.concatenate([np.cumsum(steps), np.array(last, np.int64)])
    path = tmp_path_factory.getbasetemp() / "runs.parquet"
    write(path, [Field("i", "int64")], [[values]])
    assert read(path, [Field("i", "int64")]) == [values.tolist()]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=300), st.integers(0, 2000))
def test_packed_differences_unpack(values: list[int], more: int) -> None:
    """By a decoder that follows Parquet's Encodings.md alone."""
    column = np.array([*values, *range(more)], np.int64)
    assert unpack(pack_deltas(column)) == column.tolist()


def unpack(data: bytes) -> list[int]:
    place = 0

    def unsigned() -> int:
        nonlocal place
        number = shift = 0
        while True:
            byte = data[place]
            place += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    def signed() -> int:
        number = unsigned()
        return number >> 1 ^ -(number & 1)

    block, miniblocks, count, found = unsigned(), unsigned(), unsigned(), [signed()]
    size = block // miniblocks
    while len(found) < count:
        low = signed()
        widths = data[place : place + miniblocks]
        place += miniblocks
        for width in widths:
            if len(found) >= count:
                break
            bits = int.from_bytes(data[place : place + size * width // 8], "little")
            place += size * width // 8
            for index in range(size):
                above = bits >> index * width & (1 << width) - 1
                found.append((found[-1] + low + above + 2**63) % 2**64 - 2**63)
    assert place == len(data)
    return found[:count]


def test_small_integers_and_decimals_have_their_types(tmp_path: Path) -> None:
    fields = [Field("thing", "int32"), Field("flags", "int8"), Field("power__d2", "decimal", 2)]
    thing = np.array([0, 7, 2**31 - 1, 0, 3], np.int32)
    power = masked([None, 125, -1, 9_007_199_254_740_991, None], np.int64)
    write(tmp_path / "f", fields, [[thing, np.array([0, 1, -1, 3, 127], np.int8), power]])
    with duckdb.connect(":memory:") as db:
        source = "read_parquet(?)"
        told = db.execute(f"DESCRIBE SELECT * FROM {source}", [str(tmp_path / "f")]).fetchall()
        assert [row[1] for row in told] == ["INTEGER", "TINYINT", "DECIMAL(18,2)"]
        rows = db.execute(f"SELECT *, CAST(power__d2 * 100 AS BIGINT) FROM {source}", [str(tmp_path / "f")]).fetchall()
    assert [row[0] for row in rows] == thing.tolist()
    assert [row[3] for row in rows] == [None, 125, -1, 9_007_199_254_740_991, None]


def test_a_drift_takes_its_entropy(tmp_path: Path) -> None:
    """Steps of 4 bits of entropy in 0.6 bytes a value, with a jump every 2,500 values."""
    random = np.random.default_rng(3)
    steps = np.rint(random.normal(0, 5.5, (24, 2500))) * (random.random((24, 2500)) > 0.3)
    values = (random.integers(2_000, 30_000, (24, 1)) + np.cumsum(steps, axis=1)).ravel().astype(np.int64)
    write(tmp_path / "f", [Field("power__d2", "decimal", 2)], [[values]])
    assert (tmp_path / "f").stat().st_size < 0.6 * len(values)


@pytest.mark.parametrize("number", [0, 1, -1, 127, -128, 2**63 - 1, -(2**63)])
def test_signed_numbers_as_unsigned(number: int) -> None:
    coded = zigzag(number)
    assert 0 <= coded < 2**64
    assert coded >> 1 ^ -(coded & 1) == number
    assert varint(coded)[-1] < 128


def test_another_engine_reads_them(tmp_path: Path) -> None:
    """DataFusion, whose Parquet reader is not DuckDB's: wrapped differences, silent rows and every kind."""
    import deltalake
    from deltalake import Field as DeltaField
    from deltalake.schema import PrimitiveType
    from deltalake.transaction import AddAction, create_table_with_add_actions

    things = np.repeat(np.arange(40, dtype=np.int32), 100)
    times = np.tile(np.arange(100) * 10_000_000_000, 40)
    row = (times // 10_000_000_000 * 7 % 100).astype(np.int32)
    silent = np.arange(4000) % 3 == 0
    texts = np.ma.array(np.array([f"t{number % 5}" for number in range(4000)], np.object_), mask=silent)
    doubles = np.ma.array(np.arange(4000) / 8, mask=silent)
    fields = [
        Field("thing", "int32"),
        Field("time", "int64"),
        Field("row", "int32"),
        Field("flags", "int8"),
        Field("power", "decimal", 2),
        Field("d", "double"),
        Field("b", "bool"),
        Field("t", "text"),
    ]
    columns = [things, times, row, (row % 4).astype(np.int8), np.ma.array(-times // 10**9, mask=silent)]
    write(tmp_path / "f.parquet", fields, [[*columns, doubles, np.ma.array(things > 3, mask=silent), texts]])
    kinds = ("integer", "long", "integer", "byte", "decimal(18,2)", "double", "boolean", "string")
    schema = [DeltaField(f.name, PrimitiveType(kind)) for f, kind in zip(fields, kinds, strict=True)]
    size = (tmp_path / "f.parquet").stat().st_size
    action = AddAction("f.parquet", size, {}, 0, data_change=True, stats="{}")
    create_table_with_add_actions(str(tmp_path), deltalake.Schema(schema), [action], partition_by=[])
    query = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(str(tmp_path)))
    statement = (
        "select sum(thing * time) a, sum(row) b, sum(flags) c, sum(cast(power * 100 as bigint)) d, sum(d) e, "
        "count(case when b then 1 end) f, count(distinct t) g, count(power) h from t where time >= 0"
    )
    found = query.execute(statement).read_all()
    answer = [found[name].to_pylist()[0] for name in "abcdefgh"]
    assert answer == [
        int((things * times).sum()),
        int(row.sum()),
        int((row % 4).sum()),
        int((-times // 10**9)[~silent].sum()),
        float(doubles.sum()),
        int((things > 3)[~silent].sum()),
        5,
        int((~silent).sum()),
    ]
