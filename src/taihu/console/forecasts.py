"""The page of forecasts: of every series that is kept forecast, what is expected, and who won the back-test."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from nicegui import ui

from taihu.console.foretold import Forecaster, Model, ModelsAnswer, champion_errors
from taihu.console.house import title_of
from taihu.console.numbers import MISSING, number, unit
from taihu.console.outlook import OutlookCard, decimals_of, model_name, percent
from taihu.console.poller import DISTRICT_OUTLOOKS, Address, Snapshot
from taihu.console.texts import SEMICOLON, Language, text
from taihu.console.widgets import Figure, Words, box

Row = tuple[str, Model]  # a project's name, and a series of it


class ForecastsBody:
    """Everything below the header; `shown` is the series whose outlook is asked for, else those of the district."""

    def __init__(self, language: Language, shown: tuple[Address, ...]) -> None:
        self._language = language
        self._addresses = shown or DISTRICT_OUTLOOKS
        self._models: dict[str, ModelsAnswer] | None = None
        with box("section-head"):
            Words(text(language, "page_forecasts"), "section-title", tag="h1")
            Words(text(language, "forecasts_lead"), "section-note")
        self._none = Words(text(language, "chart_waiting"), "empty", tag="p")
        with box("hidden") as self._all:
            if shown:
                titles = [f"{project} · {thing}/{name}" for project, thing, name in shown]
            else:
                titles = [text(language, "outlook_load"), text(language, "outlook_pv")]
            self._card = OutlookCard(language, titles, demo=False)
            with box("card", tag="section"):
                self._figures()
            with box("card project", tag="section"):
                with box("section-head"):
                    Words(text(language, "forecasts_who"), "section-title", tag="h2")
                    Words(text(language, "forecasts_ratio"), "section-note")
                self._table = ui.html("", sanitize=False, tag="div").classes("carbon-table forecasts-table")
                self._note = Words("", "figure-note", tag="p")

    def show(self, snapshot: Snapshot) -> None:
        """Put in what is known now."""
        if snapshot.page is None or snapshot.models is None:
            return
        language = self._language
        if all(one in snapshot.outlooks for one in self._addresses):
            self._card.show([snapshot.outlooks[one] for one in self._addresses], snapshot.page.timezone)
        if snapshot.models == self._models:
            return
        self._models = snapshot.models
        rows = [(name, model) for name, answer in snapshot.models.items() for model in answer.models]
        titles = {card.project.name: card.project.title for card in snapshot.page.cards}
        forecasters = _forecasters(snapshot.models)
        self._none.text = "" if rows else text(language, "forecasts_none")
        self._all.classes(replace="forecasts" if rows else "hidden")
        self._show_figures([model for _, model in rows])
        self._table.content = _table(language, rows, titles, [one.name for one in forecasters])
        self._note.text = _absent(language, forecasters)

    def _figures(self) -> None:
        language = self._language
        with box("figures forecasts-figures"):
            self._series = Figure(text(language, "forecasts_series"), "")
            self._mase = Figure(text(language, "forecasts_mase"), "")
            self._covered = Figure(text(language, "forecasts_covered"), "")
            self._won = Figure(text(language, "forecasts_won"), "")

    def _show_figures(self, models: Sequence[Model]) -> None:
        language = self._language
        learned = [model for model in models if model.model]
        rest = len(models) - len(learned)
        self._series.show(number(len(models), 0), text(language, "forecasts_learning", count=rest) if rest else "")
        self._mase.show(number(_mean([champion_errors(model).mase for model in learned])))
        self._covered.show(percent(_mean([champion_errors(model).covered for model in learned])))
        most = Counter(model.model for model in learned if model.model).most_common(1)
        won = [text(language, "forecasts_of", model=model_name(language, name), count=count) for name, count in most]
        self._won.show(won[0] if won else MISSING)


def _table(language: Language, rows: Sequence[Row], titles: Mapping[str, str], names: Sequence[str]) -> str:
    heads = [text(language, key) for key in ("forecasts_one", "forecasts_champion", "forecasts_mae")]
    heads += [text(language, "forecasts_mase_short"), text(language, "outlook_band")]
    heads += [model_name(language, name) for name in names]
    head = "".join(f"<th scope=col>{escape(words)}</th>" for words in heads)
    body = "".join(_row(language, titles.get(project) or project, project, model, names) for project, model in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(language: Language, title: str, project: str, model: Model, names: Sequence[str]) -> str:
    """A series: its champion with its errors, and beside it every other as the share of what the day before misses."""
    address = f"{project}/{model.thing}/{model.property}"
    path = escape(f"/{language}/forecasts?series={address}")
    name = f"<b>{escape(title_of(language, title))}</b><small>{escape(f'{model.thing}/{model.property}')}</small>"
    did = champion_errors(model)
    champion = escape(model_name(language, model.model)) if model.model else escape(text(language, "outlook_untrained"))
    cells = [
        f"<td class=champion>{champion}</td>",
        f"<td>{number(did.mae, decimals_of(did.mae))} <small>{escape(unit(model.unit))}</small></td>",
        f"<td>{number(did.mase)}</td>",
        f"<td>{percent(did.covered)}</td>",
    ]
    for one in names:
        ratio = model.candidates[one].ratio if one in model.candidates else None
        mark = " class=won" if one == model.model else ""
        cells.append(f"<td{mark}>{number(ratio)}</td>")
    return f'<tr><th scope=row><a href="{path}">{name}</a></th>{"".join(cells)}</tr>'


def _forecasters(models: Mapping[str, ModelsAnswer]) -> list[Forecaster]:
    """All that may compete or have, each once."""
    found = {one.name: one for answer in models.values() for one in answer.forecasters}
    competed = {name for answer in models.values() for model in answer.models for name in model.candidates}
    return list(found.values()) + [Forecaster(name) for name in sorted(competed - found.keys())]


def _absent(language: Language, forecasters: Sequence[Forecaster]) -> str:
    """Why a column has no figures yet."""
    waiting = [one for one in forecasters if one.installed and one.days >= 1]
    parts = [
        text(language, "forecasts_from", model=model_name(language, o.name), days=number(o.days, 0)) for o in waiting
    ]
    gone = [
        text(language, "forecasts_absent", model=model_name(language, o.name)) for o in forecasters if not o.installed
    ]
    return " ".join([text(language, "forecasts_dash", models=SEMICOLON[language].join(parts)), *gone])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
