"""People of a node under test: who they are, and how they call it, with a cookie as a browser does."""

import http.client
from typing import Any

import msgspec
from tests.faults.support import Answer, LiveNode
from tests.waiting import WAIT_S

PASSWORDS = {name: f"{name} rides a grey donkey home" for name in ("ada", "olga", "omar", "vera", "gus")}
ROLES = {
    "ada": {"": "owner"},
    "olga": {"plant": "owner"},
    "omar": {"plant": "operator"},
    "vera": {"plant": "viewer"},
    "gus": {"other": "operator"},
}


class Browser:
    """Keeps the cookie it is given; sends the CSRF token beside it unless told otherwise."""

    def __init__(self, node: LiveNode, address: str = "") -> None:
        self.node = node
        self.cookie = ""
        self.csrf = ""
        self.set_cookie = ""
        self.headers: dict[str, str] = {}
        self._address = address

    def ask(self, method: str, path: str, body: Any = None, *, csrf: bool = True, **headers: str) -> Answer:
        """One request, as a page of this address sends it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.node.http_port, timeout=WAIT_S)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie and "Cookie" not in given:
            given["Cookie"] = f"taihu_session={self.cookie}"
        if csrf and self.csrf:
            given["X-CSRF-Token"] = self.csrf
        data = msgspec.json.encode(body) if body is not None and not isinstance(body, bytes) else body
        given = {"Content-Type": "application/json"} | given
        try:
            connection.request(method, f"/api/v1{path}", data, given)
            answer = connection.getresponse()
            content = answer.read()
            self.headers = {name.lower(): value for name, value in answer.getheaders()}
            self._keep(self.headers.get("set-cookie", ""))
            json = "json" in answer.headers.get_content_subtype()
            return Answer(answer.status, msgspec.json.decode(content) if content and json else content)
        finally:
            connection.close()

    def sign_in(self, name: str, password: str | None = None, **fields: str) -> Answer:
        """Sign in with a password, from an address of one's own where one was given."""
        body = {"name": name, "password": PASSWORDS.get(name, "") if password is None else password} | fields
        relay: dict[str, Any] = {}
        if self._address:
            body["address"] = self._address
            relay["Authorization"] = f"Bearer {(self.node.site.data / 'console.token').read_text()}"
        answer = self.ask("POST", "/session", body, **relay)
        if answer.status == 200:
            self.csrf = answer.body["csrf"]
        return answer

    def _keep(self, header: str) -> None:
        if header:
            self.set_cookie = header
            self.cookie = header.partition("=")[2].partition(";")[0].strip('"')


def add_people(node: LiveNode) -> None:
    """Add everybody, as the owner of the node."""
    owner = (node.site.data / "admin.token").read_text()
    for name, password in PASSWORDS.items():
        roles = {project: role for project, role in ROLES[name].items() if project}
        body = {"name": name, "title": name.title(), "password": password, "roles": roles, "owner": name == "ada"}
        answer = node.ask("POST", "/api/v1/users", msgspec.json.encode(body), owner)
        assert answer.status == 200, answer
