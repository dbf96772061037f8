"""The card of what was expected and what came: a band, its median, and gaps where nothing has come."""

import pytest

from taihu.console.answers import Foretold
from taihu.console.outlook import outlook_option
from taihu.console.texts import LANGUAGES, Language, text
from taihu.decide.problem import Kind

HOUR_NS = 3_600_000_000_000
OUTLOOK = (Foretold(0, 2.0, 1.0, 4.0, 3.0), Foretold(HOUR_NS, -2.0, -3.0, -1.5))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_band_goes_from_low_to_high_and_what_has_not_come_is_a_gap(language: Language) -> None:
    option = outlook_option(language, OUTLOOK, "UTC")
    low, width, median, came = (series["data"] for series in option["series"])
    assert [one["value"] for one in low] == [1.0, -3.0]
    assert width == [3.0, 1.5]
    assert median == [2.0, -2.0]
    assert came == [3.0, None]
    assert option["xAxis"]["data"] == ["00:00", "01:00"]
    assert "+3.0 kWh" in low[0]["tip"]
    assert text(language, "outlook_came") not in low[1]["tip"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("binding", [*Kind, "demand", "price", "worth", "full", "empty", "power", "meter"])
def test_whatever_binds_a_plan_has_its_words(language: Language, binding: str) -> None:
    assert text(language, f"plan_{binding}")
