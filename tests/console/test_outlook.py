"""What was expected and what came: bands, their median, gaps where nothing has come, and who forecasts."""

from typing import Any

import pytest

from taihu.console.foretold import Errors, Outlook, Step
from taihu.console.outlook import by_whom, outlook_option, together
from taihu.console.planned import Foretold
from taihu.console.texts import LANGUAGES, Language, text
from taihu.decide.problem import Kind

HOUR_NS = 3_600_000_000_000
FIRST = Step(0, q10=1.0, q25=1.5, median=2.0, q75=3.0, q90=4.0, came=3.0)
LATER = Step(HOUR_NS, q10=-3.0, q25=-2.5, median=-2.0, q75=-1.75, q90=-1.5)
OUTLOOK = Outlook("kW.h", 3_600, "week-mean", Errors(mae=0.5, mase=0.75, covered=0.8), (FIRST, LATER))


def drawn(option: dict[str, Any]) -> dict[str, list[Any]]:
    """The lines and areas of a chart, by their colours."""
    return {(one.get("areaStyle") or one["lineStyle"])["color"]: one["data"] for one in option["series"]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_bands_stand_upon_each_other_and_what_has_not_come_is_a_gap(language: Language) -> None:
    option = outlook_option(language, OUTLOOK, "UTC")
    bands = [one["data"] for one in option["series"] if one.get("stack")]
    assert bands == [[1.0, -3.0], [0.5, 0.5], [1.5, 0.75], [1.0, 0.25]]
    lines = drawn(option)
    assert [one["value"] for one in lines["var(--ink-soft)"]] == [2.0, -2.0]
    assert lines["var(--ink)"] == [3.0, None]
    assert option["xAxis"]["data"] == ["00:00", "01:00"]
    tips = [one["tip"] for one in lines["var(--ink-soft)"]]
    assert "+3.00 kWh" in tips[0]
    assert text(language, "outlook_came") not in tips[1]


def test_what_nothing_was_expected_of_is_a_gap_too() -> None:
    """§3."""
    option = outlook_option("en", Outlook("kW.h", values=(Step(0, came=0.5), Step(HOUR_NS, median=2.0))), "UTC")
    lines = drawn(option)
    assert [one["value"] for one in lines["var(--ink-soft)"]] == [None, 2.0]
    assert not [one for one in option["series"] if one.get("stack")]  # of errors nothing is known yet


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_panel_says_who_forecasts_and_how_well(language: Language) -> None:
    said = by_whom(language, OUTLOOK)
    assert [part for part in ("0.50 kWh", "0.75", "80 %", text(language, "model_week-mean")) if part not in said] == []
    assert by_whom(language, Outlook()) == text(language, "outlook_untrained")


def test_controllers_together_are_an_outlook_without_a_model() -> None:
    found = together([Foretold(0, 2.0, 1.0, 4.0, 3.0, 17)])
    assert found is not None
    assert found.values == (Step(0, q10=1.0, median=2.0, q90=4.0, came=3.0),)
    assert "17" in by_whom("en", found)
    assert together([]) is None


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("binding", [*Kind, "demand", "price", "worth", "full", "empty", "power", "meter"])
def test_whatever_binds_a_plan_has_its_words(language: Language, binding: str) -> None:
    assert text(language, f"plan_{binding}")
