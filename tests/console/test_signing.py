"""People sign in at the console of a real node: they see what is theirs, and no other site does anything for them."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest
from playwright.sync_api import expect, sync_playwright
from tests.faults.support import CLOCK, LiveNode
from tests.ports import free_port
from tests.waiting import WAIT_S

pytest.importorskip("authlib", reason="authlib is not installed: pip install 'taihu[oidc]'")

from tests.runtime.oidc import FakeProvider

CHROMIUM = shutil.which("chromium")
PASSWORD = "a donkey rides home late"
TITLE = "<b>Vera</b> & co"
MORE = """
[[project]]
name = "secret-lab"
[[project.thing]]
name = "pump"
[console]
port = {port}
[oidc]
issuer = "{issuer}"
client_id = "taihu"
title = "Plant ID"
[[oidc.role]]
value = "staff"
project = "plant"
role = "operator"
"""


class Visitor:
    """A browser without pictures: keeps its cookies, follows nothing by itself."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}
        self.set: list[str] = []
        self.headers: dict[str, str] = {}

    def ask(self, method: str, path: str, form: dict[str, Any] | None = None, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        given = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form is not None:
            given |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{self.port}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, urlencode(form, doseq=True) if form is not None else None, given)
        answer = connection.getresponse()
        text = answer.read().decode()
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.set = answer.headers.get_all("set-cookie") or []
        for line in self.set:
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0].strip('"')
            self.cookies.pop(name, None) if "Max-Age=0" in line else self.cookies.update({name: value})
        connection.close()
        return answer.status, text

    def sign_in(self, name: str = "vera", onward: str = "/en", **headers: str) -> int:
        form = {"name": name, "password": PASSWORD, "next": onward}
        return self.ask("POST", "/en/sign-in", form, **headers)[0]

    def csrf(self) -> str:
        """The proof that the account page's forms carry."""
        status, page = self.ask("GET", "/en/account")
        found = re.search(r'name=csrf value="([\w-]+)"', page)
        assert found, (status, page[-600:])
        return found[1]


@contextmanager
def console(node: LiveNode, port: int) -> Iterator[None]:
    """The console as `taihu console` runs it."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NICEGUI"))}
    arguments = [
        sys.executable,
        "-m",
        "taihu.runtime",
        "console",
        str(node.folder),
        str(node.site.data / "admin.token"),
    ]
    with (node.folder / "console.log").open("ab") as log:
        process = subprocess.Popen(arguments, env=ours, stdout=log, stderr=log)
    until = CLOCK.monotonic() + WAIT_S
    while True:
        try:
            Visitor(port).ask("GET", "/welcome")
            break
        except OSError:
            assert process.poll() is None and CLOCK.monotonic() < until, node.log("console")
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    fake = FakeProvider()
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, provider: FakeProvider) -> Iterator[tuple[LiveNode, int]]:
    port = free_port()
    more = MORE.format(port=port, issuer=provider.issuer)
    node = LiveNode(tmp_path_factory.mktemp("signing") / "site", ["fan"], more=more)
    node.start()
    owner = (node.site.data / "admin.token").read_text()
    body = {"name": "vera", "title": TITLE, "password": PASSWORD, "roles": {"plant": "viewer"}}
    assert node.ask("POST", "/api/v1/users", msgspec.json.encode(body), owner).status == 200
    with console(node, port):
        yield node, port
    node.stop()


@pytest.fixture
def visitor(live: tuple[LiveNode, int]) -> Visitor:
    return Visitor(live[1])


def test_nobody_is_shown_anything_before_signing_in(visitor: Visitor) -> None:
    for path in ("/en", "/zh", "/en/things?project=plant&after=a"):
        status, _ = visitor.ask("GET", path)
        assert status == 303
        assert visitor.headers["location"] == f"{path[:3]}/sign-in?{urlencode({'next': path})}"
    assert visitor.ask("GET", "/en/account")[0] == 303
    status, page = visitor.ask("GET", "/zh/sign-in")
    assert status == 200 and "登录" in page and "通过 Plant ID 登录" in page
    assert "frame-ancestors 'none'" in visitor.headers["content-security-policy"]
    assert visitor.headers["cache-control"] == "no-store"


def test_somebody_signs_in_and_goes_on_where_they_were(visitor: Visitor) -> None:
    assert visitor.sign_in(onward="/en/things?project=plant") == 303
    assert visitor.headers["location"] == "/en/things?project=plant"
    (cookie,) = visitor.set
    assert {"httponly", "samesite=lax", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    status, page = visitor.ask("GET", "/en/account")
    assert status == 200 and "viewer of plant" in page
    assert TITLE not in page and "&lt;b&gt;Vera&lt;/b&gt; &amp; co" in page
    for evil in ("https://evil.example/en", "//evil.example/en", "/\\evil.example", "/enx", "javascript:alert(1)"):
        assert visitor.sign_in(onward=evil) == 303 and visitor.headers["location"] == "/en", evil


def test_a_wrong_password_is_told_in_the_reader_s_language(visitor: Visitor) -> None:
    form = {"name": "vera", "password": "wrong", "next": "/zh"}
    status, page = visitor.ask("POST", "/zh/sign-in", form)
    assert status == 403 and "用户名或密码不正确" in page and 'value="vera"' in page and "wrong" not in page
    assert visitor.cookies == {}


def test_another_site_s_page_does_nothing(visitor: Visitor) -> None:
    """Login CSRF, sign-out CSRF, and every form of the account."""
    evil = {"Origin": "https://evil.example"}
    for headers in (evil, {"Origin": "null"}, {"Origin": "", "Sec_Fetch_Site": "cross-site"}):
        assert visitor.sign_in(**headers) == 403 and visitor.cookies == {}
    assert visitor.sign_in(Origin="", Sec_Fetch_Site="same-origin") == 303
    csrf, secret = visitor.csrf(), visitor.cookies["taihu_session"]
    for path, form in (
        ("/en/sign-out", {}),
        ("/en/account", {"what": "password", "old": PASSWORD, "password": "x" * 20, "again": "x" * 20}),
        ("/en/account", {"what": "token", "scope": "admin"}),
    ):
        for proof, headers in (("", {}), ("x" * 43, {}), (csrf, evil)):
            assert visitor.ask("POST", path, form | {"csrf": proof}, **headers)[0] == 403, path
    assert visitor.cookies["taihu_session"] == secret and visitor.ask("GET", "/en/account")[0] == 200


def test_the_account_page_s_forms(live: tuple[LiveNode, int], visitor: Visitor) -> None:
    node, port = live
    other = Visitor(port)
    assert visitor.sign_in() == other.sign_in() == 303
    csrf = visitor.csrf()

    def post(**form: Any) -> tuple[int, str]:
        return visitor.ask("POST", "/en/account", form | {"csrf": csrf})

    status, page = post(what="token", label="<i>notebook</i>", scope=["read", "evil"], days="30")
    found = re.search(r"<p class=secret>([\w-]{43})</p>", page)
    assert status == 200 and found and "&lt;i&gt;notebook" in page and "<i>notebook" not in page
    assert node.get("/projects/plant/things", found[1]).status == 200
    assert node.ask("POST", "/api/v1/projects/plant/readings?thing=fan", b'{"p": 1}', found[1]).status == 403
    (number,) = re.findall(r'name="id" value="([0-9a-f]{16})"', page.partition("<h2 class=section-title>Tokens")[2])
    assert post(what="revoke", id=number)[0] == 303
    assert node.get("/session", found[1]).status == 401
    page = visitor.ask("GET", "/en/account")[1]
    numbers = re.findall(r'name="what" value="session"><input type=hidden name="id" value="([0-9a-f]+)"', page)
    for number in numbers:
        assert post(what="session", id=number)[0] == 303
    assert other.ask("GET", "/en/account")[0] == 303 and visitor.ask("GET", "/en/account")[0] == 200
    assert post(what="session", id="../users/vera")[0] == 403
    new = "quite another long password"
    assert "not the same" in post(what="password", old=PASSWORD, password=new, again="x")[1]
    assert "present password is wrong" in post(what="password", old="no", password=new, again=new)[1]
    assert "may not be a password" in post(what="password", old=PASSWORD, password="short", again="short")[1]
    assert post(what="password", old=PASSWORD, password=new, again=new)[0] == 303
    assert "is changed" in visitor.ask("GET", "/en/account?done=password")[1]
    assert post(what="password", old=new, password=PASSWORD, again=PASSWORD)[0] == 303


def test_signing_out_ends_the_session(live: tuple[LiveNode, int], visitor: Visitor) -> None:
    assert visitor.sign_in() == 303
    secret, csrf = visitor.cookies["taihu_session"], visitor.csrf()
    status, page = visitor.ask("POST", "/en/sign-out", {"csrf": csrf})
    assert status == 200 and "signed out" in page and visitor.cookies == {}
    visitor.cookies["taihu_session"] = secret
    assert visitor.ask("GET", "/en")[0] == visitor.ask("GET", "/en/account")[0] == 303
    assert live[0].get("/session", secret).status == 401


def test_a_link_sets_a_first_password(live: tuple[LiveNode, int], visitor: Visitor) -> None:
    node, _ = live
    owner = (node.site.data / "admin.token").read_text()
    made = node.ask("POST", "/api/v1/users", b'{"name": "ivy", "link": true}', owner).body
    assert visitor.ask("GET", "/welcome", Accept_Language="zh-CN")[0] in (302, 307)
    assert visitor.headers["location"] == "/zh/welcome"  # the browser keeps what stands after #
    form = {"code": made["code"], "password": PASSWORD, "again": "another"}
    assert "not the same" in visitor.ask("POST", "/en/welcome", form)[1]
    assert visitor.ask("POST", "/en/welcome", form | {"again": PASSWORD})[0] == 303
    assert visitor.ask("GET", "/en/account")[0] == 200
    assert "not valid any more" in visitor.ask("POST", "/en/welcome", form | {"again": PASSWORD})[1]


def test_somebody_signs_in_at_the_provider(
    visitor: Visitor, provider: FakeProvider, live: tuple[LiveNode, int]
) -> None:
    assert visitor.ask("GET", "/oidc/start?language=zh")[0] == 303
    begun = visitor.headers["location"]
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun).query).items()}
    assert asked["redirect_uri"] == f"http://127.0.0.1:{live[1]}/oidc"
    back = provider.sign_in(begun)
    stranger = Visitor(visitor.port)  # a browser that did not begin this
    assert stranger.ask("GET", f"/oidc?{urlencode(back)}")[0] == 403
    assert stranger.ask("GET", "/oidc/start")[0] == 303
    assert stranger.ask("GET", f"/oidc?{urlencode(back)}")[0] == 403 and "taihu_session" not in stranger.cookies
    assert visitor.ask("GET", f"/oidc?{urlencode(back)}")[0] == 303
    assert visitor.headers["location"] == "/zh" and set(visitor.cookies) == {"taihu_session"}
    page = visitor.ask("GET", "/zh/account")[1]
    assert "plant 的操作员" in page and "修改密码" not in page
    csrf = visitor.csrf()
    status, page = visitor.ask("POST", "/zh/sign-out", {"csrf": csrf})
    assert status == 200 and f"url={provider.issuer}/logout" in page
    assert visitor.ask("GET", "/oidc?error=access_denied&state=x")[0] == 403


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: nobody looks at the pages")
def test_one_sees_one_s_projects_until_the_session_ends(live: tuple[LiveNode, int]) -> None:
    node, port = live
    owner = (node.site.data / "admin.token").read_text()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_context(locale="en-US").new_page()
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        page.goto(f"http://127.0.0.1:{port}/")
        page.fill("[name=name]", "vera")
        page.fill("[name=password]", PASSWORD)
        page.click("button[type=submit]")
        expect(page.locator(".person")).to_have_text(TITLE)
        page.goto(f"http://127.0.0.1:{port}/en/things")
        expect(page.locator("section.project")).to_have_count(1)
        expect(page.locator("section.project")).to_contain_text("plant")
        assert "secret-lab" not in page.content()
        page.click(".person")
        expect(page.locator("h1")).to_have_text(TITLE)
        page.goto(f"http://127.0.0.1:{port}/en/things")
        expect(page.locator("section.project")).to_have_count(1)
        assert node.ask("POST", "/api/v1/admin/session-end", b'{"user": "vera"}', owner).status == 200
        page.wait_for_url("**/en/sign-in?next=*")
        chromium.close()


def test_no_secret_is_in_the_log(live: tuple[LiveNode, int]) -> None:
    node, _ = live
    told = node.log("console") + node.log("ingest")
    assert not re.search(
        rf"{PASSWORD}|session\.[\w-]{{20}}|code=|{(node.site.data / 'console.token').read_text()}", told
    )


def test_it_is_open_until_there_are_people_and_to_this_machine_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    port = free_port()
    node = LiveNode(tmp_path_factory.mktemp("open") / "site", ["fan"], more=f"[console]\nport = {port}\n")
    node.start()
    try:
        with console(node, port):
            visitor = Visitor(port)
            assert visitor.ask("GET", "/en")[0] == 200
            assert (
                visitor.ask("GET", "/en", Host=f"evil.example:{port}")[0] == 303
            )  # a name that was made to point here
            assert "Nobody can sign in here yet" in visitor.ask("GET", "/en/sign-in")[1]
            owner = (node.site.data / "admin.token").read_text()
            assert node.ask("POST", "/api/v1/users", b'{"name": "vera", "link": true}', owner).status == 200
            until = CLOCK.monotonic() + WAIT_S
            while visitor.ask("GET", "/en")[0] == 200:
                assert CLOCK.monotonic() < until
            assert visitor.ask("GET", "/en")[0] == 303
    finally:
        node.stop()
