"""An inventory says what is known, by which rule, and from which rows."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from taihu.carbon.account import Metered, Settled, Supply, electricity_rows, settle
from taihu.carbon.cells import Addresses
from taihu.carbon.direct import Emitter, Used, direct_rows
from taihu.carbon.document import Document, Link, Phrase, pieces, to_html, to_pdf
from taihu.carbon.factors import load_factors
from taihu.carbon.hourly import hourly_report
from taihu.carbon.hourly_document import hourly_document
from taihu.carbon.inventory import Inventory, inventory
from taihu.carbon.ledger import Ledger
from taihu.carbon.quantity import Energy, Mass
from taihu.carbon.report import inventory_csv, inventory_document
from taihu.carbon.rows import Role, RowQuality
from taihu.carbon.words import said_in
from taihu.history.calendar import parse_zone
from taihu.kernel.clock import parse_iso

HOUR = 3_600_000_000_000
START = parse_iso("2022-05-01T00:00:00Z")
FACTORS = load_factors()


def metered(meter: str, energies: Sequence[float], role: Role = Role.GRID) -> Settled:
    values = np.array(energies)
    return settle(
        Metered(
            project="plant",
            meter=meter,
            edges=START + HOUR * np.arange(len(values) + 1),
            imported=Energy(values),
            exported=Energy(np.where(np.isnan(values), np.nan, 0.0)),
            coverage=np.where(np.isnan(values), 0.0, 1.0),
            inputs=(f"{meter}/energy",),
            role=role,
        )
    )


def used(meter: str, amount: Energy | Mass, role: Role) -> Used:
    starts = [START + HOUR * place for place in range(len(amount))]
    return Used(
        project="plant", meter=meter, role=role, starts=starts, ends=[start + HOUR for start in starts], amount=amount,
        coverage=np.ones(len(amount)), quality=[RowQuality.MEASURED] * len(amount), inputs=[(meter,)] * len(amount),
    )  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = Ledger(tmp_path / "carbon.sqlite")
    found.see_factors({one.id: one for one in FACTORS}, {}, 1)
    gas = used("boiler", Energy([10.0] * 4), Role.FUEL)
    found.append(direct_rows(gas, Emitter(subject="natural-gas"), FACTORS), "", 1)
    found.append(electricity_rows(metered("main", [1.0, 2.0, np.nan, 4.0]), Supply(region="CN"), FACTORS), "", 1)
    yield found
    found.close()


def report(ledger: Ledger, title: str = "A plant") -> Inventory:
    edges = [START, START + 2 * HOUR, START + 4 * HOUR]
    return inventory(ledger, "plant", edges, title=title, timezone="UTC", made_at=START + 9 * HOUR)


ADDRESSES = Addresses("rows", "factors")


def test_totals_meters_and_parts_agree(ledger: Ledger) -> None:
    made = report(ledger)
    assert made.total.location_kg == pytest.approx(7 * 0.5366)
    assert made.total.market_kg == pytest.approx(7 * 0.5856)
    assert made.total.scope1_kg == pytest.approx(40 * 3.6e-6 * (56_100 + 27.0 + 0.1 * 273))
    assert (made.total.measured, made.total.missing, made.total.coverage) == (7, 1, 7 / 8)
    assert [line.meter for line in made.meters] == ["boiler", "main"]
    assert [(line.meter, line.figures.import_kwh) for line in made.parts] == [
        ("boiler", None), ("boiler", None), ("main", 3.0), ("main", 4.0)
    ]  # fmt: skip
    assert (made.total.import_kwh, made.total.fuel_kwh) == (7.0, 40.0)
    direct, _, market, other = made.iso_14064
    assert (direct.kg, direct.measured) == (made.total.scope1_kg, 4)
    assert (market.kg, market.measured, market.missing) == (made.total.market_kg, 3, 1)
    assert (other.kg, other.measured) == (None, 0)  # not reported is not zero (§3)
    names = [used.id for used in made.factors]
    assert names[:3] == ["cn-2022-average", "cn-2022-residual", "ipcc-2006-natural-gas"]
    assert names[-2:] == ["ipcc-ar6-methane", "ipcc-ar6-nitrous-oxide"]


def test_the_table_gives_the_same_figures(ledger: Ledger) -> None:
    made = report(ledger)
    table = list(csv.DictReader(io.StringIO(inventory_csv(made, ADDRESSES))))
    assert sum(float(row["location_kg"] or 0) for row in table) == pytest.approx(made.total.location_kg or 0)
    assert table[0]["location_kg"] == ""


def test_the_page_leads_to_its_rows_and_runs_nothing(ledger: Ledger) -> None:
    page = to_html(inventory_document(report(ledger, "<script>alert(1)</script>"), ADDRESSES))
    assert f'href="rows?start={START}&amp;end={START + 4 * HOUR}&amp;meter=main&amp;role=grid' in page
    assert "<script>" not in page
    assert "natural-gas" in page
    assert "scope 2 by both rules" in page


def test_scope_1_stands_by_source_and_by_gas(ledger: Ledger) -> None:
    leak = direct_rows(used("chiller", Mass([0.0, 1.5]), Role.LEAK), Emitter(subject="r-410a"), FACTORS)
    ledger.append(leak, "", 1)
    made = report(ledger)
    assert made.total.gases_kg == 1.5 * 2255.5
    assert made.total.co2_kg == pytest.approx(40 * 3.6e-6 * 56_100)
    assert made.iso_14064[0].kg == made.total.scope1_kg
    document = inventory_document(made, ADDRESSES)
    tables = {section.heading: section.table for section in document.sections if section.table}
    assert [row[1] for row in tables["Scope 1 by gas"].rows] == ["combustion", "leak", ""]
    categories = [row[0] for row in tables["ISO 14064-1 categories"].rows]
    assert categories[1:3] == ["\u2003of which combustion", "\u2003of which leak"]
    (gases,) = (section.note for section in document.sections if section.heading == "Scope 1 by gas")
    assert "ipcc-ar6-r-410a 2255.5" in gases
    assert [one.text for one in pieces(gases) if isinstance(one, Link)] == ["27", "273", "2255.5"]


def documents(ledger: Ledger) -> list[Document]:
    made = report(ledger, "Plant")
    hours, _ = hourly_report(
        ledger, "plant", [made.start, made.end], title="Plant", zone=parse_zone("UTC"), made_at=made.end, as_of=0
    )
    return [inventory_document(made, ADDRESSES), hourly_document(hours, ADDRESSES)]


def numbers(document: Document) -> list[str]:
    tables = [section.table.rows for section in document.sections if section.table]
    cells = [cell.text if isinstance(cell, Link) else cell for rows in tables for row in rows for cell in row]
    return [cell for cell in cells if cell.replace(",", "").replace(".", "").isdigit()]


def test_reports_in_chinese_have_every_phrase_and_the_same_figures(ledger: Ledger) -> None:
    assert Phrase("{} of {}", 1, "two") == "1 of two"
    for document in documents(ledger):
        said = said_in("zh", document)
        assert said_in("en", document) is document
        texts = [said.title, said.lead, *(what for what, _ in said.figures)]
        for section in said.sections:
            texts += [section.heading, section.note, *(section.table.heads if section.table else ())]
        same = ("kg", "kWh", "CO2 kg", "CH4 kg", "N2O kg", "")
        assert [text for text in texts if text not in same and not re.search("[\u4e00-\u9fff]", text)] == []
        assert numbers(said) == numbers(document) != []
        page = to_html(said)
        assert '<html lang="zh">' in page
        assert "GHG Protocol 范围二指南" in page or "年度口径" in page


def test_the_same_report_is_the_same_pdf(ledger: Ledger) -> None:
    pytest.importorskip("reportlab", reason="reportlab is not installed: pip install 'taihu[pdf]'")
    one = to_pdf(inventory_document(report(ledger, "R&D <plant> 太湖厂区"), ADDRESSES))
    assert one.startswith(b"%PDF-")
    assert one == to_pdf(inventory_document(report(ledger, "R&D <plant> 太湖厂区"), ADDRESSES))
    assert to_pdf(said_in("zh", inventory_document(report(ledger), ADDRESSES))) != one


def test_a_period_without_rows_is_missing_not_zero(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "carbon.sqlite")
    empty = inventory(ledger, "p", [0, 1], title="", timezone="UTC", made_at=2)
    assert (empty.total.location_kg, empty.total.coverage, empty.meters) == (None, 0.0, ())
    assert msgspec.json.decode(msgspec.json.encode(empty), type=Inventory) == empty
    assert "not reported" in to_html(inventory_document(empty, ADDRESSES))
    ledger.close()
