"""What every page has around it: name, clock, pages, connection, language, theme, and the notice when it is amiss."""

from nicegui.element import Element

from taihu.console.account import Who
from taihu.console.numbers import date, local, span
from taihu.console.poller import Link, Snapshot
from taihu.console.texts import LANGUAGES, Language, text
from taihu.console.widgets import Words, box, drawing

_LOGO = (
    '<svg viewBox="0 0 32 32" width="30" height="30"><circle cx="16" cy="16" r="15" fill="var(--accent)"/>'
    '<g fill="none" stroke="var(--surface)" stroke-width="2" stroke-linecap="round">'
    '<path d="M6 14c3.3-2.6 6.7-2.6 10 0s6.7 2.6 10 0"/><path d="M8 20c2.7-2.2 5.3-2.2 8 0s5.3 2.2 8 0"/></g></svg>'
)
_HALF_DISC = (
    '<svg viewBox="0 0 20 20" width="18" height="18"><circle cx="10" cy="10" r="7" fill="none" stroke="currentColor"'
    ' stroke-width="1.7"/><path d="M10 3a7 7 0 0 1 0 14z" fill="currentColor"/></svg>'
)
PAGES = ("plans", "forecasts", "carbon", "things")
_LANGUAGE_NAMES: dict[Language, str] = {"en": "EN", "zh": "中文"}


class Frame:
    """The header and the notice of one page. `page` is its path below the language: "" or one of PAGES, `query` what
    follows it.

    `who` is signed in; None where nobody has to.
    """

    def __init__(self, language: Language, page: str, who: Who | None = None, query: str = "") -> None:
        self._language = language
        with box("top", tag="header"):
            self._brand()
            with box("clock"):
                self._time = Words("", "clock-time")
                with box("clock-more"):
                    self._date = Words("", "clock-date")
                    self._speed = Words("", "clock-speed")
            self._pages(page, who)
            with box("link link-starting").props("role=status") as self._link:
                box("link-dot", tag="i")
                self._link_words = Words(text(language, "starting"))
            with box("tools"):
                if who:
                    _link(who.name, f"/{language}/account", "person", here=False).props(
                        f'title="{text(language, "account")}"'
                    )
                self._languages(f"{page}?{query}" if query else page)
                _theme_button(language)
        with box("notice").props("role=status") as self._notice:
            self._notice_words = Words(text(language, "notice_starting"))
        self.content: Element = box("content")

    def show(self, snapshot: Snapshot) -> None:
        """Put in the clock, the connection and the notice."""
        language, page = self._language, snapshot.page
        self._link.classes(replace=f"link link-{snapshot.link}")
        self._link_words.text = text(language, str(snapshot.link))
        self._notice.classes(replace="notice notice-off" if snapshot.link is Link.CONNECTED else "notice")
        self.content.classes(replace="content" if snapshot.link is Link.CONNECTED else "content content-old")
        away, retry = span(language, snapshot.away_s), span(language, snapshot.retry_s)
        if snapshot.link is not Link.CONNECTED:
            self._notice_words.text = text(language, f"notice_{snapshot.link}", away=away, retry=retry)
        if page is None:
            return
        moment = local(page.now_ns, page.timezone)
        self._title.text = page.title
        self._home.text = text(language, "page_district" if page.district else "page_site")
        self._time.text = f"{moment:%H:%M}" if page.speed > 1 else f"{moment:%H:%M:%S}"
        self._date.text = date(language, moment)
        self._speed.text = text(language, "clock_demo", speed=f"{page.speed:g}") if page.demo else page.timezone

    def _brand(self) -> None:
        with box("brand", tag="a").props(f"href=/{self._language}"):
            drawing(_LOGO, "brand-mark")
            with box("brand-words"):
                Words(text(self._language, "app"), "brand-name")
                self._title = Words("", "brand-site")

    def _pages(self, page: str, who: Who | None) -> None:
        with box("pages", tag="nav").props(f'aria-label="{text(self._language, "navigation")}"'):
            home = text(self._language, "page_site")
            self._home = _link(home, f"/{self._language}", "page-link", here=page == "")
            for name in PAGES:
                words, path = text(self._language, f"page_{name}"), f"/{self._language}/{name}"
                _link(words, path, "page-link", here=page == name)
            if who and who.owns:
                _link(text(self._language, "page_people"), f"/{self._language}/people", "page-link", here=False)

    def _languages(self, page: str) -> None:
        with box("languages", tag="nav").props(f'aria-label="{text(self._language, "language")}"'):
            for language in LANGUAGES:
                path = f"/{language}/{page}".rstrip("/")
                link = _link(_LANGUAGE_NAMES[language], path, "language", here=language == self._language)
                link.props(f"lang={language} hreflang={language}")


def _link(words: str, path: str, classes: str, *, here: bool) -> Words:
    link = Words(words, f"{classes} {classes}-here" if here else classes, tag="a").props(f'href="{path}"')
    if here:
        link.props("aria-current=page")
    return link


def _theme_button(language: Language) -> None:
    """The theme is the browser's own affair: it follows the system until somebody chooses."""
    label = text(language, "theme")
    with box("theme", tag="button").props(f'type=button aria-label="{label}" title="{label}"') as button:
        drawing(_HALF_DISC)
    button.on("click", js_handler="() => window.taihuTheme()")
