"""The console's addresses: `/en`, `/en/things`, `/en/carbon`, `/en/forecasts`, `/en/plans`, the same in
`/zh`.

`/` goes to the reader's language.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlencode

from nicegui import app, ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from taihu.console.carbon import CarbonBody
from taihu.console.client import NodeAway
from taihu.console.district import DistrictBody
from taihu.console.forecasts import ForecastsBody
from taihu.console.frame import PAGES, Frame
from taihu.console.overview import OverviewBody
from taihu.console.plans import PlansBody
from taihu.console.poller import DISTRICT_OUTLOOKS, Address, Link, Snapshot, Want
from taihu.console.signing import away
from taihu.console.texts import LANGUAGES, Language, preferred, text
from taihu.console.things import ThingsBody
from taihu.console.visits import TooManyVisits, Visit, Visits
from taihu.identity.cookie import COOKIE
from taihu.kernel.addresses import is_loopback

log = logging.getLogger("taihu.console")

_STYLES = [Path(__file__).with_name(name) for name in ("console.css", "carbon.css", "ahead.css")]
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
    """Builds a page for every browser session, of what the person in front of it may read.

    Args:
        asks: whether people can sign in at all; otherwise a page that may not be read says so and stays.
    """

    def __init__(self, visits: Visits, *, asks: bool) -> None:
        self._visits = visits
        self._asks = asks

    def mount(self) -> None:
        """Open the addresses on NiceGUI's app."""
        ui.add_head_html(_THEME, shared=True)
        for style in _STYLES:
            ui.add_css(style, shared=True)
        app.get("/")(partial(_redirect, ""))
        for name in PAGES:
            app.get(f"/{name}")(partial(_redirect, f"/{name}"))
        pages = {"things": self._things, "carbon": self._carbon, "forecasts": self._forecasts, "plans": self._plans}
        for language in LANGUAGES:
            title, locale = text(language, "app"), _LOCALES[language]
            ui.page(f"/{language}", title=title, language=locale)(partial(self._home, language))
            for name, page in pages.items():
                named = f"{text(language, f'page_{name}')} · {title}"
                ui.page(f"/{language}/{name}", title=named, language=locale)(partial(page, language))

    async def _home(self, language: Language, request: Request) -> Response | None:
        visit = await self._enter(language, request)
        if isinstance(visit, Response):
            return visit
        frame = Frame(language, "", visit.who)
        self._follow(visit, Home(language, frame), Want(outlooks=DISTRICT_OUTLOOKS), request)
        return None

    async def _things(
        self, language: Language, request: Request, project: str = "", after: str = ""
    ) -> Response | None:
        visit = await self._enter(language, request)
        if isinstance(visit, Response):
            return visit
        frame = Frame(language, "things", visit.who)
        place = (project, after) if project else None
        with frame.content:
            body = ThingsBody(language, place)
        self._follow(visit, Framed(frame, body), Want(place), request)
        return None

    async def _carbon(self, language: Language, request: Request) -> Response | None:
        visit = await self._enter(language, request)
        if isinstance(visit, Response):
            return visit
        frame = Frame(language, "carbon", visit.who)
        with frame.content:
            body = CarbonBody(language)
        self._follow(visit, Framed(frame, body), Want(carbon=True), request)
        return None

    async def _forecasts(self, language: Language, request: Request, series: str = "") -> Response | None:
        visit = await self._enter(language, request)
        if isinstance(visit, Response):
            return visit
        shown = _address(series)
        frame = Frame(language, "forecasts", visit.who, urlencode({"series": series}) if shown else "")
        with frame.content:
            body = ForecastsBody(language, shown)
        self._follow(visit, Framed(frame, body), Want(models=True, outlooks=shown or DISTRICT_OUTLOOKS), request)
        return None

    async def _plans(self, language: Language, request: Request, project: str = "") -> Response | None:
        visit = await self._enter(language, request)
        if isinstance(visit, Response):
            return visit
        frame = Frame(language, "plans", visit.who, urlencode({"project": project}) if project else "")
        with frame.content:
            body = PlansBody(language, project)
        self._follow(visit, Framed(frame, body), Want(plans=True, plan=project), request)
        return None

    async def _enter(self, language: Language, request: Request) -> Visit | Response:
        """The visit of who asks; otherwise where to sign in, or why that cannot be told."""
        secret = request.cookies.get(COOKIE, "") if self._asks else ""
        try:
            visit = await self._visits.enter(secret, local=is_loopback(request.url.hostname or ""))
        except (NodeAway, TooManyVisits) as error:
            log.warning("%s", error)
            return away(language)
        return visit or RedirectResponse(_sign_in(language, request), 303)

    def _follow(self, visit: Visit, body: Body, want: Want, request: Request) -> None:
        client, asks = ui.context.client, self._asks
        onward = _sign_in("zh" if request.url.path.startswith("/zh") else "en", request)
        client.on_delete(visit.watch(want))

        def show(snapshot: Snapshot) -> None:
            if asks and snapshot.link is Link.REFUSED:
                client.open(onward)
            else:
                body.show(snapshot)

        show(visit.snapshot)
        visit.updated.subscribe(show)


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


def _sign_in(language: Language, request: Request) -> str:
    """The address to sign in at, from where one comes back to this page."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"/{language}/sign-in?{urlencode({'next': here})}"


def _address(series: str) -> tuple[Address, ...]:
    """The one series that is asked for; none where that is no address."""
    match series.split("/"):
        case [project, thing, name] if project and thing and name:
            return ((project, thing, name),)
    return ()


def _redirect(page: str, request: Request) -> Response:
    return RedirectResponse(f"/{preferred(request.headers.get('accept-language', ''))}{page}")
