"""Factors are data rows with a source; none is invented."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.carbon.factors import (
    PER_KWH,
    Factor,
    FactorKind,
    FactorMissing,
    Factors,
    Fit,
    load_factors,
    mix_intensity,
    parse_factors,
)
from taihu.kernel.clock import parse_iso
from taihu.kernel.errors import ConfigError
from taihu.sim.district import District

IN_2022 = parse_iso("2022-07-01T00:00:00Z")
IN_2025 = parse_iso("2025-07-01T00:00:00Z")
HEAD = ",".join(Factor.__struct_fields__)
ROW = "mine,CN-JS,2023,average,electricity,0.6,kg/(kW.h),the grid company,2025-01-01,2023-01-01,2024-01-01"


def test_every_row_says_its_source_and_its_value_or_that_it_is_to_be_provided() -> None:
    for row in load_factors():
        assert row.source
        assert (row.value is None) == row.source.startswith("to be provided")
        assert row.value is None or row.published


def test_the_rows_that_the_announcement_gives() -> None:
    factors = load_factors()
    assert factors.get("cn-2022-average").value == 0.5366
    assert factors.get("cn-2022-residual").value == 0.5856
    assert factors.find(FactorKind.AVERAGE, "CN-YN", IN_2022).fit is Fit.EXACT


def test_regions_and_years_have_their_own_rows_in_their_publishers_units() -> None:
    factors = load_factors()
    provinces = [row for row in factors if row.year == 2022 and row.region.startswith("CN-") and len(row.region) == 5]
    assert len(provinces) == 30
    found = factors.find(FactorKind.AVERAGE, "CN-JS", IN_2022)
    assert (found.factor.value, found.fit) == (0.5978, Fit.EXACT)
    assert factors.get("de-2024-residual").in_unit(PER_KWH) == pytest.approx(0.72456)
    assert factors.get("us-camx-2023-average").in_unit(PER_KWH) == pytest.approx(429.983 * 0.45359237 / 1_000)
    change = factors.get("cn-2023-residual").in_unit(PER_KWH) / factors.get("cn-2022-residual").in_unit(PER_KWH)
    assert round(100 * (change - 1), 1) == 4.1  # as the announcement says


@pytest.mark.parametrize(("gwp", "methane", "blend"), [("AR6", 27.0, 2255.5), ("AR5", 28.0, 1923.5)])
def test_global_warming_potentials_are_of_one_report(gwp: str, methane: float, blend: float) -> None:
    factors = load_factors(gwp=gwp)
    assert {row.region for row in factors if row.kind is FactorKind.GWP} == {gwp}
    assert factors.find(FactorKind.GWP, gwp, IN_2025, "methane").factor.value == methane
    assert factors.find(FactorKind.GWP, gwp, IN_2025, "r-410a").factor.value == blend
    with pytest.raises(FactorMissing):
        factors.find(FactorKind.GWP, {"AR5": "AR6", "AR6": "AR5"}[gwp], IN_2025, "methane")


def test_the_demo_grid_is_the_mean_of_its_hours() -> None:
    value = load_factors().get("citylearn-2022-average").value
    assert round(float(District().carbon.mean()), 4) == value


def test_a_row_without_a_value_is_not_used_and_named() -> None:
    factors = load_factors()
    found = factors.find(FactorKind.AVERAGE, "CN-XZ", IN_2022)
    assert (found.factor.id, found.fit) == ("cn-2022-average", Fit.WIDER)
    assert factors.find(FactorKind.AVERAGE, "CN-XZ", IN_2025).fit is Fit.OLDER_WIDER
    assert factors.find(FactorKind.AVERAGE, "CN", IN_2025).fit is Fit.OLDER
    with pytest.raises(FactorMissing, match="to be provided"):
        factors.get("cn-js-2023-average").in_unit(PER_KWH)
    with pytest.raises(FactorMissing) as error:
        factors.find(FactorKind.AVERAGE, "UCTE", IN_2022)
    assert "eu-ucte-average" in error.value.remedy
    with pytest.raises(FactorMissing, match="no factor 'x'"):
        factors.get("x")


def test_a_correction_is_a_row_of_its_own_and_the_later_one_is_used() -> None:
    rows = [*parse_factors(f"{HEAD}\n{ROW}\n{ROW.replace('mine', 'corrected').replace('2025-01', '2025-03')}", "f")]
    factors = Factors(rows)
    assert factors.find(FactorKind.AVERAGE, "CN-JS", rows[0].valid_from).factor.id == "corrected"
    with pytest.raises(ConfigError, match="twice"):
        Factors([rows[0], rows[0]])


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (ROW.replace("0.6", "much"), "line 2: could not convert"),
        (ROW.replace("0.6", "-1"), "no emission factor"),
        (ROW.replace("0.6", "nan"), "no emission factor"),
        (ROW.replace("kg/(kW.h)", "kW"), "measure different things"),
        (ROW.replace("average", "guessed"), "not a valid FactorKind"),
        (ROW.replace("average", "heating"), "measure different things"),
        (ROW.replace("the grid company", ""), "needs an id and a source"),
        (ROW + ",more", "not as many cells"),
        (ROW.replace("2023-01-01", "in May"), "Invalid isoformat"),
    ],
)
def test_a_bad_row_says_file_and_line(row: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        list(parse_factors(f"{HEAD}\n{row}\n", "own.csv"))


@given(st.text(max_size=200))
def test_any_text_gives_rows_or_the_one_error_13(text: str) -> None:
    for whole in (text, f"{HEAD}\n{text}"):
        with suppress(ConfigError):
            list(parse_factors(whole, "own.csv"))


def test_a_site_has_rows_of_its_own(tmp_path: Path) -> None:
    own = tmp_path / "factors.csv"
    own.write_text(f"{HEAD}\n{ROW}\n")
    assert load_factors(own).get("mine").value == 0.6
    with pytest.raises(ConfigError, match="cannot be read"):
        load_factors(tmp_path / "none.csv")


def test_an_hour_of_generation_by_source() -> None:
    factors = load_factors()
    intensity, used = mix_intensity({"coal": 1.0, "wind": 1.0}, factors, IN_2025)
    assert intensity == pytest.approx((0.820 + 0.011) / 2)
    assert used == ("ipcc-2014-coal", "ipcc-2014-wind")
    with pytest.raises(FactorMissing):
        mix_intensity({"coal": 0.0}, factors, IN_2025)
    with pytest.raises(FactorMissing, match="fusion"):
        mix_intensity({"fusion": 1.0}, factors, IN_2025)
