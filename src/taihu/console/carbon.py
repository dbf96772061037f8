"""The page of carbon: of all projects, how their load was matched, what was emitted, and whether their meters agree."""

import math
from html import escape

from nicegui import ui

from taihu.console.answers import Balance, CarbonAnswer, Changed, HourOfDay, ProjectCarbon
from taihu.console.house import title_of
from taihu.console.numbers import number
from taihu.console.poller import CARBON_DAYS, Snapshot
from taihu.console.texts import Language, text
from taihu.console.widgets import Figure, Words, box

_COLUMNS = {
    "project": "",
    "load": "kWh",
    "made": "kWh",
    "carbon_estimated": "kWh",
    "in_sum": "%",
    "by_the_hour": "%",
    "location": "kg",
    "market": "kg",
    "certificates": "kWh",
    "balance": "",
}
_WHOLE = 0.995
_HALF = 0.5
_CLOSED = 0.001


class CarbonBody:
    """Everything below the header."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._shown: CarbonAnswer | None = None
        with box("section-head"):
            Words(text(language, "page_carbon"), "section-title", tag="h1")
            Words(text(language, "carbon_days", days=CARBON_DAYS), "section-note")
        self._none = Words(text(language, "chart_waiting"), "empty", tag="p")
        with box("hidden") as self._all:
            with box("carbon-top"):
                with box("card", tag="section"):
                    self._figures()
                with box("card", tag="section"):
                    self._day()
            with box("card project", tag="section"):
                self._table = ui.html("", sanitize=False, tag="div").classes("carbon-table")
                named = text(language, "page_carbon")
                self._table.props(f'tabindex=0 role=region aria-label="{named}"')  # it scrolls where it is narrow
                Words(text(language, "carbon_note"), "figure-note", tag="p")
                Words(text(language, "carbon_legend"), "figure-note", tag="p")
            with box("hidden", tag="section") as self._beside:
                with box("figure-label"):
                    Words(text(language, "carbon_avoided"), "section-title", tag="h2")
                with box("figures carbon-figures"):
                    self._avoided = Figure(text(language, "carbon_avoided_kg"), "kg")
                Words(text(language, "carbon_avoided_note"), "figure-note", tag="p")

    def show(self, snapshot: Snapshot) -> None:
        """Put in what is known now."""
        found = snapshot.carbon
        if found is None or found is self._shown or snapshot.page is None:
            return
        self._shown = found
        titles = {card.project.name: card.project.title for card in snapshot.page.cards}
        projects = {name: one for name, one in found.projects.items() if one.accounts}
        self._none.text = "" if projects else text(self._language, "carbon_none")
        self._all.classes(replace="carbon" if projects else "hidden")
        self._show_figures(found, list(projects.values()))
        self._show_avoided([one.avoided.total for one in projects.values() if one.avoided])
        self._bars.content = _bars(found)
        self._table.content = _table(self._language, projects, titles)

    def _figures(self) -> None:
        language = self._language
        with box("figure-label"):
            Words(text(language, "carbon_matched"), "section-title", tag="h2")
        with box("figures carbon-figures"):
            self._annual = Figure(text(language, "in_sum"), "%")
            self._hourly = Figure(text(language, "by_the_hour"), "%")
            self._shared = Figure(text(language, "by_the_hour_shared"), "%")
            self._location = Figure(text(language, "location"), "kg")
            self._market = Figure(text(language, "market"), "kg")
            self._closing = Figure(text(language, "balances"), "")

    def _day(self) -> None:
        language = self._language
        with box("section-head"):
            Words(text(language, "carbon_time_of_day"), "section-title", tag="h2")
            with box("keys"):
                for key, words in (("load", "carbon_load"), ("matched", "carbon_matched_part")):
                    with box("key"):
                        box(f"key-mark key-{key}", tag="i")
                        Words(text(language, words))
        self._bars = ui.html("", sanitize=False, tag="div").classes("carbon-bars")

    def _show_figures(self, found: CarbonAnswer, projects: list[ProjectCarbon]) -> None:
        language, shared = self._language, found.shared
        self._annual.show(_percent(shared.annual))
        self._hourly.show(
            _percent(shared.hourly), _known(language, shared.coverage) if shared.coverage < _WHOLE else ""
        )
        self._shared.show(_percent(shared.shared))
        self._location.show(number(_sum([one.figures.location_kg for one in projects]), 1))
        self._market.show(number(_sum([one.figures.market_kg for one in projects]), 1))
        balances = [one for project in projects for one in project.balances]
        closing = sum(_closes(one) for one in balances)
        self._closing.show(text(language, "balances_close", closing=closing, of=len(balances)))

    def _show_avoided(self, found: list[Changed]) -> None:
        """What control avoided, apart from the inventory; nothing where no marginal intensity is accounted."""
        self._beside.classes(replace="card" if found else "hidden")
        names = ("measured", "estimated", "missing")
        counts = {name: sum(getattr(one, name) for one in found) for name in names}
        kg = number(_sum([one.avoided_kg for one in found]), 1)
        self._avoided.show(kg, text(self._language, "carbon_avoided_hours", **counts))


def _bars(found: CarbonAnswer) -> str:
    """The load of each hour of the day, and in colour what of it was matched."""
    top = max((hour.load_kwh for hour in found.by_hour), default=0.0) or 1.0
    return "".join(
        f'<div class="carbon-bar" title="{number(hour.matched_kwh, 1)} / {number(hour.load_kwh, 1)} kWh">'
        f'<div><i style="height:{100 * hour.load_kwh / top:.1f}%"><b style="height:{_filled(hour):.1f}%"></b></i></div>'
        f"<span>{hour.hour:02d}</span></div>"
        for hour in found.by_hour
    )


def _filled(hour: HourOfDay) -> float:
    return 100 * hour.matched_kwh / hour.load_kwh if hour.load_kwh else 0.0


def _table(language: Language, projects: dict[str, ProjectCarbon], titles: dict[str, str]) -> str:
    heads = (text(language, key) + (f", {unit}" if unit else "") for key, unit in _COLUMNS.items())
    head = "".join(f"<th scope=col>{escape(words)}</th>" for words in heads)
    rows = "".join(_row(language, titles.get(name) or name, one) for name, one in projects.items())
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(language: Language, title: str, one: ProjectCarbon) -> str:
    score, figures, held = one.score, one.figures, one.certificates
    broken = next((account.broken for account in one.accounts if account.broken), "")
    note = f"<small>{escape(broken)}</small>" if broken else ""
    used = f"{number(held.cancelled_wh / 1_000, 1)} / {number(held.issued_wh / 1_000, 1)}"
    share = 100 * min(1.0, score.hourly) if score.hourly is not None else 0.0
    bar = f'<i class="share"><b style="width:{share:.1f}%"></b></i>'
    hourly = f'{bar} <span class="share-number">{_percent(score.hourly)}</span>'
    cells = (
        number(score.load_kwh, 1),
        number(score.made_kwh, 1),
        number(figures.estimated_kwh, 1),
        _percent(score.annual),
        hourly,
        number(figures.location_kg, 1),
        number(figures.market_kg, 1),
        used if held.issued_wh else "—",
        "; ".join(_balance(language, each) for each in one.balances) or "—",
    )
    known = _known(language, score.coverage) if score.coverage < _WHOLE else ""
    name = f"<th scope=row><b>{escape(title_of(language, title))}</b><small>{escape(known)}</small>{note}</th>"
    return f"<tr>{name}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _balance(language: Language, one: Balance) -> str:
    """A shape, a word and by how much; of hours of which most are unknown nothing is said but that."""
    if one.share is None or (one.coverage < _HALF and not _closes(one)):
        known = "" if one.share is None else f"<small>{escape(_known(language, one.coverage))}</small>"
        return f'<span class="state-never">– {escape(text(language, "balance_unknown"))}</span>{known}'
    key = "balance_closes" if _closes(one) else "balance_apart"
    state = "online" if _closes(one) else "silent"
    words = escape(text(language, key, share=f"{100 * one.share:.2f}", kwh=number(one.residual_kwh, 2)))
    part = "" if one.coverage >= _WHOLE else f"<small>{escape(_known(language, one.coverage))}</small>"
    return f'<span class="state-{state}">{"●" if _closes(one) else "○"} {words}</span>{part}'


def _closes(one: Balance) -> bool:
    return one.share is not None and one.share <= _CLOSED


def _percent(share: float | None) -> str:
    return number(None if share is None else 100 * share, 1)


def _known(language: Language, coverage: float) -> str:
    return text(language, "carbon_known", share=f"{math.floor(100 * coverage)}")


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
