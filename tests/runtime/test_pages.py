"""Pages of the history put together say what one answer says, in JSON, CSV and Arrow; programs of others read them."""

import csv
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.history.conftest import batch

from taihu.history.history import History
from taihu.history.paging import Place, Wanted, page
from taihu.kernel.clock import SimClock
from taihu.kernel.errors import LimitError
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import Limits
from taihu.runtime.questions import window_rows
from taihu.runtime.sheets import READINGS, WINDOWS
from taihu.runtime.worker import pages
from taihu.runtime.worker.arrow import END
from taihu.things.batch import FLAG_STAMPED, FLAG_SUSPECT
from taihu.things.property import DataType, Kind, Property

S = 1_000_000_000
T0 = 1_700_000_000 * S
NAMES = ("power", "energy", "on", "mode", "note")
KNOWN = {
    "power": Property(name="power", unit="kW"),
    "energy": Property(name="energy", kind=Kind.COUNTER, unit="kW.h"),
    "on": Property(name="on", kind=Kind.STATE, data_type=DataType.BOOLEAN),
    "mode": Property(name="mode", kind=Kind.STATE, data_type=DataType.STRING),
    "note": Property(name="note", kind=Kind.EVENT, data_type=DataType.OBJECT),
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "power": st.floats(-1e6, 1e6),
    "energy": st.integers(0, 2**60),
    "on": st.booleans(),
    "mode": st.sampled_from(["on", "off", 'say "hi", then\r\ngo', ""]),
    "note": st.sampled_from([{"a": [1, None]}, [1, "x"]]),
}
ROW = st.tuples(
    st.sampled_from(["a", "a", "b"]), st.integers(0, 7), st.sampled_from(NAMES),
    st.sampled_from([0, FLAG_STAMPED, FLAG_SUSPECT]),
).flatmap(lambda row: st.tuples(*map(st.just, row), VALUES[row[2]]))  # fmt: skip
SERIES = (*(("a", name) for name in NAMES), ("b", "power"), ("nobody", "power"))


def filled(folder: Path, rows: list[tuple[str, int, str, int, Any]], page_rows: int) -> History:
    clock = SimClock(T0 + 60 * S)
    limits = Limits(query_page_rows=page_rows)
    history = History(folder, OsFiles(), clock, limits, lambda project, thing: KNOWN)
    for place, (thing, second, name, flags, value) in enumerate(rows):
        made = batch([(thing, T0 + second * S, [value])], (name,), flags=(flags,), received_at=T0 + 30 * S)
        history.apply(place + 1, made)
        if place == 9:
            history.flush()
    return history


def asked(history: History, form: str, wanted: Wanted, alone: bool = False) -> bytes:
    """All pages put together, as the door does."""
    labels = [(thing, name, KNOWN[name].unit, KNOWN[name].kind) for thing, name in wanted.series]
    place: Any = Place()
    data, before = b"", 0
    while place is not None:
        part = slice(before, None)
        given = msgspec.structs.replace(wanted, series=wanted.series[part])
        ask = pages.Ask(given, labels[part], Place(0, *place[1:]), form, before, alone)  # type: ignore[arg-type]
        found = pages.answer(history, {"ask": msgspec.to_builtins(ask)})
        data += bytes(found["data"])
        place = found["next"]
        before += place.series if place else 0
    return data


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(ROW, max_size=20), page_rows=st.sampled_from([1, 3, 80, 200]), newest_first=st.booleans(),
    revisions=st.booleans(), limit=st.none() | st.integers(1, 8),
)  # fmt: skip
def test_pages_of_readings_are_the_readings(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Any],
    page_rows: int,
    newest_first: bool,
    revisions: bool,
    limit: int | None,
) -> None:
    """Each once and in order, where pages end within an instant, too."""
    history = filled(tmp_path_factory.mktemp("h"), rows, page_rows)
    wanted = Wanted(
        project="p", series=SERIES, start=T0, end=T0 + 60 * S,
        limit=limit, newest_first=newest_first, revisions=revisions,
    )  # fmt: skip
    order: Any = "desc" if newest_first else "asc"
    expected = {
        series: history.read("p", *series, T0, T0 + 60 * S, limit=limit, revisions=revisions, order=order)
        for series in SERIES
    }
    document = msgspec.json.decode(b"[" + asked(history, "json", wanted) + b"]")
    assert [(each["thing"], each["property"]) for each in document] == list(SERIES)
    for each in document:
        found = [
            (reading["observed_at"], reading["value"], reading["quality"], reading["seq"])
            for reading in each["readings"]
        ]
        ours = [
            (reading.observed_at, reading.value, str(reading.quality), reading.seq)
            for reading in expected[each["thing"], each["property"]]
        ]
        assert found[: len(ours)] == ours
        assert len(found) == len(ours) or (limit is not None and found[limit - 1][0] == found[-1][0])
    table = list(csv.DictReader(StringIO(asked(history, "csv", wanted).decode(), newline="")))
    frame = pl.read_ipc_stream(BytesIO(asked(history, "arrow", wanted) + END))
    flat = [(each, reading) for each in document for reading in each["readings"]]
    assert len(table) == len(frame) == len(flat)
    for line, row, (each, reading) in zip(table, frame.iter_rows(named=True), flat, strict=True):
        assert (line["thing"], line["property"], line["unit"]) == (each["thing"], each["property"], each["unit"] or "")
        assert np.datetime64(line["observed_at"][:-1], "ns").astype(int) == reading["observed_at"]
        assert (line["quality"], int(line["seq"])) == (reading["quality"], reading["seq"])
        _same_value(line["value"], row, reading["value"])
    assert frame["observed_at"].to_physical().to_list() == [reading["observed_at"] for _, reading in flat]
    assert frame["seq"].to_list() == [reading["seq"] for _, reading in flat]
    history.close()


def _same_value(cell: str, row: dict[str, Any], value: Any) -> None:
    """What the forms say of a value: nothing is lost in any of them."""
    if isinstance(value, str):
        assert (cell, row["value"], row["text"]) == (value, None, value)
    elif isinstance(value, bool):
        assert (cell, row["value"], row["text"]) == (str(value).lower(), float(value), str(value).lower())
    elif isinstance(value, int | float):
        kept = row["value"] if row["text"] is None else int(row["text"])
        assert (msgspec.json.decode(cell), kept) == (value, value)
    else:
        assert (msgspec.json.decode(cell), msgspec.json.decode(row["text"])) == (value, value)


@settings(max_examples=8, deadline=None)
@given(rows=st.lists(ROW, max_size=12), page_rows=st.sampled_from([7, 80, 200]))
def test_pages_of_windows_are_the_windows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], page_rows: int
) -> None:
    """§3: what is missing is missing in each form."""
    history = filled(tmp_path_factory.mktemp("h"), rows, page_rows)
    wanted = Wanted(project="p", series=SERIES, start=T0, end=T0 + 20 * S, every="1s")
    document = msgspec.json.decode(b"[" + asked(history, "json", wanted) + b"]")
    for each in document:
        whole = window_rows(history.window("p", each["thing"], each["property"], T0, T0 + 20 * S, "1s"))
        assert _close(each["windows"], whole)
    flat = [window for each in document for window in each["windows"]]
    table = list(csv.DictReader(StringIO(asked(history, "csv", wanted).decode(), newline="")))
    frame = pl.read_ipc_stream(BytesIO(asked(history, "arrow", wanted) + END))
    assert (list(frame.columns), list(table[0])) == (list(WINDOWS), list(WINDOWS))
    for line, row, window in zip(table, frame.iter_rows(named=True), flat, strict=True):
        for name in ("coverage", "count", "min", "time_mean", "increase", "changes"):
            assert row[name] == window.get(name)
            assert line[name] == ("" if window.get(name) is None else str(window[name]))
    history.close()


def _close(found: Any, wanted: Any) -> bool:
    if isinstance(found, dict):
        return found.keys() == wanted.keys() and all(_close(found[name], wanted[name]) for name in found)
    if isinstance(found, list):
        return len(found) == len(wanted) and all(map(_close, found, wanted))
    return bool(found == (pytest.approx(wanted) if isinstance(wanted, float) else wanted))


def test_a_page_is_as_large_as_told_and_many_series_come_in_several(tmp_path: Path) -> None:
    """§6"""
    rows = [("a", second, "power", 0, 1.0) for second in range(13)]
    history = filled(tmp_path, rows, 5)
    wanted = Wanted(project="p", series=SERIES, start=T0, end=T0 + 60 * S)
    place: Place | None = Place()
    sizes = []
    while place is not None:
        found, place = page(history, wanted, place)
        sizes.append((len(found), sum(len(piece.rows) for piece in found)))
    assert max(rows for _, rows in sizes) <= 5
    assert max(count for count, _ in sizes) == 1  # turning to the next costs more than such a page has
    assert sum(rows for _, rows in sizes) == 13
    history.close()


def test_one_instant_with_more_readings_than_may_be_is_refused(tmp_path: Path) -> None:
    """§6: nothing grows without a limit, and nothing is left out in silence."""
    clock, limits = SimClock(T0), Limits(query_page_rows=2, query_rows_max=4)
    history = History(tmp_path, OsFiles(), clock, limits, lambda project, thing: KNOWN)
    for place in range(8):
        history.apply(place + 1, batch([("a", T0, [float(place)])]))
    wanted = Wanted(project="p", series=(("a", "power"),), start=T0, end=T0 + S, revisions=True)
    with pytest.raises(LimitError):
        page(history, wanted, Place())
    history.close()


@pytest.mark.parametrize(("every", "columns"), [("", READINGS), ("1h", WINDOWS)])
def test_an_empty_answer_still_has_its_columns(tmp_path: Path, every: str, columns: dict[str, Any]) -> None:
    history = filled(tmp_path, [], 100)
    wanted = Wanted(project="p", series=(("a", "power"),), start=T0 - 1, end=T0, every=every)
    frame = pl.read_ipc_stream(BytesIO(asked(history, "arrow", wanted) + END))
    assert list(frame.columns) == list(columns)
    assert frame.schema["value" if not every else "mean"] == pl.Float64
    head = asked(history, "csv", wanted).decode().splitlines()[0].split(",")
    assert head == [name for name in columns if name != "text"]
    history.close()
