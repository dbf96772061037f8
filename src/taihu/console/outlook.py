"""What was expected of each hour, what is expected of those ahead, and what came: charts, one beside the other."""

from collections.abc import Sequence
from typing import Any

import msgspec

from taihu.console.canvas import Canvas
from taihu.console.chart import tooltip
from taihu.console.foretold import Outlook, Step
from taihu.console.numbers import MISSING, local, number, signed, unit
from taihu.console.planned import Foretold
from taihu.console.texts import Language, text, word
from taihu.console.widgets import Words, box, provenance_mark

_KEYS = ("came", "expected", "half", "band")
_HOURS_MIN = 3  # fewer are no picture
_QUANTILES = ("q10", "q25", "q75", "q90")


class OutlookCard:
    """Panels of several series in one card; each says what it waits for while it has nothing to show.

    `net` is the title of one more, of what controllers expect together.
    """

    def __init__(self, language: Language, titles: Sequence[str], *, demo: bool, net: str = "", link: str = "") -> None:
        self._language = language
        with box("card outlook", tag="section"):
            with box("section-head"):
                with box("figure-label"):
                    Words(text(language, "outlook"), "section-title", tag="h2")
                    if demo:
                        provenance_mark("measured")
                with box("keys"):
                    for key in _KEYS:
                        with box("key"):
                            box(f"key-mark key-{key}", tag="i")
                            Words(text(language, f"outlook_{key}"))
            with box("outlook-panels"):
                self._panels = [Panel(language, title, text(language, "outlook_none")) for title in titles]
                if net:
                    self._panels.append(Panel(language, net, text(language, "outlook_learning")))
            if link:
                Words(text(language, "outlook_more"), "more-link", tag="a").props(f'href="{link}"')

    def show(self, outlooks: Sequence[Outlook | None], timezone: str) -> None:
        """Put in what is known now: an outlook a panel, None where the node knows of none."""
        for panel, outlook in zip(self._panels, outlooks, strict=True):
            panel.show(outlook, timezone)


class Panel:
    """One series: its chart, and who forecasts it how well."""

    def __init__(self, language: Language, title: str, absent: str) -> None:
        self._language = language
        self._absent = absent
        self._shown: Outlook | None = None
        with box("outlook-panel"):
            with box("outlook-head"):
                self._title = Words(title, "outlook-title", tag="h3")
                self._unit = Words("", "figure-unit")
            self._canvas = Canvas("chart outlook-chart", text(language, "chart_waiting"))
            self._note = Words("", "figure-note outlook-note", tag="div")

    def show(self, outlook: Outlook | None, timezone: str) -> None:
        """Put in what is known now."""
        language = self._language
        known = [step for step in outlook.values if step.median is not None or step.came is not None] if outlook else []
        if outlook is None or len(known) < _HOURS_MIN:
            self._canvas.wait(self._absent if outlook is None else text(language, "outlook_waiting"))
            return
        if outlook == self._shown:
            return
        self._shown = outlook
        self._unit.text = per_step(language, outlook)
        self._note.text = by_whom(language, outlook)
        self._canvas.draw(outlook_option(language, outlook, timezone))


def per_step(language: Language, outlook: Outlook) -> str:
    """A series' unit, and of how long a step."""
    minutes = outlook.step_s // 60
    step = (
        text(language, "span_h", count=minutes // 60)
        if minutes % 60 == 0
        else text(language, "span_min", count=minutes)
    )
    return text(language, "outlook_unit", unit=unit(outlook.unit), step=step)


def by_whom(language: Language, outlook: Outlook) -> str:
    """Who forecasts a series, and how well that did in the back-test."""
    if outlook.model is None:
        return text(language, "outlook_untrained")
    if outlook.errors is None:
        return text(language, "outlook_together", count=outlook.model)
    did = outlook.errors
    return text(
        language,
        "outlook_by",
        model=model_name(language, outlook.model),
        mae=f"{number(did.mae, decimals_of(did.mae))} {unit(outlook.unit)}",
        mase=number(did.mase),
        covered=percent(did.covered),
    )


def model_name(language: Language, name: str) -> str:
    """What a forecaster is called; a plug-in by its own name."""
    key = f"model_{name}"
    found = word(language, key)
    return name if found == key else found


def percent(share: float | None) -> str:
    """A share in whole per cent."""
    return MISSING if share is None else f"{100 * share:.0f} %"


def decimals_of(value: float | None) -> int:
    """How many decimals a figure of this size is worth."""
    return 1 if value is None or abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3


def together(outlook: Sequence[Foretold]) -> Outlook | None:
    """The net of all controllers as an outlook; None where none says anything. Its model is how many there are."""
    if not outlook:
        return None
    steps = tuple(Step(o.start, q10=o.low_kwh, median=o.net_kwh, q90=o.high_kwh, came=o.came_kwh) for o in outlook)
    return Outlook("kW.h", 3_600, str(max(one.controllers for one in outlook)), None, steps)


def outlook_option(language: Language, outlook: Outlook, timezone: str) -> dict[str, Any]:
    """The chart: bands with their median, and what came over it; what has not come is not drawn."""
    steps = outlook.values
    figures = [value for step in steps for value in msgspec.structs.astuple(step)[1:] if value is not None]
    decimals = decimals_of(max(map(abs, figures), default=0.0))
    tips = [_tip(language, step, timezone, unit(outlook.unit), decimals) for step in steps]
    labels = [f"{local(step.start, timezone):%H:%M}" for step in steps]
    line: dict[str, Any] = {"type": "line", "showSymbol": False, "emphasis": {"disabled": True}}
    axis = {"color": "var(--ink-soft)", "fontSize": 11, "hideOverlap": True}
    came = [place for place, step in enumerate(steps) if step.came is not None]
    return {
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "grid": {"left": 40, "right": 10, "top": 14, "bottom": 24},
        "xAxis": {
            "type": "category",
            "boundaryGap": False,
            "data": labels,
            "axisTick": {"show": False},
            "axisLine": {"onZero": False, "lineStyle": {"color": "var(--line-strong)"}},
            "axisLabel": axis
            | {":interval": "(place, words) => words.slice(2) === ':00' && words.slice(0, 2) % 6 === 0"},
        },
        "yAxis": {
            "type": "value",
            "splitNumber": 3,
            "axisLabel": axis,
            "splitLine": {"lineStyle": {"color": "var(--line)"}},
        },
        "tooltip": tooltip(),
        "series": [
            line
            | {
                "lineStyle": {"color": "var(--ink-soft)", "width": 1.4, "type": "dashed"},
                "data": [{"value": step.median, "tip": tip} for step, tip in zip(steps, tips, strict=True)],
                "z": 3,
            },
            *_bands(line, steps),
            line
            | {
                "lineStyle": {"color": "var(--ink)", "width": 1.8},
                "data": [step.came for step in steps],
                "z": 4,
                "markLine": _now(labels, came),
            },
        ],
    }


def _bands(line: dict[str, Any], steps: Sequence[Step]) -> list[dict[str, Any]]:
    """One area upon the other: the lowest is not seen, the inner half is darker where it is known."""
    names = [name for name in _QUANTILES if any(getattr(step, name) is not None for step in steps)]
    area = line | {"stack": "band", "lineStyle": {"opacity": 0}, "silent": True, "stackStrategy": "all", "z": 2}
    bands = []
    for place, name in enumerate(names):
        below = names[place - 1] if place else ""
        colour = "transparent" if not place else f"var(--outlook-{'half' if below == 'q25' else 'band'})"
        data = [_above(getattr(step, name), getattr(step, below) if below else 0.0) for step in steps]
        bands.append(area | {"areaStyle": {"color": colour, "opacity": 1}, "data": data})
    return bands


def _above(value: float | None, below: float | None) -> float | None:
    return None if value is None or below is None else value - below


def _now(labels: Sequence[str], came: Sequence[int]) -> dict[str, Any]:
    """A line where what came ends and what is expected begins."""
    if not came or came[-1] + 1 >= len(labels):
        return {}
    style = {"color": "var(--ink-faint)", "width": 1, "type": "solid"}
    return {
        "silent": True,
        "symbol": "none",
        "label": {"show": False},
        "lineStyle": style,
        "data": [{"xAxis": came[-1]}],
    }


def _tip(language: Language, step: Step, timezone: str, shown: str, decimals: int) -> str:
    """The words for a step; numbers and own words only, so nothing needs escaping."""
    rows = [f"<b>{local(step.start, timezone):%H:%M}</b>"]
    if step.median is not None:
        rows.append(f"{text(language, 'outlook_expected')} {signed(step.median, decimals)} {shown}")
    if step.q10 is not None and step.q90 is not None:
        low, high = signed(step.q10, decimals), signed(step.q90, decimals)
        rows.append(f"{text(language, 'outlook_band')} {text(language, 'outlook_range', low=low, high=high)} {shown}")
    if step.came is not None:
        rows.append(f"{text(language, 'outlook_came')} {signed(step.came, decimals)} {shown}")
    return "<br>".join(rows)
