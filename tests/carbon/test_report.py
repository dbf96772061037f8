"""An inventory says what is known, by which rule, and from which rows."""

import csv
import io
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from taihu.carbon.account import Metered, Row, Supply, electricity_rows, fuel_rows
from taihu.carbon.factors import load_factors
from taihu.carbon.inventory import Inventory, inventory
from taihu.carbon.quantity import Energy
from taihu.carbon.report import to_csv, to_html, to_pdf
from taihu.kernel.clock import parse_iso

HOUR = 3_600_000_000_000
START = parse_iso("2022-05-01T00:00:00Z")
FACTORS = load_factors()


def metered(meter: str, energies: Sequence[float]) -> Metered:
    values = np.array(energies)
    return Metered(
        project="plant",
        meter=meter,
        edges=START + HOUR * np.arange(len(values) + 1),
        imported=Energy(values),
        exported=Energy(np.where(np.isnan(values), np.nan, 0.0)),
        coverage=np.where(np.isnan(values), 0.0, 1.0),
        inputs=(f"{meter}/energy",),
    )


def rows() -> list[Row]:
    return [
        *fuel_rows(metered("boiler", [10.0] * 4), "natural-gas", FACTORS),
        *electricity_rows(metered("main", [1.0, 2.0, np.nan, 4.0]), Supply(region="CN"), FACTORS),
    ]


def report(title: str = "A plant") -> Inventory:
    edges = [START, START + 2 * HOUR, START + 4 * HOUR]
    return inventory(rows(), edges, FACTORS, project="plant", title=title, timezone="UTC", made_at=START + 9 * HOUR)


def test_totals_meters_and_parts_agree() -> None:
    made = report()
    assert made.total.location_kg == pytest.approx(7 * 0.5366)
    assert made.total.market_kg == pytest.approx(7 * 0.5856)
    assert made.total.scope1_kg == pytest.approx(40 * 3.6e-6 * 56_100)
    assert (made.total.measured, made.total.missing, made.total.coverage) == (7, 1, 7 / 8)
    assert [line.meter for line in made.meters] == ["boiler", "main"]
    assert [(line.meter, line.figures.import_kwh) for line in made.parts] == [
        ("boiler", None), ("boiler", None), ("main", 3.0), ("main", 4.0)
    ]  # fmt: skip
    assert (made.total.import_kwh, made.total.fuel_kwh) == (7.0, 40.0)
    assert made.iso_14064["1 direct"] == made.total.scope1_kg
    assert made.iso_14064["3 to 6 other indirect"] is None  # not reported is not zero (§3)
    assert [used.id for used in made.factors] == ["ipcc-2006-natural-gas", "cn-2022-average", "cn-2022-residual"]


def test_the_table_gives_the_same_figures() -> None:
    made = report()
    table = list(csv.DictReader(io.StringIO(to_csv(made))))
    assert sum(float(row["location_kg"] or 0) for row in table) == pytest.approx(made.total.location_kg or 0)
    assert table[0]["location_kg"] == ""


def test_the_page_leads_to_its_rows_and_runs_nothing() -> None:
    page = to_html(report("<script>alert(1)</script>"), lambda line: f"rows?meter={line.meter}&start={line.start}")
    assert f'href="rows?meter=main&amp;start={START}"' in page
    assert "<script>" not in page
    assert "natural-gas" in page
    assert "scope 2 by both rules" in page


def test_the_same_report_is_the_same_pdf() -> None:
    pytest.importorskip("reportlab", reason="reportlab is not installed: pip install 'taihu[pdf]'")
    one = to_pdf(report("R&D <plant>"))
    assert one.startswith(b"%PDF-")
    assert one == to_pdf(report("R&D <plant>"))


def test_a_period_without_rows_is_missing_not_zero() -> None:
    empty = inventory([], [0, 1], FACTORS, project="p", title="", timezone="UTC", made_at=2)
    assert (empty.total.location_kg, empty.total.coverage, empty.meters) == (None, 0.0, ())
    assert msgspec.json.decode(msgspec.json.encode(empty), type=Inventory) == empty
