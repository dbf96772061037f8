"""The district's page: what flows now, the last day, how the data comes in, and each house."""

from taihu.console.canvas import Canvas
from taihu.console.chart import chart_option
from taihu.console.hours import Hour
from taihu.console.house import Tile
from taihu.console.model import STATES, District, Page, Total, way_of
from taihu.console.numbers import age, number, signed, unit
from taihu.console.outlook import OutlookCard, together
from taihu.console.planned import PlansAnswer
from taihu.console.poller import DISTRICT_OUTLOOKS, Snapshot
from taihu.console.saved import SavedCard
from taihu.console.texts import Language, text
from taihu.console.widgets import ARROWS, STATE_MARKS, Figure, Words, box, provenance_mark

_WAY_WORDS = {"import": "importing", "export": "exporting", "even": "balanced", "unknown": "unknown"}


class DistrictBody:
    """Everything below the header on a site that has a district."""

    def __init__(self, language: Language, page: Page, district: District) -> None:
        self._language = language
        self._hours: tuple[Hour, ...] | None = None
        Words(page.title, "unseen", tag="h1")
        with box("hero"):
            with box("card now", tag="section"):
                self._net(page.demo)
                self._figures(page.demo)
            with box("card day", tag="section"):
                self._day(page.demo)
        self._saved = SavedCard(language, demo=page.demo)
        titles, net = [text(language, f"outlook_{key}") for key in ("load", "pv")], text(language, "outlook_net")
        self._outlook = OutlookCard(language, titles, demo=page.demo, net=net, link=f"/{language}/forecasts")
        self._strip = Strip(language)
        with box("houses", tag="section"):
            with box("section-head"):
                Words(text(language, "houses"), "section-title", tag="h2")
                self._flow = Words("", "section-note")
            with box("tiles"):
                self._tiles = {house.name: Tile(language, house) for house in district.houses}
                if page.demo:
                    _legend(language)
        if page.demo:
            Words(f"{text(language, 'legend_carbon')} {text(language, 'legend_source')}", "foot", tag="p")

    def show(self, snapshot: Snapshot) -> None:
        """Put in what is known now."""
        page = snapshot.page
        if page is None or page.district is None:
            return
        self._show_now(page.district)
        self._strip.show(page)
        for house in page.district.houses:
            self._tiles[house.name].show(house)
        if snapshot.plans is not None:
            self._show_plans(snapshot.plans)
        if snapshot.plans is not None and all(one in snapshot.outlooks for one in DISTRICT_OUTLOOKS):
            each = [snapshot.outlooks[one] for one in DISTRICT_OUTLOOKS]
            self._outlook.show([*each, together(snapshot.plans.outlook)], page.timezone)
        if snapshot.hours is not None and snapshot.hours != self._hours:
            self._show_hours(snapshot.hours, page.timezone)

    def _net(self, demo: bool) -> None:
        language = self._language
        with box("figure-label"):
            Words(text(language, "net_power"), "section-title", tag="h2")
            if demo:
                provenance_mark("synthetic")
        with box("net"):
            self._net_value = Words("", "net-number")
            Words("kW", "net-unit")
        with box("direction") as self._direction:
            self._arrow = Words("", "direction-arrow").props("aria-hidden=true")
            self._direction_words = Words("")
        self._net_note = Words("", "figure-note net-note", tag="div")

    def _figures(self, demo: bool) -> None:
        language = self._language
        with box("figures"):
            self._pv = Figure(text(language, "pv_power"), "kW", "synthetic" if demo else "")
            self._charge = Figure(text(language, "battery_charge"), "%", "modelled" if demo else "")
            self._carbon = Figure(text(language, "carbon_rate"), "kg/h", "synthetic" if demo else "")
            self._intensity = Figure(text(language, "intensity"), "kg/kWh")
            self._price = Figure(text(language, "price"), "")
            self._outdoor = Figure(text(language, "outdoor"), "°C")

    def _day(self, demo: bool) -> None:
        language = self._language
        with box("section-head"):
            with box("figure-label"):
                Words(text(language, "last_day"), "section-title", tag="h2")
                if demo:
                    provenance_mark("modelled")
            with box("keys"):
                for key in ("import", "export", "partial", "missing"):
                    with box("key"):
                        box(f"key-mark key-{key}", tag="i")
                        Words(text(language, f"chart_{key}"))
        self._canvas = Canvas("chart", text(language, "chart_waiting"))

    def _show_now(self, district: District) -> None:
        language, net = self._language, district.net_kw.value
        way = way_of(net)
        self._net_value.text = signed(net, 1)
        self._direction.classes(replace=f"direction way-{way}")
        self._arrow.text = ARROWS[way]
        self._direction_words.text = text(language, _WAY_WORDS[way])
        self._net_note.text = houses_known(language, district.net_kw)
        complete = district.net_kw.complete
        self._net_note.classes(replace="figure-note net-note" if complete else "figure-note net-note figure-partial")
        self._flow.text = text(
            language, "houses_flow", importing=district.importing, exporting=district.exporting, even=district.even
        )
        self._pv.show(number(district.pv_kw.value, 1), _missing(language, district.pv_kw))
        self._charge.show(number(district.charge_percent.value, 0), _missing(language, district.charge_percent))
        self._carbon.show(number(district.carbon_kg_h.value, 1), _missing(language, district.carbon_kg_h))
        self._intensity.show(number(district.intensity, 3))
        self._price.show(number(district.price, 2), unit=unit(district.price_unit))
        self._outdoor.show(number(district.outdoor_c, 1))

    def _show_plans(self, plans: PlansAnswer) -> None:
        self._saved.show(plans)
        for plan in plans.plans:
            if plan.project in self._tiles:
                self._tiles[plan.project].show_plan(plan)

    def _show_hours(self, hours: tuple[Hour, ...], timezone: str) -> None:
        self._hours = hours
        known = any(hour.energy_kwh is not None or hour.intensity is not None for hour in hours)
        if known:
            self._canvas.draw(chart_option(self._language, hours, timezone))
        else:
            self._canvas.wait(text(self._language, "chart_empty"))


class Strip:
    """How the data comes in: acked, stored, lag, newest, and how many devices are in each state."""

    def __init__(self, language: Language) -> None:
        self._language = language
        with box("card strip", tag="section"):
            self._acked = self._item("acked")
            self._stored = self._item("stored")
            self._lag = self._item("lag")
            self._newest = self._item("newest")
            with box("strip-item strip-devices"):
                Words(text(language, "devices"), "strip-label")
                with box("strip-states"):
                    self._states = {state: self._state(state) for state in STATES}

    def show(self, page: Page) -> None:
        """Put in the counters."""
        language, flow = self._language, page.flow
        self._acked.text = number(flow.acked, 0)
        self._stored.text = number(flow.stored, 0)
        behind = text(language, "lag_behind", count=number(flow.behind, 0))
        self._lag.text = behind if flow.behind else text(language, "lag_none")
        self._newest.text = age(language, page.age_s)
        for state, words in self._states.items():
            words.text = number(page.states[state], 0)

    def _item(self, key: str) -> Words:
        with box("strip-item"):
            Words(text(self._language, key), "strip-label")
            return Words("", "strip-value")

    def _state(self, state: str) -> Words:
        with box(f"strip-state state-{state}"):
            Words(STATE_MARKS[state], "device-mark").props("aria-hidden=true")
            count = Words("", "strip-value")
            Words(text(self._language, state), "strip-word")
        return count


def houses_known(language: Language, figure: Total) -> str:
    """How many houses a figure speaks for."""
    return text(language, "houses_known", known=figure.known, of=figure.of)


def _missing(language: Language, figure: Total) -> str:
    """A word of warning where a figure does not speak for every house."""
    return "" if figure.complete else houses_known(language, figure)


def _legend(language: Language) -> None:
    with box("tile legend"):
        Words(text(language, "legend"), "legend-title", tag="h3")
        for kind in ("measured", "modelled", "synthetic"):
            with box("legend-row"):
                provenance_mark(kind)
                with box("legend-words"):
                    Words(text(language, kind), "legend-kind")
                    Words(text(language, f"legend_{kind}"))
