"""§11 at every endpoint there is, whoever added it: a stranger learns and changes nothing, and no path leads astray."""

import http.client
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from tests.faults.support import LiveNode
from tests.waiting import WAIT_S

from taihu.doors.http.endpoint import Operation
from taihu.doors.http.server import ROUTES, SOCKETS

WORD = "GEHEIM-40718"
KNOWN = {
    "thing": "pump", "name": "words", "property": "words", "id": "urn:taihu:thing:plant:pump", "user": "ada",
    "query": "SELECT 1", "start": "-1h", "end": "now", "action": "thing-list", "format": "json", "by": "1h",
}  # fmt: skip
MENDED = {
    "thing": "fan",
    "words": "changed",
    "level": 1,
    "sql": "SELECT 1",
    "name": "eve",
    "title": "x",
    "readings": [],
}


def operations() -> Iterator[tuple[str, str, Operation]]:
    for route in ROUTES:
        for method, operation in route.operations.items():
            if not operation.public and route.path != "/metrics":  # on this machine's own addresses anybody may count
                yield method.upper(), route.path, operation


OPERATIONS = [(f"{method} {path}", method, path, operation) for method, path, operation in operations()]
IN_PROJECT = [each for each in OPERATIONS if "{project}" in each[2]]


def target(path: str, operation: Operation, project: str, fill: dict[str, str] | None = None) -> str:
    """An address of an endpoint: with things that there are, or with what `fill` says."""
    known = KNOWN | {"project": project} | (fill or {})

    def part(match: re.Match[str]) -> str:
        return quote(known.get(match[1].partition(":")[0], "x"), safe="")

    query = {one.name: known[one.name] for one in operation.query if one.name in known}
    found = re.sub(r"{([^}]+)}", part, path)
    return f"{found}?{urlencode(query)}" if query else found


def ask(node: LiveNode, method: str, path: str, operation: Operation, token: str | None) -> tuple[int, bytes]:
    """Status and body; of a stream no more than its beginning."""
    body, headers = None, {"Authorization": f"Bearer {token}"} if token else {}
    if operation.body or method in ("POST", "PUT", "PATCH"):
        body, headers["Content-Type"] = msgspec.json.encode(MENDED), next(iter(operation.body), "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=WAIT_S)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, b"" if "event-stream" in answer.headers.get("Content-Type", "") else answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def told(node: LiveNode) -> LiveNode:
    """The node, with a word that nobody of another project may read."""
    body = msgspec.json.encode({"words": WORD})
    for thing in ("pump", "fan"):
        assert node.ask("POST", f"/api/v1/{node.tokens[thing]}/telemetry", body).status == 200
    node.settle()
    return node


def state(node: LiveNode) -> Any:
    values = node.get("/projects/plant/values").body["values"]
    things = node.get("/projects/plant/things").body["things"]
    return [(one["thing"], one["property"], one["value"]) for one in values], [one["name"] for one in things]


def test_there_are_doors_to_try() -> None:
    assert len(IN_PROJECT) > 30 and any("prometheus" in path for _, _, path, _ in OPERATIONS)


def test_another_project_is_as_one_that_is_not_there(told: LiveNode) -> None:
    """The answer is that for a name that nobody has, word for word, and nothing was changed by asking."""
    before, stranger = state(told), told.strangers["other"]
    for name, method, path, operation in IN_PROJECT:
        status, body = ask(told, method, target(path, operation, "plant"), operation, stranger)
        absent = ask(told, method, target(path, operation, "absent"), operation, stranger)
        assert status >= 400, name
        assert (status, body.replace(b"plant", b"absent")) == (absent[0], absent[1].replace(b"plant", b"absent")), name
        assert WORD.encode() not in body, name
    assert state(told) == before


def test_what_is_of_no_project_tells_nothing_of_another(told: LiveNode) -> None:
    stranger = told.strangers["other"]
    for name, method, path, operation in OPERATIONS:
        if "{project}" in path or name.startswith("DELETE /api/v1/session"):
            continue
        _, body = ask(told, method, target(path, operation, "plant"), operation, stranger)
        assert WORD.encode() not in body, name
        assert b'"pump"' not in body and b'"plant"' not in body, (name, body[:300])


def test_without_a_token_there_is_nothing(told: LiveNode) -> None:
    for token in (None, told.operator[:-1] + ("A" if told.operator[-1] != "A" else "B")):
        for name, method, path, operation in OPERATIONS:
            status, body = ask(told, method, target(path, operation, "plant"), operation, token)
            assert status in (400, 401, 403, 404, 415), (name, token, status)
            assert WORD.encode() not in body, name


def test_a_revoked_token_opens_no_door_any_more(told: LiveNode) -> None:
    """Not once, not on a connection that was open, not at any endpoint."""
    owner = (told.site.data / "admin.token").read_text()
    body = msgspec.json.encode({"project": "plant", "kind": "operator"})
    issued = told.ask("POST", "/api/v1/admin/token-issue", body, owner).body
    token, number = issued["token"], issued["id"]
    with closing(http.client.HTTPConnection("127.0.0.1", told.http_port, timeout=WAIT_S)) as held:

        def again() -> int:
            held.request("GET", "/api/v1/projects/plant/values", headers={"Authorization": f"Bearer {token}"})
            answer = held.getresponse()
            answer.read()
            return answer.status

        assert again() == 200
        revoke = msgspec.json.encode({"project": "plant", "id": number})
        assert told.ask("POST", "/api/v1/admin/token-revoke", revoke, owner).status == 200
        assert again() == 401
    for name, method, path, operation in OPERATIONS:
        status, answer = ask(told, method, target(path, operation, "plant"), operation, token)
        assert status in (400, 401, 403, 404, 415), (name, status)
        assert WORD.encode() not in answer, name


@pytest.mark.parametrize("route", SOCKETS, ids=str)
def test_no_socket_is_opened_for_a_stranger(told: LiveNode, route: Any) -> None:
    path = re.sub(r"{([^}]+)}", lambda match: KNOWN.get(match[1], "plant"), route.path)
    for token in (told.strangers["other"], ""):
        connection = http.client.HTTPConnection("127.0.0.1", told.http_port, timeout=WAIT_S)
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Authorization": f"Bearer {token}"}  # fmt: skip
        connection.request("GET", path, headers=headers)
        assert connection.getresponse().status in (401, 403, 404)
        connection.close()


@pytest.mark.parametrize(
    "astray",
    ["../../../../etc/passwd", "..", "a\0b", "x" * 3_000, "'; DROP TABLE things; --", "${jndi:ldap://x}",
     "\u202e\N{GRINNING FACE}\n\r"],
)  # fmt: skip
def test_no_name_leads_astray(told: LiveNode, astray: str) -> None:
    """§13: as a thing, a property, an identifier or any other part of an address it is a name that nobody has."""
    before = state(told)
    for name, method, path, operation in OPERATIONS:
        parts = {part.partition(":")[0] for part in re.findall(r"{([^}]+)}", path)} - {"project"}
        parts |= {one.name for one in operation.query}
        if not parts or method not in ("GET", "DELETE"):
            continue
        fill = dict.fromkeys(parts, astray)
        status, body = ask(told, method, target(path, operation, "plant", fill), operation, told.operator)
        assert status < 500 or status == 503, (name, status, body[:300])
        assert b"root:" not in body and b"[project]" not in body and b"[mqtt]" not in body, name
    assert state(told) == before


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 900_000,
        b'{"@context":"https://www.w3.org/2022/wot/td/v1.1","title":"x","properties":{%s}}'
        % b",".join(b'"p%d":{"type":"number"}' % number for number in range(30_000)),
        b'{"title":"' + b"x" * 950_000 + b'"}',
        b"\xff\xfe" * 1_000,
    ],
    ids=["deep", "deeper", "wide", "long", "no text"],
)
def test_a_deep_or_endless_description_is_refused_and_the_node_lives(told: LiveNode, body: bytes) -> None:
    """§6, §13: by size, depth and number, before anything is built of it."""
    owner = (told.site.data / "admin.token").read_text()
    path = "/api/v1/projects/plant/directory/things"
    for method, where in (("POST", path), ("PUT", f"{path}/urn:example:odd")):
        answer = told.ask(method, where, body, owner, Content_Type="application/td+json")
        assert answer.status in (400, 413, 429), (method, answer)
    assert told.ask("GET", "/healthz").status == 200
    assert told.running("ingest") and told.running("worker")
