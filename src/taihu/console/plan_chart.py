"""A plan as an ECharts option: what the meter is to see, what the battery does and holds, or all flexible loads
together, and the grid's intensity, or the price where that is not known.
"""

from collections.abc import Sequence
from typing import Any

from taihu.console.chart import Option, Row, tooltip
from taihu.console.numbers import local, number, signed
from taihu.console.planned import Stage
from taihu.console.texts import Language, text

ROWS = (
    Row("plan_chart_net", 26, 108),
    Row("plan_chart_power", 172, 60),
    Row("plan_chart_held", 270, 44),
    Row("plan_chart_intensity", 352, 40),
)
_AXIS = {"color": "var(--ink-soft)", "fontSize": 11, "hideOverlap": True}
_LINE: Option = {"type": "line", "showSymbol": False, "emphasis": {"disabled": True}}
_STEP: Option = _LINE | {"step": "start"}


def plan_option(
    language: Language, stages: Sequence[Stage], timezone: str, currency: str = "", *, flexible: bool = False
) -> Option:
    """The option for these steps, with prices in a currency that may not be known.

    A plan of `flexible` loads has the power of them all; what is stored, where a battery is among them.
    """
    known = any(stage.intensity is not None for stage in stages)
    held = not flexible or any(stage.content_kwh for stage in stages)
    rows = _rows(flexible, held, known)
    last = [stage.intensity if known else stage.price for stage in stages]
    labels = [f"{local(stage.start, timezone):%H:%M}" for stage in stages]
    tips = [_tip(language, stage, timezone, currency, flexible, held) for stage in stages]
    net = [{"value": stage.net_kw, "tip": tip} for stage, tip in zip(stages, tips, strict=True)]
    title = {"color": "var(--ink-soft)", "fontSize": 12, "fontWeight": "normal"}
    names = [text(language, row.key) for row in rows]
    if currency and not known:
        names[-1] += f" {currency}/kWh"
    return {
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "title": [
            {"text": name, "left": 0, "top": row.top - 24, "padding": 0, "textStyle": title}
            for name, row in zip(names, rows, strict=True)
        ],
        "grid": [{"left": 40, "right": 10, "top": row.top, "height": row.height} for row in rows],
        "xAxis": [_time_axis(index, labels, shown=index == len(rows) - 1) for index in range(len(rows))],
        "yAxis": [_value_axis(index) for index in range(len(rows))],
        "axisPointer": {"link": [{"xAxisIndex": "all"}], "lineStyle": {"color": "var(--ink-faint)", "type": "solid"}},
        "tooltip": tooltip(),
        "series": [
            _LINE | {"data": net, "lineStyle": {"color": "var(--ink-soft)", "width": 1.4, "type": "dashed"}, "z": 3},
            *_band(stages),
            _LINE
            | {
                "data": [stage.net_kw + stage.power_kw for stage in stages],
                "lineStyle": {"color": "var(--ink)", "width": 1.8},
                "z": 4,
            },
            _on(1)
            | {
                "type": "bar",
                "barCategoryGap": "20%",
                "emphasis": {"disabled": True},
                "data": [
                    {"value": s.power_kw, "itemStyle": {"color": _colour(s.power_kw), "borderRadius": 2}}
                    for s in stages
                ],
            },
            *([_stored(stages)] if held else []),
            _STEP | _on(len(rows) - 1) | {"data": last, "lineStyle": {"color": "var(--ink-soft)", "width": 1.6}},
        ],
    }


def _rows(flexible: bool, held: bool, known: bool) -> tuple[Row, ...]:
    net, power, stored, last = ROWS
    if flexible:
        down_to = power if held else stored
        power = Row("plan_chart_flexible", power.top, down_to.top + down_to.height - power.top)
    last = last if known else Row("price", last.top, last.height)
    return (net, power, stored, last) if held else (net, power, last)


def _stored(stages: Sequence[Stage]) -> Option:
    return _STEP | _on(2) | {
        "data": [stage.content_kwh for stage in stages],
        "lineStyle": {"color": "var(--accent)", "width": 1.6},
        "areaStyle": {"color": "var(--outlook-band)", "opacity": 1},
    }  # fmt: skip


def _band(stages: Sequence[Stage]) -> list[Option]:
    """The 80 % band of what the meter would see, where it is known of every step."""
    low = [stage.net_low_kw for stage in stages]
    bands = zip(low, [stage.net_high_kw for stage in stages], strict=True)
    width = [high - below for below, high in bands if below is not None and high is not None]
    if len(width) < len(stages):
        return []
    area = _LINE | {"stack": "band", "lineStyle": {"opacity": 0}, "silent": True, "stackStrategy": "all", "z": 2}
    return [area | {"data": low}, area | {"areaStyle": {"color": "var(--outlook-band)", "opacity": 1}, "data": width}]


def _colour(power_kw: float) -> str:
    return "var(--charge-fill)" if power_kw >= 0 else "var(--discharge-fill)"


def _on(row: int) -> Option:
    return {"xAxisIndex": row, "yAxisIndex": row}


def _time_axis(index: int, labels: list[str], *, shown: bool) -> Option:
    every = "(place, words) => words.slice(2) === ':00' && words.slice(0, 2) % 3 === 0"
    return {
        "type": "category",
        "gridIndex": index,
        "data": labels,
        "axisTick": {"show": False},
        "axisLine": {"onZero": index == 1, "lineStyle": {"color": "var(--line-strong)"}},
        "axisLabel": _AXIS | {"show": shown, ":interval": every},
        "axisPointer": {"label": {"show": False}},
    }


def _value_axis(index: int) -> Option:
    return {
        "type": "value",
        "gridIndex": index,
        "splitNumber": 4 if not index else 2,
        "axisLabel": _AXIS,
        "splitLine": {"lineStyle": {"color": "var(--line)"}},
    }


def _tip(language: Language, stage: Stage, timezone: str, currency: str, flexible: bool, held: bool) -> str:
    """The words for a step; numbers and own words only, so nothing needs escaping."""
    word = "charging" if stage.power_kw > 0 else "discharging"
    does = f"{text(language, word if stage.power_kw else 'idle')} {number(abs(stage.power_kw))} kW"
    rows: list[Any] = [
        f"<b>{local(stage.start, timezone):%H:%M}</b>",
        f"{text(language, 'plan_without')} {signed(stage.net_kw)} kW",
        f"{text(language, 'plan_with')} {signed(stage.net_kw + stage.power_kw)} kW",
        f"{text(language, 'plan_flexible')} {signed(stage.power_kw)} kW" if flexible else does,
    ]
    if held:
        rows.append(f"{text(language, 'plan_held')} {number(stage.content_kwh, 1)} kWh")
    if stage.intensity is not None:
        rows.append(f"{text(language, 'intensity')} {number(stage.intensity, 3)} kg/kWh")
    if stage.price:
        rows.append(f"{text(language, 'price')} {number(stage.price, 3)} {currency}/kWh")
    return "<br>".join(rows)
