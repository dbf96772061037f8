"""A house's tile."""

import re

from taihu.console.model import House, way_of
from taihu.console.numbers import age, number, signed
from taihu.console.planned import Plan
from taihu.console.texts import Language, text, word
from taihu.console.widgets import ARROWS, StateMark, Words, box

_NUMBERED = re.compile(r"House (\d+)")


class Tile:
    """One house: net power with its direction, PV, battery, carbon, and how its devices report."""

    def __init__(self, language: Language, house: House) -> None:
        self._language = language
        with box("tile tile-link", tag="a").props(f'href="/{language}/plans?project={house.name}"') as self._box:
            with box("tile-head"):
                Words(title_of(language, house.title), "tile-title", tag="h3")
                self._stale = Words("", "badge")
                self._age = Words("", "tile-age")
            with box("tile-net"):
                self._net = Words("", "tile-number")
                Words("kW", "tile-unit")
                with box("direction direction-small") as self._direction:
                    self._arrow = Words("", "direction-arrow").props("aria-hidden=true")
                    self._way = Words("")
            with box("tile-facts"):
                self._pv = self._fact("pv")
                self._battery = self._fact("battery")
                self._carbon = self._fact("carbon")
            with box("tile-battery"):
                with box("bar"):
                    self._bar = box("bar-fill")
                self._mode = Words("", "tile-mode")
            with box("tile-plan"):
                self._driven = Words("", "tile-driven")
                self._why = Words("", "tile-why")
                with box("tile-saved"):
                    self._plan_word, self._corridor = Words(""), Words("")
                    self._saved_word, self._saved = Words(""), Words("")
            with box("tile-devices"):
                self._devices = [StateMark(language, word(language, thing)) for thing, _ in house.devices]

    def show(self, house: House) -> None:
        """Put in what is known now."""
        language = self._language
        way = way_of(house.net_kw)
        silent = house.age_s is None
        self._box.classes(replace="tile tile-link tile-old" if house.stale or silent else "tile tile-link")
        self._stale.text = text(language, "stale") if house.stale else ""
        self._age.text = text(language, "no_value") if silent else age(language, house.age_s)
        self._net.text = signed(house.net_kw)
        self._direction.classes(replace=f"direction direction-small way-{way}")
        self._arrow.text = ARROWS[way]
        self._way.text = text(language, way)
        self._pv.text = with_unit(number(house.pv_kw), "kW", house.pv_kw)
        self._battery.text = with_unit(number(house.charge_percent, 0), "%", house.charge_percent)
        self._mode.text = word(language, house.mode)
        self._carbon.text = with_unit(number(house.carbon_kg_h), "kg/h", house.carbon_kg_h)
        self._bar.style(replace=f"width: {house.charge_percent or 0:.0f}%")
        for mark, (_, state) in zip(self._devices, house.devices, strict=True):
            mark.show(state)

    def show_plan(self, plan: Plan) -> None:
        """Put in what its controller does, why, and what that has saved."""
        language, last = self._language, plan.last
        if last is None or not last.stages:
            self._why.text = text(language, "plan_none")
            return
        stage = last.stages[0]
        corridor = text(language, "plan_corridor", low=signed(stage.low_kw, 1), high=signed(stage.high_kw, 1))
        self._driven.text = text(language, "drives" if last.mode == "drives" else "advises")
        self._driven.classes(replace=f"tile-driven plan-{last.mode}")
        self._why.text = word(language, f"plan_{last.binding}")
        self._plan_word.text, self._corridor.text = text(language, "plan_between"), corridor
        saved = plan.saved
        marked = f" ({text(language, 'estimated')})" if saved.estimated else ""
        self._saved_word.text = text(language, "saved_word") + marked if saved.hours else ""
        self._saved.text = f"{signed(saved.kg)} ± {number(saved.error_kg)} kg" if saved.hours else ""

    def _fact(self, key: str) -> Words:
        with box("fact"):
            Words(text(self._language, key), "fact-label")
            return Words("", "fact-value")


def title_of(language: Language, title: str) -> str:
    """A house's title; "House 7" is said in the page's language.

    >>> title_of("zh", "House 7"), title_of("zh", "Lakeside")
    ('7 号住宅', 'Lakeside')
    """
    found = _NUMBERED.fullmatch(title)
    return text(language, "house", number=found[1]) if found else title


def with_unit(shown: str, unit: str, value: float | None) -> str:
    """A shown value and its unit; a missing one has none."""
    return shown if value is None else f"{shown} {unit}"
