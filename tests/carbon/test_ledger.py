"""The ledger: every hour accounted, nothing guessed silently, nothing overwritten (§3, §10)."""

import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.carbon.account import Hourly, Metered, Settled, Supply, electricity_rows, settle
from taihu.carbon.factors import Factors, load_factors
from taihu.carbon.figures import sums
from taihu.carbon.ledger import Cause, Ledger, Mark
from taihu.carbon.quantity import AverageIntensity, Energy
from taihu.carbon.rows import Row, RowQuality
from taihu.carbon.schema import MIGRATIONS, VERSION
from taihu.kernel.clock import parse_iso
from taihu.kernel.errors import DamagedError, RefusedError

DATA = Path(__file__).parents[1] / "data"
HOUR = 3_600_000_000_000
START = parse_iso("2022-05-01T00:00:00Z")
FACTORS = load_factors()
CHINA = Supply(region="CN")


def metered(imported: list[float], exported: list[float], coverage: list[float], start: int = START) -> Settled:
    return settle(
        Metered(
            project="house-01",
            meter="meter",
            edges=start + HOUR * np.arange(len(imported) + 1),
            imported=Energy(imported),
            exported=Energy(exported),
            coverage=np.array(coverage),
            inputs=("meter/import_register", "meter/export_register"),
        )
    )


def test_an_hour_by_both_rules_of_scope_2() -> None:
    (row,) = electricity_rows(metered([2.0], [0.5], [1.0]), CHINA, FACTORS)
    assert (row.import_kwh, row.export_kwh) == (2.0, 0.5)
    assert row.location_kg == 2.0 * 0.5366  # what was exported earns no credit
    assert row.market_kg == 2.0 * 0.5856
    assert row.factors == ("cn-2022-average", "cn-2022-residual")
    assert row.quality is RowQuality.MEASURED


def test_cancelled_certificates_come_first_and_never_below_zero() -> None:
    supply = Supply(region="CN", cancelled=Energy([1.5, 9.0, np.nan]))
    rows = electricity_rows(metered([2.0] * 3, [0.0] * 3, [1.0] * 3), supply, FACTORS)
    assert [row.market_kg for row in rows] == [0.5 * 0.5856, 0.0, 2.0 * 0.5856]
    assert {row.location_kg for row in rows} == {2.0 * 0.5366}


def test_gaps_are_scaled_and_marked_or_missing_3() -> None:
    rows = electricity_rows(metered([1.0, 1.0, np.nan, 1.0], [0.0] * 4, [0.5, 0.49, 0.0, 1.0]), CHINA, FACTORS)
    assert [row.quality.value for row in rows] == ["estimated", "missing", "missing", "measured"]
    assert [row.import_kwh for row in rows] == [2.0, None, None, 1.0]
    assert [row.location_kg is None for row in rows] == [False, True, True, False]


def test_a_factor_that_does_not_fit_makes_an_estimate() -> None:
    later = metered([1.0], [0.0], [1.0], parse_iso("2025-05-01T00:00:00Z"))
    assert electricity_rows(later, CHINA, FACTORS)[0].quality is RowQuality.ESTIMATED
    assert electricity_rows(metered([1.0], [0.0], [1.0]), Supply(region="CN-XZ"), FACTORS)[0].quality == "estimated"
    none = electricity_rows(metered([1.0], [0.0], [1.0]), Supply(region="UCTE"), FACTORS)[0]
    assert (none.quality, none.import_kwh, none.location_kg, none.factors) == (RowQuality.MISSING, 1.0, None, ())


def test_an_hour_of_its_own_intensity_goes_before_a_factor_of_the_year() -> None:
    hourly = Hourly(AverageIntensity([0.2, np.nan]), [("district/grid/carbon_intensity",)] * 2)
    rows = electricity_rows(metered([1.0, 1.0], [0.0, 0.0], [1.0, 1.0]), CHINA, FACTORS, hourly)
    assert [row.location_kg for row in rows] == [0.2, 0.5366]
    assert rows[0].factors == ("district/grid/carbon_intensity", "cn-2022-residual")
    assert [row.quality.value for row in rows] == ["measured", "estimated"]
    no_region = electricity_rows(metered([1.0], [0.0], [1.0]), Supply(region=""), Factors([]), hourly=Hourly(
        AverageIntensity([0.2]), [("grid/intensity",)]))[0]  # fmt: skip
    assert (no_region.location_kg, no_region.market_kg, no_region.factors) == (0.2, 0.2, ("grid/intensity",))


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1)), min_size=1, max_size=6))
def test_missing_is_never_zero_3(hours: list[tuple[float, float, float]]) -> None:
    imported, exported, coverage = (list(column) for column in zip(*hours, strict=True))
    for row, share in zip(
        electricity_rows(metered(imported, exported, coverage), CHINA, FACTORS), coverage, strict=True
    ):
        known = (row.import_kwh, row.location_kg, row.market_kg)
        if row.quality is RowQuality.MISSING:
            assert known == (None, None, None)
        else:
            assert share >= 0.5
            assert row.location_kg == row.import_kwh * 0.5366  # type: ignore[operator]


def rows_of(count: int) -> list[Row]:
    return electricity_rows(metered([1.0] * count, [0.0] * count, [1.0] * count), CHINA, FACTORS)


def test_appending_twice_changes_nothing_and_a_change_is_a_version(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "carbon.sqlite")
    rows = rows_of(3)
    assert ledger.append(rows, "", 1) == 3
    assert ledger.append(rows, "late readings", 2) == 0
    changed = msgspec.structs.replace(rows[1], import_kwh=2.0, location_kg=2 * 0.5366)
    assert ledger.append([rows[0], changed], "late readings", 3) == 1
    assert [row.version for row in ledger.rows("house-01", START, START + 3 * HOUR)] == [1, 2, 1]
    whole = list(ledger.rows("house-01", START, START + 3 * HOUR, versions=True))
    assert [(row.version, row.reason, row.written_at) for row in whole[1:3]] == [(1, "", 1), (2, "late readings", 3)]
    assert ledger.append([rows[1]], "readings deleted", 4) == 1  # back to what it was is a version, too
    ledger.close()
    again = Ledger(tmp_path / "carbon.sqlite")
    (line,) = sums(again, "house-01", (START, START + 9 * HOUR))
    found = line.figures
    assert (found.import_kwh, found.measured, found.coverage, found.restated) == (3.0, 3, 1.0, 1)
    for as_of, energy in ((1, 3.0), (2, 3.0), (3, 4.0), (4, 3.0)):  # what it said at any time can be read again
        (line,) = sums(again, "house-01", (START, START + 9 * HOUR), as_of)
        assert line.figures.import_kwh == energy
        assert sum(row.import_kwh or 0 for row in again.rows("house-01", START, 2**62, as_of=as_of)) == energy
    assert again.accounted_to("house-01", "meter") == START + 3 * HOUR
    assert list(again.rows("house-02", 0, 2**62)) == []  # §11
    again.close()


def test_the_database_itself_refuses_to_change_a_row(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "carbon.sqlite")
    ledger.append(rows_of(1), "", 1)
    ledger.add_events([("house-01", b'{"type":"issue"}')], 1)
    ledger.close()
    with sqlite3.connect(tmp_path / "carbon.sqlite") as connection:
        for table in ("rows", "certificates"):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                connection.execute(f"UPDATE {table} SET written_at = 0")
    connection.close()


def test_what_a_project_had_is_forgotten_with_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "carbon.sqlite")
    ledger.append(rows_of(2), "", 1)
    ledger.add_events([("house-01", b"{}")], 1)
    ledger.forget("house-01")
    assert list(ledger.rows("house-01", 0, 2**62)) == []
    assert list(ledger.events("house-01")) == []
    ledger.close()


def test_files_that_are_no_ledger_or_newer(tmp_path: Path) -> None:
    (tmp_path / "bad.sqlite").write_bytes(b"no database at all, but long enough to be read as one" * 40)
    with pytest.raises(DamagedError):
        Ledger(tmp_path / "bad.sqlite")
    newer = sqlite3.connect(tmp_path / "newer.sqlite")
    newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    with pytest.raises(RefusedError, match="Upgrade"):
        Ledger(tmp_path / "newer.sqlite")


def test_every_version_has_a_sample() -> None:
    assert VERSION == 5
    assert (DATA / "carbon_v1" / "ledger.sql").is_file()


def test_version_1_opens_14(tmp_path: Path) -> None:
    path = tmp_path / "carbon.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript((DATA / "carbon_v1" / "ledger.sql").read_text())
    connection.close()
    ledger = Ledger(path)
    rows = list(ledger.rows("house-01", 0, 2**62))
    assert [(row.meter, row.version, row.counted, row.behind) for row in rows] == [
        ("boiler", 1, 10.0, ""), ("meter", 1, 1.0, ""), ("meter", 2, 2.0, ""), ("meter", 1, 1.0, "")
    ]  # fmt: skip
    assert ledger.marks("house-01", "meter") == [Mark(Cause.READINGS, START + 2 * HOUR, "late readings")]
    assert len(list(ledger.events("house-01"))) == 1
    assert ledger.append(rows_of(3)[:1], "late readings", 9) == 0  # what it says already, whichever release said it
    ledger.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    connection.close()


def test_version_2_opens_14(tmp_path: Path) -> None:
    path = tmp_path / "carbon.sqlite"
    with sqlite3.connect(path) as connection:
        for number, script in enumerate(MIGRATIONS[:2]):
            connection.executescript(f"{script} PRAGMA user_version = {number + 1};")
        connection.execute(
            "INSERT INTO rows (project, meter, start, 'end', role, fuel_kwh, coverage, quality, factors, inputs,"
            " version, reason, written_at)"
            " VALUES ('p', 'boiler', 0, 1, 'fuel', 10.0, 1.0, 'measured', '[]', '[]', 1, '', 5)"
        )
    connection.close()
    ledger = Ledger(path)
    (row,) = ledger.rows("p", 0, 9)
    assert (row.counted, row.unit, row.amount, row.co2_kg) == (10.0, "", None, None)
    ledger.close()


def test_marks_of_two_causes_do_not_hide_each_other(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "carbon.sqlite")
    ledger.mark("p", "m", Mark(Cause.READINGS, 50, "late readings"))
    ledger.mark("p", "m", Mark(Cause.FACTORS, 10, "factors a"))
    ledger.mark("p", "m", Mark(Cause.FACTORS, 30, "factors b"))
    ledger.mark("p", "m", Mark(Cause.READINGS, 70, "late readings"))
    first, second = ledger.marks("p", "m")
    assert (first, second) == (
        Mark(Cause.FACTORS, 10, "factors a; factors b"),
        Mark(Cause.READINGS, 50, "late readings"),
    )
    ledger.settle("p", "m", first, 40, 100)
    ledger.settle("p", "m", second, 100, 100)
    assert [mark.start for mark in ledger.marks("p", "m")] == [40]
    ledger.close()
