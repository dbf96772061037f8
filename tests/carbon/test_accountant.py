"""The accountant over a real history: each interval once, late readings restated, nothing lost to a crash (§5, §10)."""

from array import array
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from tests.carbon.plant import HOUR, START, Plant, account

from taihu.carbon.accounts import Account
from taihu.carbon.certificates import CertificateRefused
from taihu.carbon.factors import Factor, FactorKind, Factors, load_factors
from taihu.carbon.figures import sums
from taihu.carbon.ledger import Cause, Mark
from taihu.carbon.rows import RowQuality
from taihu.history.history import History
from taihu.kernel.clock import NS_PER_S, from_datetime, to_datetime
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.kernel.sections import AccountConfig
from taihu.things.batch import Batch, Column


def test_an_hour_is_accounted_when_it_is_over_and_settled(plants: Any) -> None:
    plant = plants(account(imported="energy", region="CN"))
    plant.say("main", "energy", START, 2.0)
    assert plant.account(START + HOUR + 599 * NS_PER_S) == []
    (row,) = plant.account(START + HOUR + 600 * NS_PER_S)
    assert (row.start, row.end, row.import_kwh, row.location_kg) == (START, START + HOUR, 2.0, 2 * 0.5366)
    assert (row.quality, row.inputs) == (RowQuality.MEASURED, ("main/energy",))
    assert plant.account(START + HOUR + 700 * NS_PER_S) == [row]


def test_an_hour_without_readings_is_missing_and_known_when_they_come_3_5(plants: Any) -> None:
    plant = plants(account(net="energy", region="CN"))
    plant.say("main", "energy", START, 2.0)
    plant.say("main", "energy", START + 2 * HOUR, -1.0)
    rows = plant.account(START + 4 * HOUR)
    assert [row.import_kwh for row in rows] == [2.0, None, 0.0]
    assert (rows[2].export_kwh, rows[2].location_kg) == (1.0, 0.0)
    plant.say("main", "energy", START + HOUR, 3.0)
    plant.open()  # a crash comes before it is accounted again
    rows = plant.account(START + 4 * HOUR)
    assert [(row.import_kwh, row.version, row.reason) for row in rows] == [
        (2.0, 1, ""),
        (3.0, 2, "late readings"),
        (0.0, 1, ""),
    ]
    assert len(list(plant.ledger.rows("plant", 0, 2**62, versions=True))) == 4
    assert plant.ledger.marks("plant", "main") == []


def test_counters_and_powers_become_energy_by_a_stated_rule_9(plants: Any) -> None:
    plant = plants(account(imported="import_register", region="CN"), account("line", imported="power", region="CN"))
    for quarter in range(9):
        at = START + quarter * HOUR // 4
        plant.say("main", "import_register", at, 100.0 + quarter)
        plant.say("line", "power", at, 500.0)
    rows = {(row.meter, row.start): row for row in plant.account(START + 2 * HOUR + 900 * NS_PER_S)}
    assert rows["main", START].import_kwh == pytest.approx(4.0)
    assert rows["line", START].import_kwh == pytest.approx(0.5)
    assert rows["line", START].quality is RowQuality.MEASURED


def test_what_no_meter_can_have_counted_is_missing_and_says_why_3(plants: Any) -> None:
    """A register that jumps, and power that flows the wrong way: the hours beside them stand."""
    plant = plants(account(imported="import_register", region="CN"), account("neg", imported="power", region="CN"))
    for hour, reads in enumerate((5.0, 6.0, 7.0 + 1e9, 8.0 + 1e9)):
        plant.say("main", "import_register", START + hour * HOUR, reads)
    for hour, watts in enumerate((1_000.0, -2_000.0, 1_000.0)):
        plant.say("neg", "power", START + hour * HOUR, watts)
    rows = plant.account(START + 3 * HOUR + HOUR // 2)
    found = {meter: [row for row in rows if row.meter == meter] for meter in ("main", "neg")}
    assert [row.import_kwh for row in found["main"]] == [1.0, None, 1.0]
    assert found["main"][1].inputs == ("main/import_register", "beyond power_kw_max")
    assert [row.quality for row in found["neg"]][1] is RowQuality.MISSING
    assert found["neg"][1].inputs == ("neg/power", "below zero")
    assert found["neg"][2].inputs == ("neg/power",)


def test_the_hour_of_the_grid_needs_a_grant_11(plants: Any) -> None:
    plant = plants(account(imported="energy", region="CN", intensity="grid/signal/intensity"))
    plant.granted = False
    plant.say("main", "energy", START, 2.0)
    plant.say("signal", "intensity", START, 200.0, project="grid")
    assert plant.account(START + 2 * HOUR) == []
    assert "may not read" in plant.accountant.states("plant")[0]["broken"]
    plant.granted = True
    (row,) = plant.account(START + 2 * HOUR)
    assert (row.location_kg, row.factors[0]) == (pytest.approx(0.4), "grid/signal/intensity")
    plant.say("signal", "intensity", START + HOUR // 2, 400.0, project="grid")  # the grid corrects itself
    (row,) = plant.account(START + 2 * HOUR)
    assert (row.location_kg, row.version) == (pytest.approx(0.6), 2)


def test_a_path_without_a_project_is_of_the_accounts_own(plants: Any) -> None:
    plant = plants(account(imported="energy", region="CN", intensity="signal/intensity"))
    plant.granted = False  # its own needs no grant
    plant.say("main", "energy", START, 2.0)
    plant.say("signal", "intensity", START, 200.0)
    (row,) = plant.account(START + 2 * HOUR)
    assert (row.location_kg, row.factors[0]) == (pytest.approx(0.4), "plant/signal/intensity")


@pytest.mark.parametrize(
    ("zone", "day", "count"), [("Europe/Berlin", "2022-03-27", 23), ("Europe/Berlin", "2022-10-30", 25)]
)
def test_a_day_has_23_or_25_hours_each_once(plants: Any, zone: str, day: str, count: int) -> None:
    start = from_datetime(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)))
    one = Account("plant", zone, AccountConfig(meter="main", imported="import_register", region="CN"))
    plant = plants(one)
    plant.clock.jump((start - plant.clock.now_ns()) / NS_PER_S)
    for hour in (0, count):  # silent all day: its increase is shared out over the hours that there are
        plant.say("main", "import_register", start + hour * HOUR, 100.0 + 2 * hour)
    rows = plant.account(start + 26 * HOUR)[:count]
    assert [(row.start - start) // HOUR for row in rows] == list(range(count))
    assert [row.import_kwh for row in rows] == pytest.approx([2.0] * count)
    assert to_datetime(rows[-1].end).astimezone(ZoneInfo(zone)).hour == 0


def test_figures_stand_when_their_readings_have_gone_10(plants: Any) -> None:
    plant = plants(account(imported="energy", region="CN"))
    plant.say("main", "energy", START, 2.0)
    (row,) = plant.account(START + 2 * HOUR)
    plant.history.close()
    plant.history = History(plant.folder / "empty", OsFiles(), plant.clock, DEFAULT, plant.definitions)
    plant.open()
    plant.ledger.mark("plant", "main", Mark(Cause.READINGS, START, "late readings"))
    assert plant.account(START + 2 * HOUR) == [row]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"imported": "temperature"}, "no energy and no power"),
        ({"imported": "bare"}, "undeclared"),
        ({"imported": "none"}, "no property"),
        ({"imported": "energy", "intensity": "grid/signal/temperature"}, "no intensity"),
        ({"imported": "energy", "supplier": "nobody"}, "no factor 'nobody'"),
        ({"imported": "energy", "fuel": "peat"}, "no fuel factor"),
        ({"imported": "temperature", "fuel": "diesel"}, "not an energy, a mass or a volume"),
        ({"imported": "gas_register", "leak": "r-32"}, "is not a mass"),
        ({"imported": "gas_register", "fuel": "diesel", "heating": "nobody"}, "no factor 'nobody'"),
    ],
)
def test_an_account_that_cannot_be_says_why_and_the_others_go_on(
    plants: Any, wrong: dict[str, str], said: str, caplog: Any
) -> None:
    fields = {"region": "CN"} | wrong if "fuel" not in wrong else wrong
    plant = plants(account(since=None, **fields), account("other", imported="energy", region="CN"))
    for name in ("energy", "temperature", "bare", "none", "gas_register"):
        plant.say("main", name, START, 1.0)
    plant.say("other", "energy", START, 1.0)
    rows = plant.account(START + 2 * HOUR)
    assert [row.meter for row in rows] == ["other"]
    assert said in plant.accountant.states("plant")[0]["broken"]
    plant.account(START + 2 * HOUR)
    assert sum("is not accounted" in line for line in caplog.messages) == 1


def test_scope_1_by_volume_and_a_leak_that_is_noted_late_5(plants: Any) -> None:
    plant = plants(
        account("boiler", imported="gas_register", fuel="natural-gas", region="CN"),
        account("engine", imported="oil", fuel="diesel"),
        account("chiller", imported="refilled", leak="r-410a"),
    )
    for hour, register in enumerate((100.0, 110.0, 130.0)):
        plant.say("boiler", "gas_register", START + hour * HOUR, register)
    plant.say("engine", "oil", START, 5.0)
    plant.say("chiller", "refilled", START + HOUR, 400.0)
    rows = {(row.meter, (row.start - START) // HOUR): row for row in plant.account(START + 4 * HOUR)}
    assert [(rows["boiler", hour].amount, rows["boiler", hour].unit) for hour in range(2)] == [(10, "m3"), (20, "m3")]
    assert rows["boiler", 1].co2_kg == pytest.approx(20 * 38.931e-6 * 56_100)
    assert rows["boiler", 2].quality is RowQuality.MISSING  # the register was read no more (§3)
    assert rows["engine", 0].co2_kg == pytest.approx(0.005 * 840 * 43.0e-6 * 74_100)
    assert [row.scope1_kg for (meter, _), row in sorted(rows.items()) if meter == "chiller"] == [
        pytest.approx(0.4 * 2255.5), 0.0
    ]  # fmt: skip
    plant.say("chiller", "refilled", START + 2 * HOUR + 60 * NS_PER_S, 100.0)
    (row,) = (one for one in plant.account(START + 4 * HOUR) if one.version == 2)
    assert (row.meter, row.scope1_kg, row.reason) == ("chiller", pytest.approx(0.1 * 2255.5), "late readings")


def test_another_set_of_potentials_restates_and_keeps_both_versions_10(plants: Any) -> None:
    plant = plants(account("boiler", imported="energy", fuel="natural-gas"), account(imported="energy", region="CN"))
    for meter in ("boiler", "main"):
        plant.say(meter, "energy", START, 1_000.0)
    plant.account(START + 2 * HOUR)
    plant.factors = load_factors(gwp="AR5")
    plant.open()
    plant.account(START + 2 * HOUR)
    found = list(plant.ledger.rows("plant", 0, 2**62, versions=True))
    known = [(row.meter, row.version, row.scope1_kg) for row in found if row.counted is not None]
    co2 = 3.6e-3 * 56_100
    assert known == [
        ("boiler", 1, pytest.approx(co2 + 3.6e-3 * (27.0 + 27.3))),
        ("boiler", 2, pytest.approx(co2 + 3.6e-3 * (28.0 + 26.5))),
        ("main", 1, None),
    ]
    assert found[1].reason.startswith("factors ipcc-ar")


def test_a_changed_account_restates_older_hours_by_what_they_were_10(plants: Any) -> None:
    plant = plants(account(imported="energy", region="CN"))
    for hour in range(4):
        plant.say("main", "energy", START + hour * HOUR, 1.0)
    plant.account(START + 3 * HOUR)  # two hours
    plant.accounts = [account(imported="energy", region="CN-JS")]
    plant.open()
    plant.say("main", "energy", START + HOUR, 5.0)
    rows = plant.account(START + 6 * HOUR)
    assert [row.factors[0] for row in rows[:4]] == ["cn-2022-average"] * 2 + ["cn-js-2022-average"] * 2
    assert (rows[1].import_kwh, rows[1].version, rows[1].reason) == (5.0, 2, "late readings")
    since = datetime.fromtimestamp(START / NS_PER_S, UTC) + timedelta(hours=1)
    plant.accounts = [account(imported="energy", region="CN-JS", since=since)]
    plant.open()
    rows = plant.account(START + 6 * HOUR)
    assert [row.factors[0] for row in rows[:3]] == ["cn-2022-average"] + ["cn-js-2022-average"] * 2
    assert (rows[1].version, rows[1].reason, rows[0].version) == (3, "accounts", 1)
    versions = plant.ledger.rows("plant", START + HOUR, START + 2 * HOUR, versions=True)
    assert [(row.version, row.factors[0]) for row in versions][1:] == [
        (2, "cn-2022-average"),
        (3, "cn-js-2022-average"),
    ]


def test_a_meter_is_a_submeter_from_when_another_is_before_it_10(plants: Any) -> None:
    plant = plants(account("line", imported="energy", region="CN"))
    for hour in range(4):
        plant.say("line", "energy", START + hour * HOUR, 1.0)
    plant.account(START + 3 * HOUR)
    since = datetime.fromtimestamp(START / NS_PER_S, UTC) + timedelta(hours=2)
    plant.accounts = [
        account("line", imported="energy", region="CN", until=since),
        account("line", imported="energy", region="CN", behind="main", since=since),
        account("main", imported="energy", region="CN", since=since),
    ]
    plant.parents = {"line": "main"}
    plant.open()
    for hour in range(2, 4):
        plant.say("main", "energy", START + hour * HOUR, 2.0)
    plant.say("line", "energy", START, 3.0)  # late, of when it was a main meter
    rows = [row for row in plant.account(START + 6 * HOUR) if row.meter == "line"]
    assert [(row.role.value, row.behind) for row in rows[:4]] == [("grid", "")] * 2 + [("submeter", "main")] * 2
    assert (rows[0].import_kwh, rows[0].version) == (3.0, 2)
    plant.accounts = [account("line", imported="energy", region="CN", since=since, until=since + timedelta(hours=1))]
    plant.open()
    assert plant.account(START + 30 * HOUR) == list(plant.ledger.rows("plant", 0, START + 6 * HOUR))  # it has ended


def test_a_meter_that_was_moved_in_the_topology_keeps_its_place_in_what_is_accounted(plants: Any) -> None:
    plant = plants(account("line", imported="energy", region="CN"), account("main", imported="energy", region="CN"))
    for hour in range(4):
        for meter in ("line", "main"):
            plant.say(meter, "energy", START + hour * HOUR, 1.0)
    plant.account(START + 3 * HOUR)
    plant.parents = {"line": "main"}
    plant.say("line", "energy", START, 2.0)
    rows = [row for row in plant.account(START + 5 * HOUR) if row.meter == "line"]
    assert [(row.role.value, row.behind, row.version) for row in rows[:3]] == [
        ("grid", "", 2), ("grid", "", 1), ("submeter", "main", 1)
    ]  # fmt: skip


def test_certificates_stand_on_what_the_ledger_knows(plants: Any) -> None:
    plant = plants(account(imported="energy", region="CN"), account("pv", generation="energy", behind="-"))
    plant.say("main", "energy", START, 2.0)
    plant.say("pv", "energy", START, 1.5)
    plant.account(START + 2 * HOUR)
    issue = {
        "type": "issue", "bundle": "b", "device": "pv", "owner": "us", "start": START, "end": START + HOUR,
        "amount_wh": 1_500, "source": "solar", "location": "CN", "produced_wh": 10**9,
    }  # fmt: skip
    with pytest.raises(CertificateRefused, match="1500 Wh are left"):
        plant.accountant.certify("plant", issue | {"amount_wh": 1_501})
    plant.accountant.certify("plant", issue)
    cancel = {"type": "cancel", "bundle": "b", "owner": "us", "consumer": "main", "amount_wh": 1_500}
    plant.accountant.certify("plant", cancel)
    with pytest.raises(CertificateRefused, match="holds 0 Wh"):
        plant.accountant.certify("plant", cancel | {"amount_wh": 1})
    row = next(row for row in plant.account(START + 2 * HOUR) if row.meter == "main")
    assert (row.market_kg, row.reason) == (pytest.approx(0.5 * 0.5856), "certificates")
    assert row.location_kg == 2.0 * 0.5366
    assert plant.open().registry("plant").cancelled("main", START) == 1_500
    with pytest.raises(CertificateRefused, match="0 Wh are left"):
        plant.accountant.certify("plant", issue | {"bundle": "c", "end": START + 2 * HOUR, "amount_wh": 1})
    elsewhere = issue | {"bundle": "c", "location": "UCTE", "amount_wh": 1}
    with pytest.raises(CertificateRefused):
        plant.accountant.certify("plant", elsewhere)  # all of it is issued
    for nonsense in ({}, {"type": "issue"}, {"type": "theft", "bundle": "b"}, issue | {"start": "noon"}):
        with pytest.raises(CertificateRefused):
            plant.accountant.certify("plant", nonsense)


def test_a_year_of_hours_comes_in_bounded_steps(plants: Any) -> None:
    plant = plants(account(imported="energy", region="CN"))
    hours = 2_000
    values = array("d", np.ones(hours).tolist())
    times = array("q", (START + HOUR * np.arange(hours)).tolist())
    batch = Batch(
        "plant", "", ("energy",), ("main",), b"", START, times.tobytes(), b"", (Column("d", values.tobytes()),)
    )
    plant.history.apply(1, batch)
    plant.clock.jump(hours * 3_600 + 3_600)
    steps = 0
    while plant.accountant.step():
        steps += 1
    assert steps == 3
    (line,) = sums(plant.ledger, "plant", (START, START + hours * HOUR))
    assert (line.figures.import_kwh, line.figures.measured) == (hours, hours)
    assert msgspec.json.encode(line)


def factor(name: str, value: float, kind: FactorKind = FactorKind.AVERAGE, **fields: Any) -> Factor:
    plain: dict[str, Any] = {"region": "LOCAL", "year": 2022, "subject": "electricity", "unit": "kg/(kW.h)"}
    return Factor(id=name, value=value, kind=kind, source="a test", published="", **plain | fields)


def test_other_factors_restate_what_they_priced_even_when_the_readings_have_gone_10(plants: Any) -> None:
    plant = plants(
        account(imported="energy", region="LOCAL"), account("boiler", imported="energy", fuel="peat"),
        account("hourly", imported="energy", region="LOCAL", intensity="grid/signal/intensity"),
        account("elsewhere", imported="energy", region="CN"), account("pv", generation="energy"),
    )  # fmt: skip
    average, peat = factor("a", 0.4), factor("p", 100_000, FactorKind.FUEL, subject="peat", unit="kg/TJ", region="")
    plant.factors = Factors([*load_factors(), average, peat])
    plant.open()
    for thing in ("main", "boiler", "hourly", "elsewhere", "pv"):
        plant.say(thing, "energy", START, 2.0)
        plant.say(thing, "energy", START + HOUR, 3.0)
    plant.say("signal", "intensity", START, 300.0, project="grid")
    plant.say("signal", "intensity", START + HOUR, 300.0, project="grid")
    before = plant.account(START + 3 * HOUR)
    plant.history.close()
    plant.history = History(plant.folder / "empty", OsFiles(), plant.clock, DEFAULT, plant.definitions)
    residual = factor("r", 0.7, FactorKind.RESIDUAL, valid_from=START + HOUR)
    changed = [msgspec.structs.replace(peat, value=200_000.0), factor("b", 0.5, year=2023), residual]
    plant.factors = Factors([*load_factors(), average, *changed])
    plant.open()
    after = {(row.meter, (row.start - START) // HOUR): row for row in plant.account(START + 3 * HOUR)}
    assert [after["main", hour].location_kg for hour in (0, 1)] == [1.0, 1.5]
    assert [after["main", hour].market_kg for hour in (0, 1)] == [1.0, pytest.approx(2.1)]
    assert after["main", 0].reason == "factors b, r"
    assert after["boiler", 0].scope1_kg == pytest.approx(2 * 3.6e-6 * 200_000)
    assert after["hourly", 0] in before  # no residual then, and the hour of the grid is no factor
    assert (after["hourly", 1].location_kg, after["hourly", 1].market_kg) == (pytest.approx(0.9), pytest.approx(2.1))
    assert after["elsewhere", 0] in before and after["pv", 0] in before
    assert {row.import_kwh for (meter, hour), row in after.items() if meter == "main" and hour == 0} == {2.0}
    assert {row.version for row in after.values()} == {1, 2}
    plant.open()  # the same factors again change nothing
    assert list(after.values()) == sorted(plant.account(START + 3 * HOUR), key=lambda row: (row.meter, row.start))
    assert {one.id: one.value for one in plant.ledger.factors()}["p"] == 200_000.0


def test_a_factor_that_is_taken_away_leaves_what_nobody_knows(plants: Any) -> None:
    plant = plants(account(imported="energy", region="LOCAL"))
    plant.factors = Factors([factor("a", 0.4)])
    plant.open()
    plant.say("main", "energy", START, 2.0)
    (row,) = plant.account(START + 2 * HOUR)
    assert row.location_kg == 0.8
    plant.factors = Factors([factor("elsewhere", 0.4, region="FAR")])
    plant.clock.jump(1)
    plant.open()
    (row,) = plant.account(START + 2 * HOUR)
    assert (row.import_kwh, row.location_kg, row.quality, row.version) == (2.0, None, RowQuality.MISSING, 2)
    written = [one.written_at for one in plant.ledger.rows("plant", 0, 2**62, versions=True)]
    assert "a" in {one.id for one in plant.ledger.factors(written[0])}
    assert "a" not in {one.id for one in plant.ledger.factors()}


def test_submeters_are_those_behind_an_accounted_meter_in_the_topology(plants: Any) -> None:
    plant = plants(
        account(imported="energy", region="CN"), account("line", imported="energy", region="CN"),
        account("lamp", imported="energy", region="CN"), account("pv", generation="energy"),
        account("park", generation="energy", behind="-"),
    )  # fmt: skip
    plant.parents = {"line": "hall", "hall": "main", "lamp": "line"}
    for thing in ("main", "line", "lamp", "pv", "park"):
        plant.say(thing, "energy", START, 2.0)
    rows = {row.meter: (str(row.role), row.behind) for row in plant.account(START + 2 * HOUR)}
    assert rows == {
        "main": ("grid", ""), "line": ("submeter", "main"), "lamp": ("submeter", "line"),
        "pv": ("generation", "main"), "park": ("generation", "-"),
    }  # fmt: skip


def test_a_mix_of_another_project_needs_its_grant_and_sources_11(plants: Any) -> None:
    plant = plants(account(imported="energy", mix="grid/mix"))
    plant.say("main", "energy", START, 2.0)
    assert plant.account(START + 2 * HOUR) == []
    assert "named as a source" in plant.accountant.states("plant")[0]["broken"]
    plant.granted = False
    assert plant.account(START + 2 * HOUR) == []
    assert "may not read grid/mix" in plant.accountant.states("plant")[0]["broken"]


def test_certificates_are_issued_of_what_left_the_site_and_once(plants: Any) -> None:
    plant = plants(
        account(net="energy", region="CN"), account("pv", generation="energy", region="CN", certificates=True),
        account("wind", generation="energy", certificates=True), account("park", generation="energy", behind="-"),
    )  # fmt: skip
    for hour, (net, pv, wind) in enumerate(((1.0, 2.0, 0.0), (-2.5, 2.0, 1.0), (-1.0, 1.5, 0.0))):
        for thing, energy in (("main", net), ("pv", pv), ("wind", wind), ("park", 4.0)):
            plant.say(thing, "energy", START + hour * HOUR, energy)
    plant.account(START + 3 * HOUR + 600 * NS_PER_S)
    bundles = plant.accountant.registry("plant").bundles
    assert {(one.device, (one.start - START) // HOUR): one.issued_wh for one in bundles.values()} == {
        ("pv", 1): 2_000, ("wind", 1): 500, ("pv", 2): 1_000
    }  # fmt: skip
    assert bundles["pv 2022-05-01T01:00:00Z"].location == "CN"
    assert plant.accountant.registry("plant").held("plant") == {name: one.issued_wh for name, one in bundles.items()}
    with pytest.raises(CertificateRefused, match="gave 1000 Wh then; 0 Wh are left"):
        plant.accountant.certify(
            "plant",
            {"type": "issue", "bundle": "x", "device": "pv", "owner": "us", "start": START + 2 * HOUR,
             "end": START + 3 * HOUR, "amount_wh": 1},
        )  # fmt: skip
    plant.open()  # a crash, and the same again
    plant.account(START + 3 * HOUR + 700 * NS_PER_S)
    assert plant.accountant.registry("plant").bundles == bundles


def test_a_register_read_once_an_hour_is_accounted(tmp_path: Path) -> None:
    """Nobody knows when within the hour, so it is an estimate; the energy is known."""
    plant = Plant(tmp_path, [account("meter", imported="import_register", region="CN")])
    for hour in range(6):
        plant.say("meter", "import_register", START + hour * HOUR, 100.0 + 7 * hour)
    rows = plant.account(START + 6 * HOUR)[:5]
    assert [row.import_kwh for row in rows] == pytest.approx([7.0] * 5)
    assert {row.quality for row in rows} == {RowQuality.ESTIMATED}
    plant.close()
