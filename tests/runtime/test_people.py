"""People on a real node: they sign in, do what their roles say and no more, and are out at once when that ends."""

import http.client
import re
import statistics
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from tests.faults.support import CLOCK, PROJECT, LiveNode, wait_until
from tests.runtime.people import PASSWORDS, Browser, add_people
from tests.waiting import WAIT_S

from taihu.identity.directory import Directory
from taihu.identity.principal import CredentialKind, Project
from taihu.kernel.clock import SimClock
from taihu.kernel.ids import new_token

BASE = f"/projects/{PROJECT}"
MORE = '[[project]]\nname = "other"\n[[project.thing]]\nname = "pump"\n'


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """`plant` and `other`, and five people; batches of the audit are written at once."""
    node = LiveNode(
        tmp_path_factory.mktemp("people") / "site",
        ["fan", "meter"],
        {"audit_batch_s": 0.1, "sign_in_delay_max_s": 60.0},
        more=MORE,
    )
    node.start()
    add_people(node)
    assert node.ask("POST", f"/api/v1/{node.tokens['fan']}/telemetry", b'{"power": 1}').status == 200
    yield node
    node.stop()


@pytest.fixture(scope="module")
def browsers(live: LiveNode) -> dict[str, Browser]:
    """Everybody signed in; tests that end a session sign in anew."""
    found = {name: Browser(live) for name in PASSWORDS}
    for name, browser in found.items():
        assert browser.sign_in(name).status == 200
    return found


def owner_of(node: LiveNode) -> str:
    return (node.site.data / "admin.token").read_text()


def audit(node: LiveNode, project: str = "") -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = node.get("/audit", owner_of(node), project=project, limit=300).body["entries"]
    return entries


def tried(node: LiveNode, tries: list[tuple[str, str]]) -> list[int]:
    """The answers to wrong passwords for (name, address), until one has to wait; the first waits are short."""
    statuses: list[int] = []
    for name, address in tries:
        statuses.append(Browser(node, address).sign_in(name, "wrong").status)
        if statuses[-1] != 401:
            break
    return statuses


def test_somebody_signs_in_and_out(live: LiveNode) -> None:
    browser = Browser(live)
    assert browser.ask("GET", "/session").status == 401
    began = browser.sign_in("omar")
    assert (began.status, began.body["user"]) == (200, "omar")
    assert browser.headers["cache-control"] == "no-store"
    attributes = {part.strip().lower() for part in browser.set_cookie.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/", "max-age=604800"} <= attributes and "secure" not in attributes
    who = browser.ask("GET", "/session").body
    assert (who["user"], who["title"], who["roles"], who["owner"]) == ("omar", "Omar", {"plant": "operator"}, False)
    assert who["csrf"] == browser.csrf and who["session"]["how"] == "password"
    secret = browser.cookie
    assert browser.ask("DELETE", "/session").status == 200
    assert browser.cookie == ""
    browser.cookie = secret  # replayed
    assert browser.ask("GET", "/session").status == 401
    assert live.ask("GET", "/api/v1/session", token=secret).status == 401


def test_a_wrong_name_and_a_wrong_password_are_answered_alike(live: LiveNode) -> None:
    """Body, status and headers; and each costs one whole check (tests/identity/test_passwords.py)."""
    answers = []
    for name, address in (("omar", "192.0.2.10"), ("nobody", "192.0.2.11"), ("\u0000", "192.0.2.12")):
        browser = Browser(live, address)
        answer = browser.sign_in(name, "a wrong password")
        headers = {key: value for key, value in browser.headers.items() if key != "date"}
        answers.append((answer.status, answer.body, headers))
    assert answers[0] == answers[1] == answers[2] and answers[0][0] == 401


def test_who_fails_often_waits_whoever_it_is(live: LiveNode) -> None:
    """The right password too, for as long; other accounts from other addresses do not."""
    for name in ("vera", "nobody-of-that-name"):
        statuses = tried(live, [(name, f"192.0.2.{number}") for number in range(20, 40)])
        assert statuses[:5] == [401] * 5 and statuses[-1] == 429
        browser = Browser(live, "192.0.2.60")
        assert browser.sign_in(name, PASSWORDS.get(name, "anything at all")).status == 429
        assert 1 <= int(browser.headers["retry-after"]) <= 60
    assert Browser(live, "192.0.2.61").sign_in("gus").status == 200


def test_an_address_that_fails_often_waits_for_every_account(live: LiveNode) -> None:
    statuses = tried(live, [(f"guess-{number}", "192.0.2.40") for number in range(20)])
    assert statuses[:5] == [401] * 5 and statuses[-1] == 429
    assert Browser(live, "192.0.2.40").sign_in("gus").status == 429
    wait_until(lambda: any("192.0.2.40" in entry["detail"] for entry in audit(live)), "the audit tells of it")
    (told,) = [entry for entry in audit(live) if "192.0.2.40" in entry["detail"]][:1]
    assert told["what"] == "sign-in failed" and "guess" not in told["detail"]


def test_only_the_console_says_for_whom_it_asks(live: LiveNode) -> None:
    """Otherwise nobody's address would ever wait."""
    for token in (live.operator, owner_of(live)):
        body = msgspec.json.encode({"name": "gus", "password": PASSWORDS["gus"], "address": "203.0.113.9"})
        answer = live.ask("POST", "/api/v1/session", body, token, Content_Type="application/json")
        assert answer.status == 200
    listed = live.get("/sessions", owner_of(live), user="gus").body["sessions"]
    assert "203.0.113.9" not in {each["address"] for each in listed}
    relay = (live.site.data / "console.token").read_text()
    for path in ("/node", "/projects", "/session", f"{BASE}/values", "/sessions"):
        assert live.get(path, relay).status == 401, path


def test_a_session_is_new_at_each_sign_in(live: LiveNode) -> None:
    """Session fixation: a secret that was planted, or made up, is not taken over."""
    attacker, victim = Browser(live), Browser(live)
    assert attacker.sign_in("gus").status == 200
    planted = victim.cookie = attacker.cookie
    assert victim.sign_in("omar").status == 200
    assert victim.cookie != planted
    attacker.cookie = planted
    assert attacker.ask("GET", "/session").status == 401
    made_up = Browser(live)
    made_up.cookie = "session." + new_token()
    assert made_up.sign_in("omar").status == 200 and len({made_up.cookie, victim.cookie, planted}) == 3


def test_another_site_s_page_changes_nothing(live: LiveNode, browsers: dict[str, Browser]) -> None:
    """CSRF: what a browser sends along by itself is not enough to write, on any endpoint that writes."""
    omar = browsers["omar"]
    writes = [
        ("PUT", f"{BASE}/things/fan/desired", {"x": 1}),
        ("POST", f"{BASE}/readings?thing=fan", {"power": 2}),
        ("POST", "/admin/token-issue", {"project": PROJECT}),
        ("POST", "/tickets", {}),
        ("PUT", "/session/password", {"old": PASSWORDS["omar"], "new": "another long password"}),
        ("POST", "/tokens", {}),
        ("DELETE", "/session", None),
    ]
    for method, path, body in writes:
        for wrong in ({}, {"X_CSRF_Token": "x" * 43}, {"X_CSRF_Token": browsers["gus"].csrf}):
            answer = omar.ask(method, path, body, csrf=False, **wrong)
            assert (answer.status, answer.body["type"].rpartition(":")[2]) == (403, "csrf"), (path, wrong)
    assert omar.ask("GET", "/session", csrf=False).status == 200
    assert omar.ask("PUT", f"{BASE}/things/fan/desired", {"x": 1}).status == 200


def test_another_site_s_page_signs_nobody_in(live: LiveNode) -> None:
    browser = Browser(live)
    body = {"name": "gus", "password": PASSWORDS["gus"]}
    assert browser.ask("POST", "/session", body, Origin="https://evil.example").status == 403
    assert browser.ask("POST", "/session", body, Content_Type="text/plain").status == 415
    assert browser.ask("POST", "/session", body, Origin=f"http://127.0.0.1:{live.http_port}").status == 200


def test_another_site_s_page_opens_no_socket(live: LiveNode, browsers: dict[str, Browser]) -> None:
    def status(origin: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", live.http_port, timeout=WAIT_S)
        headers = {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Cookie": f"taihu_session={browsers['omar'].cookie}",
        } | ({"Origin": origin} if origin else {})  # fmt: skip
        connection.request("GET", f"/api/v1{BASE}/things/fan/socket", headers=headers)
        answer = connection.getresponse().status
        connection.close()
        return answer

    assert status(f"http://127.0.0.1:{live.http_port}") == 101
    assert status("https://evil.example") == status("") == 403


ALLOWED = {  # what each may do in `plant`: read, send readings, want, administer
    "ada": (200, 200, 200, 200),
    "olga": (200, 200, 200, 200),
    "omar": (200, 200, 200, 403),
    "vera": (200, 403, 403, 403),
    "gus": (404, 404, 404, 403),
}


def deeds(browser: Browser) -> tuple[int, ...]:
    return tuple(
        answer.status
        for answer in (
            browser.ask("GET", f"{BASE}/values?thing=fan"),
            browser.ask("POST", f"{BASE}/readings?thing=fan", {"power": 3}),
            browser.ask("PUT", f"{BASE}/things/fan/desired", {"x": 2}),
            browser.ask("POST", "/admin/token-list", {"project": PROJECT}),
        )
    )


def test_everybody_does_what_their_role_says(live: LiveNode, browsers: dict[str, Browser]) -> None:
    """§11, by a session and by a token of one's own alike."""
    for name, browser in browsers.items():
        assert deeds(browser) == ALLOWED[name], name
        made = browser.ask("POST", "/tokens", {"label": "mine"})
        assert made.status == 200, made
        with_token = Browser(live)
        with_token.ask("GET", "/session")
        statuses = [
            live.get(f"{BASE}/values", made.body["token"], thing="fan").status,
            live.ask("POST", f"/api/v1{BASE}/readings?thing=fan", b'{"power": 3}', made.body["token"]).status,
        ]
        assert tuple(statuses) == ALLOWED[name][:2], name
        assert live.get("/session", made.body["token"]).body["user"] == name
        seen = {each["name"] for each in browser.ask("GET", "/projects").body["projects"]}
        assert seen == {"ada": {PROJECT, "other"}, "gus": {"other"}}.get(name, {PROJECT}), name


def test_a_person_crosses_no_border_by_any_door(live: LiveNode, browsers: dict[str, Browser]) -> None:
    """§11: what is not of one's own project does not exist, under any of its addresses."""
    gus = browsers["gus"]
    thing = f"{BASE}/things/fan"
    for path in (
        f"{BASE}/things", thing, f"{thing}/properties", f"{thing}/properties/power", f"{thing}/desired",
        f"{thing}/events", f"{thing}/observe", f"{thing}/properties/power/observe", f"{BASE}/values",
        f"{BASE}/topology", f"{BASE}/history?thing=fan&property=power", f"{BASE}/asof?thing=fan&property=power",
        f"{BASE}/tail",
        f"{BASE}/quarantine", f"{BASE}/carbon/rows", f"{BASE}/carbon/report", f"{BASE}/carbon/certificates",
    ):  # fmt: skip
        absent = gus.ask("GET", path.replace(PROJECT, "nowhere"))
        answer = gus.ask("GET", path)
        assert answer.status == absent.status == 404, path
        assert set(answer.body) == set(absent.body)
    assert gus.ask("GET", f"/matching?project={PROJECT}").status == 404
    assert gus.ask("GET", f"/audit?project={PROJECT}").status == 403
    assert gus.ask("GET", f"/users?project={PROJECT}").status == 403
    lines = b"fan power=1"
    for path in (f"/write?db={PROJECT}", f"/api/v2/write?bucket={PROJECT}"):
        token = gus.ask("POST", "/tokens", {}).body["token"]
        assert live.ask("POST", path, lines, token).status == 404


ESCALATIONS: list[tuple[str, str, Any]] = [
    ("POST", "/users", {"name": "eve", "password": "eve has a long password", "owner": True}),
    ("PUT", "/users/{me}/role", {"project": "", "role": "owner"}),
    ("PUT", "/users/{me}/role", {"project": "other", "role": "owner"}),
    ("PUT", "/users/{me}", {"title": "The Owner"}),
    ("POST", "/users/ada/link", {}),
    ("DELETE", "/users/ada", None),
    ("POST", "/admin/user-password", {"name": "ada", "password": "known to the attacker"}),
    ("POST", "/admin/token-personal", {"user": "ada"}),
    ("POST", "/admin/token-issue", {"project": "other"}),
    ("POST", "/admin/token-issue", {"project": PROJECT, "kind": "admin"}),
    ("POST", "/admin/token-issue", {"project": PROJECT, "kind": "person"}),
    ("POST", "/admin/token-issue", {"project": PROJECT, "kind": "console"}),
    ("POST", "/admin/grant-add", {"from": "other", "to": PROJECT}),
    ("POST", "/admin/project-create", {"name": "mine"}),
    ("POST", "/admin/reload", {}),
    ("POST", "/admin/audit-verify", {}),
    ("GET", "/users", None),
    ("GET", "/audit", None),
    ("GET", "/sessions?all=true", None),
    ("GET", "/sessions?user=ada", None),
    ("POST", "/admin/session-end", {"user": "ada"}),
]


@pytest.mark.parametrize("name", ["olga", "omar", "vera"])
def test_nobody_makes_themselves_more_than_they_are(live: LiveNode, browsers: dict[str, Browser], name: str) -> None:
    browser = browsers[name]
    for method, path, body in ESCALATIONS:
        answer = browser.ask(method, path.format(me=name), body)
        assert answer.status == 403, (path, answer)
    if name != "olga":
        assert browser.ask("PUT", f"/users/{name}/role", {"project": PROJECT, "role": "owner"}).status == 403
    for program in (live.operator, live.viewer, live.tokens["fan"]):
        for method, path, body in ESCALATIONS:
            data = None if body is None else msgspec.json.encode(body)
            answer = live.ask(method, f"/api/v1{path.format(me=name)}", data, program)
            assert answer.status == 403, (path, answer)
    role = {"project": PROJECT, "role": "owner"}
    assert live.ask("PUT", "/api/v1/users/gus/role", msgspec.json.encode(role), live.operator).status == 403


def test_a_token_of_one_s_own_is_never_more_than_its_scopes(live: LiveNode, browsers: dict[str, Browser]) -> None:
    """An owner's token to administer makes no owner, no password, and no token for more than itself."""
    ada = browsers["ada"]

    def made(**terms: Any) -> str:
        answer = ada.ask("POST", "/tokens", terms)
        assert answer.status == 200, answer
        return str(answer.body["token"])

    def tried(token: str, method: str, path: str, body: Any = None) -> int:
        return live.ask(method, f"/api/v1{path}", None if body is None else msgspec.json.encode(body), token).status

    admin, reader, part = made(scopes=["admin"]), made(scopes=["read"]), made(project="other")
    people = ESCALATIONS[:4] + ESCALATIONS[4:8]
    for token in (admin, reader, part):
        for method, path, body in people:
            assert tried(token, method, path.format(me="ada"), body) == 403, (path, body)
        for path in ("/tokens", "/session/password"):
            assert tried(token, "POST" if path == "/tokens" else "PUT", path, {"old": "x", "new": "y"}) == 403
        assert tried(token, "GET", "/tokens") == 403 and tried(token, "GET", "/sessions") == 403
    wanted = {"project": PROJECT, "kind": "operator"}
    assert tried(admin, "POST", "/admin/token-issue", wanted) == 403
    assert tried(admin, "POST", "/admin/token-issue", wanted | {"scopes": ["admin"]}) == 200
    assert tried(reader, "POST", f"{BASE}/readings?thing=fan", {"power": 1}) == 403
    assert tried(reader, "GET", f"{BASE}/values") == 200 and tried(part, "GET", f"{BASE}/values") == 404
    only = made(things=["meter*"])
    assert tried(only, "GET", f"{BASE}/values?thing=fan") == 404 and tried(only, "POST", "/users", {"name": "x"}) == 403


def test_a_revoked_token_is_not_replayed(live: LiveNode, browsers: dict[str, Browser]) -> None:
    omar = browsers["omar"]
    made = omar.ask("POST", "/tokens", {"label": "short"}).body
    assert live.get("/session", made["token"]).status == 200
    assert made["id"] in {each["id"] for each in omar.ask("GET", "/tokens").body["tokens"]}
    assert browsers["gus"].ask("DELETE", f"/tokens/{made['id']}").status == 403
    assert omar.ask("DELETE", f"/tokens/{made['id']}").status == 200
    for path in ("/session", f"{BASE}/values", "/projects"):
        assert live.get(path, made["token"]).status == 401, path
    assert live.ask("POST", f"/api/v1/{made['token']}/telemetry", b"{}").status == 401


def test_streams_end_when_the_role_does(live: LiveNode) -> None:
    """A tail and an observation, without an event that would wake them."""
    browser = Browser(live)
    assert browser.sign_in("olga").status == 200
    streams = []
    for path in ("tail", "things/fan/observe"):
        connection = http.client.HTTPConnection("127.0.0.1", live.http_port, timeout=WAIT_S)
        connection.request("GET", f"/api/v1{BASE}/{path}", headers={"Cookie": f"taihu_session={browser.cookie}"})
        answer = connection.getresponse()
        assert answer.status == 200 and answer.readline().startswith(b":")
        streams.append((connection, answer))
    owner = Browser(live)
    assert owner.sign_in("ada").status == 200
    assert owner.ask("PUT", "/users/olga/role", {"project": PROJECT, "role": "viewer"}).status == 200
    for connection, answer in streams:
        answer.read()  # returns when the node ends it
        connection.close()
    assert owner.ask("PUT", "/users/olga/role", {"project": PROJECT, "role": "owner"}).status == 200


def test_one_changes_a_password_and_is_out_elsewhere(live: LiveNode) -> None:
    here, elsewhere = Browser(live, "192.0.2.50"), Browser(live)
    assert here.sign_in("gus").status == elsewhere.sign_in("gus").status == 200
    wrong = here.ask("PUT", "/session/password", {"old": "not it at all", "new": "a brand new password"})
    short = here.ask("PUT", "/session/password", {"old": PASSWORDS["gus"], "new": "short"})
    assert (wrong.status, short.status, short.body["type"].rpartition(":")[2]) == (401, 403, "password")
    changed = here.ask("PUT", "/session/password", {"old": PASSWORDS["gus"], "new": "a brand new password"})
    assert changed.status == 200, changed
    assert here.ask("GET", "/session").status == 200 and elsewhere.ask("GET", "/session").status == 401
    assert Browser(live, "192.0.2.51").sign_in("gus").status == 401
    assert here.ask("PUT", "/session/password", {"old": "a brand new password", "new": PASSWORDS["gus"]}).status == 200


def test_a_link_sets_one_password(live: LiveNode, browsers: dict[str, Browser]) -> None:
    ada = browsers["ada"]
    made = ada.ask("POST", "/users", {"name": "ivy", "roles": {"other": "viewer"}, "link": True}).body
    browser = Browser(live, "192.0.2.80")
    assert browser.sign_in("ivy", "").status == 400
    body = {"code": made["code"], "password": "ivy walks along the lake"}
    assert browser.ask("POST", "/session", body | {"password": "short"}).status == 403
    assert browser.ask("POST", "/session", body).status == 200
    assert browser.ask("GET", "/session").body["user"] == "ivy"
    assert browser.ask("POST", "/session", body).status == 401
    assert Browser(live).sign_in("ivy", "ivy walks along the lake").status == 200
    assert live.get("/session", made["code"]).status == 401
    assert ada.ask("DELETE", "/users/ivy").status == 200
    assert browser.ask("GET", "/session").status == 401


def test_an_owner_of_a_project_gives_its_roles(live: LiveNode, browsers: dict[str, Browser]) -> None:
    olga, gus = browsers["olga"], Browser(live)
    assert gus.sign_in("gus").status == 200
    assert olga.ask("PUT", "/users/gus/role", {"project": PROJECT, "role": "viewer"}).status == 200
    assert gus.ask("GET", f"{BASE}/values").status == 200
    listed = olga.ask("GET", f"/users?project={PROJECT}").body["users"]
    assert {each["name"]: each["roles"] for each in listed}["gus"] == {PROJECT: "viewer"}  # and nothing of `other`
    assert olga.ask("PUT", "/users/gus/role", {"project": PROJECT, "role": None}).status == 200
    assert gus.ask("GET", f"{BASE}/values").status == 404
    told = {(entry["who"], entry["what"]) for entry in audit(live, PROJECT)}
    assert ("olga", "role") in told and ("test", "token issued") in told


def test_sessions_are_listed_and_ended(live: LiveNode) -> None:
    one, other = Browser(live, "192.0.2.70"), Browser(live)
    assert one.sign_in("omar").status == other.sign_in("omar").status == 200
    listed = other.ask("GET", "/sessions").body["sessions"]
    assert {each["user"] for each in listed} == {"omar"} and sum(each["here"] for each in listed) == 1
    (number,) = (each["id"] for each in listed if each["address"] == "192.0.2.70")
    assert other.ask("DELETE", f"/sessions/{number}").status == 200
    assert one.ask("GET", "/session").status == 401 and other.ask("GET", "/session").status == 200
    assert live.ask("POST", "/api/v1/admin/session-end", b'{"user": "omar"}', owner_of(live)).status == 200
    assert other.ask("GET", "/session").status == 401


def test_no_secret_is_in_any_log_or_in_the_audit(live: LiveNode, browsers: dict[str, Browser]) -> None:
    """Of all that the tests above sent and were given."""
    told = "".join(live.log(name) for name in ("ingest", "worker")) + str(audit(live))
    assert "sign-in failed" in told
    secrets = [live.operator, live.viewer, owner_of(live), *live.tokens.values(), *PASSWORDS.values()]
    secrets += [browser.cookie for browser in browsers.values()] + [browser.csrf for browser in browsers.values()]
    secrets += ["a wrong password", "a brand new password", "ivy walks along the lake", "$argon2"]
    assert [secret for secret in secrets if secret in told] == []
    assert not re.search(r"session\.[\w-]{43}", told)


def test_a_token_that_is_nearly_right_takes_no_longer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Checked against each other, not against a clock: tokens are found by their SHA-256, of which no part leaks."""
    directory = Directory(tmp_path_factory.mktemp("timing") / "metadata.db", SimClock())
    directory.create_project(Project(name="house"))
    _, token = directory.issue_token(CredentialKind.OPERATOR, "house")
    nearly, far = token[:-1] + ("A" if token[-1] != "A" else "B"), new_token()
    random = Random(7)
    taken: dict[str, list[float]] = {nearly: [], far: []}
    for _ in range(4_000):
        for guess in random.sample([nearly, far], 2):
            began = CLOCK.monotonic()
            assert directory.principal(guess) is None
            taken[guess].append(CLOCK.monotonic() - began)
    directory.close()
    ratio = statistics.median(taken[nearly]) / statistics.median(taken[far])
    assert 0.5 < ratio < 2
