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
        "feed-in: 3 prices are missing: the least that is known stands for them",
        "1 prices of prices.csv cannot be, such as 1e+12: they are none",
        "p.csv has no price of the last 8 days or to come: its last is of 2026-01-02T20:00:00Z. Let it have some.",
        "battery is left out: it says a charge of 50 % all the time, 1.2 kWh came or went",
        "tank is left out: it says 46 °C all the time, 5.9 K should have come or gone",
        "battery is left out: it says a charge of 90 % after another a moment ago",
        "battery is told in vain, setpoint: -5.0 is below the minimum -2: tried again in 5 min",
        "is told in vain, setpoint: -5.0 is below the minimum -2",
        "battery has no permit, somebody withdrew it: another is asked for in 5 min",
        "car does not give back: it is only charged until it leaves",
        "car leaves 1.77e+12 s after 1970, which cannot be: the next 07:00 stands for it",
        "car is left out: charger says 'Available', which does not say whether it is plugged",
        "m/p says nothing: all do as planned without it, and import_max_kw and export_max_kw cannot be held",
        "Decisions cannot be kept: database or disk is full. Make room on the disk.",
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
