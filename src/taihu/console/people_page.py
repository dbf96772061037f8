"""The page of people: who may what on the node and in each project, and what ends it; for owners."""

from functools import partial
from html import escape
from typing import Any
from urllib.parse import quote

from nicegui import app
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from taihu.console import forms
from taihu.console.account import Accounts, Declined, Who
from taihu.console.people_sections import Place, grants, members, node_people, sessions, tokens
from taihu.console.signing import check_proof, guarded, told, typed
from taihu.console.texts import LANGUAGES, Language, text
from taihu.identity.cookie import COOKIE, csrf_token
from taihu.kernel.clock import DAY_NS, Clock

_DAYS = ("7", "30", "90", "365")
_ROLES = ("viewer", "operator", "owner")
_RIGHTS = ("read", "write", "command")
_DONE = (
    "role", "disable", "enable", "remove", "out", "session", "revoke", "grant-add", "grant-request", "accept",
    "grant-remove",
)  # fmt: skip


class PeoplePage:
    """`/en/people` and `/zh/people`, and what their forms do; the node decides what may be done."""

    def __init__(self, accounts: Accounts, clock: Clock, address: str) -> None:
        self._accounts = accounts
        self._clock = clock
        self._tls = address.startswith("https://")

    def mount(self) -> None:
        """Open the addresses on NiceGUI's app."""
        for language in LANGUAGES:
            app.add_route(f"/{language}/people", partial(guarded, self._people, language), methods=["GET", "POST"])

    async def _people(self, language: Language, request: Request) -> Response:
        secret = request.cookies.get(COOKIE, "")
        if not secret:
            return RedirectResponse(f"/{language}/sign-in?next=/{language}/people", 303)
        who = await self._accounts.who(secret)
        owned = await self._owned(secret, who)
        wanted = request.query_params.get("project")
        project = wanted if wanted is not None and wanted in owned else (owned[0] if owned else "")
        place = Place(language, project, csrf_token(secret), self._clock.now_ns())
        if not owned:
            words = forms.card(text(language, "people"), lead=text(language, "not_owner"), level=1)
            return forms.page(language, "people", text(language, "people"), words, status=403)
        if request.method == "GET":
            done = request.query_params.get("done", "")
            said = text(language, "people_done") if done in _DONE else ""
            return await self._page(place, secret, who, owned, said)
        given = await request.form()
        check_proof(given, secret)
        try:
            made = await self._do(secret, place, self._origin(request), given)
        except Declined as error:
            return await self._page(place, secret, who, owned, told(language, error), bad=True)
        if made[0]:
            return await self._page(place, secret, who, owned, made=made)
        return RedirectResponse(f"{place.path}&done={quote(typed(given, 'what'))}", 303)

    async def _owned(self, secret: str, who: Who) -> list[str]:
        """What may be administered: projects, and before them "" for the node itself."""
        if not who.owner:
            return sorted(project for project, role in who.roles.items() if role == "owner" and project)
        found = await self._accounts.projects(secret)
        return ["", *sorted(str(one["name"]) for one in found)]

    def _origin(self, request: Request) -> str:
        """By which address the reader found this page: others find it by that, too."""
        return f"{'https' if self._tls else request.url.scheme}://{request.url.netloc}"

    async def _do(self, secret: str, place: Place, origin: str, given: FormData) -> tuple[str, str]:
        """Do what a form asks for; returns a secret that was made, and the key of its heading."""
        what, welcome = typed(given, "what"), f"{origin}/{place.language}/welcome"
        act, number, name = partial(self._accounts.act, secret), typed(given, "id"), typed(given, "name").strip()
        match what:
            case "add":
                role, where = typed(given, "role"), typed(given, "where")
                if where == "" and role != "owner":
                    raise Declined(place.say("node_role"), "", "", 0)
                person: dict[str, Any] = {"name": name, "title": typed(given, "title").strip(), "link": True}
                person |= {"owner": True} if where == "" else {"roles": {where: role} if role in _ROLES else {}}
                return "link_made", f"{welcome}#{(await act('user-add', **person))['code']}"
            case "link":
                return "link_made", f"{welcome}#{(await act('user-link', name=name))['code']}"
            case "disable" | "enable":
                await act("user-change", name=name, disabled=what == "disable")
            case "remove":
                await act("user-remove", name=name)
            case "out":
                await act("session-end", user=name)
            case "session":
                await act("session-end", id=number)
            case "role":
                role = typed(given, "role")
                await act("user-role", name=name, project=place.project, role=role if role in _ROLES else None)
            case "revoke":
                await act("token-revoke", project=place.project, id=number)
            case "token":
                ends = self._ends(typed(given, "days"))
                kind = "operator" if typed(given, "kind") == "operator" else "viewer"
                terms = {"kind": kind, "label": typed(given, "label")[:100], "expires_at": ends}
                return "token_made", str((await act("token-issue", project=place.project, **terms))["token"])
            case "grant-add" | "grant-request":
                sides = [place.project, typed(given, "other").strip()]
                source, target = sides if what == "grant-add" else sides[::-1]
                wanted = {
                    "from": source, "to": target,
                    "rights": [right for right in given.getlist("right") if right in _RIGHTS] or ["read"],
                    "things": _patterns(given, "things"), "properties": _patterns(given, "properties"),
                    "ends_at": self._ends(typed(given, "days")),
                }  # fmt: skip
                await act(what, **wanted)
            case "accept" | "grant-remove":
                await act("grant-accept" if what == "accept" else what, id=number)
        return "", ""

    def _ends(self, days: str) -> int | None:
        return self._clock.now_ns() + int(days) * DAY_NS if days in _DAYS else None

    async def _page(
        self,
        place: Place,
        secret: str,
        who: Who,
        owned: list[str],
        said: str = "",
        *,
        bad: bool = False,
        made: tuple[str, str] = ("", ""),
    ) -> Response:
        language, act = place.language, partial(self._accounts.act, secret)
        title = f"<h1 class=unseen>{escape(text(language, 'people'))}</h1>"
        parts = [title, _tabs(place, owned), forms.note(said, bad=bad)]
        if made[0]:
            shown = f"<p class=secret>{escape(made[1])}</p>"
            parts.append(forms.card(text(language, made[0]), shown, lead=text(language, "token_once")))
        if place.project:
            named = {"project": place.project}
            parts.append(members(place, (await act("user-list", **named))["users"]))
            parts.append(tokens(place, (await act("token-list", **named))["tokens"]))
            parts.append(grants(place, (await act("grant-list"))["grants"]))
        else:
            parts.append(node_people(place, (await act("user-list"))["users"], who.user, [one for one in owned if one]))
            parts.append(sessions(place, (await act("session-list", all=True))["sessions"]))
        here = f"people?project={quote(place.project)}"
        return forms.page(language, here, text(language, "people"), "".join(parts), status=403 if bad else 200)


def _patterns(given: FormData, name: str) -> list[str]:
    """Patterns with spaces between; none for all."""
    return [pattern for pattern in typed(given, name).split() if pattern != "*"]


def _tabs(place: Place, owned: list[str]) -> str:
    language = place.language
    links = "".join(
        f'<a class="page-link{" page-link-here" if one == place.project else ""}" '
        f'href="/{language}/people?project={quote(one)}">{escape(one or text(language, "whole_node"))}</a>'
        for one in owned
    )
    return f'<nav class="people-tabs" aria-label="{escape(text(language, "page_site"))}">{links}</nav>'
