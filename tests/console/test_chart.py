"""The chart's option: gaps where nothing is known, and words for every hour."""

from taihu.console.chart import chart_option
from taihu.console.hours import Hour

HOUR = 3_600 * 10**9
HOURS = (
    Hour(0, HOUR, None, 0, 2, 0.0, None, None),
    Hour(HOUR, 2 * HOUR, -1.5, 1, 2, 0.5, 0.25, 0.0),
    Hour(2 * HOUR, 3 * HOUR, 4.0, 2, 2, 1.0, 0.25, 1.0),
)


def test_what_is_missing_is_null_and_shaded_and_what_is_zero_is_drawn() -> None:
    option = chart_option("en", HOURS, "UTC")
    energy, carbon, intensity = ([item["value"] for item in series["data"]] for series in option["series"])
    assert (energy, carbon, intensity) == ([None, -1.5, 4.0], [None, 0.0, 1.0], [None, 0.25, 0.25])
    shades = [axis["splitArea"]["areaStyle"]["color"] for axis in option["xAxis"]]
    assert [[shade != "transparent" for shade in row] for row in shades] == [[True, False, False]] * 3
    assert option["series"][0]["barMinHeight"] > 0


def test_an_incomplete_hour_looks_and_reads_otherwise() -> None:
    option = chart_option("en", HOURS, "UTC")
    _, partial, complete = option["series"][0]["data"]
    assert partial["itemStyle"]["borderType"] == "dashed"
    assert "borderType" not in complete["itemStyle"]
    assert "1 of 2 houses · known 50 %" in partial["tip"]
    assert "of 2 houses" not in complete["tip"]


def test_hours_are_named_on_the_sites_clock_in_the_readers_language() -> None:
    option = chart_option("zh", HOURS, "Asia/Shanghai")
    assert option["xAxis"][0]["data"] == ["08:00", "09:00", "10:00"]
    assert option["series"][0]["data"][2]["tip"].startswith("<b>10:00–11:00</b><br>+4.0 kWh 取电")
    assert "无数据" in option["series"][0]["data"][0]["tip"]
