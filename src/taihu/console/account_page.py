"""The account page: who one is here, one's password, sessions and tokens."""

from functools import partial
from html import escape
from typing import Any

from nicegui import app
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from taihu.console import forms
from taihu.console.account import Accounts, Declined, Who
from taihu.console.numbers import span
from taihu.console.signing import check_proof, guarded, told, typed
from taihu.console.texts import LANGUAGES, Language, text
from taihu.identity.cookie import COOKIE, csrf_token
from taihu.kernel.clock import DAY_NS, NS_PER_S, Clock, format_iso

_SCOPES = ("read", "write", "ingest", "command", "admin")
_DAYS = ("7", "30", "90", "365")
_TOKENS_SHOWN = 200


class AccountPage:
    """`/en/account` and `/zh/account`, and what their forms do."""

    def __init__(self, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock

    def mount(self) -> None:
        """Open the addresses on NiceGUI's app."""
        for language in LANGUAGES:
            app.add_route(f"/{language}/account", partial(guarded, self._account, language), methods=["GET", "POST"])

    async def _account(self, language: Language, request: Request) -> Response:
        secret = request.cookies.get(COOKIE, "")
        if not secret:
            return RedirectResponse(f"/{language}/sign-in?next=/{language}/account", 303)
        if request.method == "GET":
            done = request.query_params.get("done", "")
            return await self._page(language, secret, f"done_{done}" if done in _DONE else "")
        given = await request.form()
        check_proof(given, secret)
        try:
            made = await self._do(secret, typed(given, "what"), given)
        except Declined as error:
            wrong = text(language, "password_wrong") if error.problem == "sign-in" else told(language, error)
            return await self._page(language, secret, said=wrong, bad=True, status=403)
        except ValueError:
            return await self._page(language, secret, said=text(language, "not_the_same"), bad=True, status=403)
        if made:
            return await self._page(language, secret, made=made)
        return RedirectResponse(f"/{language}/account?done={typed(given, 'what')}", 303)

    async def _do(self, secret: str, what: str, given: FormData) -> str:
        """Do what a form asks for; returns a token that was made. ValueError when two passwords differ."""
        match what:
            case "password":
                if typed(given, "password") != typed(given, "again"):
                    raise ValueError
                await self._accounts.change_password(secret, typed(given, "old"), typed(given, "password"))
            case "session":
                await self._accounts.end_session(secret, typed(given, "id"))
            case "revoke":
                await self._accounts.drop_token(secret, typed(given, "id"))
            case "token":
                days = typed(given, "days")
                ends = self._clock.now_ns() + int(days) * DAY_NS if days in _DAYS else None
                scopes = [scope for scope in given.getlist("scope") if scope in _SCOPES]
                label = typed(given, "label")[:100]
                return await self._accounts.make_token(secret, label=label, scopes=scopes, expires_at=ends)
        return ""

    async def _page(
        self,
        language: Language,
        secret: str,
        key: str = "",
        *,
        said: str = "",
        bad: bool = False,
        made: str = "",
        status: int = 200,
    ) -> Response:
        accounts, csrf = self._accounts, csrf_token(secret)
        who = await accounts.who(secret)
        words = said or (text(language, key) if key else "")
        parts = [forms.note(words, bad=bad), _about(language, who, csrf)]
        if made:
            shown = f"<p class=secret>{escape(made)}</p>"
            parts.append(forms.card(text(language, "token_made"), shown, lead=text(language, "token_once")))
        parts.append(self._sessions(language, await accounts.sessions(secret), csrf))
        parts.append(self._tokens(language, await accounts.tokens(secret), csrf))
        if who.session.get("how") != "oidc":
            parts.append(_password(language, csrf))
        return forms.page(language, "account", text(language, "account"), "".join(parts), status=status)

    def _sessions(self, language: Language, found: list[dict[str, Any]], csrf: str) -> str:
        rows = []
        for one in found:
            ago = max(0.0, (self._clock.now_ns() - one["used_at"]) / NS_PER_S)
            end = escape(text(language, "this_session"))
            if not one["here"]:
                hidden = (forms.hidden("what", "session"), forms.hidden("id", one["id"]))
                end = forms.form(f"/{language}/account", text(language, "end"), *hidden, csrf=csrf, quiet=True)
            agent = f'<span title="{escape(one["agent"])}">{escape(agent_words(one["agent"]))}</span>'
            used = text(language, "age", span=span(language, ago)) if ago >= 60 else text(language, "age_now")
            how = text(language, f"how_{one['how']}")
            rows.append((agent, escape(one["address"] or "–"), escape(how), escape(used), end))
        head = [text(language, key) for key in ("browser", "address", "signed_in_by", "last_used")]
        return forms.card(
            text(language, "sessions"), forms.table([*head, ""], rows), lead=text(language, "sessions_lead")
        )

    def _tokens(self, language: Language, found: list[dict[str, Any]], csrf: str) -> str:
        rows = []
        for one in found[:_TOKENS_SHOWN]:
            hidden = (forms.hidden("what", "revoke"), forms.hidden("id", one["id"]))
            revoke = forms.form(f"/{language}/account", text(language, "revoke"), *hidden, csrf=csrf, quiet=True)
            names = [text(language, f"scope_{scope}") for scope in one["scopes"]] or [text(language, "all_scopes")]
            ends = format_iso(one["expires_at"] // NS_PER_S * NS_PER_S)[:10] if one["expires_at"] else "–"
            was_used = one["first_used_at"] is not None
            used = text(language, "used" if was_used else "unused")
            rows.append(
                (escape(one["label"] or one["id"]), escape(", ".join(names)), escape(ends), escape(used), revoke)
            )
        head = [text(language, key) for key in ("label", "scopes", "ends", "use")]
        make = forms.form(
            f"/{language}/account",
            text(language, "make_token"),
            forms.hidden("what", "token"),
            forms.field(text(language, "label"), "label"),
            forms.choices(
                text(language, "scopes"),
                "scope",
                [(scope, text(language, f"scope_{scope}")) for scope in _SCOPES],
                ["read"],
            ),
            forms.select(
                text(language, "ends"),
                "days",
                [(days, text(language, "in_days", days=days)) for days in _DAYS] + [("", text(language, "never_ends"))],
            ),
            csrf=csrf,
        )
        shown = forms.table([*head, ""], rows) if rows else ""
        return forms.card(text(language, "tokens"), shown, make, lead=text(language, "tokens_lead"))


def agent_words(agent: str) -> str:
    """A browser as people call it, from what it calls itself.

    >>> agent_words("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36 Edg/130.0")
    'Edge, Windows'
    >>> agent_words("curl/8.5.0"), agent_words("")
    ('curl', '–')
    """
    browser = next((name for mark, name in _BROWSERS if mark in agent), agent.partition("/")[0][:40] or "–")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return f"{browser}, {system}" if system else browser


_BROWSERS = (
    ("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"),
)  # fmt: skip
_SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)  # fmt: skip
_DONE = ("password", "session", "revoke")


def _about(language: Language, who: Who, csrf: str) -> str:
    out = forms.form(f"/{language}/sign-out", text(language, "sign_out"), csrf=csrf, quiet=True)
    roles = [
        text(language, "role_of_node")
        if not project
        else text(language, "role_in", role=text(language, f"role_{role}"), project=project)
        for project, role in sorted(who.roles.items())
    ]
    people = f'<a class="button button-quiet" href="/{language}/people">{escape(text(language, "people"))}</a>'
    out = f"<div class=acts>{people if who.owns else ''}{out}</div>"
    facts = "".join(f"<span>{escape(role)}</span>" for role in roles) or escape(text(language, "no_role"))
    name = f"<span class=soft>{escape(who.user)}</span>" if who.title else ""
    return (
        f'<section class="card form-card"><div class=account-top>'
        f"<h1 class=section-title>{escape(who.name)}</h1>{out}</div>"
        f"<div class=facts>{name}{facts}</div></section>"
    )


def _password(language: Language, csrf: str) -> str:
    return forms.card(
        text(language, "change_password"),
        forms.form(
            f"/{language}/account",
            text(language, "change_password"),
            forms.hidden("what", "password"),
            forms.field(text(language, "old_password"), "old", "password", autocomplete="current-password"),
            forms.field(
                text(language, "new_password"),
                "password",
                "password",
                autocomplete="new-password",
                note=text(language, "password_rule"),
            ),
            forms.field(text(language, "new_password_again"), "again", "password", autocomplete="new-password"),
            csrf=csrf,
        ),
        lead=text(language, "change_password_lead"),
    )
