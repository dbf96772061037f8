"""Signing in at an OpenID provider: only a signed answer to the very sign-in that was begun opens anything."""

import asyncio
import http.client
import re
import subprocess
import sys
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.waiting import WAIT_S

pytest.importorskip("authlib", reason="authlib is not installed: pip install 'taihu[oidc]'")

from tests.faults.support import LiveNode
from tests.ports import free_port
from tests.runtime.oidc import SECRET, FakeProvider
from tests.runtime.people import Browser

from taihu.identity.directory import Directory
from taihu.identity.person import Origin, Person
from taihu.identity.principal import Project, Role
from taihu.kernel.clock import SimClock
from taihu.kernel.config import parse_site
from taihu.kernel.errors import ConfigError
from taihu.kernel.sections import OidcRole
from taihu.runtime.admin.oidc import ProviderSignIn, provider_of, roles_of
from taihu.runtime.admin.provider import ProviderAway, ProviderRefused

T = TypeVar("T")
SITE = """
[console]
url = "https://console.example"
[oidc]
issuer = "{issuer}"
client_id = "taihu"
secret = "oidc.secret"
[[oidc.role]]
value = "staff"
project = "house"
role = "viewer"
[[oidc.role]]
value = "admins"
role = "owner"
"""


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    provider = FakeProvider()
    yield provider
    provider.close()


@pytest.fixture
def clock() -> SimClock:
    return SimClock()


@pytest.fixture
def signing(fake: FakeProvider, clock: SimClock, tmp_path: Path) -> Iterator[ProviderSignIn]:
    fake.clock = clock
    secret = tmp_path / "oidc.secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    site = parse_site(SITE.format(issuer=fake.issuer), tmp_path)
    directory = Directory(tmp_path / "metadata.db", clock)
    directory.create_project(Project(name="house"))
    found = provider_of(site, directory, clock)
    assert found is not None
    yield found
    directory.close()


def run(work: Awaitable[T]) -> T:
    async def body() -> T:
        return await work

    return asyncio.run(body())


async def signed_in(signing: ProviderSignIn, fake: FakeProvider, origin: Origin | None = None) -> Any:
    begun = await signing.begin()
    back = fake.sign_in(begun["url"])
    return await signing.finish(begun["flow"], back["state"], back["code"], "", origin or Origin())


def test_who_the_provider_vouches_for_is_signed_in(signing: ProviderSignIn, fake: FakeProvider) -> None:
    session, secret = run(signed_in(signing, fake, Origin("192.0.2.7", "a browser")))
    assert (session.user, session.how, session.address) == ("mei", "oidc", "192.0.2.7")
    directory = signing._directory
    person = directory.person("mei")
    assert person and (person.title, dict(person.roles)) == ("Mei Lin", {"house": Role.VIEWER})
    assert (person.issuer, person.subject, person.password) == (fake.issuer, "1001", False)
    assert directory.principal(secret)
    fake.claims |= {"preferred_username": "renamed", "groups": ["admins", "staff"]}  # the subject is who it is
    session, _ = run(signed_in(signing, fake))
    person = directory.person("mei")
    assert session.user == "mei" and person and person.owns_node


def test_the_request_proves_itself_with_pkce_state_and_nonce(signing: ProviderSignIn, fake: FakeProvider) -> None:
    begun = [run(signing.begin()) for _ in range(2)]
    asked = [parse_qs(urlsplit(each["url"]).query) for each in begun]
    for name in ("state", "nonce", "code_challenge"):
        assert len({each[name][0] for each in asked}) == 2 and len(asked[0][name][0]) >= 43
    assert asked[0]["redirect_uri"] == ["https://console.example/oidc"] and asked[0]["kind"] == ["login"]
    assert asked[0]["scope"] == ["openid profile email"]
    assert len({each["flow"] for each in begun}) == 2 and begun[0]["flow"] not in begun[0]["url"]


@pytest.mark.parametrize(
    ("spoil", "header"),
    [
        ({"nonce": "another"}, {}),
        ({"nonce": None}, {}),
        ({"iss": "https://evil.example"}, {}),
        ({"aud": "another-client"}, {}),
        ({"aud": ["taihu", "another"], "azp": "another"}, {}),
        ({"exp": 1_000_000_000}, {}),
        ({"exp": None}, {}),
        ({"iat": 4_000_000_000}, {}),
        ({"sub": None}, {}),
        ({"sub": ""}, {}),
        ({"sub": 7}, {}),
        ({}, {"alg": "none"}),
        ({}, {"alg": "HS256"}),
        ({}, {"kid": "unknown"}),
    ],
)
def test_a_token_that_is_not_for_this_sign_in_opens_nothing(
    signing: ProviderSignIn, fake: FakeProvider, spoil: dict[str, Any], header: dict[str, Any]
) -> None:
    fake.spoil, fake.header = spoil, header
    with pytest.raises(ProviderRefused):
        run(signed_in(signing, fake))
    assert signing._directory.people() == [] and signing._directory.sessions() == []


def test_an_answer_to_another_sign_in_opens_nothing(
    signing: ProviderSignIn, fake: FakeProvider, clock: SimClock
) -> None:
    async def body() -> None:
        one, other = await signing.begin(), await signing.begin()
        back = fake.sign_in(one["url"])
        mixed = fake.sign_in(other["url"])
        for flow, state, code, issuer in (
            (one["flow"], mixed["state"], back["code"], ""),  # somebody else's answer, pushed into this browser
            (one["flow"], back["state"], back["code"], ""),  # the flow was used up by that try
            ("made up", back["state"], back["code"], ""),
            (other["flow"], mixed["state"], mixed["code"], "https://evil.example"),
        ):
            with pytest.raises(ProviderRefused):
                await signing.finish(flow, state, code, issuer, Origin())
        late = await signing.begin()
        back = fake.sign_in(late["url"])
        clock.advance(601)
        with pytest.raises(ProviderRefused, match="too long ago"):
            await signing.finish(late["flow"], back["state"], back["code"], "", Origin())

    run(body())


def test_a_code_without_its_verifier_is_refused_by_the_provider(signing: ProviderSignIn, fake: FakeProvider) -> None:
    async def body() -> None:
        one, other = await signing.begin(), await signing.begin()
        stolen = fake.sign_in(one["url"])["code"]
        back = fake.sign_in(other["url"])
        with pytest.raises(ProviderRefused, match="invalid_grant"):
            await signing.finish(other["flow"], back["state"], stolen, "", Origin())

    run(body())


def test_a_new_key_is_fetched_when_a_token_names_it(
    signing: ProviderSignIn, fake: FakeProvider, clock: SimClock
) -> None:
    async def body() -> None:
        await signed_in(signing, fake)
        await signed_in(signing, fake)
        assert fake.asked.count("/keys") == 1
        clock.advance(60)
        fake.rotate("second")
        await signed_in(signing, fake)
        assert fake.asked.count("/keys") == 2
        fake.header = {"kid": "made up"}  # whoever makes one up does not make us ask each time
        for _ in range(3):
            with pytest.raises(ProviderRefused):
                await signed_in(signing, fake)
        assert fake.asked.count("/keys") == 2

    run(body())


def test_groups_may_come_from_userinfo(signing: ProviderSignIn, fake: FakeProvider) -> None:
    del fake.claims["groups"]
    fake.userinfo = {"sub": "1001", "groups": ["staff"]}
    session, _ = run(signed_in(signing, fake))
    assert session.user == "mei"
    fake.userinfo = {"sub": "1002", "groups": ["admins"]}
    with pytest.raises(ProviderRefused, match="contradicts"):
        run(signed_in(signing, fake))


def test_without_a_role_nobody_comes_in_and_who_had_one_is_out(signing: ProviderSignIn, fake: FakeProvider) -> None:
    _, secret = run(signed_in(signing, fake))
    fake.claims["groups"] = ["visitors"]
    with pytest.raises(ProviderRefused, match="no role"):
        run(signed_in(signing, fake))
    person = signing._directory.person("mei")
    assert person and person.roles == {}
    fake.claims |= {"sub": "1002", "preferred_username": "new"}
    with pytest.raises(ProviderRefused, match="no role"):
        run(signed_in(signing, fake))
    assert signing._directory.person("new") is None
    principal = signing._directory.principal(secret)
    assert principal and not signing._directory.scopes_in(principal, "house")


def test_nobody_takes_over_an_account_by_its_name(signing: ProviderSignIn, fake: FakeProvider) -> None:
    """A name is the provider's to give; the person of a password, and another subject's, are not."""
    fake.about = {"userinfo_endpoint": None}
    signing._directory.add_person(Person(name="mei", roles={"": Role.OWNER}), "cli", "hash")
    with pytest.raises(ProviderRefused, match="already"):
        run(signed_in(signing, fake))
    fake.claims["preferred_username"] = "ben"
    run(signed_in(signing, fake))
    fake.claims["sub"] = "1002"
    with pytest.raises(ProviderRefused, match="already"):
        run(signed_in(signing, fake))
    for name in ("", "not a plain name", None, 7):
        fake.claims |= {"sub": f"x{name}", "preferred_username": name}
        with pytest.raises(ProviderRefused, match="names nobody"):
            run(signed_in(signing, fake))


def test_a_session_lives_as_long_as_the_provider_says(
    signing: ProviderSignIn, fake: FakeProvider, clock: SimClock
) -> None:
    async def body() -> None:
        directory = signing._directory
        session, _ = await signed_in(signing, fake)
        fake.asked.clear()
        await signing.check()
        assert fake.asked == []  # not yet
        clock.advance(901)
        fake.claims["groups"] = ["staff", "admins"]
        await signing.check()
        person = directory.person("mei")
        assert person and person.owns_node and fake.asked == ["/token"]
        fake.id_token_on_refresh = False
        fake.userinfo = {"sub": "1001", "groups": ["staff"], "preferred_username": "mei"}
        clock.advance(901)
        await signing.check()
        person = directory.person("mei")
        assert person and dict(person.roles) == {"house": Role.VIEWER}
        fake.about = {"jwks_uri": None}
        clock.advance(901)
        fake.refused = {"again"}
        await signing.check()
        assert directory.session(session.id) is None

    run(body())


def test_a_provider_that_is_away_ends_nothing(
    signing: ProviderSignIn, fake: FakeProvider, clock: SimClock, caplog: pytest.LogCaptureFixture
) -> None:
    session, _ = run(signed_in(signing, fake))
    fake.close()
    clock.advance(901)
    run(signing.check())
    run(signing.check())
    assert signing._directory.session(session.id) is not None
    assert caplog.text.count("does not answer") == 1  # once, not each minute
    with pytest.raises(ProviderAway):
        run(signing.begin()) if not signing._provider._about else run(signed_in(signing, fake))


def test_somebody_signs_out_at_the_provider_too(signing: ProviderSignIn, fake: FakeProvider) -> None:
    async def body() -> tuple[str, str]:
        session, _ = await signed_in(signing, fake)
        with_end = await signing.leave(session.id)
        signing._provider._about.pop("end_session_endpoint")
        return with_end, await signing.leave(session.id)

    place, without = run(body())
    assert place.startswith(f"{fake.issuer}/logout?") and without == ""
    asked = dict(parse_qsl(urlsplit(place).query))
    assert asked["post_logout_redirect_uri"] == "https://console.example/" and asked["id_token_hint"].count(".") == 2


@pytest.mark.parametrize("about", [{"issuer": "https://evil.example"}, {"token_endpoint": None}, {"jwks_uri": 7}])
def test_a_provider_that_is_another_is_no_provider(
    signing: ProviderSignIn, fake: FakeProvider, about: dict[str, Any]
) -> None:
    fake.about = about
    with pytest.raises(ProviderAway):
        run(signing.begin())


def test_what_it_answers_is_bounded_and_never_told(
    signing: ProviderSignIn, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§13: whatever comes is the one error; what is in it may be a secret."""
    for content in (b"{not json", b"\xff\xfe", b"[1]", b'"text"', b"x" * 2_000_000):
        monkeypatch.setattr(fake, "_token", lambda form, content=content: (200, content))
        with pytest.raises(ProviderAway) as away:
            run(signed_in(signing, fake))
        assert "not json" not in str(away.value) and len(str(away.value)) < 200


def test_begun_sign_ins_are_bounded(signing: ProviderSignIn, fake: FakeProvider) -> None:
    """§6"""
    msgspec.structs.force_setattr(signing._provider._limits, "oidc_flows_max", 3)

    async def body() -> None:
        begun = [await signing.begin() for _ in range(5)]
        assert len(signing._provider._flows) == 3
        back = fake.sign_in(begun[0]["url"])
        with pytest.raises(ProviderRefused):
            await signing.finish(begun[0]["flow"], back["state"], back["code"], "", Origin())

    run(body())


claims = st.dictionaries(
    st.sampled_from(["groups", "roles"]),
    st.none()
    | st.text(max_size=3)
    | st.integers()
    | st.lists(st.sampled_from(["a", "b", "ab"]) | st.integers(), max_size=3),
)
rules = st.lists(
    st.builds(
        OidcRole,
        claim=st.sampled_from(["groups", "roles"]),
        value=st.sampled_from(["a", "a*", "*", "b"]),
        project=st.sampled_from(["", "house", "h*", "*", "none"]),
        role=st.sampled_from(["owner", "operator", "viewer"]),
    ),
    max_size=4,
)


@given(claims, rules)
def test_roles_come_from_claims_alone(found: dict[str, Any], given_rules: list[OidcRole]) -> None:
    """Whatever a provider says: no error, no role without a rule, and one rule more takes none away."""
    roles = roles_of(found, given_rules, ["house", "district"])
    assert set(roles) <= {"", "house", "district"} and roles_of({}, given_rules, ["house"]) == {}
    order = [Role.VIEWER, Role.OPERATOR, Role.OWNER]
    for rule in given_rules:
        fewer = roles_of(found, [other for other in given_rules if other is not rule], ["house", "district"])
        assert all(order.index(roles[project]) >= order.index(role) for project, role in fewer.items())


def test_the_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    secret = tmp_path / "oidc.secret"
    secret.write_text("x")
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        parse_site(SITE.format(issuer="https://id.example"), tmp_path)
    secret.chmod(0o600)
    parse_site(SITE.format(issuer="https://id.example"), tmp_path)
    with pytest.raises(ConfigError, match="TLS"):
        parse_site(SITE.format(issuer="http://id.example"), tmp_path)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveNode, str]]:
    """A node, and the provider of others (oidc-provider-mock) in a process of its own."""
    port = free_port()
    issuer = f"http://localhost:{port}"
    user = msgspec.json.encode({"sub": "u-1", "preferred_username": "lan", "name": "Lan", "groups": ["staff"]}).decode()
    process = subprocess.Popen(
        [sys.executable, "-m", "oidc_provider_mock", "-p", str(port), "-H", "localhost", "--user-claims", user],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    folder = tmp_path_factory.mktemp("oidc") / "site"
    folder.mkdir()
    (folder / "oidc.secret").write_text(SECRET)
    (folder / "oidc.secret").chmod(0o600)
    more = SITE.format(issuer=issuer).replace("https://console.example", "http://127.0.0.1:1").replace("house", "plant")
    node = LiveNode(folder, ["fan"], more=more)
    node.start()
    for _ in range(600):
        try:
            _get(issuer + "/.well-known/openid-configuration")
            break
        except OSError:
            assert process.poll() is None
            asyncio.run(asyncio.sleep(0.1))
    yield node, issuer
    node.stop()
    process.terminate()
    process.wait(WAIT_S)


def _get(url: str, body: str | None = None) -> tuple[int, str, str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=WAIT_S)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    connection.request("GET" if body is None else "POST", f"{parts.path}?{parts.query}", body, headers)
    answer = connection.getresponse()
    found = answer.status, answer.headers.get("location", ""), answer.read().decode()
    connection.close()
    return found


def test_a_provider_of_others_signs_somebody_in(peer: tuple[LiveNode, str]) -> None:
    """The whole way over HTTP: begin, sign in there, come back with the code; sign out there too."""
    node, issuer = peer
    browser = Browser(node)
    assert browser.ask("GET", "/sign-in").body["provider"].startswith("localhost")
    begun = browser.ask("POST", "/oidc").body
    status, location, page = _get(begun["url"], urlencode({"sub": "u-1"}))
    assert status == 302, page
    back = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert location.startswith("http://127.0.0.1:1/oidc?")
    answer = browser.ask("POST", "/oidc/answer", {"flow": begun["flow"], **back})
    assert (answer.status, answer.body["user"]) == (200, "lan"), answer
    browser.csrf = answer.body["csrf"]
    who = browser.ask("GET", "/session").body
    assert (who["roles"], who["title"], who["session"]["how"]) == ({"plant": "viewer"}, "Lan", "oidc")
    assert browser.ask("GET", "/projects/plant/things").status == 200
    again = browser.ask("POST", "/oidc/answer", {"flow": begun["flow"], **back})
    assert again.status == 403
    out = browser.ask("DELETE", "/session")
    assert out.status == 200 and out.body["provider"].startswith(f"{issuer}/")
    assert not re.search(rf"{re.escape(SECRET)}|eyJ[\w-]+\.", node.log("ingest"))


def test_it_is_no_way_in_for_another_site_s_page(peer: tuple[LiveNode, str]) -> None:
    node, _ = peer
    browser = Browser(node)
    body = {"flow": "x", "state": "y", "code": "z"}
    assert browser.ask("POST", "/oidc/answer", body, Origin="https://evil.example").status == 403
    assert browser.ask("POST", "/oidc/answer", body, Content_Type="text/plain").status == 415
    assert browser.ask("POST", "/oidc/answer", body).status == 403
    assert browser.ask("POST", "/oidc/answer", {}).status == 400
