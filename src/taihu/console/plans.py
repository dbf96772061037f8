"""The page of plans: what each controller does and why, what it saved, and one plan of the day ahead."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import zip_longest

from nicegui import ui

from taihu.console.canvas import Canvas
from taihu.console.house import title_of
from taihu.console.numbers import MISSING, local, number, signed
from taihu.console.outlook import model_name
from taihu.console.plan_chart import plan_option
from taihu.console.planned import Asset, Decision, Guard, Plan, PlansAnswer, Saved, Stage
from taihu.console.poller import Snapshot
from taihu.console.said import said
from taihu.console.saved import SavedCard
from taihu.console.texts import COLON, SEMICOLON, Language, text, word
from taihu.console.widgets import Words, box

_COLUMNS = ("plan_one", "plan_mode", "plan_does", "plan_corridor_kw", "plan_held_kwh", "plan_saved", "plan_day")
_RUNS = 4  # of an asset that are told
_HOURS = re.compile(r" in (\d+) of (\d+) hours")
_FORETOLD = re.compile(r"(\S+) by ([^\s;]+)")
_KEYS = {"without": "plan_without", "with": "plan_with", "band": "outlook_band"}


class PlansBody:
    """Everything below the header; `project` is whose plan is shown, else the first that has one."""

    def __init__(self, language: Language, project: str) -> None:
        self._language = language
        self._project = project
        self._shown: PlansAnswer | None = None
        with box("section-head"):
            Words(text(language, "page_plans"), "section-title", tag="h1")
            Words(text(language, "plans_lead"), "section-note")
        self._none = Words(text(language, "chart_waiting"), "empty", tag="p")
        with box("hidden") as self._all:
            self._saved = SavedCard(language, demo=False)
            self._card = PlanCard(language)
            with box("card project", tag="section"):
                self._table = ui.html("", sanitize=False, tag="div").classes("carbon-table plans-table")
                for key in ("plans_note", "plans_objective"):
                    Words(text(language, key), "figure-note", tag="p")

    def show(self, snapshot: Snapshot) -> None:
        """Put in what is known now."""
        language, page, plans = self._language, snapshot.page, snapshot.plans
        if page is None or plans is None:
            return
        self._none.text = "" if plans.plans else text(language, "plans_none")
        self._all.classes(replace="plans" if plans.plans else "hidden")
        if not plans.plans:
            return
        titles = {card.project.name: title_of(language, card.project.title) for card in page.cards}
        project = self._project or next(iter(snapshot.plan), plans.plans[0].project)
        self._card.show(titles.get(project) or project, snapshot.plan.get(project), page.timezone)
        if plans != self._shown:
            self._shown = plans
            self._saved.show(plans)
            self._table.content = _table(language, plans, titles)


class PlanCard:
    """One project's plan: in words, and as a chart."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._stages: tuple[Stage, ...] = ()
        with box("plan-top"):
            with box("card", tag="section"):
                with box("section-head"):
                    self._title = Words("", "section-title", tag="h2")
                    self._mode = Words("", "badge plan-mode")
                with box("figure-value"):
                    self._saved = Words(MISSING, "figure-number")
                    Words("kg CO₂", "figure-unit")
                self._saved_note = Words(text(language, "plan_none"), "figure-note", tag="div")
                self._facts = ui.html("", sanitize=False, tag="dl").classes("plan-facts")
            with box("card day", tag="section"):
                with box("section-head"):
                    Words(text(language, "plan_day_ahead"), "section-title", tag="h2")
                    with box("keys"):
                        for key, words in _KEYS.items():
                            with box("key"):
                                box(f"key-mark key-{key}", tag="i")
                                Words(text(language, words))
                self._canvas = Canvas("chart plan-chart", text(language, "chart_waiting"))
        with box("hidden", tag="section") as self._assets_box:
            Words(text(language, "plan_assets"), "section-title", tag="h2")
            self._assets = ui.html("", sanitize=False, tag="dl").classes("plan-facts plan-assets")

    def show(self, title: str, found: PlansAnswer | None, timezone: str) -> None:
        """Put in what is known now."""
        language = self._language
        self._title.text = title
        plan = found.plans[0] if found and found.plans else None
        last = plan.last if plan else None
        if plan is None or last is None or not last.stages:
            self._canvas.wait(without_plan(language, plan))
            self._saved_note.text = without_plan(language, plan)
            return
        self._mode.text = text(language, mode_key(last))
        self._mode.classes(replace=f"badge plan-mode plan-mode-{last.mode}")
        self._saved.text = signed(plan.saved.kg if plan.saved.hours else None)
        self._saved_note.text = saved_note(language, plan.saved)
        self._facts.content = _facts(language, last, plan.guard)
        self._assets.content = _listed((asset.name, _does(language, asset, last, timezone)) for asset in last.assets)
        self._assets_box.classes(replace="card" if last.assets else "hidden")
        if last.stages == self._stages:
            return
        self._stages = last.stages
        self._canvas.draw(plan_option(language, last.stages, timezone, last.currency, flexible=bool(last.assets)))


def without_plan(language: Language, plan: Plan | None) -> str:
    """Why there is none: it waits for something that is not there, or for the replay of its days."""
    if plan is not None and plan.waits:
        return text(language, "plan_waits", why=said(language, plan.waits))
    return text(language, "plan_none")


def mode_key(decision: Decision) -> str:
    """The words for whether a controller drives."""
    return "drives" if decision.mode == "drives" else "advises"


def saved_note(language: Language, saved: Saved) -> str:
    """With which interval, and against what."""
    if not saved.hours:
        return text(language, "saved_waiting")
    known = {"error": number(saved.error_kg), "hours": number(saved.hours, 0)}
    against = text(language, "saved_estimated" if saved.estimated else "saved_shadow")
    return SEMICOLON[language].join((text(language, "saved_by", **known), against))


def _facts(language: Language, last: Decision, guard: Guard) -> str:
    stage = last.stages[0]
    corridor = text(language, "plan_corridor", low=signed(stage.low_kw, 1), high=signed(stage.high_kw, 1))
    rows = [
        (text(language, "plan_does"), _why(language, last)),
        (text(language, "plan_follows"), corridor),
        (text(language, "plan_ahead"), _ahead(language, last)),
        (text(language, "plan_may"), _may(language, last)),
        (text(language, "plan_replay"), replayed(language, guard)),
        (text(language, "plan_by"), _foretold(language, last.forecast)),
        (text(language, "plan_notes"), SEMICOLON[language].join(said(language, one) for one in last.notes)),
    ]
    return _listed(rows)


def _listed(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(words)}</dd></div>" for name, words in rows if words)


def _why(language: Language, last: Decision) -> str:
    """The reason in a sentence: a scheduler's own, in Chinese a word for what binds a battery."""
    if language == "en" or last.assets:
        return said(language, last.why)
    return text(language, f"plan_why_{why_kind(last)}")


def _does(language: Language, asset: Asset, last: Decision, timezone: str) -> str:
    parts = [f"{signed(asset.power_kw)} kW", said(language, asset.why), runs(asset, last.stages, timezone)]
    return " · ".join(filter(None, parts))


def runs(asset: Asset, stages: Sequence[Stage], timezone: str) -> str:
    """When an asset takes or gives at least a twentieth of its most, by the local clock: the first few times.

    The sun decides when PV does, so of that nothing is said.
    """
    least = max(map(abs, asset.powers_kw), default=0.0) / 20
    if asset.kind == "solar" or not least or len(asset.powers_kw) != len(stages):
        return ""
    on = [abs(power_kw) >= least for power_kw in asset.powers_kw]
    clock = [f"{local(stage.start, timezone):%H:%M}" for stage in stages]
    changes = [place for place in range(len(on)) if on[place] != (place > 0 and on[place - 1])]
    spans = [
        clock[begin] + "–" + (clock[end] if end else "…") for begin, end in zip_longest(changes[::2], changes[1::2])
    ]
    return ", ".join(spans[:_RUNS]) + (", …" if len(spans) > _RUNS else "")


def _foretold(language: Language, said: str) -> str:
    """Who foretold which series, in the page's language."""
    named = _FORETOLD.sub(lambda one: f"{one[1]}{COLON[language]}{model_name(language, one[2])}", said)
    return _HOURS.sub(lambda one: text(language, "plan_hours", known=one[1], of=one[2]), named)


def why_kind(last: Decision) -> str:
    """Which of the reasons that have words of their own; another binding says its word alone."""
    stage = last.stages[0]
    if last.binding == "price":
        return "buys" if stage.low_kw > 0 else "sells"
    if last.binding == "worth":
        return "keeps" if stage.net_kw > 0 else "room"
    if last.binding == "meter":
        return "stores" if stage.net_kw < 0 else "serves"
    return last.binding if last.binding in ("full", "empty", "power") else "other"


def _ahead(language: Language, last: Decision) -> str:
    if last.with_kg is None or last.without_kg is None:
        return ""
    return text(language, "plan_kg", planned=number(last.with_kg), rest=number(last.without_kg))


def _may(language: Language, last: Decision) -> str:
    """Whether it may drive, and by what it earned that."""
    if language == "en" or last.guard.mean is None or last.guard.lower is None:
        return last.reason
    mean, lower = signed(last.guard.mean), signed(last.guard.lower)
    return text(language, "plan_guard", days=last.guard.days, mean=mean, lower=lower)


def replayed(language: Language, guard: Guard) -> str:
    """How far a replay of stored days is, and what is taken for what is not stored."""
    done = [text(language, "plan_replaying", **guard.replaying)] if guard.replaying else []
    return SEMICOLON[language].join([*done, *(said(language, one) for one in guard.stand_ins)])


def _table(language: Language, plans: PlansAnswer, titles: Mapping[str, str]) -> str:
    head = "".join(f"<th scope=col>{escape(text(language, key))}</th>" for key in _COLUMNS)
    rows = "".join(_row(language, plan, titles.get(plan.project) or plan.project) for plan in plans.plans)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(language: Language, plan: Plan, title: str) -> str:
    path = escape(f"/{language}/plans?project={plan.project}")
    name = f'<a href="{path}"><b>{escape(title)}</b><small>{escape(plan.controller)}</small></a>'
    last = plan.last
    if last is None or not last.stages:
        waiting = f"<td class=words colspan={len(_COLUMNS) - 1}>{escape(without_plan(language, plan))}</td>"
        return f"<tr><th scope=row>{name}</th>{waiting}</tr>"
    stage, guard, saved = last.stages[0], last.guard, plan.saved
    kg = f"{signed(saved.kg)} ± {number(saved.error_kg)}" if saved.hours else "—"
    if saved.estimated and saved.hours:
        kg += f" <small>{escape(text(language, 'estimated'))}</small>"
    cells = (
        f'<td class="words plan-{escape(last.mode)}">{escape(text(language, mode_key(last)))}</td>',
        f"<td class=words>{escape(word(language, f'plan_{last.binding}'))}</td>",
        f"<td>{signed(stage.low_kw, 1)} … {signed(stage.high_kw, 1)}</td>",
        f"<td>{number(last.content_kwh, 1)}</td>",
        f"<td>{kg}</td>",
        f"<td>{signed(guard.mean)} <small>≥ {signed(guard.lower)}</small></td>",
    )
    return f"<tr><th scope=row>{name}</th>{''.join(cells)}</tr>"
