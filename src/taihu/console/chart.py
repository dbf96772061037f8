"""The last day as an ECharts option: energy, carbon and intensity of each hour, one above the other, on one time axis.

Colours are CSS variables, which the SVG renderer passes on: the chart follows the page from light to dark by itself.
"""

from collections.abc import Sequence
from typing import Any

from taihu.console.hours import Hour
from taihu.console.numbers import local, number, signed
from taihu.console.texts import Language, text

Option = dict[str, Any]

_ROWS = (("chart_energy", 30, 46), ("chart_carbon", 200, 22), ("chart_intensity", 300, 14))
_TOPS = (34, 186, 276)
_HEIGHTS = (108, 46, 34)
HEIGHT_PX = 340


def chart_option(language: Language, hours: Sequence[Hour], timezone: str) -> Option:
    """The option for these hours; a missing figure is a gap, an incomplete one is drawn hatched and says so."""
    labels = [f"{local(hour.start, timezone):%H:%M}" for hour in hours]
    tips = [_tip(language, hour, timezone) for hour in hours]
    energy = [_bar(hour.energy_kwh, hour, tip, _direction(hour.energy_kwh)) for hour, tip in zip(hours, tips, strict=True)]
    carbon = [_bar(hour.carbon_kg, hour, tip, "var(--carbon)") for hour, tip in zip(hours, tips, strict=True)]
    return {
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "aria": {"enabled": True},
        "title": [_title(text(language, key), top) for (key, _, _), top in zip(_ROWS, _TOPS, strict=True)],
        "grid": [
            {"left": 44, "right": 12, "top": top, "height": height} for top, height in zip(_TOPS, _HEIGHTS, strict=True)
        ],
        "xAxis": [_time_axis(index, labels) for index in range(3)],
        "yAxis": [_value_axis(index) for index in range(3)],
        "axisPointer": {
            "link": [{"xAxisIndex": "all"}],
            "label": {"show": False},
            "lineStyle": {"color": "var(--ink-faint)", "type": "solid"},
        },
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "className": "chart-tip",
            "backgroundColor": "var(--surface)",
            "borderColor": "var(--line)",
            "textStyle": {"color": "var(--ink)", "fontSize": 12},
            ":formatter": "points => points[0].data.tip",
        },
        "series": [
            {"type": "bar", "data": energy, "barCategoryGap": "28%", "emphasis": {"disabled": True}},
            {"type": "bar", "data": carbon, "xAxisIndex": 1, "yAxisIndex": 1, "barCategoryGap": "28%", "emphasis": {"disabled": True}},
            {
                "type": "line",
                "xAxisIndex": 2,
                "yAxisIndex": 2,
                "step": "middle",
                "showSymbol": False,
                "connectNulls": False,
                "emphasis": {"disabled": True},
                "lineStyle": {"color": "var(--ink-soft)", "width": 1.6},
                "data": [{"value": hour.intensity, "tip": tip} for hour, tip in zip(hours, tips, strict=True)],
            },
        ],
    }


def _title(words: str, top: int) -> Option:
    return {
        "text": words,
        "left": 0,
        "top": top - 26,
        "padding": 0,
        "textStyle": {"color": "var(--ink-soft)", "fontSize": 12, "fontWeight": "normal"},
    }


def _time_axis(index: int, labels: list[str]) -> Option:
    return {
        "type": "category",
        "gridIndex": index,
        "data": labels,
        "axisTick": {"show": False},
        "axisLine": {"onZero": True, "lineStyle": {"color": "var(--line-strong)"}},
        "axisLabel": {"show": index == 2, "color": "var(--ink-soft)", "fontSize": 11, "hideOverlap": True, "interval": 2},
    }


def _value_axis(index: int) -> Option:
    return {
        "type": "value",
        "gridIndex": index,
        "splitNumber": 4 if index == 0 else 2,
        "axisLabel": {"color": "var(--ink-soft)", "fontSize": 11, "hideOverlap": True},
        "splitLine": {"lineStyle": {"color": "var(--line)"}},
        "scale": index == 2,
    }


def _direction(value: float | None) -> str:
    return "var(--export)" if value is not None and value < 0 else "var(--import)"


def _bar(value: float | None, hour: Hour, tip: str, colour: str) -> Option:
    """A bar, or the place of a missing one; an incomplete hour's bar is an outline."""
    style: Option = {"color": colour, "borderRadius": 2}
    if not hour.complete:
        style |= {"opacity": 0.45, "borderColor": colour, "borderType": "dashed", "borderWidth": 1.5}
    return {"value": value, "tip": tip, "itemStyle": style}


def _tip(language: Language, hour: Hour, timezone: str) -> str:
    """The words for an hour; numbers and own words only, so nothing needs escaping."""
    head = f"<b>{local(hour.start, timezone):%H:%M}–{local(hour.end, timezone):%H:%M}</b>"
    missing = text(language, "chart_missing")
    direction = text(language, "chart_export" if (hour.energy_kwh or 0.0) < 0 else "chart_import")
    energy = missing if hour.energy_kwh is None else f"{signed(hour.energy_kwh, 1)} kWh {direction}"
    carbon = missing if hour.carbon_kg is None else f"{number(hour.carbon_kg, 2)} kg"
    intensity = missing if hour.intensity is None else f"{number(hour.intensity, 3)} kg/kWh"
    rows = [head, energy, f"{text(language, 'carbon')} {carbon}", f"{text(language, 'intensity')} {intensity}"]
    if not hour.complete:
        known = text(language, "houses_known", known=hour.houses, of=hour.of)
        rows.append(f"{known} · {text(language, 'chart_coverage', percent=number(100 * hour.coverage, 0))}")
    return "<br>".join(rows)
