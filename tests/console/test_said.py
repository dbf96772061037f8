"""What the pilot says in English is said in Chinese on the Chinese page."""

import re

import pytest

from taihu.console.said import said


@pytest.mark.parametrize(
    "words",
    [
        "Not all can be kept: c07 misses 9.98 kWh (departure).",
        "curtailed by 1.20 kW",
        "waits 2.5 h",
        "A kWh costs 0.600 now and 0.300 in 5.2 h: what can wait waits.",
        "The grid connection is full: 15.00 of 15 kW.",
        "car does not do what it is told: it is left alone for an hour",
        "car left before its time, 3.2 kWh short",
        "feed-in: 3 prices are missing: those of the days before stand for them",
        "b0 begins half full; likewise b1, b2, b3 and 16 more",
        "pv/power is not kept forecast: its own plain forecast stands for it",
        "nothing was measured in the last 4 hours",
        "tank begins at a quarter of its band: no temperature is stored",
    ],
)
def test_figures_and_names_are_kept(words: str) -> None:
    chinese = said("zh", words)
    assert chinese != words
    for figure in re.findall(r"\d+(?:\.\d+)?", words):
        assert figure in chinese
    assert said("en", words) == words


def test_what_it_does_not_know_stands_as_it_is() -> None:
    assert said("zh", "A sentence of tomorrow.") == "A sentence of tomorrow."
