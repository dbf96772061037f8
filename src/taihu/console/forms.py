"""Plain pages with forms, for what must work before anything else does: signing in, a first password, one's account.

Whatever comes from outside is escaped, and nothing but our own script runs in them.
"""

import secrets
from collections.abc import Iterable
from html import escape
from pathlib import Path

from starlette.responses import HTMLResponse

from taihu.console.texts import LANGUAGES, Language, text

_STYLES = (Path(__file__).with_name("console.css"), Path(__file__).with_name("forms.css"))
_PAGES = ("", "plans", "forecasts", "carbon", "things", "account")  # the page of people is for owners
_LANGUAGE_NAMES: dict[Language, str] = {"en": "EN", "zh": "中文"}
_LOGO = (
    '<svg viewBox="0 0 32 32" width="30" height="30" aria-hidden="true"><circle cx="16" cy="16" r="15" '
    'fill="var(--accent)"/><g fill="none" stroke="var(--surface)" stroke-width="2" stroke-linecap="round">'
    '<path d="M6 14c3.3-2.6 6.7-2.6 10 0s6.7 2.6 10 0"/><path d="M8 20c2.7-2.2 5.3-2.2 8 0s5.3 2.2 8 0"/></g></svg>'
)
_THEME = """
const kept = localStorage.getItem("taihu-theme");
if (kept) document.documentElement.dataset.theme = kept;
"""
_CODE = """
const code = document.getElementById("code");
if (code && location.hash.length > 1) {
  code.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
  document.getElementById("password").focus();
}
"""


def page(language: Language, here: str, title: str, body: str, *, status: int = 200, leave: str = "") -> HTMLResponse:
    """A page at the path `here` below the language; with `leave` the browser goes there by itself."""
    nonce = secrets.token_urlsafe(16)
    style = "".join(path.read_text("utf-8") for path in _STYLES)
    go = f'<meta http-equiv="refresh" content="0;url={escape(leave)}">' if leave else ""
    locale = {"en": "en", "zh": "zh-CN"}[language]
    content = (
        f'<!doctype html><html lang="{locale}"><head><meta charset="utf-8">{go}'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)} · '
        f'{escape(text(language, "app"))}</title><style nonce="{nonce}">{style}</style>'
        f'<script nonce="{nonce}">{_THEME}</script></head><body class="plain">{_header(language, here)}'
        f'<main class="plain-main">{body}</main><script nonce="{nonce}">{_CODE}</script></body></html>'
    )
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src 'self' data:; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
    return HTMLResponse(content, status, headers)


def card(title: str, *parts: str, lead: str = "", level: int = 2) -> str:
    """A section with a heading; its parts are HTML. `level` is 1 where it is the page's only one."""
    words = f"<p class=section-note>{escape(lead)}</p>" if lead else ""
    heading = f"<h{level} class=section-title>{escape(title)}</h{level}>"
    return f'<section class="card form-card">{heading}{words}{"".join(parts)}</section>'


def form(action: str, button: str, *fields: str, csrf: str = "", quiet: bool = False) -> str:
    """A form that posts to `action`; with `csrf` it carries the proof that it is ours."""
    proof = f'<input type=hidden name=csrf value="{escape(csrf)}">' if csrf else ""
    look = "button button-quiet" if quiet else "button"
    return (
        f'<form method=post action="{escape(action)}">{proof}{"".join(fields)}'
        f'<button class="{look}" type=submit>{escape(button)}</button></form>'
    )


def field(
    label: str,
    name: str,
    kind: str = "text",
    value: str = "",
    autocomplete: str = "off",
    note: str = "",
    *,
    required: bool = True,
) -> str:
    """A labelled input."""
    hint = f"<small>{escape(note)}</small>" if note else ""
    more = (" required" if required else "") + (" autofocus" if autocomplete == "username" else "")
    return (
        f'<label class=field><span>{escape(label)}</span><input id="{name}" name="{name}" type="{kind}" '
        f'value="{escape(value)}" autocomplete="{autocomplete}" spellcheck=false autocapitalize=none{more}>'
        f"{hint}</label>"
    )


def hidden(name: str, value: str) -> str:
    """An input that nobody sees."""
    return f'<input type=hidden name="{name}" value="{escape(value)}">'


def choices(label: str, name: str, options: Iterable[tuple[str, str]], chosen: Iterable[str] = ()) -> str:
    """Boxes to tick, each a value and its words."""
    kept = set(chosen)
    boxes = "".join(
        f'<label class=choice><input type=checkbox name="{name}" value="{escape(value)}"'
        f"{' checked' if value in kept else ''}> {escape(words)}</label>"
        for value, words in options
    )
    return f"<fieldset class=field><legend>{escape(label)}</legend>{boxes}</fieldset>"


def select(label: str, name: str, options: Iterable[tuple[str, str]], *, bare: bool = False) -> str:
    """One of several, each a value and its words; `bare` keeps the label for those alone who have the page read out."""
    entries = "".join(f'<option value="{escape(value)}">{escape(words)}</option>' for value, words in options)
    look = ' class="unseen"' if bare else ""
    return f'<label class=field><span{look}>{escape(label)}</span><select name="{name}">{entries}</select></label>'


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Rows of cells, which are HTML already."""
    titles = "".join(f"<th scope=col>{escape(title)}</th>" if title else "<td></td>" for title in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="table-box form-table"><table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def note(words: str, *, bad: bool = False) -> str:
    """What became of it, above a form."""
    return f'<p class="told{" told-bad" if bad else ""}" role=alert>{escape(words)}</p>' if words else ""


def _header(language: Language, here: str) -> str:
    links = "".join(
        f'<a class="language{" language-here" if other == language else ""}" lang={other} '
        f'href="/{other}/{escape(here)}">{_LANGUAGE_NAMES[other]}</a>'
        for other in LANGUAGES
    )
    place = here.partition("?")[0]
    pages = "".join(_page_link(language, name, place) for name in _PAGES) if place in ("account", "people") else ""
    if pages:
        pages = f'<nav class=pages aria-label="{escape(text(language, "navigation"))}">{pages}</nav>'
    return (
        f'<header class="plain-top"><a class=brand href="/{language}"><span class=brand-mark>{_LOGO}</span>'
        f"<span class=brand-name>{escape(text(language, 'app'))}</span></a>{pages}"
        f'<nav class=languages aria-label="{escape(text(language, "language"))}">{links}</nav></header>'
    )


def _page_link(language: Language, name: str, here: str) -> str:
    words = escape(text(language, f"page_{name or 'site'}"))
    mark = ' class="page-link page-link-here" aria-current=page' if name == here else " class=page-link"
    return f'<a{mark} href="/{language}/{name}">{words}</a>'
