"""Scope 1 by energy, mass and volume, gas by gas, and what leaks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.carbon.direct import Amount, Emitter, Used, direct_rows, used_of
from taihu.carbon.factors import FactorMissing, Factors, load_factors, parse_factors
from taihu.carbon.quantity import Energy, Mass, Volume
from taihu.carbon.rows import Role, RowQuality
from taihu.kernel.clock import parse_iso

HOUR = 3_600_000_000_000
START = parse_iso("2022-05-01T00:00:00Z")
HEAD = "id,region,year,kind,subject,value,unit,source,published,valid_from,valid_to"
FACTORS = load_factors()
OLDER = load_factors(gwp="AR5")


def used(amount: Amount, role: Role = Role.FUEL) -> Used:
    count = len(amount)
    edges = [START + HOUR * place for place in range(count + 1)]
    return Used(
        project="plant", meter="boiler", role=role, starts=edges[:-1], ends=edges[1:], amount=amount,
        coverage=np.ones(count),
        quality=[RowQuality.MEASURED if there else RowQuality.MISSING for there in amount.known.tolist()],
        inputs=[("boiler/gas",)] * count,
    )  # fmt: skip


def one(amount: Amount, emitter: Emitter, factors: Factors = FACTORS, role: Role = Role.FUEL) -> Any:
    (row,) = direct_rows(used(amount, role), emitter, factors)
    return row


GAS = Emitter(subject="natural-gas")


def test_a_fuel_gas_by_gas() -> None:
    row = one(Energy([1_000.0]), GAS)
    heat = 1_000 * 3.6e-6  # TJ
    assert (row.co2_kg, row.ch4_kg, row.n2o_kg) == pytest.approx((56_100 * heat, 1.0 * heat, 0.1 * heat))
    assert row.scope1_kg == pytest.approx(heat * (56_100 + 1.0 * 27.0 + 0.1 * 273))
    assert (row.fuel_kwh, row.unit, row.amount, row.quality) == (1_000.0, "", None, RowQuality.MEASURED)
    assert (row.import_kwh, row.location_kg, row.gases_kg) == (None, None, None)
    assert row.factors == (
        "ipcc-2006-natural-gas", "ipcc-2006-natural-gas-methane", "ipcc-ar6-methane",
        "ipcc-2006-natural-gas-nitrous-oxide", "ipcc-ar6-nitrous-oxide",
    )  # fmt: skip
    older = one(Energy([1_000.0]), GAS, OLDER)
    assert older.scope1_kg == pytest.approx(heat * (56_100 + 1.0 * 28.0 + 0.1 * 265))
    assert older.co2_kg == row.co2_kg


@pytest.mark.parametrize(
    ("amount", "emitter", "kwh", "names"),
    [
        (Mass([100.0]), GAS, 100 * 48.0 / 3.6, ("ipcc-2006-natural-gas-heating",)),
        (
            Volume([100.0]),
            Emitter(subject="natural-gas", region="CN-JS"),
            100 * 38.931 / 3.6,
            ("cn-natural-gas-heating",),
        ),
        (
            Volume([0.1]),
            Emitter(subject="diesel-road"),
            84 * 43.0 / 3.6,
            ("cbs-diesel-road-density", "ipcc-2006-diesel-road-heating"),
        ),
        (Volume([0.1]), Emitter(subject="diesel"), 84 * 43.0 / 3.6, ("cbs-diesel-density", "ipcc-2006-diesel-heating")),
        (Mass([1.0]), Emitter(subject="anthracite", region="DE"), 26.7 / 3.6, ("ipcc-2006-anthracite-heating",)),
    ],
)
def test_masses_and_volumes_become_energy_by_their_rows(
    amount: Amount, emitter: Emitter, kwh: float, names: tuple[str, ...]
) -> None:
    row = one(amount, emitter)
    assert row.fuel_kwh == pytest.approx(kwh)
    assert (row.amount, row.unit) == (amount.values[0], amount.unit)
    assert row.factors[: len(names)] == names
    if emitter.region != "CN-JS":
        assert row.quality is RowQuality.MEASURED  # the world's default is no other region's factor
    else:
        assert row.quality is RowQuality.ESTIMATED  # that of the country around it is


def test_a_volume_without_a_heating_value_names_what_to_provide() -> None:
    with pytest.raises(FactorMissing, match="no density factor of natural-gas for DE"):
        one(Volume([1.0]), Emitter(subject="natural-gas", region="DE"))
    own = f"{HEAD}\nbill,,2022,heating,natural-gas,11.2,kW.h/m3,the bill: at 0 °C and 101325 Pa,2022-06,,\n"
    factors = Factors([*FACTORS, *parse_factors(own, "own.csv")])
    row = one(Volume([10.0]), Emitter(subject="natural-gas", region="DE", heating="bill"), factors)
    assert (row.fuel_kwh, row.factors[0]) == (pytest.approx(112.0), "bill")


def test_a_fuel_of_the_sites_own_may_have_co2_alone() -> None:
    own = f"{HEAD}\npellets,,2022,fuel,pellets,3000,kg/TJ,a study,2022,,\n"
    row = one(Energy([100.0]), Emitter(subject="pellets"), Factors(parse_factors(own, "own.csv")))
    assert (row.scope1_kg, row.ch4_kg, row.n2o_kg) == (pytest.approx(3_000 * 3.6e-4), None, None)


@pytest.mark.parametrize("told", ["", "3,"])
def test_a_gas_whose_row_is_to_be_provided_or_of_another_time_is_not_taken_for_nothing_3(told: str) -> None:
    value, begin = ("3", "2023-01-01") if told else ("", "")
    rows = f"""{HEAD}
chips,,2020,fuel,chips,0,kg/TJ,ours,2020,,
chips-methane,,2020,fuel-methane,chips,{value},kg/TJ,ours,2020,{begin},
"""
    factors = Factors([*FACTORS, *parse_factors(rows, "own.csv")])
    with pytest.raises(FactorMissing, match="fuel-methane factor of chips") as raised:
        one(Energy([1_000.0]), Emitter(subject="chips"), factors)
    assert "chips-methane" in raised.value.remedy or "Add a row" in raised.value.remedy


def test_a_refrigerant_leaks_and_a_known_gas_keeps_its_mass() -> None:
    row = one(Mass([2.0]), Emitter(subject="r-410a"), role=Role.LEAK)
    assert (row.scope1_kg, row.gases_kg, row.co2_kg, row.amount, row.unit) == (4_511.0, 4_511.0, None, 2.0, "kg")
    assert row.factors == ("ipcc-ar6-r-410a",)
    leak = one(Mass([2.0]), Emitter(subject="methane-fossil"), role=Role.LEAK)
    assert (leak.ch4_kg, leak.gases_kg, leak.scope1_kg) == (2.0, None, pytest.approx(59.6))
    with pytest.raises(FactorMissing, match="sulphur-hexafluoride"):  # copies of its table differ
        one(Mass([1.0]), Emitter(subject="sulphur-hexafluoride"), role=Role.LEAK)
    assert one(Mass([1.0]), Emitter(subject="sulphur-hexafluoride"), OLDER, Role.LEAK).scope1_kg == 23_500


def test_a_process_sets_its_carbon_free() -> None:
    row = one(Mass([1_000.0]), Emitter(subject="limestone"), role=Role.PROCESS)
    assert (row.co2_kg, row.scope1_kg, row.fuel_kwh) == (pytest.approx(439.71), pytest.approx(439.71), None)


KINDS = st.sampled_from((
    (Energy, "natural-gas", Role.FUEL), (Mass, "diesel", Role.FUEL), (Volume, "gasoline", Role.FUEL),
    (Mass, "r-32", Role.LEAK), (Mass, "limestone", Role.PROCESS),
))  # fmt: skip


@given(KINDS, st.lists(st.one_of(st.floats(0, 1e6), st.just(float("nan"))), min_size=1, max_size=5))
def test_gases_add_up_missing_stays_missing_and_a_row_can_be_priced_again_3_9(
    kind: tuple[type[Amount], str, Role], amounts: list[float]
) -> None:
    make, subject, role = kind
    rows = direct_rows(used(make(amounts), role), Emitter(subject=subject), FACTORS)
    for row, amount in zip(rows, amounts, strict=True):
        if amount != amount:
            assert (row.quality, row.scope1_kg, row.co2_kg, row.counted) == (RowQuality.MISSING, None, None, None)
            continue
        parts = (row.co2_kg or 0.0) + 27.0 * (row.ch4_kg or 0.0) + 273 * (row.n2o_kg or 0.0) + (row.gases_kg or 0.0)
        assert row.scope1_kg == pytest.approx(parts)
        assert row.counted == amount
    again = [row for part in used_of(rows) for row in direct_rows(part, Emitter(subject=subject), FACTORS)]
    assert again == rows
