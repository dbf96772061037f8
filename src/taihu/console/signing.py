"""The addresses for people: `/en/sign-in`, `/en/welcome` (a first password) and `/oidc`, likewise in Chinese."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from hmac import compare_digest
from html import escape
from urllib.parse import urlsplit

from nicegui import app
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from taihu.console import forms
from taihu.console.account import Accounts, Declined, Origin, SignedIn
from taihu.console.client import NodeAway, TokenRefused
from taihu.console.texts import LANGUAGES, Language, preferred, text
from taihu.identity.cookie import COOKIE, csrf_token
from taihu.kernel.clock import Clock

log = logging.getLogger("taihu.console")

FLOW_COOKIE = "taihu_sign_in"
_FLOW_S = 600
Handler = Callable[[Language, Request], Awaitable[Response]]


class Signing:
    """Signing in and out of the console.

    Args:
        address: where people find the console; with https cookies go over nothing else.
    """

    def __init__(self, accounts: Accounts, clock: Clock, address: str) -> None:
        self._accounts = accounts
        self._clock = clock
        self._secure = address.startswith("https://")

    def mount(self) -> None:
        """Open the addresses on NiceGUI's app."""
        for language in LANGUAGES:
            for path, handler in (
                ("sign-in", self._sign_in),
                ("sign-out", self._sign_out),
                ("welcome", self._welcome),
            ):
                app.add_route(f"/{language}/{path}", partial(guarded, handler, language), methods=["GET", "POST"])
        app.add_route("/welcome", _to_language("welcome"), methods=["GET"])
        app.add_route("/oidc/start", self._begin, methods=["GET"])
        app.add_route("/oidc", self._provider, methods=["GET"])

    async def _sign_in(self, language: Language, request: Request) -> Response:
        onward = local_path(request.query_params.get("next", ""), language)
        if request.method == "GET":
            return await self._form(language, onward)
        given = await request.form()
        name, onward = typed(given, "name").strip().lower(), local_path(typed(given, "next"), language)
        try:
            found = await self._accounts.by_password(name, typed(given, "password"), origin_of(request))
        except Declined as error:
            return await self._form(language, onward, name=name, told=told(language, error), status=403)
        return self._signed_in(found, onward)

    async def _form(
        self, language: Language, onward: str, *, name: str = "", told: str = "", status: int = 200
    ) -> Response:
        ways = await self._accounts.ways(self._clock.monotonic())
        title = text(language, "sign_in")
        if ways.open:
            body = forms.card(title, level=1, lead=text(language, "nobody_yet"))
            return forms.page(language, "sign-in", title, body)
        parts = [
            forms.note(told, bad=True),
            forms.form(
                f"/{language}/sign-in",
                title,
                forms.field(text(language, "user_name"), "name", value=name, autocomplete="username"),
                forms.field(text(language, "password"), "password", "password", autocomplete="current-password"),
                forms.hidden("next", onward),
            ),
        ]
        if ways.provider is not None:
            words = escape(text(language, "sign_in_at", provider=ways.provider))
            link = f'<a class="button button-quiet" href="/oidc/start?language={language}">{words}</a>'
            parts.append(f"<div class=or>{escape(text(language, 'or'))}</div>{link}")
        return forms.page(language, "sign-in", title, forms.card(title, *parts, level=1), status=status)

    async def _sign_out(self, language: Language, request: Request) -> Response:
        secret = request.cookies.get(COOKIE, "")
        place = ""
        if request.method == "POST" and secret:
            check_proof(await request.form(), secret)
            with suppress(TokenRefused, Declined):  # it is over already
                place = await self._accounts.sign_out(secret)
        title = text(language, "signed_out")
        again = f'<a class=button href="/{language}/sign-in">{escape(text(language, "sign_in"))}</a>'
        gone = forms.page(language, "sign-in", title, forms.card(title, f"<p>{again}</p>", level=1), leave=place)
        if request.method == "POST":
            gone.delete_cookie(COOKIE, path="/")
        return gone

    async def _welcome(self, language: Language, request: Request) -> Response:
        """A first password, or a new one, by a one-time code that comes in the part of the link no server sees."""
        title, said, code = text(language, "welcome"), "", ""
        if request.method == "POST":
            given = await request.form()
            code, password = typed(given, "code").strip(), typed(given, "password")
            if password != typed(given, "again"):
                said = text(language, "not_the_same")
            else:
                try:
                    return self._signed_in(
                        await self._accounts.by_code(code, password, origin_of(request)), f"/{language}"
                    )
                except Declined as error:
                    said = text(language, "code_over") if error.problem == "sign-in" else told(language, error)
        body = forms.card(
            title,
            forms.note(said, bad=True),
            forms.form(
                f"/{language}/welcome",
                text(language, "set_password"),
                forms.field(text(language, "code"), "code", value=code),
                forms.field(
                    text(language, "new_password"),
                    "password",
                    "password",
                    autocomplete="new-password",
                    note=text(language, "password_rule"),
                ),
                forms.field(text(language, "new_password_again"), "again", "password", autocomplete="new-password"),
            ),
            lead=text(language, "welcome_lead"),
            level=1,
        )
        return forms.page(language, "welcome", title, body, status=403 if said else 200)

    async def _begin(self, request: Request) -> Response:
        """Go to the provider; this browser keeps what its answer must belong to."""
        language = language_of(request.query_params.get("language", ""), request)
        try:
            place, flow = await self._accounts.begin()
        except (NodeAway, Declined) as error:
            return await self._failed(language, told(language, error))
        begun = RedirectResponse(place, 303)
        begun.set_cookie(
            FLOW_COOKIE,
            f"{language}.{flow}",
            max_age=_FLOW_S,
            path="/oidc",
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )
        return begun

    async def _provider(self, request: Request) -> Response:
        """Back from the provider."""
        name, _, flow = request.cookies.get(FLOW_COOKIE, "").partition(".")
        language = language_of(name, request)
        answer = {key: request.query_params.get(key, "")[:4_000] for key in ("state", "code", "iss")}
        if not (flow and answer["code"] and answer["state"]):
            return await self._failed(language, text(language, "provider_no"))
        try:
            found = await self._accounts.by_provider(flow, answer, origin_of(request))
        except (NodeAway, Declined) as error:
            return await self._failed(language, told(language, error))
        began = self._signed_in(found, f"/{language}")
        began.delete_cookie(FLOW_COOKIE, path="/oidc")
        return began

    async def _failed(self, language: Language, said: str) -> Response:
        try:
            return await self._form(language, f"/{language}", told=said, status=403)
        except NodeAway:
            return away(language)

    def _signed_in(self, found: SignedIn, onward: str) -> Response:
        began = RedirectResponse(onward, 303)
        age_s = max(60, (found.expires_at - self._clock.now_ns()) // 10**9)
        began.set_cookie(
            COOKIE, found.secret, max_age=age_s, path="/", secure=self._secure, httponly=True, samesite="lax"
        )
        return began


class Forged(Exception):
    """A form that another site sent."""


async def guarded(handler: Handler, language: Language, request: Request) -> Response:
    """The answer of a handler; a form must come from one of our own pages."""
    try:
        if request.method == "POST" and not _from_here(request):
            raise Forged
        return await handler(language, request)
    except Forged:
        title = text(language, "sign_in")
        return forms.page(
            language, "sign-in", title, forms.card(title, level=1, lead=text(language, "not_ours")), status=403
        )
    except TokenRefused:
        return RedirectResponse(f"/{language}/sign-in", 303)
    except NodeAway as error:
        log.warning("%s", error)
        return away(language)


def check_proof(given: FormData, secret: str) -> None:
    """Raise Forged unless a form of somebody who is signed in is one that we gave them."""
    if not compare_digest(typed(given, "csrf").encode(), csrf_token(secret).encode()):
        raise Forged


def away(language: Language) -> Response:
    """What is shown while the node does not answer."""
    title = text(language, "away")
    return forms.page(language, "", title, forms.card(title, level=1, lead=text(language, "try_later")), status=503)


def origin_of(request: Request) -> Origin:
    """Where somebody asks from."""
    address = request.client.host if request.client else ""
    return Origin(address, request.headers.get("user-agent", "")[:200], request.cookies.get(COOKIE, ""))


def typed(given: FormData, name: str) -> str:
    """What was typed into a field."""
    value = given.get(name, "")
    return value[:4_096] if isinstance(value, str) else ""


def told(language: Language, error: Exception) -> str:
    """What went wrong, in the reader's language where it is of the usual kinds."""
    if isinstance(error, NodeAway):
        return text(language, "try_later")
    assert isinstance(error, Declined)
    known = {
        "sign-in": "sign_in_wrong",
        "password": "password_no",
        "sign-in-busy": "try_later",
        "provider": "provider_no",
    }
    if error.problem == "sign-in-later":
        return text(language, "sign_in_wait", seconds=error.wait_s)
    key = known.get(error.problem)
    words = text(language, key) if key else ""
    return words if key in ("sign_in_wrong", "try_later") else f"{words} {error.message} {error.remedy}".strip()


def local_path(wanted: str, language: Language) -> str:
    r"""Where to go on: a page of ours, never another site's.

    >>> local_path("/en/things?project=a", "zh"), local_path("//evil.example", "zh"), local_path("/en\\x", "zh")
    ('/en/things?project=a', '/zh', '/zh')
    """
    parts = urlsplit(wanted)
    ours = any(parts.path == f"/{each}" or parts.path.startswith(f"/{each}/") for each in LANGUAGES)
    plain = wanted.isprintable() and "\\" not in wanted and not parts.scheme and not parts.netloc
    return wanted if ours and plain else f"/{language}"


def language_of(name: str, request: Request) -> Language:
    """A language by its name, else the browser's."""
    known = next((each for each in LANGUAGES if each == name), None)
    return known or preferred(request.headers.get("accept-language", ""))


def _from_here(request: Request) -> bool:
    """Whether the browser says that the form was on a page of this very address."""
    origin = request.headers.get("origin", "")
    if origin in ("", "null"):
        return request.headers.get("sec-fetch-site", "") == "same-origin"
    return urlsplit(origin).netloc == request.headers.get("host", "")


def _to_language(page: str) -> Callable[[Request], Awaitable[Response]]:
    async def redirect(request: Request) -> Response:
        return RedirectResponse(f"/{preferred(request.headers.get('accept-language', ''))}/{page}")

    return redirect
