"""What each kind of file becomes: rows with their place, exact times, and refusals with a reason."""

import gzip
import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.cli.transfer.csvfile import CsvSource
from taihu.cli.transfer.opening import Asked, open_source
from taihu.cli.transfer.rows import Item, Line, Refused, Row, Source, SourceRefused
from taihu.cli.transfer.slices import slices
from taihu.cli.transfer.tables import Layout, parse_column
from taihu.cli.transfer.values import BadValue, moment
from taihu.kernel.clock import format_iso, parse_iso
from taihu.kernel.errors import RemoteError
from taihu.things.property import Kind

T0 = 1_769_860_800_000_000_000  # 2026-01-31T12:00:00Z
S = 1_000_000_000
NO_LAYOUT = Layout()


def read(source: Source, after: int = 0) -> list[Item]:
    return list(source.items(after))


def opened(path: Path, layout: Layout = NO_LAYOUT, **how: Any) -> Source:
    return open_source(path, Asked(form=how.pop("form", None), layout=layout, **how))


def rows(items: Sequence[Item]) -> list[tuple[str, int, dict[str, Any]]]:
    return [(item.thing, item.observed_at, item.values) for item in items if isinstance(item, Row)]


def test_a_wide_csv(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        'thing,time,power,"a ""b",mode\nm,2026-01-31T12:00:00Z,3.5,7,"on, off"\nm,1769860801,,,\nn,x,1,2,3\nn,1\n'
    )
    first, second, third, fourth = read(opened(path))
    assert first == Row(1, "line 2", "m", T0, {"power": "3.5", 'a "b': "7", "mode": "on, off"})
    assert second == Row(2, "line 3", "m", T0 + S, {})
    assert (
        isinstance(third, Refused) and (third.where, third.thing) == ("line 4", "n") and "is not a time" in third.reason
    )
    assert isinstance(fourth, Refused) and "it has 2 cells" in fourth.reason
    assert read(opened(path), after=2) == [third, fourth]


def test_headings_delimiters_and_commas(tmp_path: Path) -> None:
    path = tmp_path / "zaehler.csv"
    path.write_text("\ufeffZeit;P (kW);kWh\n31.01.2026 25:00;1;2\n2026-01-31 13:00:00;1.234,5;2,25\n", "utf-8")
    columns = dict(map(parse_column, ["P (kW)=power:kW", "kWh=energy:kW.h:counter"]))
    layout = Layout(thing="meter", columns=columns, zone=ZoneInfo("Europe/Berlin"), decimal=",")
    bad, good = read(source := opened(path, layout))
    assert isinstance(bad, Refused)
    assert good == Row(2, "line 3", "meter", T0, {"power": "1234.5", "energy": "2.25"})
    about = source.about("meter")
    assert about is not None
    assert (about.properties["energy"].kind, about.properties["power"].unit) == (Kind.COUNTER, "kW")


def test_a_wide_csv_of_several_things(tmp_path: Path) -> None:
    """Each column may name its thing; a batch ends with a record, so that going on loses no thing of it."""
    (path := tmp_path / "x.csv").write_text("Timestamp,Main kWh,Hall 2,note\n2026-01-31T12:00:00Z,1,2,x\n")
    columns = dict(map(parse_column, ["Main kWh=main/energy:kWh:interval", "Hall 2=hall-2/power:kW"]))
    source = opened(path, Layout(columns=columns))
    assert read(source) == [
        Row(1, "line 2", "main", T0, {"energy": "1"}),
        Row(1, "line 2", "hall-2", T0, {"power": "2"}),
    ]
    assert read(source, after=1) == []
    main, hall, other = (source.about(name) for name in ("main", "hall-2", "other"))
    assert main is not None and main.properties["energy"].unit == "kW.h" and set(main.properties) == {"energy"}
    assert hall is not None and set(hall.properties) == {"power"} and other is None


def test_the_file_of_a_chinese_spreadsheet(tmp_path: Path) -> None:
    (path := tmp_path / "x.csv").write_text("时间,总表\n2026/1/31 20:00,1\n", "gb18030")
    layout = Layout(columns=dict([parse_column("总表=main/energy:kWh:interval")]), zone=ZoneInfo("Asia/Shanghai"))
    with pytest.raises(SourceRefused, match="--encoding gb18030"):
        CsvSource(path, layout)
    assert read(CsvSource(path, layout, encoding="gb18030")) == [Row(1, "line 2", "main", T0, {"energy": "1"})]


@pytest.mark.parametrize("step_m", [15, 60])
def test_the_hour_that_the_clock_shows_twice(tmp_path: Path, step_m: int) -> None:
    """Of a day with 25 hours each row has its own time, from wherever the import goes on."""
    zone, begin = ZoneInfo("Europe/Berlin"), datetime(2026, 10, 24, 22, tzinfo=UTC)
    times = [begin + timedelta(minutes=step_m * n) for n in range(25 * 60 // step_m)]
    lines = [f"{one.astimezone(zone):%d.%m.%Y %H:%M},1\n" for one in times]
    (path := tmp_path / "x.csv").write_text("Zeit,m/power\n" + "".join(lines))
    layout = Layout(zone=zone, columns=dict([parse_column("m/power=m/power:kW")]))
    found = [item.observed_at for item in read(opened(path, layout)) if isinstance(item, Row)]
    assert found == [int(one.timestamp()) * S for one in times]
    later = read(opened(path, layout), after=len(times) // 8)
    assert [item.observed_at for item in later if isinstance(item, Row)] == found[len(times) // 8 :]


def test_a_narrow_csv_and_lines_within_cells(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        'ts,dev,name,value\n1769860800000,a,power,1\n1769860800000,a,note,"one\ntwo"\n1769860800000,,power,2\n'
    )
    layout = Layout(thing_column="dev", property_column="name", value_column="value")
    found = read(opened(path, layout))
    assert rows(found) == [("a", T0, {"power": "1"}), ("a", T0, {"note": "one\ntwo"})]
    assert [item.where for item in found if not isinstance(item, Line)] == ["line 2", "line 4", "line 5"]
    assert isinstance(found[2], Refused) and found[2].reason == "it names no thing"


@pytest.mark.parametrize(
    ("text", "layout", "said"),
    [
        ("", {}, "empty"),
        ("a,b\n", {"thing": "x"}, "No column is called as times usually are: there are 'a', 'b'"),
        ("time,b\n", {}, "There is no column 'thing'"),
        ("time,b\n", {"thing": "x", "time": "when"}, "There is no column 'when'"),
        ("time\n", {"thing": "x"}, "No column holds a property"),
        ("time,b\n", {"thing": "x", "property_column": "b"}, "both"),
        ("time,b\n", {"thing": "x", "columns": dict([parse_column("c=d")])}, "There is no column 'c'"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, layout: dict[str, Any], said: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(SourceRefused, match=said):
        CsvSource(tmp_path / "x.csv", Layout(**layout))


@pytest.mark.parametrize("text", ["power", "=", "a=b:nonsense unit", "a=b:kW:often", "a=b/c/d", "a=b:kWh"])
def test_columns_are_written_so(text: str) -> None:
    with pytest.raises((SourceRefused, RemoteError)):
        parse_column(text)


@given(st.integers(10**17, 2**63 - 1))
def test_times_are_exact(ns: int) -> None:
    assert moment(format_iso(ns), None) == moment(str(ns), None) == ns
    local = format_iso(ns).removesuffix("Z").replace("T", " ")
    assert moment(local, ZoneInfo("UTC")) == ns


@pytest.mark.parametrize(
    "text", ["2026-01-31 12:00", "2026-01-31T12:00:00", "yesterday", "", "12:00", "1", "NaN", "31/01/2026"]
)
def test_times_that_may_mean_anything_are_refused(text: str) -> None:
    with pytest.raises(BadValue):
        moment(text, None)


@pytest.mark.parametrize("text", ["31.1.2026 20:00", "2026/1/31 20:00", "2026-1-31 20:00:00", "2026.01.31  20:00"])
def test_times_of_spreadsheets(text: str) -> None:
    assert moment(text, ZoneInfo("Asia/Shanghai")) == T0
    with pytest.raises(BadValue, match="which is the day"):
        moment("01/31/2026 20:00", ZoneInfo("Asia/Shanghai"))


def test_times_of_databases() -> None:
    assert moment("2026-01-31 12:00:00+00", None) == moment("2026-01-31 20:00:00.000000+08:00", None) == T0
    assert moment("1769860800.5", None) == T0 + S // 2
    assert moment("2026-01-31 20:00:00", ZoneInfo("Asia/Shanghai")) == parse_iso("2026-01-31T12:00:00Z")


def test_parquet(tmp_path: Path) -> None:
    """Times with and without a zone, decimals, text that stays text; from the middle on."""
    path = tmp_path / "x.parquet"
    duckdb.execute(
        "COPY (SELECT 'm' AS thing, make_timestamp_ns(1769860800000000001 + i) AS time, i / 2 AS power, "
        f"'7' AS code, 1.5::DECIMAL(9, 2) AS d, i % 2 = 0 AS b FROM range(3) t(i)) TO '{path}' (FORMAT parquet)"
    )
    with_zone = Layout(zone=ZoneInfo("UTC"))
    found = read(opened(path, with_zone))
    assert rows(found)[1] == ("m", T0 + 2, {"power": 0.5, "code": "7", "d": 1.5, "b": False})
    assert read(opened(path, with_zone), after=1) == found[1:]
    assert all("--tz" in item.reason for item in read(opened(path)) if isinstance(item, Refused))
    (tmp_path / "y.parquet").write_bytes(b"PAR1nonsense")
    with pytest.raises(SourceRefused):
        opened(tmp_path / "y.parquet")


def test_lines(tmp_path: Path) -> None:
    head = b"# DDL\nCREATE DATABASE x WITH NAME autogen\n# DML\n# CONTEXT-DATABASE: x\n\n"
    data = head + b"mem,host=a used=1.5 1769860800000000000\nmem used=2\n"
    (tmp_path / "x.lp").write_bytes(data)
    (tmp_path / "x.gz").write_bytes(gzip.compress(data))
    for name in ("x.lp", "x.gz"):
        found = read(opened(tmp_path / name))
        assert found == [
            Line(6, "line 6", b"mem,host=a used=1.5 1769860800000000000"),
            Line(7, "line 7", b"mem used=2"),
        ]


def test_thingsboard_telemetry(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    series = {
        "temperature": [{"ts": 1769860800000, "value": "21.5"}, {"ts": -1, "value": 1}],
        "on": [{"ts": 1769860801000, "value": True}],
    }
    path.write_text(json.dumps(series))
    found = read(opened(path, Layout(thing="t")))
    assert rows(found) == [("t", T0, {"temperature": "21.5"}), ("t", T0 + S, {"on": True})]
    assert isinstance(found[1], Refused) and found[1].where == "temperature, entry 2"
    with pytest.raises(SourceRefused, match="--thing"):
        opened(path)
    path.write_text("[1]")
    with pytest.raises(SourceRefused, match="no telemetry"):
        opened(path, Layout(thing="t"))


def test_thingsboard_ts_kv(tmp_path: Path) -> None:
    path = tmp_path / "ts_kv.csv"
    path.write_text(
        "entity_id,key,ts,bool_v,str_v,long_v,dbl_v,json_v\n"
        "u-1,7,1769860800000,,,,21.5,\nu-1,8,1769860800000,t,,,,\nu-2,9,1769860801000,,,5,,\nu-2,9,1769860801000,,,,,\n"
    )
    (tmp_path / "device.csv").write_text("id,name\nu-1,boiler\n")
    (tmp_path / "keys.csv").write_text("key,key_id\ntemperature,7\non,8\ncount,9\n")
    found = read(source := opened(path, devices=tmp_path / "device.csv", keys=tmp_path / "keys.csv"))
    assert rows(found) == [
        ("boiler", T0, {"temperature": "21.5"}),
        ("boiler", T0, {"on": "t"}),
        ("u-2", T0 + S, {"count": "5"}),
    ]
    assert source.skipped == 1
    assert all("key_dictionary" in item.reason for item in read(opened(path)) if isinstance(item, Refused))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A database as Home Assistant 2023.4 and later has it, as far as it is read."""
    path = tmp_path / "home-assistant_v2.db"
    database = sqlite3.connect(path)
    database.executescript(
        """
        CREATE TABLE states_meta (metadata_id INTEGER PRIMARY KEY, entity_id TEXT);
        CREATE TABLE state_attributes (attributes_id INTEGER PRIMARY KEY, shared_attrs TEXT);
        CREATE TABLE states (state_id INTEGER PRIMARY KEY, state TEXT, last_updated_ts FLOAT, metadata_id INT,
          attributes_id INT);
        CREATE TABLE statistics_meta (id INTEGER PRIMARY KEY, statistic_id TEXT, unit_of_measurement TEXT, has_sum INT,
          name TEXT);
        CREATE TABLE statistics (id INTEGER PRIMARY KEY, start_ts FLOAT, mean FLOAT, min FLOAT, max FLOAT, state FLOAT,
          sum FLOAT, metadata_id INT);
        INSERT INTO states_meta VALUES (1, 'sensor.kitchen'), (2, 'binary_sensor.door');
        INSERT INTO state_attributes VALUES
          (1, '{"unit_of_measurement": "°C", "state_class": "measurement", "friendly_name": "Kitchen"}'), (2, '{}');
        INSERT INTO states VALUES (1, '21.5', 1769860800.123456, 1, 1), (2, 'unavailable', 1769860801, 1, 1),
          (3, 'on', 1769860802, 2, 2), (4, NULL, 1769860803, 1, 1);
        INSERT INTO statistics_meta VALUES (1, 'sensor.kitchen', '°C', 0, NULL),
          (2, 'sensor.energy', 'kWh', 1, 'Energy');
        INSERT INTO statistics VALUES (1, 1769860800, 21, 20, 22, NULL, NULL, 1),
          (2, 1769860800, NULL, NULL, NULL, 5, 105, 2);
        """
    )
    database.close()
    return path


def test_home_assistant(home: Path, tmp_path: Path) -> None:
    """§3: what was unavailable is no reading."""
    states = opened(home)
    found = read(states)
    assert rows(found) == [
        ("sensor.kitchen", T0 + 123_456_000, {"state": "21.5"}),
        ("binary_sensor.door", T0 + 2 * S, {"state": "on"}),
    ]
    assert (states.skipped, states.done(), states.total) == (2, 4, 4)
    assert read(opened(home), after=1) == found[1:]
    kitchen = states.about("sensor.kitchen")
    assert kitchen is not None and (kitchen.title, kitchen.properties["state"].unit) == ("Kitchen", "Cel")
    statistics = opened(home, table="statistics")
    assert rows(read(statistics)) == [
        ("sensor.kitchen", T0, {"mean": 21.0, "min": 20.0, "max": 22.0}),
        ("sensor.energy", T0, {"state": 5.0, "sum": 105.0}),
    ]
    energy = statistics.about("sensor.energy")
    assert energy is not None and energy.properties["sum"].kind is Kind.COUNTER
    (tmp_path / "names.csv").write_text("entity_id,thing,property\nsensor.kitchen,kitchen,temperature\n")
    renamed = opened(home, entities=tmp_path / "names.csv")
    assert rows(read(renamed))[0] == ("kitchen", T0 + 123_456_000, {"temperature": "21.5"})
    (tmp_path / "other.db").write_bytes(b"no database")
    with pytest.raises(SourceRefused, match="no database of Home Assistant"):
        opened(tmp_path / "other.db")


def test_home_assistants_download(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(
        "entity_id,state,last_changed\nsensor.a,21.5,2026-01-31T12:00:00.000Z\nsensor.a,unknown,2026-01-31T12:00:01.000Z\n"
    )
    source = opened(path)
    assert rows(read(source)) == [("sensor.a", T0, {"state": "21.5"})] and source.skipped == 1


def test_what_a_file_is_must_be_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(SourceRefused, match="--format"):
        opened(tmp_path / "data")


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 60)), unique_by=lambda one: one[0], max_size=30),
    st.integers(1, 50),
)
def test_slices_cover_all_rows_once(counts: list[tuple[int, int]], most: int) -> None:
    stretches = sorted((place * 10, rows) for place, rows in counts)
    found = list(slices(stretches, 10, most))
    assert sum(rows for _, _, rows in found) == sum(rows for _, rows in stretches)
    assert all(start < end for start, end, _ in found)
    assert all(one[1] <= other[0] for one, other in pairwise(found))
    for begin, _ in stretches:
        assert any(start <= begin < end for start, end, _ in found)
        assert any(start < begin + 10 <= end for start, end, _ in found)
