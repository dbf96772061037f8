"""The few building blocks of the pages: elements without a look of their own; all looks are in `console.css`."""

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from taihu.console.texts import Language, text

STATE_MARKS = {"online": "●", "late": "◐", "silent": "○", "never": "–"}  # a shape for each, not a colour alone
ARROWS = {"import": "↓", "export": "↑", "even": "=", "unknown": "?"}


class Words(TextElement):
    """Text that can change."""

    def __init__(self, words: str = "", classes: str = "", tag: str = "span") -> None:
        super().__init__(tag=tag, text=words)
        self.classes(classes)


def box(classes: str = "", tag: str = "div") -> Element:
    """An element to put others into."""
    return ui.element(tag).classes(classes)


def drawing(svg: str, classes: str = "") -> None:
    """One of our own drawings; it says nothing that a screen reader must hear."""
    ui.html(svg, sanitize=False, tag="span").classes(classes).props("aria-hidden=true")


class Figure:
    """A label, a number with its unit, and a line below it."""

    def __init__(self, label: str, unit: str, mark: str = "", classes: str = "") -> None:
        with box(f"figure {classes}"):
            with box("figure-label"):
                Words(label)
                if mark:
                    provenance_mark(mark)
            with box("figure-value"):
                self._value = Words("", "figure-number")
                self._unit = Words(unit, "figure-unit")
            self._note = Words("", "figure-note figure-partial", tag="div")

    def show(self, value: str, note: str = "", unit: str | None = None) -> None:
        """Put in what is known now; None leaves the unit as it is."""
        self._value.text = value
        self._note.text = note
        if unit is not None:
            self._unit.text = unit


class StateMark:
    """A device's state: a shape, a colour and a word."""

    def __init__(self, language: Language, label: str) -> None:
        self._language = language
        with box("device"):
            Words(label, "device-name")
            with box("device-state") as self._box:
                self._mark = Words("", "device-mark").props("aria-hidden=true")
                self._word = Words("")

    def show(self, state: str) -> None:
        """Put in the state: online, late, silent or never."""
        self._box.classes(replace=f"device-state state-{state}")
        self._mark.text = STATE_MARKS.get(state, STATE_MARKS["never"])
        self._word.text = text(self._language, "never_short" if state == "never" else state)


def provenance_mark(kind: str) -> None:
    """The small sign that tells measured, modelled and synthetic figures apart; the legend explains it."""
    box(f"mark mark-{kind}", tag="i").props("aria-hidden=true")
