"""The replica of the CityLearn challenge 2022, against the numbers its own environment gives."""

from importlib.util import find_spec

import msgspec
import numpy as np
import pytest

from taihu.decide.policies import POLICIES
from taihu.decide.policy import BasicRule, Greedy, NoBattery
from taihu.sim.citylearn import (
    Buildings,
    captured,
    evaluate,
    phases,
    play,
    play_oracle,
    weighted,
)

PHASES = phases()


def test_no_battery_is_the_measure() -> None:
    for buildings in PHASES.values():
        assert evaluate(play(buildings, NoBattery), buildings).score == 1.0


@pytest.mark.parametrize(("name", "wanted"), [("phase_1", 1.108), ("phase_2", 1.091), ("phase_3", 1.092)])
def test_the_basic_rule_scores_what_the_environment_says(name: str, wanted: float) -> None:
    found = evaluate(play(PHASES[name], BasicRule), PHASES[name])
    assert round(found.score, 3) == wanted
    if name == "phase_1":
        assert [round(one or 0, 4) for one in (found.price, found.emission, found.grid)] == [1.0697, 1.1793, 1.0748]


@pytest.mark.parametrize(
    ("name", "greedy", "oracle"), [("phase_1", 0.881, 0.767), ("phase_2", 0.875, 0.769), ("phase_3", 0.947, 0.868)]
)
def test_greedy_with_and_without_the_true_hour(name: str, greedy: float, oracle: float) -> None:
    buildings = PHASES[name]
    assert round(evaluate(play(buildings, Greedy), buildings).score, 3) == greedy
    assert round(evaluate(play_oracle(buildings), buildings).score, 3) == oracle


def test_the_weighting_of_the_phases() -> None:
    scores = {name: evaluate(play(buildings, Greedy), buildings) for name, buildings in PHASES.items()}
    assert round(weighted(scores), 3) == 0.912


@pytest.mark.parametrize("name", sorted(name for name in POLICIES if name != "mpc" or find_spec("highspy")))
def test_a_policy_sees_nothing_of_the_hour_it_acts_in(name: str) -> None:
    """Another future changes no action until it has come."""
    buildings = first_hours(PHASES["phase_1"], 260)
    cut = 200
    load = buildings.load_kwh.copy()
    load[:, cut:] = load[::-1, cut:] * 1.7 + 0.3
    intensity = buildings.intensity.copy()
    intensity[cut:] = 2 * intensity[cut:].max() - intensity[cut:]
    changed = msgspec.structs.replace(buildings, load_kwh=load, intensity=intensity)
    taken = [play(one, POLICIES[name]) - one.net_kwh for one in (buildings, changed)]
    assert np.allclose(taken[0][:, : cut + 1], taken[1][:, : cut + 1], atol=1e-9)


def test_the_tariff_is_known_as_far_as_it_was_published() -> None:
    buildings = PHASES["phase_1"]
    assert np.isnan(buildings.tariff(0)).sum() == 21  # the predictions of 6, 12 and 24 hours, made in one hour
    assert np.isnan(buildings.tariff(11)).sum() == 0
    assert buildings.tariff(100).tolist() == buildings.price[101:125].tolist()
    later = buildings.price.copy()
    later[150:] = 9.0
    published = {lead: np.append(later[lead:], np.full(lead, np.nan)) for lead in buildings.published}
    changed = msgspec.structs.replace(buildings, published=published)
    assert np.array_equal(changed.tariff(125), buildings.tariff(125))


def test_a_tariff_without_predictions_is_unknown() -> None:
    assert np.isnan(msgspec.structs.replace(PHASES["phase_1"], published={}).tariff(500)).all()


def first_hours(buildings: Buildings, count: int) -> Buildings:
    return Buildings(
        buildings.load_kwh[:, :count],
        buildings.solar_kwh[:, :count],
        buildings.price[:count],
        buildings.intensity[:count],
        buildings.hour[:count],
        {lead: made[:count] for lead, made in buildings.published.items()},
    )


def test_a_forecast_is_better_than_the_last_hour() -> None:
    buildings = PHASES["phase_1"]
    scores = {name: evaluate(play(buildings, POLICIES[name]), buildings).score for name in ("greedy", "forecast")}
    assert scores["forecast"] < scores["greedy"]


def test_a_plan_is_better_than_a_forecast_alone() -> None:
    buildings = first_hours(PHASES["phase_1"], 730)
    scores = {name: evaluate(play(buildings, POLICIES[name]), buildings).score for name in ("forecast", "plan")}
    assert scores["plan"] < scores["forecast"] - 0.02


@pytest.mark.skipif(not find_spec("highspy"), reason="linear programs need HiGHS: pip install 'taihu[plan]'")
@pytest.mark.parametrize("name", sorted(PHASES))
def test_a_plan_loses_nothing_in_the_first_days_of_any_phase(name: str) -> None:
    """A house whose first hour is next to nothing is one of the last phase."""
    begin = first_hours(PHASES[name], 72)
    assert evaluate(play(begin, POLICIES["plan"]), begin).score <= 1.005


def test_foresight_is_a_mark_that_no_policy_reaches() -> None:
    from taihu.sim.foresight import Foresight

    buildings = first_hours(PHASES["phase_1"], 240)
    known = evaluate(play(buildings, lambda battery, _: Foresight(battery, buildings)), buildings)
    assert known.score < evaluate(play(buildings, POLICIES["plan"]), buildings).score - 0.05


@pytest.mark.skipif(not find_spec("highspy"), reason="linear programs need HiGHS: pip install 'taihu[plan]'")
def test_foresight_goes_on_past_the_end_of_a_month() -> None:
    from taihu.sim.foresight import Foresight

    whole = PHASES["phase_2"]
    buildings = msgspec.structs.replace(
        first_hours(whole, 760), load_kwh=whole.load_kwh[:2, :760], solar_kwh=whole.solar_kwh[:2, :760]
    )
    known = play(buildings, lambda battery, _: Foresight(battery, buildings))
    assert np.isfinite(known).all() and np.abs(known - buildings.net_kwh)[:, 731:].sum() > 1
    assert evaluate(known, buildings).score < 0.8


def test_the_captured_part() -> None:
    assert captured("phase_1", 1.0) == 0.0
    assert captured("weighted", 0.6484) == pytest.approx(1.0)
    assert captured("weighted", 0.912) == pytest.approx(0.250, abs=0.001)
