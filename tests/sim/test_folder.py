"""Folders in CityLearn's layout as others make them: what is off is told, what cannot be used is refused in one way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from taihu.cli.score import score
from taihu.decide.policies import POLICIES
from taihu.sim.citylearn import Buildings, DataRefused, evaluate, phases, play
from taihu.sim.folder import read_folder

HOURS = 72
PHASE = phases()["phase_1"]
HEAD = "Month,Hour,Equipment Electric Power [kWh],DHW Heating [kWh],Solar Generation [W/kW]"


def table(house: int) -> str:
    rows = [
        f"7,{PHASE.hour[at]},{PHASE.load_kwh[house, at]},0,{PHASE.solar_kwh[house, at] * 250}" for at in range(HOURS)
    ]
    return "\n".join([HEAD, *rows, ""])


def entry(house: int) -> dict[str, Any]:
    return {
        "include": True, "energy_simulation": f"Building_{house}.csv", "pricing": "pricing.csv",
        "carbon_intensity": "carbon_intensity.csv", "pv": {"attributes": {"nominal_power": 4.0}},
        "electrical_storage": {"attributes": {"capacity": 6.4, "nominal_power": 5.0}},
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for house in (0, 1):
        (tmp_path / f"Building_{house}.csv").write_text(table(house))
    price = "Electricity Pricing [$]"
    ahead = [min(at + 6, HOURS - 1) for at in range(HOURS)]
    rows = [f"{PHASE.price[at]},{PHASE.price[there]}" for at, there in enumerate(ahead)]
    (tmp_path / "pricing.csv").write_text("\n".join([f"{price},6h Prediction {price}", *rows, ""]))
    (tmp_path / "carbon_intensity.csv").write_text("\n".join(["kg_CO2/kWh", *map(str, PHASE.intensity[:HOURS]), ""]))
    schema(tmp_path, {})
    return tmp_path


def schema(folder: Path, changes: dict[str, Any], house: dict[str, Any] | None = None) -> None:
    buildings = {f"Building_{one}": entry(one) for one in (0, 1)}
    buildings["Building_1"] |= house or {}
    (folder / "schema.json").write_text(json.dumps({"buildings": buildings} | changes))


def edit(path: Path, line: int, text: str) -> None:
    lines = path.read_text().split("\n")
    lines[line] = text
    path.write_text("\n".join(lines))


def same(one: Buildings, other: Buildings) -> bool:
    return np.allclose(one.net_kwh, other.net_kwh) and np.array_equal(one.price, other.price)


def test_a_whole_folder_has_nothing_to_tell(folder: Path) -> None:
    found = read_folder(folder)
    assert found.notes == ()
    assert np.allclose(found.net_kwh, PHASE.net_kwh[:2, :HOURS])
    assert list(found.published) == [6]
    assert np.array_equal(found.battery.capacity_kwh, [6.4, 6.4])


@pytest.mark.parametrize("form", ["bom", "crlf", "semicolons", "tabs", "2023", "later"])
def test_the_same_numbers_in_another_form(folder: Path, form: str) -> None:
    whole = read_folder(folder)
    for path in folder.glob("*.csv"):
        text = path.read_text()
        if form == "2023":
            text = text.replace("[", "(").replace("]", ")")
        if form == "later":
            for old, new in (
                ("Equipment Electric Power [kWh]", "non_shiftable_load"),
                ("Solar Generation [W/kW]", "solar_generation"),
                ("kg_CO2/kWh", "carbon_intensity"),
                ("Hour", "hour"),
            ):
                text = text.replace(old, new)
        text = text.replace(",", ";").replace(".", ",") if form == "semicolons" else text
        text = text.replace(",", "\t") if form == "tabs" else text
        text = text.replace("\n", "\r\n") if form == "crlf" else text
        path.write_bytes((b"\xef\xbb\xbf" if form == "bom" else b"") + text.encode())
    assert same(read_folder(folder), whole)
    assert read_folder(folder).notes == ()


def test_sizes_and_hours_are_the_schemas(folder: Path) -> None:
    storage = {"attributes": {"capacity": 13.5, "nominal_power": 3.0, "efficiency": 0.8}}
    changes = {"simulation_start_time_step": 24, "simulation_end_time_step": 47}
    schema(folder, changes, {"electrical_storage": storage, "pv": None})
    found = read_folder(folder)
    assert found.load_kwh.shape == (2, 24)
    assert np.array_equal(found.battery.capacity_kwh, [6.4, 13.5])
    assert np.array_equal(found.battery.power_kw, [5.0, 3.0])
    assert not found.solar_kwh[1].any()
    assert found.notes == (
        "Building_1: an efficiency without its curve: the challenge's own curve is played, as CityLearn does",
    )


def test_who_is_not_included_or_has_no_battery(folder: Path) -> None:
    schema(folder, {}, {"electrical_storage": None})
    found = read_folder(folder)
    assert found.notes == ("Building_1: no battery",)
    moved = play(found, POLICIES["plan"]) - found.net_kwh
    assert np.abs(moved[1]).max() < 1e-5
    schema(folder, {}, {"include": False})
    assert read_folder(folder).load_kwh.shape == (1, HOURS)


@pytest.mark.parametrize(
    ("file", "line", "text", "told"),
    [
        ("Building_0.csv", 30, "7,5,,0,0", "Building_0: 1 hours of load are missing"),
        ("Building_0.csv", 30, "7,5,NaN,0,0", "Building_0: 1 hours of load are missing"),
        ("Building_0.csv", 30, "7,5,1.0", "Building_0: 1 hours of PV are missing"),
        ("Building_0.csv", 30, "7,5,inf,0,0", "Building_0: 1 hours of load are missing"),
        ("Building_0.csv", 30, "7,5,-2.5,0,0", "load is below zero in 1 hours: that is taken as generation"),
        ("Building_0.csv", 30, "7,99,1,0,0", "no hours of the day from 1 to 24"),
        ("Building_0.csv", 30, "7,5,1,3,0", "Building_0: heat or cold without a device"),
        ("pricing.csv", 30, ",0.2", "1 hours of pricing.csv are missing"),
        ("pricing.csv", 30, "0.2,1e9", "1 published prices are over"),
        ("carbon_intensity.csv", 30, "nan", "1 hours of carbon_intensity.csv are missing"),
    ],
)
def test_what_is_off_is_told(folder: Path, file: str, line: int, text: str, told: str) -> None:
    edit(folder / file, line, text)
    found = read_folder(folder)
    assert any(told in note for note in found.notes), found.notes
    assert np.isfinite(found.net_kwh).all() and np.isfinite(found.price).all() and np.isfinite(found.intensity).all()


def test_a_hole_takes_the_day_before_and_what_is_below_zero_is_generation(folder: Path) -> None:
    whole = read_folder(folder)
    edit(folder / "Building_0.csv", 30, "7,5,,0,-100")
    found = read_folder(folder)
    assert found.load_kwh[0, 29] == pytest.approx(whole.load_kwh[0, 5] + 0.4)
    assert found.solar_kwh[0, 29] == 0.0


def test_heat_and_cold_are_in_the_load_as_their_devices_take_them(folder: Path) -> None:
    whole = read_folder(folder)
    rows = (folder / "Building_1.csv").read_text().replace(",0,", ",3,").replace("DHW Heating", "Cooling Load")
    (folder / "Building_1.csv").write_text(rows)
    temperatures = np.linspace(5.0, 40.0, HOURS)
    (folder / "weather.csv").write_text("\n".join(["Outdoor Drybulb Temperature [C]", *map(str, temperatures), ""]))
    pump = {"type": "citylearn.energy_model.HeatPump", "attributes": {"efficiency": 0.25}}
    schema(folder, {}, {"cooling_device": pump, "weather": "weather.csv", "cooling_storage": {"attributes": {}}})
    found = read_folder(folder)
    assert found.notes == ("Building_1: stores of heat and cold are not driven",)
    taken = found.load_kwh[1] - whole.load_kwh[1]
    assert taken[0] == pytest.approx(3 / 20)
    assert taken[-1] == pytest.approx(3 * (40 - 8) / (0.25 * (8 + 273.15)))
    (folder / "weather.csv").unlink()
    assert np.array_equal(read_folder(folder).load_kwh, whole.load_kwh)


@pytest.mark.parametrize(("file", "left"), [("pricing.csv", "price"), ("carbon_intensity.csv", "emission")])
def test_without_a_tariff_or_intensities_the_score_is_that_of_the_rest(folder: Path, file: str, left: str) -> None:
    (folder / file).unlink()
    found = read_folder(folder)
    assert any("the score is that of" in note for note in found.notes)
    judged = evaluate(play(found, POLICIES["plan"]), found)
    assert getattr(judged, left) is None and np.isfinite(judged.score)


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("schema.json", None, "cannot be read"),
        ("schema.json", "{", "is no JSON"),
        ("schema.json", "[]", "names no buildings"),
        ("schema.json", '{"buildings": {}}', "includes no building"),
        ("schema.json", '{"buildings": {"a": {}}}', "names no file as a's energy_simulation"),
        ("schema.json", '{"buildings": {"a": {"energy_simulation": "../x"}}}', "cannot be read"),
        ("Building_0.csv", None, "cannot be read"),
        ("Building_0.csv", "", "has no column 'equipment electric power'"),
        ("Building_0.csv", HEAD, "tables of different or no hours"),
        ("Building_0.csv", f"{HEAD}\n7,1,much,0,0", "line 2, column 3: 'much' is no number"),
        ("Building_0.csv", f"{HEAD}\n" + "7,1,,0,0\n" * HOURS, "72 of 72 hours of load are missing"),
        ("pricing.csv", "Electricity Pricing [$]\n0.2\n", "tables of different or no hours"),
        ("pricing.csv", "Something\n0.2\n", "has no column 'electricity pricing'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_way(folder: Path, file: str, text: str | None, why: str) -> None:
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(DataRefused, match=why) as caught:
        read_folder(folder)
    assert caught.value.remedy


def test_more_that_cannot_be_used(folder: Path) -> None:
    (folder / "Building_0.csv").write_bytes(b"\xff\xfe" + table(0).encode("utf-16-le"))
    with pytest.raises(DataRefused, match="no UTF-8"):
        read_folder(folder)
    schema(folder, {"seconds_per_time_step": 900})
    with pytest.raises(DataRefused, match="steps of 900 s"):
        read_folder(folder)
    heater = {"type": "ElectricHeater", "attributes": {"efficiency": 0}}
    schema(folder, {}, {"dhw_device": heater})
    (folder / "Building_1.csv").write_text(f"{HEAD}\n" + "7,1,1,1,0\n" * HOURS)
    (folder / "Building_0.csv").write_text(table(0))
    with pytest.raises(DataRefused, match="Building_1's dhw_device: efficiency is no number above zero"):
        read_folder(folder)
    storage = {"attributes": {"capacity": 6.4, "nominal_power": 5.0, "depth_of_discharge": 7}}
    schema(folder, {}, {"electrical_storage": storage})
    with pytest.raises(DataRefused, match="Building_1's battery: depth_of_discharge is no number"):
        read_folder(folder)
    schema(folder, {}, {"pv": {"attributes": {"nominal_power": None}}})
    (folder / "Building_0.csv").write_text(table(0))
    with pytest.raises(DataRefused, match="Building_1's pv has no nominal_power"):
        read_folder(folder)


def test_nothing_to_score_is_refused(folder: Path) -> None:
    for house in (0, 1):
        (folder / f"Building_{house}.csv").write_text(f"{HEAD}\n" + "7,1,0,0,0\n" * HOURS)
    found = read_folder(folder)
    with pytest.raises(DataRefused, match="nothing to score"):
        evaluate(play(found, POLICIES["plan"]), found)


def test_the_command_tells_what_was_off(folder: Path) -> None:
    edit(folder / "Building_0.csv", 30, "7,5,-2.5,0,0")
    ran = CliRunner().invoke(score, ["--data", str(folder), "--controller", "greedy", "--json"])
    assert ran.exit_code == 0
    body = json.loads(ran.stdout.splitlines()[-1])
    assert body["notes"] == {folder.name: ["Building_0: load is below zero in 1 hours: that is taken as generation"]}
    assert np.isfinite(body[folder.name])
    ran = CliRunner().invoke(score, ["--data", str(folder), "--controller", "none"])
    assert "load is below zero" in ran.stderr
