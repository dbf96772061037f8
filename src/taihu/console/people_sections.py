"""The sections of the page of people: tables of what there is, each row with what can be done to it."""

from collections.abc import Iterable
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote

from taihu.console import forms
from taihu.console.account_page import agent_words
from taihu.console.numbers import span
from taihu.console.texts import Language, text
from taihu.kernel.clock import NS_PER_S, format_iso

_SHOWN = 200
_ROLES = ("viewer", "operator", "owner")
_DAYS = ("7", "30", "90", "365")
_OF_PROGRAMS = ("operator", "viewer", "join", "person")

Record = dict[str, Any]


class Place(NamedTuple):
    """Where one is: the language, the project ("" for the node), the proof that forms carry, and the time (UTC ns)."""

    language: Language
    project: str
    csrf: str
    now_ns: int

    @property
    def path(self) -> str:
        """The address of the page."""
        return f"/{self.language}/people?project={quote(self.project)}"

    def say(self, key: str, **values: object) -> str:
        """Words in the reader's language."""
        return text(self.language, key, **values)

    def button(self, what: str, words: str, *fields: str, **hidden: str) -> str:
        """A small form that does one thing."""
        own = [forms.hidden(name, value) for name, value in {"what": what, **hidden}.items()]
        return forms.form(self.path, words, *own, *fields, csrf=self.csrf, quiet=True)

    def make(self, what: str, words: str, *fields: str) -> str:
        """A large form that makes something."""
        return forms.form(self.path, words, forms.hidden("what", what), *fields, csrf=self.csrf)


def node_people(place: Place, found: list[Record], own: str, projects: list[str]) -> str:
    """Everybody who can sign in, and a form that adds somebody."""
    rows = []
    for one in found[:_SHOWN]:
        name, ours = one["name"], one["name"] == own
        off = "enable" if one["disabled"] else "disable"
        both = (("link", "new_link"), ("out", "sign_out_all"))
        acts = [place.button(what, place.say(words), name=name) for what, words in both]
        if not ours:
            acts.append(place.button(off, place.say(f"user_{off}"), name=name))
            acts.append(
                _folded(place.say("user_remove"), place.button("remove", place.say("user_remove_sure"), name=name))
            )
        rows.append((_person(one), _roles(place, one["roles"]), _state(place, one), _more(place, acts)))
    where = [(project, project) for project in projects] + [("", place.say("whole_node"))]
    add = place.make(
        "add", place.say("add_person"),
        forms.field(place.say("user_name"), "name"),
        forms.field(place.say("user_title"), "title", required=False),
        forms.select(place.say("role_where"), "where", where),
        forms.select(place.say("role"), "role", _role_options(place)),
    )  # fmt: skip
    head = [place.say(key) for key in ("person", "roles", "state")]
    shown = forms.table([*head, ""], rows) + _rest(place, found)
    return forms.card(place.say("people"), shown, add, lead=place.say("people_lead"))


def members(place: Place, found: list[Record]) -> str:
    """Who has which role in a project, and a form that gives one."""
    rows = []
    for one in found[:_SHOWN]:
        role = one["roles"][place.project]
        change = place.button(
            "role",
            place.say("change"),
            forms.select(place.say("role"), "role", _role_options(place, role), bare=True),
            name=one["name"],
        )
        end = place.button("role", place.say("take_role"), name=one["name"], role="none")
        rows.append((_person(one), escape(place.say(f"role_{role}")), _state(place, one), _more(place, [change, end])))
    give = place.make(
        "role", place.say("give_role"),
        forms.field(place.say("user_name"), "name"),
        forms.select(place.say("role"), "role", _role_options(place)),
    )  # fmt: skip
    head = [place.say(key) for key in ("person", "role", "state")]
    shown = (forms.table([*head, ""], rows) if rows else _none(place)) + _rest(place, found)
    return forms.card(place.say("members", project=place.project), shown, give, lead=place.say("members_lead"))


def sessions(place: Place, found: list[Record]) -> str:
    """Who is signed in where."""
    rows = []
    for one in found[:_SHOWN]:
        ago = max(0.0, (place.now_ns - one["used_at"]) / NS_PER_S)
        used = place.say("age", span=span(place.language, ago)) if ago >= 60 else place.say("age_now")
        end = escape(place.say("this_session"))
        if not one["here"]:
            end = place.button("session", place.say("end"), id=one["id"])
        agent = f'<span title="{escape(one["agent"])}">{escape(agent_words(one["agent"]))}</span>'
        rows.append((escape(one["user"]), agent, escape(one["address"] or "–"), escape(used), end))
    head = [place.say(key) for key in ("person", "browser", "address", "last_used")]
    shown = forms.table([*head, ""], rows) + _rest(place, found)
    return forms.card(place.say("sessions"), shown, lead=place.say("sessions_all"))


def tokens(place: Place, found: list[Record]) -> str:
    """The live tokens of a project's programs and people; those of things are counted."""
    live = [one for one in found if not one["revoked_at"]]
    ours = [one for one in live if one["kind"] in _OF_PROGRAMS]
    rows = []
    for one in ours[:_SHOWN]:
        ends = format_iso(one["expires_at"] // NS_PER_S * NS_PER_S)[:10] if one["expires_at"] else "–"
        used = place.say("unused" if one["first_used_at"] is None else "used")
        revoke = place.button("revoke", place.say("revoke"), id=one["id"])
        kind, whose = place.say(f"token_{one['kind']}"), one["user"] or "–"
        cells = (one["label"] or one["id"], kind, whose, ends, used)
        rows.append((*map(escape, cells), revoke))
    make = place.make(
        "token", place.say("make_token"),
        forms.field(place.say("label"), "label"),
        forms.select(place.say("kind"), "kind", [(one, place.say(f"token_{one}")) for one in ("viewer", "operator")]),
        forms.select(place.say("ends"), "days", _days(place)),
    )  # fmt: skip
    head = [place.say(key) for key in ("label", "kind", "by_whom", "ends", "use")]
    shown = (forms.table([*head, ""], rows) if rows else _none(place)) + _rest(place, ours)
    things = sum(one["kind"] == "thing" for one in live)
    return forms.card(place.say("tokens"), shown, make, lead=place.say("tokens_project", things=things))


def grants(place: Place, found: list[Record]) -> str:
    """What a project lets others do, and may do with theirs; a form that offers, and one that asks."""
    ours = [one for one in found if place.project in (one["from_project"], one["to_project"])]
    rows = []
    for one in ours[:_SHOWN]:
        gives = one["from_project"] == place.project
        other = one["to_project"] if gives else one["from_project"]
        acts = [place.button("grant-remove", place.say("end"), id=one["id"])]
        if one["state"] == ("requested" if gives else "offered"):
            acts.insert(0, place.button("accept", place.say("accept"), id=one["id"]))
        what = ", ".join(place.say(f"right_{right}") for right in one["rights"])
        which = f"{' '.join(one['things']) or '*'} / {' '.join(one['properties']) or '*'}"
        ends = format_iso(one["ends_at"] // NS_PER_S * NS_PER_S)[:10] if one["ends_at"] else "–"
        way = place.say("grant_to" if gives else "grant_from", project=other)
        state = place.say(f"grant_{one['state']}")
        rows.append((*map(escape, (way, what, which, ends, state)), f"<div class=acts>{''.join(acts)}</div>"))
    head = [place.say(key) for key in ("project", "rights", "things_properties", "ends", "state")]
    shown = (forms.table([*head, ""], rows) if rows else _none(place)) + _rest(place, ours)
    rights = [(one, place.say(f"right_{one}")) for one in ("read", "write", "command")]
    ways = [(what, place.say(what.replace("-", "_"))) for what in ("grant-add", "grant-request")]
    propose = forms.form(
        place.path, place.say("propose"),
        forms.select(place.say("direction"), "what", ways),
        forms.field(place.say("other_project"), "other"),
        forms.choices(place.say("rights"), "right", rights, ["read"]),
        forms.field(place.say("grant_things"), "things", value="*", note=place.say("patterns")),
        forms.field(place.say("grant_properties"), "properties", value="*"),
        forms.select(place.say("ends"), "days", _days(place)),
        csrf=place.csrf,
    )  # fmt: skip
    return forms.card(place.say("grants"), shown, propose, lead=place.say("grants_lead"))


def _person(one: Record) -> str:
    name = escape(one["name"])
    return f"{escape(one['title'])} <span class=soft>{name}</span>" if one["title"] else name


def _roles(place: Place, roles: dict[str, str]) -> str:
    words = [
        place.say("role_in", role=place.say(f"role_{role}"), project=project) if project else place.say("role_of_node")
        for project, role in sorted(roles.items())
    ]
    return escape(", ".join(words) or place.say("no_role"))


def _state(place: Place, one: Record) -> str:
    return escape(place.say("user_disabled" if one["disabled"] else "user_active"))


def _role_options(place: Place, first: str = "viewer") -> list[tuple[str, str]]:
    roles = sorted(_ROLES, key=lambda role: role != first)
    return [(role, place.say(f"role_{role}")) for role in roles]


def _days(place: Place) -> list[tuple[str, str]]:
    return [(days, place.say("in_days", days=days)) for days in _DAYS] + [("", place.say("never_ends"))]


def _more(place: Place, acts: Iterable[str]) -> str:
    return _folded(place.say("change"), f"<div class=acts>{''.join(acts)}</div>")


def _folded(words: str, content: str) -> str:
    return f"<details class=more><summary>{escape(words)}</summary>{content}</details>"


def _none(place: Place) -> str:
    return f"<p class=soft>{escape(place.say('none_yet'))}</p>"


def _rest(place: Place, found: list[Record]) -> str:
    left = len(found) - _SHOWN
    return f"<p class=soft>{escape(place.say('and_more', count=left))}</p>" if left > 0 else ""
