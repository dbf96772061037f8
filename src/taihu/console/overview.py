"""The first page of a site that has no district: each project at a glance."""

from taihu.console.district import Strip
from taihu.console.model import STATES, Card, Page
from taihu.console.numbers import age, number
from taihu.console.poller import Snapshot
from taihu.console.texts import Language, text
from taihu.console.widgets import STATE_MARKS, Words, box


class OverviewBody:
    """Everything below the header."""

    def __init__(self, language: Language, page: Page) -> None:
        with box("section-head"):
            Words(page.title, "section-title", tag="h1")
            Words(text(language, "projects_lead" if page.cards else "no_projects"), "section-note")
        self._strip = Strip(language)
        with box("tiles tiles-wide"):
            self._cards = {card.project.name: ProjectTile(language, card) for card in page.cards}

    def show(self, snapshot: Snapshot) -> None:
        """Put in what is known now."""
        if snapshot.page is None:
            return
        self._strip.show(snapshot.page)
        for card in snapshot.page.cards:
            self._cards[card.project.name].show(card)


class ProjectTile:
    """One project: its things by state, the age of its newest value and what was refused."""

    def __init__(self, language: Language, card: Card) -> None:
        self._language = language
        project = card.project
        with box("tile tile-link", tag="a").props(f'href="/{language}/things#{project.name}"'):
            with box("tile-head"):
                Words(project.title or project.name, "tile-title", tag="h2")
                if project.granted:
                    Words(text(language, "granted"), "badge")
                self._age = Words("", "tile-age")
            self._count = Words("", "tile-count")
            with box("tile-devices"):
                self._states = {state: self._state(state) for state in STATES}
            self._refused = Words("", "tile-age")

    def show(self, card: Card) -> None:
        """Put in what is known now."""
        language, project = self._language, card.project
        self._age.text = text(language, "no_value") if card.age_s is None else age(language, card.age_s)
        self._count.text = things_count(language, card.counted, project.things)
        for state, words in self._states.items():
            words.text = f"{number(card.states[state], 0)} {text(language, state)}"
        refused = text(language, "refused_count", count=number(project.refused, 0))
        self._refused.text = refused if project.refused else ""

    def _state(self, state: str) -> Words:
        with box(f"device-state state-{state}"):
            Words(STATE_MARKS[state], "device-mark").props("aria-hidden=true")
            return Words("")


def things_count(language: Language, shown: int, count: int) -> str:
    """How many things there are, and of how many the page speaks when those are fewer."""
    if shown < count:
        return text(language, "things_first", shown=number(shown, 0), count=number(count, 0))
    return text(language, "things_one" if shown == 1 else "things_count", count=number(shown, 0))
