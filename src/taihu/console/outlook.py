"""What the controllers expected of each hour, what they expect of those ahead, and what came: a card with its chart."""

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from taihu.console.answers import Foretold
from taihu.console.numbers import local, signed
from taihu.console.texts import Language, text
from taihu.console.widgets import Words, box, provenance_mark

_KEYS = ("came", "expected", "band")
_HOURS_MIN = 3  # fewer are no picture


class OutlookCard:
    """Shown once there is something to show."""

    def __init__(self, language: Language, demo: bool) -> None:
        self._language = language
        self._outlook: tuple[Foretold, ...] = ()
        with box("card outlook outlook-none", tag="section") as self._box:
            with box("section-head"):
                with box("figure-label"):
                    Words(text(language, "outlook"), "section-title", tag="h2")
                    if demo:
                        provenance_mark("modelled")
                with box("keys"):
                    for key in _KEYS:
                        with box("key"):
                            box(f"key-mark key-{key}", tag="i")
                            Words(text(language, f"outlook_{key}"))
            Words(text(language, "outlook_note"), "figure-note", tag="div")
            self._chart_box = box("chart outlook-chart")
        self._chart: ui.echart | None = None

    def show(self, outlook: tuple[Foretold, ...], timezone: str) -> None:
        """Put in what is known now."""
        if outlook == self._outlook or len(outlook) < _HOURS_MIN:
            return
        self._outlook = outlook
        self._box.classes(replace="card outlook")
        option = outlook_option(self._language, outlook, timezone)
        if self._chart is None:
            with self._chart_box:
                self._chart = ui.echart(option, renderer="svg").classes("chart-canvas")
        else:
            self._chart.options.update(option)
            self._chart.update()


def outlook_option(language: Language, outlook: Sequence[Foretold], timezone: str) -> dict[str, Any]:
    """The chart: the 80 % band with its median, and what came over it; what has not come is not drawn."""
    tips = [_tip(language, one, timezone) for one in outlook]
    line: dict[str, Any] = {"type": "line", "showSymbol": False, "emphasis": {"disabled": True}}
    band = line | {"stack": "band", "lineStyle": {"opacity": 0}, "silent": True, "stackStrategy": "all"}
    axis = {"color": "var(--ink-soft)", "fontSize": 11, "hideOverlap": True}
    return {
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "grid": {"left": 40, "right": 8, "top": 12, "bottom": 24},
        "xAxis": {
            "type": "category",
            "boundaryGap": False,
            "data": [f"{local(one.start, timezone):%H:%M}" for one in outlook],
            "axisTick": {"show": False},
            "axisLine": {"onZero": False, "lineStyle": {"color": "var(--line-strong)"}},
            "axisLabel": axis | {"interval": 5},
        },
        "yAxis": {
            "type": "value",
            "splitNumber": 4,
            "axisLabel": axis,
            "splitLine": {"lineStyle": {"color": "var(--line)"}},
        },
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "className": "chart-tip",
            "backgroundColor": "var(--surface)",
            "borderColor": "var(--line-strong)",
            "textStyle": {"color": "var(--ink)", "fontSize": 12},
            ":formatter": "points => points[0].data.tip",
        },
        "series": [
            band | {"data": [{"value": one.low_kwh, "tip": tip} for one, tip in zip(outlook, tips, strict=True)]},
            band
            | {
                "areaStyle": {"color": "var(--outlook-band)", "opacity": 1},
                "data": [one.high_kwh - one.low_kwh for one in outlook],
            },
            line
            | {
                "lineStyle": {"color": "var(--ink-soft)", "width": 1.4, "type": "dashed"},
                "data": [one.net_kwh for one in outlook],
            },
            line | {"lineStyle": {"color": "var(--ink)", "width": 1.8}, "data": [one.came_kwh for one in outlook]},
        ],
    }


def _tip(language: Language, one: Foretold, timezone: str) -> str:
    """The words for an hour; numbers and own words only, so nothing needs escaping."""
    band = text(language, "plan_corridor", low=signed(one.low_kwh, 1), high=signed(one.high_kwh, 1))
    rows = [
        f"<b>{local(one.start, timezone):%H:%M}</b>",
        f"{text(language, 'outlook_expected')} {signed(one.net_kwh, 1)} kWh",
        f"{text(language, 'outlook_band')} {band.replace('kW', 'kWh')}",
    ]
    if one.came_kwh is not None:
        rows.append(f"{text(language, 'outlook_came')} {signed(one.came_kwh, 1)} kWh")
    return "<br>".join(rows)
