"""Owners administer people, tokens, sessions and grants at the console of a real node; others are shown nothing."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import msgspec
import pytest
from tests.console.axe import audited, needs_axe, told
from tests.console.test_page import CHROMIUM, browser
from tests.console.test_signing import PASSWORD, Visitor, console
from tests.faults.support import LiveNode
from tests.ports import free_port

MORE = '[[project]]\nname = "lab"\n[[project.thing]]\nname = "pump"\n[console]\nport = {port}\n'
ROLES: dict[str, dict[str, Any]] = {
    "ada": {"owner": True},
    "olga": {"roles": {"plant": "owner"}},
    "lars": {"roles": {"lab": "owner"}},
    "vera": {"roles": {"plant": "viewer"}, "title": "<b>Vera</b>"},
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveNode, int]]:
    port = free_port()
    node = LiveNode(tmp_path_factory.mktemp("people") / "site", ["fan"], more=MORE.format(port=port))
    try:
        node.start()
        owner = (node.site.data / "admin.token").read_text()
        for name, more in ROLES.items():
            body = msgspec.json.encode({"name": name, "password": PASSWORD} | more)
            assert node.ask("POST", "/api/v1/users", body, owner).status == 200
        with console(node, port):
            yield node, port
    finally:
        node.stop()


def page(visitor: Visitor, project: str | None = None, language: str = "en") -> tuple[int, str]:
    query = "" if project is None else f"?project={project}"
    return visitor.ask("GET", f"/{language}/people{query}")


def do(visitor: Visitor, project: str, what: str, **fields: Any) -> tuple[int, str]:
    form = {"csrf": visitor.csrf(), "what": what} | fields
    return visitor.ask("POST", f"/en/people?project={project}", form)


def signed_in(live: tuple[LiveNode, int], name: str) -> Visitor:
    visitor = Visitor(live[1])
    assert visitor.sign_in(name) == 303
    return visitor


def secret(text: str) -> str:
    found = re.search(r"<p class=secret>([^<]+)</p>", text)
    assert found, text[-2_000:]
    return unescape(found[1])


def test_it_is_for_owners(live: tuple[LiveNode, int]) -> None:
    """§11: others are not told who there is; an owner of a project sees the people of that one alone."""
    assert page(Visitor(live[1]))[0] == 303
    status, text = page(signed_in(live, "vera"))
    assert status == 403 and "olga" not in text
    assert do(signed_in(live, "vera"), "plant", "role", name="vera", role="owner")[0] == 403
    status, text = page(signed_in(live, "olga"))
    assert status == 200 and "vera" in text and "lars" not in text and ">lab<" not in text
    linked = ['href="/en/people"' in signed_in(live, name).ask("GET", "/en/account")[1] for name in ROLES]
    assert linked == [True, True, True, False]
    assert "lars" not in page(signed_in(live, "olga"), "lab")[1]
    assert do(signed_in(live, "olga"), "lab", "role", name="olga", role="owner")[0] == 303  # it was done in plant
    assert "olga" not in page(signed_in(live, "lars"), "lab")[1]


@pytest.mark.parametrize(("language", "words"), [("en", "People and rights"), ("zh", "人员与权限")])
def test_everybody_is_shown_in_the_readers_language(live: tuple[LiveNode, int], language: str, words: str) -> None:
    status, text = page(signed_in(live, "ada"), "", language)
    assert status == 200 and words in text
    assert all(name in text for name in ROLES)
    assert "<b>Vera" not in text and "&lt;b&gt;Vera" in text
    assert "fan" not in page(signed_in(live, "ada"), "plant", language)[1], "the tokens of things are counted"


def test_a_person_comes_and_goes(live: tuple[LiveNode, int]) -> None:
    ada = signed_in(live, "ada")
    link = secret(do(ada, "", "add", name="ben", title="Ben", where="plant", role="viewer")[1])
    ben = Visitor(live[1])
    form = {"code": link.partition("#")[2], "password": PASSWORD, "again": PASSWORD}
    here = f"http://127.0.0.1:{live[1]}"
    assert link.startswith(f"{here}/en/welcome#"), "as it can be sent to somebody"
    assert ben.ask("POST", link.partition("#")[0].removeprefix(here), form)[0] == 303
    assert do(ada, "plant", "role", name="ben", role="operator")[0] == 303
    assert "operator of plant" in ben.ask("GET", "/en/account")[1]
    (number,) = re.findall(
        r'name="id" value="(\w+)"', page(ada, "")[1].partition("<td>ben</td>")[2].partition("</tr>")[0]
    )
    assert do(ada, "", "session", id=number)[0] == 303
    assert ben.ask("GET", "/en/account")[0] == 303, "signed out"
    assert do(ada, "", "disable", name="ben")[0] == 303
    assert "kept out" in page(ada, "")[1]
    assert ben.sign_in("ben") == 403
    assert do(ada, "", "enable", name="ben")[0] == 303 and ben.sign_in("ben") == 303
    assert do(ada, "plant", "role", name="ben", role="none")[0] == 303
    assert "ben" not in page(ada, "plant")[1]
    assert do(ada, "", "out", name="ben")[0] == 303 and ben.ask("GET", "/en/account")[0] == 303
    assert do(ada, "", "remove", name="ben")[0] == 303
    assert "ben" not in page(ada, "")[1]


def test_tokens_of_a_project_are_made_and_revoked(live: tuple[LiveNode, int]) -> None:
    node, olga = live[0], signed_in(live, "olga")
    token = secret(do(olga, "plant", "token", kind="viewer", label="wall display", days="30")[1])
    assert node.get("/projects/plant/things", token).status == 200
    row = page(olga, "plant")[1].partition("wall display")[2].partition("</tr>")[0]
    number = re.findall(r'name="id" value="(\w+)"', row)[0]
    assert do(olga, "plant", "revoke", id=number)[0] == 303
    assert node.get("/projects/plant/things", token).status == 401
    assert "wall display" not in page(olga, "plant")[1]


def test_a_grant_is_offered_accepted_and_ended(live: tuple[LiveNode, int]) -> None:
    olga, lars = signed_in(live, "olga"), signed_in(live, "lars")
    terms = {"right": ["read", "write"], "things": "fan meter-*", "properties": "*", "days": ""}
    assert do(olga, "plant", "grant-add", other="lab", **terms)[0] == 303
    assert "Accept" not in page(olga, "plant")[1]
    text = page(lars, "lab")[1]
    assert "from plant" in text and "fan meter-* / *" in text and "read, set" in text
    number = re.findall(r'name="id" value="(\w+)"', text.partition("from plant")[2])[0]
    assert do(lars, "lab", "accept", id=number)[0] == 303
    assert "active" in page(olga, "plant")[1]
    assert do(olga, "plant", "grant-remove", id=number)[0] == 303
    assert "from plant" not in page(lars, "lab")[1]


def test_what_the_node_refuses_is_said(live: tuple[LiveNode, int]) -> None:
    status, text = do(
        signed_in(live, "olga"), "plant", "grant-add", other="nowhere", things="*", properties="*", days=""
    )
    assert status == 403 and "told-bad" in text
    status, text = do(signed_in(live, "olga"), "plant", "add", name="x", title="x", where="", role="owner")
    assert status == 403 and "told-bad" in text


def test_nobody_becomes_owner_of_the_node_by_another_role(live: tuple[LiveNode, int]) -> None:
    ada = signed_in(live, "ada")
    status, text = do(ada, "", "add", name="newt", title="", where="", role="viewer")
    assert status == 403 and "told-bad" in text and "only be owner" in text
    assert "newt" not in page(ada, "")[1]


def test_no_other_site_does_anything_here(live: tuple[LiveNode, int]) -> None:
    ada = signed_in(live, "ada")
    form = {"csrf": ada.csrf(), "what": "remove", "name": "vera"}
    assert ada.ask("POST", "/en/people?project=", form, Origin="https://evil.example")[0] == 403
    assert ada.ask("POST", "/en/people?project=", form | {"csrf": "guess"})[0] == 403
    assert "vera" in page(ada, "")[1]


@needs_axe
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: nobody looks at the pages")
def test_every_plain_page_keeps_wcag_and_is_reached_by_the_keyboard(live: tuple[LiveNode, int]) -> None:
    """WCAG 2.2 AA by axe-core, with all that is folded unfolded."""
    ada = signed_in(live, "ada")
    do(ada, "plant", "token", kind="viewer", label="wall display", days="30")
    do(ada, "plant", "grant-add", other="lab", right=["read"], things="*", properties="*", days="")
    address, found = f"http://127.0.0.1:{live[1]}", []
    with browser() as chromium:
        context = chromium.new_context()
        context.add_cookies([{"name": name, "value": value, "url": address} for name, value in ada.cookies.items()])
        shown = context.new_page()
        for path in ("account", "people?project=", "people?project=plant", "welcome", "sign-in"):
            shown.goto(f"{address}/en/{path}")
            shown.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true })")
            found += [f"{path}: {one}" for one in audited(shown)]
        shown.fill("input[name=name]", "vera")
        shown.fill("input[name=password]", "not her password")
        shown.keyboard.press("Enter")
        shown.locator(".told-bad").wait_for()
        told(found + [f"sign-in, refused: {one}" for one in audited(shown)])
