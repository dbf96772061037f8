"""What controllers avoided is told at the marginal intensity, beside the inventory and in no total of it (§8)."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.carbon.plant import HOUR, PROPERTIES, START, Plant, account
from tests.carbon.test_tracing import ADDRESSES, fetched
from tests.carbon.walk import check_figures

import taihu.sim
from taihu.carbon.account import Priced
from taihu.carbon.avoided import avoided_rows
from taihu.carbon.document import to_html
from taihu.carbon.driven import Driven
from taihu.carbon.factors import Factor, FactorKind, Factors
from taihu.carbon.inventory import Inventory, inventory
from taihu.carbon.quantity import AverageIntensity, Consequence, LocationBased, MarginalIntensity, MixedQuantities
from taihu.carbon.report import inventory_csv, inventory_document
from taihu.carbon.rows import Role, RowQuality
from taihu.carbon.selection import read_selection
from taihu.carbon.words import said_in
from taihu.kernel.errors import RefusedError
from taihu.things.property import Signal

KWH = st.floats(-1e4, 1e4)
INTENSITY = st.floats(0, 2)
HOURS = st.lists(st.tuples(KWH, KWH, INTENSITY), min_size=1, max_size=6)
OWN = Factor(
    id="margin", region="CN", year=2022, kind=FactorKind.MARGINAL, subject="electricity", value=0.9, unit="kg/(kW.h)",
    source="the test's own", published="2022-12-01",
)  # fmt: skip


def hours(*pairs: tuple[float, float], first: int = 0) -> list[Driven]:
    return [
        Driven(START + (first + place) * HOUR, real, without, False, "meter/energy, shadow/energy")
        for place, (real, without) in enumerate(pairs)
    ]


def avoided(found: list[tuple[float, float, float]]) -> float:
    signal = Priced(np.array([one[2] for one in found]), [("grid/marginal",)] * len(found), [True] * len(found))
    rows = avoided_rows("p", "b-avoided", hours(*[one[:2] for one in found]), signal)
    assert {row.role for row in rows} == {Role.AVOIDED}
    assert all(row.location_kg is None and row.market_kg is None and row.import_kwh is None for row in rows)
    return sum(row.avoided_kg or 0.0 for row in rows)


@given(HOURS)
def test_what_changes_nothing_avoids_nothing(found: list[tuple[float, float, float]]) -> None:
    assert avoided([(real, real, intensity) for real, _, intensity in found]) == 0.0


@given(HOURS, st.floats(0.01, 100))
def test_it_scales_with_the_intensity_and_turns_with_the_sign_of_the_shift(
    found: list[tuple[float, float, float]], factor: float
) -> None:
    whole = avoided(found)
    size = sum(abs(one[1] - one[0]) * one[2] for one in found) + 1
    assert avoided([(a, b, factor * i) for a, b, i in found]) == pytest.approx(factor * whole, abs=1e-9 * factor * size)
    assert avoided([(b, a, i) for a, b, i in found]) == pytest.approx(-whole, abs=1e-9 * size)
    assert avoided([(a + 7, b + 7, i) for a, b, i in found]) == pytest.approx(whole, abs=1e-9 * size)


@given(st.floats(0.1, 10), INTENSITY, INTENSITY)
def test_a_shift_avoids_what_the_margins_differ_by(kwh: float, dirty: float, clean: float) -> None:
    """§8: with one marginal intensity in both hours a shift avoids nothing, whatever the averages are."""
    assert avoided([(0.0, kwh, dirty), (kwh, 0.0, clean)]) == pytest.approx(kwh * (dirty - clean), abs=1e-9)
    assert avoided([(0.0, kwh, dirty), (kwh, 0.0, dirty)]) == pytest.approx(0.0, abs=1e-9)


def test_what_is_fed_in_displaces_as_much_as_what_is_drawn_calls_for() -> None:
    assert avoided([(-3.0, 0.0, 0.5)]) == avoided([(0.0, 3.0, 0.5)]) == 1.5


def test_average_and_marginal_never_add_8() -> None:
    """§8: mypy refuses each of these lines, as `warn_unused_ignores` holds; so does the run."""
    with pytest.raises(MixedQuantities):
        _ = AverageIntensity([0.5]) + MarginalIntensity([0.5])  # type: ignore[operator]
    with pytest.raises(MixedQuantities):
        _ = LocationBased([0.5]) - Consequence([0.5])  # type: ignore[operator]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    accounts = [
        account("main", net="energy", region="CN", intensity="grid/intensity"),
        account("", avoided="battery", marginal="grid/marginal", region="CN"),
    ]
    found = Plant(tmp_path, accounts)
    found.factors = Factors([*found.factors, OWN])
    found.accountant = found.open()
    yield found
    found.close()


def said(plant: Plant, count: int, *, silent: tuple[int, ...] = ()) -> None:
    for place in range(count):
        plant.say("main", "energy", START + place * HOUR, 2.0)
        plant.say("grid", "intensity", START + place * HOUR, 400.0)
        if place not in silent:
            plant.say("grid", "marginal", START + place * HOUR, 700.0 + place)


def report(plant: Plant, count: int) -> Inventory:
    edges = [START, START + 2 * HOUR, START + count * HOUR]
    return inventory(
        plant.ledger, "plant", edges, title="A plant", timezone="UTC", made_at=plant.clock.now_ns(), as_of=0
    )


def test_each_hour_that_was_driven_has_a_row_with_its_quality_and_where_it_is_from_10(plant: Plant) -> None:
    said(plant, 6, silent=(3,))
    plant.drove = [*hours((1.0, 2.0), (3.0, 1.0)), *hours((1.0, 2.0), first=3)]
    plant.drove[1] = msgspec.structs.replace(plant.drove[1], estimated=True)
    rows = [row for row in plant.account(START + 7 * HOUR) if row.role is Role.AVOIDED]
    assert [(row.start - START) // HOUR for row in rows] == [0, 1, 3]  # what was not driven has none
    assert [row.quality for row in rows] == [RowQuality.MEASURED, RowQuality.ESTIMATED, RowQuality.ESTIMATED]
    assert [row.avoided_kg for row in rows] == pytest.approx(
        [0.7, -2 * 0.701, 0.9]
    )  # of the last the grid said nothing
    assert [row.factors for row in rows] == [
        ("plant/grid/marginal",), ("plant/grid/marginal",), ("margin",)
    ]  # fmt: skip
    assert rows[0].inputs == ("meter/energy, shadow/energy",)


def test_without_any_marginal_intensity_an_hour_is_missing_not_zero_3(plant: Plant) -> None:
    plant.factors = Factors(one for one in plant.factors if one.id != "margin")
    plant.open()
    said(plant, 3, silent=(0, 1, 2))
    plant.drove = hours((1.0, 2.0))
    (row,) = [row for row in plant.account(START + 5 * HOUR) if row.role is Role.AVOIDED]
    assert (row.quality, row.avoided_kg, row.with_kwh) == (RowQuality.MISSING, None, 1.0)
    plant.say("grid", "marginal", START, 500.0)  # late (§5)
    (row,) = [row for row in plant.account(START + 6 * HOUR) if row.role is Role.AVOIDED]
    assert (row.quality, row.avoided_kg, row.version, row.reason) == (RowQuality.MEASURED, 0.5, 2, "late readings")


def test_long_silence_a_pilot_that_is_late_and_a_crash_lose_nothing(plant: Plant) -> None:
    plant.drove = [*hours((1.0, 2.0)), *hours((1.0, 2.0), first=2_000)]
    plant.account(START + 2_500 * HOUR)
    plant.drove += hours((1.0, 3.0), first=2_100)
    plant.open()
    rows = [row for row in plant.account(START + 2_501 * HOUR) if row.role is Role.AVOIDED]
    assert [(row.start - START) // HOUR for row in rows] == [0, 2_000, 2_100]
    assert [row.avoided_kg for row in rows] == pytest.approx([0.9, 0.9, 1.8])


def test_a_property_that_says_what_it_is_stands_for_no_other_8(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    said(plant, 3)
    plant.drove = hours((1.0, 2.0))
    for name, signal in (("intensity", Signal.MARGINAL), ("marginal", Signal.AVERAGE)):
        monkeypatch.setitem(PROPERTIES, name, msgspec.structs.replace(PROPERTIES[name], signal=signal))
    assert plant.account(START + 5 * HOUR) == []
    broken = {one["meter"]: one["broken"] for one in plant.accountant.states("plant")}
    assert "plant/grid/intensity is the marginal intensity" in broken["main"] and "§8" in broken["main"]
    assert "plant/grid/marginal is the average intensity" in broken["battery-avoided"]
    for name, signal in (("intensity", Signal.AVERAGE), ("marginal", Signal.MARGINAL)):
        monkeypatch.setitem(PROPERTIES, name, msgspec.structs.replace(PROPERTIES[name], signal=signal))
    assert {row.meter for row in plant.account(START + 6 * HOUR)} == {"main", "battery-avoided"}


def test_another_factor_restates_and_both_versions_stay_10(plant: Plant) -> None:
    plant.drove = hours((1.0, 2.0))
    plant.account(START + 3 * HOUR)
    newer = msgspec.structs.replace(OWN, id="margin-b", value=0.8, published="2023-01-01")
    plant.factors = Factors([*plant.factors, newer])
    plant.open()
    plant.account(START + 4 * HOUR)
    versions = list(plant.ledger.rows("plant", 0, 2**62, "battery-avoided", versions=True))
    assert [(row.version, row.avoided_kg, row.reason) for row in versions] == [
        (1, 0.9, ""), (2, 0.8, "factors margin-b")
    ]  # fmt: skip


INVENTORY = ("total", "meters", "inside", "parts", "factors", "restated", "balances", "iso_14064")


def test_the_inventory_is_the_same_with_it_and_without_8(plant: Plant) -> None:
    said(plant, 6)
    plant.account(START + 7 * HOUR)
    before = report(plant, 6)
    assert before.avoided is None and "Avoided" not in to_html(inventory_document(before, ADDRESSES))
    plant.drove = hours(*[(1.0, 2.0)] * 6)
    plant.account(START + 8 * HOUR)
    plant.say("grid", "marginal", START, 900.0)  # a restatement of what was avoided is none of the inventory
    plant.account(START + 9 * HOUR)
    after = report(plant, 6)
    assert [getattr(before, name) for name in INVENTORY] == [getattr(after, name) for name in INVENTORY]
    assert after.avoided is not None and after.avoided.total.restated == 1
    assert [one.kind for one in after.avoided_by] == ["marginal"]
    assert all(one.figures.location_kg is not None for one in after.meters)


def test_every_figure_of_it_leads_to_its_rows_in_both_languages(plant: Plant) -> None:
    said(plant, 6, silent=(4,))
    plant.drove = hours(*[(1.0 + place, 2.5) for place in range(6)])
    plant.account(START + 9 * HOUR)
    made = report(plant, 6)
    document = inventory_document(made, ADDRESSES)
    page = to_html(document)
    assert "not in the inventory" in page and "role=avoided" in page
    assert check_figures(page, lambda address: fetched(plant, address)) > 40
    assert "不计入清单" in to_html(said_in("zh", document))
    table = list(csv.DictReader(io.StringIO(inventory_csv(made, ADDRESSES))))
    lines = [row for row in table if row["role"] == "avoided"]
    assert made.avoided is not None
    assert sum(float(row["avoided_kg"]) for row in lines) == pytest.approx(made.avoided.total.avoided_kg)
    assert {row["location_kg"] for row in lines} == {""}
    assert {row["avoided_kg"] for row in table if row["role"] != "avoided"} == {""}
    for line in lines:
        assert len(fetched(plant, line["rows"])["rows"]) == sum(int(line[name]) for name in ("measured", "estimated"))


@pytest.mark.parametrize(
    "asked",
    [
        {"figure": "location_kg", "role": ["avoided"]},
        {"figure": "location_kg", "role": ["grid", "avoided"]},
        {"figure": "avoided_kg", "role": ["grid", "avoided"]},
        {"figure": "avoided_kg", "role": ["grid"]},
        {"figure": "avoided_kg"},
        {"figure": "load_kwh", "role": ["avoided"]},
    ],
)
def test_a_question_that_adds_the_two_is_refused_8(asked: dict[str, object]) -> None:
    with pytest.raises(RefusedError, match="§8"):
        read_selection(asked | {"start": 0, "end": HOUR})


def test_a_measured_month_of_a_house_is_what_polars_reckons(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The demo's measured house 1 with a battery that serves its evening, against polars on the same file."""
    count = 31 * 24
    frame = (
        pl.read_parquet(Path(taihu.sim.__file__).parent / "data" / "district.parquet")
        .filter(pl.col("house") == 1)
        .sort("hour")
        .head(count)
        .with_columns(net=pl.col("load_kwh") - pl.col("solar_kwh"), clock=pl.int_range(pl.len()) % 24)
        .with_columns(
            battery=pl.when(pl.col("clock").is_between(11, 14)).then(1.5)
            .when(pl.col("clock").is_between(18, 21)).then(-1.3)
            .otherwise(0.0)
        )
    )  # fmt: skip
    kg = frame.select((-pl.col("battery") * pl.col("carbon_kg_per_kwh")).sum()).item()
    plant.drove = hours(*[(one["net"] + one["battery"], one["net"]) for one in frame.iter_rows(named=True)])
    for place, value in enumerate(frame["carbon_kg_per_kwh"]):
        plant.say("grid", "marginal", START + place * HOUR, 1_000 * value)
    plant.account(START + (count + 2) * HOUR)
    made = report(plant, count).avoided
    assert made is not None and (made.total.measured, made.total.missing) == (count, 0)
    assert made.total.avoided_kg == pytest.approx(kg, rel=1e-9)
    assert made.total.avoided_kg != 0.0
