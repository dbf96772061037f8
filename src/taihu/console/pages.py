"""The console's addresses: `/en`, `/zh` and `/en/things`, `/zh/things`; `/` goes to the reader's language."""

from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from nicegui import Event, app, ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from taihu.console.district import DistrictBody
from taihu.console.frame import Frame
from taihu.console.overview import OverviewBody
from taihu.console.poller import Place, Poller, Snapshot
from taihu.console.texts import LANGUAGES, Language, text
from taihu.console.things import ThingsBody

_STYLE = Path(__file__).with_name("console.css")
_LOCALES: dict[Language, Literal["en-US", "zh-CN"]] = {"en": "en-US", "zh": "zh-CN"}
_THEME = """<script>
  const root = document.documentElement;
  const kept = localStorage.getItem("taihu-theme");
  if (kept) root.dataset.theme = kept;
  window.taihuTheme = () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const next = (root.dataset.theme || system) === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    localStorage.setItem("taihu-theme", next);
  };
</script>"""


class Body(Protocol):
    """What a page has below its header."""

    def show(self, snapshot: Snapshot) -> None:
        """Put in what is known now."""


class Console:
    """Builds a page for every browser session and tells all of them what the one poller reads."""

    def __init__(self, poller: Poller, updated: Event[[Snapshot]]) -> None:
        self._poller = poller
        self._updated = updated

    def mount(self) -> None:
        """Open the addresses on NiceGUI's app."""
        ui.add_head_html(_THEME, shared=True)
        ui.add_css(_STYLE, shared=True)
        app.get("/")(partial(_redirect, ""))
        app.get("/things")(partial(_redirect, "/things"))
        for language in LANGUAGES:
            title, locale = text(language, "app"), _LOCALES[language]
            home, things = partial(self._home, language), partial(self._things, language)
            ui.page(f"/{language}", title=title, language=locale)(home)
            ui.page(f"/{language}/things", title=title, language=locale)(things)

    def _home(self, language: Language) -> None:
        frame = Frame(language, "")
        self._follow(Home(language, frame), None)

    def _things(self, language: Language, project: str = "", after: str = "") -> None:
        frame = Frame(language, "things")
        place = (project, after) if project else None
        with frame.content:
            body = ThingsBody(language, place)
        self._follow(Framed(frame, body), place)

    def _follow(self, body: Body, place: Place | None) -> None:
        leave = self._poller.watch(place)
        ui.context.client.on_delete(leave)
        body.show(self._poller.snapshot)
        self._updated.subscribe(body.show)


class Framed:
    """A page whose body is always the same."""

    def __init__(self, frame: Frame, body: Body) -> None:
        self._frame = frame
        self._body = body

    def show(self, snapshot: Snapshot) -> None:
        """Put in what is known now."""
        self._frame.show(snapshot)
        self._body.show(snapshot)


class Home:
    """The first page: the district where there is one, otherwise the projects; built anew when those change."""

    def __init__(self, language: Language, frame: Frame) -> None:
        self._language = language
        self._frame = frame
        self._body: Body | None = None
        self._shape: tuple[str, ...] = ()

    def show(self, snapshot: Snapshot) -> None:
        """Put in what is known now."""
        self._frame.show(snapshot)
        page = snapshot.page
        if page is None:
            return
        houses = page.district.houses if page.district else ()
        shape = ("district", *(house.name for house in houses)) if houses else tuple(c.project.name for c in page.cards)
        if self._body is None or shape != self._shape:
            self._shape = shape
            self._frame.content.clear()
            with self._frame.content:
                if page.district:
                    self._body = DistrictBody(self._language, page, page.district)
                else:
                    self._body = OverviewBody(self._language, page)
        self._body.show(snapshot)


def preferred(accepted: str) -> Language:
    """The language of an Accept-Language header: Chinese where it comes first, otherwise English.

    >>> preferred("zh-CN,zh;q=0.9,en;q=0.8"), preferred("de, en;q=0.5"), preferred("en, zh;q=0.5")
    ('zh', 'en', 'en')
    """
    known = (tag.strip()[:2].lower() for tag in accepted.split(","))
    return next((language for tag in known for language in LANGUAGES if tag == language), "en")


def _redirect(page: str, request: Request) -> Response:
    return RedirectResponse(f"/{preferred(request.headers.get('accept-language', ''))}{page}")
