"""The last day as an ECharts option: energy, carbon and intensity of each hour, one above the other, on one time axis.

Colours are CSS variables, which the SVG renderer passes on: the chart follows the page from light to dark by itself.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from taihu.console.hours import Hour
from taihu.console.numbers import local, number, signed
from taihu.console.texts import Language, text

Option = dict[str, Any]


class Row(msgspec.Struct, frozen=True):
    """One of the plots: its title's text key, and where it lies (pixels)."""

    key: str
    top: int
    height: int


ROWS = (Row("chart_energy", 26, 122), Row("chart_carbon", 186, 48), Row("chart_intensity", 272, 40))
_STILL: Option = {"emphasis": {"disabled": True}}
_BARS: Option = {"type": "bar", "barCategoryGap": "30%", "barMinHeight": 2, **_STILL}  # a known 0 can be seen


def chart_option(language: Language, hours: Sequence[Hour], timezone: str) -> Option:
    """The option for these hours; a missing figure is a shaded gap, an incomplete one pale with a dashed edge."""
    labels = [f"{local(hour.start, timezone):%H:%M}" for hour in hours]
    figures = [
        [hour.energy_kwh for hour in hours],
        [hour.carbon_kg for hour in hours],
        [hour.intensity for hour in hours],
    ]
    tips = [_tip(language, hour, timezone) for hour in hours]
    marked = list(zip(hours, tips, strict=True))
    return {
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "title": [_title(text(language, row.key), row.top) for row in ROWS],
        "grid": [{"left": 40, "right": 8, "top": row.top, "height": row.height} for row in ROWS],
        "xAxis": [_time_axis(row, labels, figures[row]) for row in range(len(ROWS))],
        "yAxis": [_value_axis(index) for index in range(len(ROWS))],
        "axisPointer": {"link": [{"xAxisIndex": "all"}], "lineStyle": {"color": "var(--ink-faint)", "type": "solid"}},
        "tooltip": tooltip(),
        "series": [
            {**_BARS, "data": [_bar(hour.energy_kwh, hour, tip, _direction(hour.energy_kwh)) for hour, tip in marked]},
            {**_BARS, **_on(1), "data": [_bar(hour.carbon_kg, hour, tip, "var(--carbon)") for hour, tip in marked]},
            {
                "type": "line",
                "step": "middle",
                "showSymbol": False,
                "lineStyle": {"color": "var(--ink-soft)", "width": 1.6},
                "data": [{"value": hour.intensity, "tip": tip} for hour, tip in marked],
                **_on(2),
                **_STILL,
            },
        ],
    }


def _on(row: int) -> Option:
    return {"xAxisIndex": row, "yAxisIndex": row}


def _title(words: str, top: int) -> Option:
    style = {"color": "var(--ink-soft)", "fontSize": 12, "fontWeight": "normal"}
    return {"text": words, "left": 0, "top": top - 24, "padding": 0, "textStyle": style}


def tooltip() -> Option:
    """What is told of a place that is pointed at: its first series' `tip`."""
    return {
        "trigger": "axis",
        "confine": True,
        "className": "chart-tip",
        "backgroundColor": "var(--surface)",
        "borderColor": "var(--line-strong)",
        "textStyle": {"color": "var(--ink)", "fontSize": 12},
        ":formatter": "points => points[0].data.tip",
    }


def _time_axis(index: int, labels: list[str], figures: list[float | None]) -> Option:
    last = index == len(ROWS) - 1
    label = {"show": last, "color": "var(--ink-soft)", "fontSize": 11, "hideOverlap": True, "interval": 2}
    return {
        "type": "category",
        "gridIndex": index,
        "data": labels,
        "axisTick": {"show": False},
        "axisLine": {"lineStyle": {"color": "var(--line-strong)"}},
        "axisLabel": label,
        "axisPointer": {"label": {"show": False}},
        "splitArea": {
            "show": True,
            "interval": 0,
            "areaStyle": {"color": ["var(--gap-fill)" if figure is None else "transparent" for figure in figures]},
        },
    }


def _value_axis(index: int) -> Option:
    return {
        "type": "value",
        "gridIndex": index,
        "splitNumber": 4 if index == 0 else 2,
        "axisLabel": {"color": "var(--ink-soft)", "fontSize": 11, "hideOverlap": True},
        "splitLine": {"lineStyle": {"color": "var(--line)"}},
    }


def _direction(value: float | None) -> str:
    return "var(--export-fill)" if value is not None and value < 0 else "var(--import-fill)"


def _bar(value: float | None, hour: Hour, tip: str, colour: str) -> Option:
    style: Option = {"color": colour, "borderRadius": 2}
    if not hour.complete:
        style |= {"opacity": 0.45, "borderColor": colour, "borderType": "dashed", "borderWidth": 1.5}
    return {"value": value, "tip": tip, "itemStyle": style}


def _tip(language: Language, hour: Hour, timezone: str) -> str:
    """The words for an hour; numbers and own words only, so nothing needs escaping."""
    missing = text(language, "chart_missing")
    direction = text(language, "chart_export" if (hour.energy_kwh or 0.0) < 0 else "chart_import")
    energy = missing if hour.energy_kwh is None else f"{signed(hour.energy_kwh, 1)} kWh {direction}"
    carbon = missing if hour.carbon_kg is None else f"{number(hour.carbon_kg, 2)} kg"
    intensity = missing if hour.intensity is None else f"{number(hour.intensity, 3)} kg/kWh"
    rows = [
        f"<b>{local(hour.start, timezone):%H:%M}–{local(hour.end, timezone):%H:%M}</b>",
        energy,
        f"{text(language, 'carbon')} {carbon}",
        f"{text(language, 'intensity')} {intensity}",
    ]
    if not hour.complete:
        known = text(language, "houses_known", known=hour.houses, of=hour.of)
        rows.append(f"{known} · {text(language, 'chart_coverage', percent=number(100 * hour.coverage, 0))}")
    return "<br>".join(rows)
