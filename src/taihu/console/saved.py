"""The card of what control has saved."""

from taihu.console.numbers import number, signed
from taihu.console.planned import PlansAnswer
from taihu.console.texts import SEMICOLON, Language, text
from taihu.console.widgets import Words, box, provenance_mark

_MANY_KG = 10.0


class SavedCard:
    """What control has saved, and how many are driven; nothing on a site without controllers."""

    def __init__(self, language: Language, *, demo: bool) -> None:
        self._language = language
        with box("card saved saved-none", tag="section") as self._box:
            with box("saved-figure"):
                with box("figure-label"):
                    Words(text(language, "saved"), "section-title", tag="h2")
                    if demo:
                        provenance_mark("modelled")
                with box("figure-value"):
                    self._value = Words("", "figure-number")
                    Words("kg CO₂", "figure-unit")
            with box("saved-notes"):
                self._note = Words("", "figure-note", tag="div")
                self._drive = Words("", "figure-note", tag="div")

    def show(self, plans: PlansAnswer) -> None:
        """Put in what is known now."""
        language, saved = self._language, plans.saved
        self._box.classes(replace="card saved" if plans.plans else "card saved saved-none")
        decimals = 1 if abs(saved.kg) >= _MANY_KG else 2
        self._value.text = signed(saved.kg if saved.hours else None, decimals)
        note = text(language, "saved_note", error=number(saved.error_kg, decimals), hours=number(saved.hours, 0))
        against = text(language, "saved_estimated" if saved.estimated else "saved_shadow")
        self._note.text = f"{note}{SEMICOLON[language]}{against}" if saved.hours else text(language, "saved_waiting")
        decided = [plan.last for plan in plans.plans if plan.last is not None]
        drive = sum(last.mode == "drives" for last in decided)
        key = "controllers" if decided else "controllers_replay"
        self._drive.text = text(language, key, drive=drive, of=len(plans.plans))
