"""A plan in words and as a chart: what the meter sees without and with it, and why it is so."""

import pytest

from taihu.console.plan_chart import plan_option
from taihu.console.planned import Asset, Decision, Guard, Plan, Saved, Stage
from taihu.console.plans import replayed, runs, saved_note, why_kind, without_plan
from taihu.console.texts import LANGUAGES, TEXTS, Language, text

STAGE = Stage(-5.0, 5.0, -1.5, 0, 4.0, 1.5, 1.0, 2.0, 0.22, 0.25)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_meter_is_drawn_without_and_with_the_plan(language: Language) -> None:
    option = plan_option(language, (STAGE,), "UTC")
    without, low, width, planned, power, held, intensity = (one["data"] for one in option["series"])
    assert without[0]["value"] == 1.5
    assert (low, width) == ([1.0], [1.0])
    assert planned == [0.0]
    assert power[0]["value"] == -1.5
    assert (held, intensity) == ([4.0], [0.25])
    assert text(language, "discharging") in without[0]["tip"]


def test_a_plan_that_knows_no_intensity_shows_the_price() -> None:
    option = plan_option("en", [Stage(0.0, 0.0, 0.0, price=0.3), Stage(0.0, 0.0, 0.0, price=0.1)], "UTC")
    assert option["series"][-1]["data"] == [0.3, 0.1] and option["title"][-1]["text"] == "Tariff"
    assert "Tariff 0.300 /kWh" in option["series"][0]["data"][0]["tip"]
    named = plan_option("en", [Stage(0.0, 0.0, 0.0, price=0.3)], "UTC", "EUR")
    assert named["title"][-1]["text"] == "Tariff EUR/kWh"
    assert "Tariff 0.300 EUR/kWh" in named["series"][0]["data"][0]["tip"]


def test_a_plan_that_knows_no_band_has_none() -> None:
    """§3."""
    option = plan_option("en", (Stage(0.0, 0.0, 0.0, net_low_kw=1.0),), "UTC")
    assert len(option["series"]) == 5


@pytest.mark.parametrize("binding", ["price", "worth", "meter", "full", "empty", "power", "grid-import", "departure"])
@pytest.mark.parametrize("net_kw", [-1.0, 1.0])
@pytest.mark.parametrize("low_kw", [-5.0, 2.0])
def test_every_reason_has_words(binding: str, net_kw: float, low_kw: float) -> None:
    stage = Stage(low_kw, 5.0, 0.0, net_kw=net_kw)
    assert f"plan_why_{why_kind(Decision('drives', binding, (stage,)))}" in TEXTS


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_replay_says_how_far_it_is_and_what_it_takes_for_what_is_not_stored(language: Language) -> None:
    guard = Guard(replaying={"done": 3, "of": 14}, stand_ins=("battery begins half full",))
    said = replayed(language, guard)
    assert "3" in said and "14" in said
    assert said.endswith("battery begins half full" if language == "en" else "battery 以半满开始")
    assert replayed(language, Guard()) == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_saved_says_against_what(language: Language) -> None:
    assert text(language, "saved_estimated") in saved_note(language, Saved(1.0, 0.1, 5, estimated=True))
    assert text(language, "saved_shadow") in saved_note(language, Saved(1.0, 0.1, 5))
    assert saved_note(language, Saved()) == text(language, "saved_waiting")


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_waits_says_for_what(language: Language) -> None:
    waiting = without_plan(language, Plan("home", "flexible", waits="There is no thing 'meter' here."))
    assert waiting.endswith("There is no thing 'meter' here.")
    assert without_plan(language, Plan("home", "flexible")) == without_plan(language, None) != waiting


def test_flexible_loads_are_not_called_a_battery() -> None:
    """Their power stands in place of one; what is stored has a row where something is."""
    stages = [Stage(0.0, 0.0, 8.0, price=0.3), Stage(0.0, 0.0, 0.0, price=0.1)]
    option = plan_option("en", stages, "UTC", flexible=True)
    assert [one["text"] for one in option["title"]][1:] == [text("en", "plan_chart_flexible"), text("en", "price")]
    assert len(option["grid"]) == len(option["xAxis"]) == len(option["yAxis"]) == 3
    assert max(one.get("xAxisIndex", 0) for one in option["series"]) == 2
    stored = plan_option("en", [Stage(0.0, 0.0, 8.0, content_kwh=4.0)], "UTC", flexible=True)
    assert len(stored["grid"]) == 4 and "kWh" in stored["series"][0]["data"][0]["tip"]
    assert "kWh" not in option["series"][0]["data"][0]["tip"].replace("/kWh", "")


def test_when_an_asset_runs_is_told_by_the_local_clock() -> None:
    stages = [Stage(0.0, 0.0, 0.0, start=hour * 3_600_000_000_000) for hour in range(6)]
    truck = Asset("truck", "vehicle", powers_kw=(8.0, 0.1, 0.0, 4.0, 4.0, 8.0))
    assert runs(truck, stages, "Asia/Shanghai") == "08:00–09:00, 11:00–…"
    assert (
        runs(Asset("truck", "vehicle", powers_kw=(1.0, 0.0) * 3), stages, "UTC")
        == "00:00–01:00, 02:00–03:00, 04:00–05:00"
    )
    assert runs(Asset("roof", "solar", powers_kw=(-1.0,) * 6), stages, "UTC") == ""
    assert runs(Asset("rest", "load", powers_kw=(0.0,) * 6), stages, "UTC") == ""
