"""A scheduler's settings: what does not fit is told by line, with what to write instead."""

from pathlib import Path

import pytest

from taihu.kernel.config import parse_site
from taihu.kernel.errors import ConfigError

GOOD = """[[project]]
name = "home"
[[project.scheduler]]
name = "flexible"
net = "meter/power"
base = "meter/base"
[project.scheduler.buys]
price = 0.3
[[project.scheduler.battery]]
name = "battery"
thing = "battery"
capacity_kwh = 10
power_kw = 5
"""
BATTERY = GOOD[GOOD.index("[[project.scheduler.battery]]") :]
SECOND = GOOD[GOOD.index("[[project.scheduler]]") :]
CAR = '[[project.scheduler.vehicle]]\nname = "car"\nthing = "c"\ncapacity_kwh = 60\npower_kw = 11\n'
TANK = """[[project.scheduler.heat]]
name = "tank"
thing = "t"
capacity_kwh_per_k = 0.3
loss_kw_per_k = 0.02
power_kw = 3
low_c = 45
high_c = 60
"""
GROUP = '[[project.scheduler.group]]\nname = "g"\nmembers = ["battery"]\nimport_max_kw = 5\n'
EURO = 'price = 0.3\ncurrency = "EUR"\n'
EUROS = GOOD.replace("price = 0.3", EURO)
SELLS = '[project.scheduler.sells]\nprice = 0.1\ncurrency = "EUR"\n'
ADVISE = SECOND.replace('"flexible"', '"other"\nmode = "advise"')
LOAD = '[[project.scheduler.load]]\nname = "washer"\nthing = "w"\npower_kw = 2\nminutes = 60\n'


def test_a_good_one_is_read(tmp_path: Path) -> None:
    (scheduler,) = parse_site(GOOD, tmp_path).projects[0].schedulers
    assert [one.name for one in scheduler.assets] == ["battery"]


def test_who_only_advises_may_be_asked_of_what_another_drives(tmp_path: Path) -> None:
    assert len(parse_site(GOOD + ADVISE, tmp_path).projects[0].schedulers) == 2


def test_prices_of_one_project_are_in_one_currency_and_projects_may_differ(tmp_path: Path) -> None:
    euros, yuan = GOOD.replace("price = 0.3", EURO + SELLS), GOOD.replace("price = 0.3", EURO.replace("EUR", "CNY"))
    site = parse_site(euros + ADVISE + yuan.replace('"home"', '"office"'), tmp_path)
    assert [one.buys.currency for project in site.projects for one in project.schedulers] == ["EUR", "", "CNY"]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (GOOD.replace("price = 0.3", ""), 3, "there is no tariff"),
        (GOOD.replace("price = 0.3", 'price = 0.3\nproperty = "grid/price"'), 7, "several sources"),
        (GOOD.replace("price = 0.3", 'property = "grid/price@soon"'), 8, "is no property"),
        (GOOD.replace("price = 0.3", 'file = "none.csv"'), 8, "There is no file"),
        (GOOD.replace('base = "meter/base"', 'base = "base"'), 6, "is no property"),
        (GOOD.partition("[[project.scheduler.battery]]")[0], 3, "nothing to plan"),
        (GOOD.replace('base = "', 'cost_weight = 0\nbase = "'), 6, "Nothing is to be made small"),
        (GOOD.replace('base = "', 'carbon_weight = 1\nbase = "'), 6, "there is no intensity"),
        (GOOD + SECOND, 15, "two controllers"),
        (GOOD + SECOND.replace('"flexible"', '"other"'), 22, "driven by flexible and by other"),
        (GOOD + BATTERY.replace('name = "battery"', 'name = "twin"'), 16, "battery/setpoint is driven by flexible and"),
        (GOOD.replace('thing = "', 'thing = "office/'), 11, "office/battery"),
        (GOOD.replace('net = "', 'net = "office/'), 5, "is no property"),
        (GOOD + LOAD, 14, "started by nothing"),
        (GOOD + LOAD + 'start = "start"\non_minutes_min = 30\n', 14, "runs in one go"),
        (GOOD + LOAD.replace("washer", "battery") + 'switch = "on"\n', 3, "two assets"),
        (GOOD + '[[project.scheduler.group]]\nname = "g"\nmembers = ["car"]\nimport_max_kw = 5\n', 16, "no asset"),
        (GOOD + LOAD.replace("60", "5") + 'start = "start"\n', 18, "minutes does not fit"),
        (GOOD.replace("price = 0.3", "price = nan"), 8, "price is nan"),
        (GOOD.replace("capacity_kwh = 10", "capacity_kwh = inf"), 12, "capacity_kwh is inf"),
        (GOOD.replace("power_kw = 5", "power_kw = 1e12"), 13, "power_kw is 1e+12"),
        (GOOD.replace("capacity_kwh = 10", "capacity_kwh = -10"), 12, "capacity_kwh does not fit"),
        (GOOD + CAR + "minimum_kw = 20\n", 19, "could never run"),
        (GOOD + CAR + 'ready_by = "25:00"\n', 19, "ready_by does not fit"),
        (GOOD + TANK.replace("45", "70"), 20, "ends below it begins"),
        (GOOD + GROUP + GROUP, 19, "two of 'g'"),
        (GOOD + GROUP.replace('"g"', '"battery"'), 15, "two of 'battery'"),
        (GOOD + GROUP.replace('["battery"]', '["battery", "battery"]'), 16, "a member twice"),
        (GOOD + GROUP.replace('"battery"', '"g"'), 16, "no asset 'g'"),
        (GOOD.replace("price = 0.3", 'price = 0.3\ncurrency = "RMB"'), 9, "There is no currency 'RMB'"),
        (GOOD.replace("price = 0.3", 'price = 0.3\ncurrency = "yuan"'), 9, "currency does not fit"),
        (GOOD.replace("price = 0.3", EURO + SELLS.replace("EUR", "CNY")), 12, "in EUR and in CNY, which do not add"),
        (EUROS + ADVISE.replace("price = 0.3", EURO.replace("EUR", "CNY")), 23, "do not add"),
        (GOOD.replace("price = 0.3", "[[project.scheduler.buys.band]]\nstart = 8"), 9, "start is a whole number"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_by_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_site(text, tmp_path)
    assert says in str(raised.value)
    assert f"site.toml:{line}" in str(raised.value.where)
