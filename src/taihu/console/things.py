"""The page of things: every project's things with their newest values, units, ages and quality."""

from html import escape
from urllib.parse import urlencode

from nicegui import ui

from taihu.console import numbers
from taihu.console.answers import Newest, Thing
from taihu.console.house import title_of
from taihu.console.model import View, by_thing
from taihu.console.overview import things_count
from taihu.console.poller import THINGS_PER_PAGE, Place, Snapshot
from taihu.console.texts import Language, text, word
from taihu.console.widgets import STATE_MARKS, Words, box

_COLUMNS = ("thing", "property", "value", "unit", "age_column", "quality")


class ThingsBody:
    """Everything below the header; `place` is the page of one project's things, None for the first of every project."""

    def __init__(self, language: Language, place: Place | None) -> None:
        self._language = language
        self._place = place
        self._wanted = ""
        self._snapshot = Snapshot()
        self._sections: dict[Place, Section] = {}
        with box("section-head"):
            Words(text(language, "page_things"), "section-title", tag="h1")
            label = text(language, "filter")
            search = box("search", tag="input").props(f'type=search placeholder="{label}" aria-label="{label}"')
            search.on("input", self._search, js_handler="(event) => emit(event.target.value)", throttle=0.2)
        self._none = Words("", "empty", tag="p")
        self._list = box("sections")

    def show(self, snapshot: Snapshot) -> None:
        """Put in what is known now."""
        self._snapshot = snapshot
        if snapshot.page is None:
            return
        places = [self._place] if self._place else [place for place in snapshot.views if not place[1]]
        views = {place: snapshot.views[place] for place in places if place in snapshot.views}
        if list(views) != list(self._sections):
            self._list.clear()
            with self._list:
                self._sections = {place: Section(self._language, place, view) for place, view in views.items()}
        shown = [self._sections[place].show(view, self._wanted) for place, view in views.items()]
        nothing = text(self._language, "filter_none" if self._wanted else "no_projects")
        self._none.text = "" if any(shown) else nothing

    def _search(self, event: object) -> None:
        self._wanted = str(getattr(event, "args", "") or "").strip().casefold()
        self.show(self._snapshot)


class Section:
    """One project's table."""

    def __init__(self, language: Language, place: Place, view: View) -> None:
        self._language = language
        self._place = place
        project = view.project
        with box("card project", tag="section").props(f'id="{escape(project.name)}"') as self._box:
            with box("section-head"):
                Words(title_of(language, project.title or project.name), "section-title", tag="h2")
                Words(project.name, "section-note")
                self._count = Words("", "section-note")
            self._table = ui.html("", tag="div").classes("table-box")
            if view.more or place[1]:
                self._turn(view)

    def show(self, view: View, wanted: str) -> bool:
        """Put in what matches `wanted`; whether anything does."""
        rows = table_rows(self._language, view, wanted)
        self._box.classes(replace="card project" if rows or not wanted else "card project hidden")
        self._count.text = things_count(self._language, len(view.things), view.project.things)
        head = "".join(f"<th scope=col>{escape(text(self._language, key))}</th>" for key in _COLUMNS)
        empty = f"<p class=empty>{escape(text(self._language, 'no_things'))}</p>"
        table = f"<table><thead><tr>{head}</tr></thead>{''.join(rows)}</table>"
        self._table.content = table if rows else empty
        return bool(rows) or not wanted

    def _turn(self, view: View) -> None:
        path = f"/{self._language}/things"
        with box("turn"):
            if self._place[1]:
                query = urlencode({"project": view.project.name})
                Words(text(self._language, "things_start"), "page-link", tag="a").props(f'href="{path}?{query}"')
            if view.more:
                query = urlencode({"project": view.project.name, "after": view.things[-1].name})
                words = text(self._language, "things_next", count=THINGS_PER_PAGE)
                Words(words, "page-link", tag="a").props(f'href="{path}?{query}"')


def table_rows(language: Language, view: View, wanted: str = "") -> list[str]:
    """The table's bodies, one for each thing that has `wanted` in its names; all that is not ours is escaped."""
    values = by_thing(view)
    bodies = []
    for thing in view.things:
        names = f"{view.project.name} {view.project.title} {thing.name} {thing.title}".casefold()
        found = [value for value in values[thing.name] if wanted in f"{names} {value.property.casefold()}"]
        if found or wanted in names:
            bodies.append(_body(language, thing, found))
    return bodies


def _body(language: Language, thing: Thing, values: list[Newest]) -> str:
    state = thing.state if thing.state in STATE_MARKS else "never"
    title = f"<small>{escape(thing.title)}</small>" if thing.title else ""
    head = (
        f'<th scope=rowgroup rowspan="{max(1, len(values))}"><b>{escape(thing.name)}</b>{title}'
        f'<span class="device-state state-{state}">{STATE_MARKS[state]} {escape(text(language, state))}</span></th>'
    )
    if not values:
        return f"<tbody><tr>{head}<td class=none colspan=5>{escape(text(language, 'no_value'))}</td></tr></tbody>"
    cells = [_cells(language, value) for value in values]
    first = f"<tr>{head}{cells[0]}</tr>"
    return f"<tbody>{first}{''.join(f'<tr>{cell}</tr>' for cell in cells[1:])}</tbody>"


def _cells(language: Language, value: Newest) -> str:
    unit = text(language, "undeclared") if value.unit is None and _is_number(value) else numbers.unit(value.unit)
    quality = word(language, value.quality)
    stale = f" <span class=badge>{escape(text(language, 'stale'))}</span>" if value.stale else ""
    mark = " class=old" if value.stale else ""
    return (
        f"<td>{escape(value.property)}</td><td class=value><span{mark}>{escape(numbers.value(value.value))}</span></td>"
        f"<td class=soft>{escape(unit)}</td><td class=soft>{escape(numbers.age(language, value.age_s))}{stale}</td>"
        f"<td class=soft>{escape(quality)}</td>"
    )


def _is_number(value: Newest) -> bool:
    return isinstance(value.value, int | float) and not isinstance(value.value, bool)
