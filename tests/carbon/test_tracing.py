"""Every figure of every report leads to exactly the rows that it is made of, in the versions of then (§10)."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC as ZERO
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from tests.carbon.plant import HOUR, START, Plant, account
from tests.carbon.walk import Page, check_figures, total

from taihu.carbon.cells import Addresses
from taihu.carbon.document import Document, to_html, to_pdf
from taihu.carbon.factors import Factor, FactorKind, Factors
from taihu.carbon.hourly import hourly_report
from taihu.carbon.hourly_document import hourly_csv, hourly_document
from taihu.carbon.inventory import inventory
from taihu.carbon.report import inventory_csv, inventory_document
from taihu.carbon.selection import Figure, read_selection
from taihu.carbon.words import said_in
from taihu.history.calendar import parse_zone
from taihu.kernel.errors import RefusedError
from taihu.runtime.worker.carbon.tracing import factors_answer, rows_answer

ADDRESSES = Addresses("http://node/api/v1/projects/plant/carbon/rows", "http://node/api/v1/factors")
UTC = parse_zone("UTC")
HOURS = 8
OWN = Factor(
    id="upstream", region="", year=2022, kind=FactorKind.UPSTREAM, subject="electricity", value=0.05,
    unit="kg/(kW.h)", source="a study", published="2022-01-01",
)  # fmt: skip


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    yield from lived(tmp_path)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """One that nobody changes."""
    yield from lived(tmp_path_factory.mktemp("still"))


def lived(folder: Path) -> Iterator[Plant]:
    """Of every kind of meter one, with a gap, late readings, a moved meter, certificates and other factors."""
    accounts = [
        account(net="energy", region="CN", intensity="grid/intensity", upstream="upstream"),
        account("line", imported="import_register", region="CN", behind="main"),
        account("desk", imported="energy", region="CN", behind="main"),
        account("roof", generation="energy"),
        account("park", generation="energy", behind="-"),
        account("battery", storage="energy"),
        account("boiler", imported="gas_register", fuel="natural-gas", heating="gas-bill"),
        account("chiller", imported="refilled", leak="r-410a"),
    ]
    plant = Plant(folder, accounts)
    bill = Factor(
        id="gas-bill", region="", year=2022, kind=FactorKind.HEATING, subject="natural-gas", value=36.1,
        unit="MJ/m3", source="the bill", published="2022-01-01",
    )  # fmt: skip
    plant.factors = Factors([*plant.factors, OWN, bill])
    plant.open()
    for hour in range(HOURS):
        _say(plant, hour)
        if hour == 6:
            plant.account(START + 6 * HOUR)
    plant.say("main", "energy", START + HOUR, 4.4)  # late
    plant.say("line", "import_register", START + HOURS * HOUR, 3.3 * HOURS)
    plant.account(START + (HOURS + 1) * HOUR)
    issue = {"type": "issue", "bundle": "b", "device": "park", "owner": "plant", "amount_wh": 400}
    plant.accountant.certify("plant", issue | {"start": START + HOUR, "end": START + 2 * HOUR})
    used = {"type": "cancel", "bundle": "b", "owner": "plant", "consumer": "main", "amount_wh": 300}
    plant.accountant.certify("plant", used)
    plant.account(START + (HOURS + 1) * HOUR + 10)
    yield plant
    plant.close()


def _say(plant: Plant, hour: int) -> None:
    at = START + hour * HOUR
    for thing, value in (("main", 5.0 - 1.7 * hour / 3), ("desk", 1.25), ("park", 0.4), ("battery", (-1.0) ** hour)):
        plant.say(thing, "energy", at, value)
    if hour != 2:
        plant.say("roof", "energy", at, 0.3 * hour)
    if hour not in (3, 4, 5, 6):
        plant.say("line", "import_register", at, 3.3 * hour)
    if hour % 2:
        plant.say("grid", "intensity", at, 400.0 + 10 * hour)
    if hour == 1:
        plant.say("chiller", "refilled", at, 150.0)
    plant.say("boiler", "gas_register", at, 1.1 * hour)


def fetched(plant: Plant, address: str, form: str = "json") -> Any:
    """What is answered at an address, as the door asks for it."""
    query = parse_qs(urlsplit(address).query, keep_blank_values=True)
    single = {name: values[0] for name, values in query.items() if name not in ("meter", "role")}
    many = {name: query.get(name, []) for name in ("meter", "role")}
    body = {"format": form, "language": "en", "rows": ADDRESSES.rows, "factors": ADDRESSES.factors}
    if "id" in query:
        wanted = body | {"id": single["id"], "region": "", "as_of": int(single["as_of"])}
        answer = factors_answer(plant.factors, plant.accountant, wanted)
    else:
        page = int(single.pop("page", "1"))
        wanted = body | {"project": "plant", "selection": single | many, "versions": False, "page": page}
        answer = rows_answer(plant.accountant, wanted, "A plant", UTC, 10_000)
    return msgspec.json.decode(answer["body"]) if form == "json" else answer["body"].decode()


def reports(plant: Plant, as_of: int = 0, hours: int = HOURS) -> tuple[Document, Document]:
    edges = [START, START + 3 * HOUR, START + hours * HOUR]
    now = plant.clock.now_ns()
    one = inventory(plant.ledger, "plant", edges, title="A plant", timezone="UTC", made_at=now, as_of=as_of)
    two, _ = hourly_report(plant.ledger, "plant", edges, title="A plant", zone=UTC, made_at=now, as_of=as_of)
    return inventory_document(one, ADDRESSES), hourly_document(two, ADDRESSES)


def test_every_figure_is_the_sum_of_the_rows_that_it_leads_to(still: Plant) -> None:
    one, two = reports(still)
    assert check_figures(to_html(one), lambda address: fetched(still, address)) > 200
    assert check_figures(to_html(two), lambda address: fetched(still, address)) > 90
    words = " ".join(str(row[0]) for section in one.sections if section.table for row in section.table.rows)
    assert "late readings" in words and "the end of a gap" in words and "certificates" in words


def test_a_report_leads_to_its_own_versions_also_when_they_are_restated_later(plant: Plant) -> None:
    older = reports(plant, START + 7 * HOUR, 6)
    pages = [to_html(document) for document in (*reports(plant), *older)]
    assert older[0].figures != reports(plant, 0, 6)[0].figures
    plant.say("main", "energy", START, 9.9)
    plant.say("roof", "energy", START + 2 * HOUR, 0.9)
    plant.account(START + (HOURS + 2) * HOUR)
    for page in pages:
        assert check_figures(page, lambda address: fetched(plant, address)) > 40
    assert to_html(reports(plant)[0]) != pages[0]


def test_a_moved_meter_has_a_line_for_each_place_and_each_its_own_rows(plant: Plant) -> None:
    since = datetime(2022, 5, 1, 4, tzinfo=ZERO)
    moved = account("desk", imported="energy", region="CN", behind="-", since=since)
    accounts = [*plant.accounts, moved]
    plant.accountant.use(accounts, plant.factors)
    plant.account(START + (HOURS + 2) * HOUR)
    for page in map(to_html, reports(plant)):
        assert check_figures(page, lambda address: fetched(plant, address)) > 90


def test_each_line_of_a_table_leads_to_its_rows(still: Plant) -> None:
    made = inventory(
        still.ledger, "plant", [START, START + 3 * HOUR, START + HOURS * HOUR],
        title="A plant", timezone="UTC", made_at=still.clock.now_ns(),
    )  # fmt: skip
    lines = list(csv.DictReader(io.StringIO(inventory_csv(made, ADDRESSES))))
    for line in lines[::3]:
        rows = fetched(still, line["rows"])["rows"]
        for name in ("import_kwh", "location_kg", "market_kg", "scope1_kg", "generation_kwh"):
            assert float(line[name] or 0) == pytest.approx(total(row[name] for row in rows))
        assert int(line["missing"]) == sum(row["quality"] == "missing" for row in rows)
    report, found = hourly_report(
        still.ledger, "plant", [START, START + HOURS * HOUR], title="", zone=UTC, made_at=still.clock.now_ns()
    )
    for line in csv.DictReader(io.StringIO(hourly_csv(report, found, ADDRESSES))):
        rows = fetched(still, line["rows"])["rows"]
        drawn = total(row["import_kwh"] for row in rows if row["role"] == "grid")
        assert float(line["drawn_kwh"] or drawn) == pytest.approx(drawn)
        assert {row["meter"] for row in rows} == {"main", "roof", "park", "battery"}


def test_links_of_a_pdf_are_those_of_the_page(still: Plant) -> None:
    pytest.importorskip("reportlab", reason="reportlab is not installed: pip install 'taihu[pdf]'")
    reader = pytest.importorskip("pypdf", reason="pypdf is not installed: pip install -r dev-requirements.txt")
    for document in (reports(still)[1], said_in("zh", reports(still)[0])):
        pages = reader.PdfReader(io.BytesIO(to_pdf(document))).pages
        notes = [note.get_object() for page in pages for note in page.get("/Annots") or ()]
        found = {str(note["/A"]["/URI"]) for note in notes if note["/Subtype"] == "/Link"}
        assert found == {address for _, address in Page(to_html(document)).links}


def test_whoever_follows_a_link_reads_a_page(still: Plant) -> None:
    one, two = reports(still)
    addresses = {address for document in (one, two) for _, address in Page(to_html(document)).links}
    kinds = {
        tuple(re.findall(r"figure=[^&]+|quality|reason|meter|factor=|hour=", address)): address for address in addresses
    }
    for address in kinds.values():
        page = fetched(still, address, "html")
        assert page.startswith("<!doctype html>") and "\u2014" not in re.sub("<style>.*</style>", "", page)
    figures = Figure.LOCATION, Figure.LOAD, Figure.APART
    assert all(any(f"figure={figure}" in kind for kind in kinds) for figure in figures)


def test_many_rows_come_page_by_page(still: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rows_document", "tracing"):
        target = "taihu.carbon" if module == "rows_document" else "taihu.runtime.worker.carbon"
        monkeypatch.setattr(f"{target}.{module}.PAGE_ROWS", 5)
    address = f"{ADDRESSES.rows}?start={START}&end={START + HOURS * HOUR}&meter=main&figure=import_kwh"
    seen: list[str] = []
    while address:
        page = fetched(still, address, "html")
        seen += re.findall(r"<td class=\"text\">(2022-05-01.\d\d:00)</td><td class=\"text\">2022", page)
        links = dict(Page(page).links)
        address = links.get("Next page", "")
    assert len(seen) == HOURS == len(set(seen))


@pytest.mark.parametrize(
    "wrong",
    [
        {"figure": "import_kwh'"}, {"role": ["x"]}, {"quality": "good"}, {"hour": "noon"}, {"having": "rows"},
        {"figure": "apart"}, {"balance": "main"}, {"reason": "x", "figure": "load_kwh"}, {"restated": "perhaps"},
    ],
)  # fmt: skip
def test_what_selects_nothing_is_refused_13(wrong: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        read_selection({"start": 0, "end": 1} | wrong)
