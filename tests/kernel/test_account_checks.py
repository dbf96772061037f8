"""A carbon account's settings: what does not fit is told by line, with what to write instead."""

from pathlib import Path

import pytest

from taihu.kernel.config import parse_site
from taihu.kernel.errors import ConfigError

HEAD = '[[project]]\nname = "home"\n[[project.account]]\nmeter = "boiler"\n'
FUEL = HEAD + 'import = "gas"\nfuel = "natural-gas"\n'
CONTROLLER = """
[[project]]
name = "home"
[[project.controller]]
battery = "battery"
net = "meter/power"
load = "meter/load"
intensity = "grid/average"
cost_weight = 0
carbon_weight = 1
capacity_kwh = 5
power_kw = 2
name = "b"
"""
AVOIDED = CONTROLLER + '[[project.account]]\navoided = "b"\n'
TWICE = '[[project.account]]\nmeter = "boiler"\nimport = "gas"\n'


def test_good_ones_are_read(tmp_path: Path) -> None:
    more = ('heating = "bill"\nregion = "DE"\nupstream = "wtt"\n', "")
    assert [parse_site(FUEL + one, tmp_path).projects[0].accounts[0].emits for one in more] == ["natural-gas"] * 2
    parts = FUEL + "until = 2022-05-01T00:00:00Z\n" + TWICE + "since = 2022-05-01T00:00:00Z\n"
    assert len(parse_site(parts, tmp_path).projects[0].accounts) == 2
    (leak,) = parse_site(HEAD + 'import = "refilled"\nleak = "r-32"\n', tmp_path).projects[0].accounts
    assert (leak.emits, leak.draws) == ("r-32", False)
    (avoided,) = parse_site(AVOIDED + 'marginal = "grid/margin"\n', tmp_path).projects[0].accounts
    assert (avoided.key, avoided.draws, avoided.energy) == ("b-avoided", False, "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD, "names no energy, or several"),
        (HEAD + 'import = "gas"\nnet = "power"\n', "names no energy, or several"),
        (HEAD + 'net = "gas"\nfuel = "natural-gas"\n', "A fuel has an import alone"),
        (FUEL + 'supplier = "x"\n', "A fuel has an import alone"),
        (FUEL + 'leak = "r-32"\n', "It is a fuel and a leak"),
        (HEAD + 'import = "gas"\nheating = "bill"\n', "A heating value is of a fuel"),
        (HEAD + 'import = "fed"\nprocess = "limestone"\nupstream = "x"\n', "not of a process"),
        (FUEL + 'certificates = true\n', "Certificates are of generation"),
        (FUEL + TWICE, "boiler is accounted twice"),
        (FUEL + "until = 2022-05-02T00:00:00Z\n" + TWICE + "since = 2022-05-01T00:00:00Z\n", "accounted twice"),
        (FUEL + "since = 2022-05-02T00:00:00Z\nuntil = 2022-05-01T00:00:00Z\n", "ends before it begins"),
        (FUEL.replace('meter = "boiler"\n', ""), "An account is of a meter"),
        (HEAD + 'net = "energy"\nmarginal = "grid/margin"\n', "never stand for each other (§8)"),
        (AVOIDED + 'intensity = "grid/average"\n', "never stand for each other (§8)"),
        (AVOIDED + 'marginal = "margin"\n', "'margin' is no property"),
        (AVOIDED, "No marginal intensity is named"),
        (AVOIDED + 'marginal = "grid/margin"\nmix = "grid"\n', "named twice"),
        (CONTROLLER + 'marginal = "grid/average"\n', "never stand for each other (§8)"),
        (CONTROLLER + 'carbon_signal = "marginal"\n', "No marginal intensity is named"),
        (AVOIDED + 'region = "CN"\nnet = "energy"\n', "no meter of its own"),
        (AVOIDED.replace('avoided = "b"', 'avoided = "c"') + 'region = "CN"\n', "no controller 'c'"),
    ],
)  # fmt: skip
def test_bad_ones_are_told(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        parse_site(text, tmp_path)
    assert says in str(error.value)
