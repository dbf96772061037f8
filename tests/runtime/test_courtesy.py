"""What every HTTP answer is given that asks for it, and what is no request at all: on a real node, over sockets."""

import gzip
import http.client
import re
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.faults.support import CLOCK, PROJECT, LiveNode
from tests.runtime.test_http import BASE, READINGS, post
from tests.waiting import WAIT_S

from taihu.doors.http.conditions import matches, tag_of
from taihu.doors.http.encoding import chosen_encoding
from taihu.doors.http.server import ROUTES

try:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from backports import zstd

THINGS = f"/api/v1{BASE}/things"
LAST = b"\r\nConnection: close\r\n\r\n"
PAGE = "https://panel.example.com"


class Told:
    """An answer as it came."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


def ask(node: LiveNode, method: str, path: str, body: bytes | None = None, **headers: str) -> Told:
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=WAIT_S)
    given = {"Authorization": f"Bearer {node.operator}"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, given)
    answer = connection.getresponse()
    found = Told(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    connection.close()
    return found


def raw(node: LiveNode, data: bytes) -> bytes:
    """All that comes back for some bytes."""
    with socket.create_connection(("127.0.0.1", node.http_port), timeout=WAIT_S) as client:
        client.sendall(data)
        if not data.endswith(LAST):
            client.shutdown(socket.SHUT_WR)
        found = b""
        while part := client.recv(65_536):
            found += part
    return found


def problem_in(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer
    found: dict[str, Any] = msgspec.json.decode(body)
    assert head.startswith(b"HTTP/1.1 %d " % found["status"]), answer
    return found


@pytest.fixture(scope="module")
def many(node: LiveNode) -> Iterator[str]:
    """A path with a large answer."""
    start = CLOCK.now_ns() // 1_000_000 - 3_600_000
    rows = [{"ts": start + place, "values": {"large": place / 7}} for place in range(5_000)]
    assert post(node, rows, "pump").status == 200
    node.settle()
    yield f"/api/v1{BASE}/history?thing=pump&property=large&start=-2h"


def test_the_same_answer_is_told_by_its_tag(node: LiveNode) -> None:
    first = ask(node, "GET", THINGS)
    tag = first.headers["etag"]
    assert (first.status, tag) == (200, tag_of(first.body))
    for named in (tag, f'W/{tag}, "x"', "*", tag.replace('"', '-gzip"').replace("-gzip", "", 1)):
        again = ask(node, "GET", THINGS, If_None_Match=named)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag), named
    assert ask(node, "GET", THINGS, If_None_Match='"other"').status == 200
    assert "etag" not in ask(node, "GET", f"/api/v1{BASE}/values").headers
    assert "etag" not in ask(node, "GET", f"{THINGS}/absent").headers


def test_a_change_names_what_it_changes(node: LiveNode) -> None:
    path = f"{THINGS}/fan/desired"
    ask(node, "PUT", path, b'{"speed": 1}')
    tag = ask(node, "GET", path).headers["etag"]
    assert ask(node, "PUT", path, b'{"speed": 2}', If_Match=tag).status == 200
    late = ask(node, "PUT", path, b'{"speed": 3}', If_Match=tag)
    assert (late.status, problem_in(_whole(late))["type"]) == (412, "urn:taihu:problem:changed")
    assert msgspec.json.decode(ask(node, "GET", path).body)["desired"]["speed"]["value"] == 2
    assert ask(node, "PUT", path, b'{"speed": null}', If_Match="*").status == 200


def test_a_page_links_to_the_next(node: LiveNode) -> None:
    path, names = f"{THINGS}?limit=1", []
    while path:
        page = ask(node, "GET", path)
        names += [thing["name"] for thing in msgspec.json.decode(page.body)["things"]]
        link = page.headers.get("link", "")
        assert not link or link.endswith('>; rel="next"')
        path = link[1:].partition(">")[0]
    assert names == sorted(names)
    assert {"fan", "meter", "pump"} <= set(names)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("br, gzip;q=0.9, zstd;q=0.8", "gzip"),
        ("br", ""),
        ("gzip;q=0", ""),
        ("*", "zstd"),
    ],
)
def test_an_answer_is_encoded_as_the_client_likes(node: LiveNode, many: str, accepted: str, encoding: str) -> None:
    plain = ask(node, "GET", many).body
    told = ask(node, "GET", many, Accept_Encoding=accepted)
    assert told.headers.get("content-encoding", "") == encoding
    decode = {"gzip": gzip.decompress, "zstd": zstd.decompress}.get(encoding, bytes)
    assert decode(told.body) == plain
    if encoding:
        assert len(told.body) < len(plain) / 2
        assert "Accept-Encoding" in told.headers["vary"]
    whole = ask(node, "GET", "/api/v1/openapi.json", Accept_Encoding=accepted)
    assert decode(whole.body) == ask(node, "GET", "/api/v1/openapi.json").body
    assert int(whole.headers.get("content-length", len(whole.body))) == len(whole.body)
    if encoding:
        assert whole.headers["etag"].endswith(f'-{encoding}"')
        assert ask(node, "GET", "/api/v1/openapi.json", If_None_Match=whole.headers["etag"]).status == 304


def test_small_answers_and_event_streams_are_not_encoded(node: LiveNode) -> None:
    assert "content-encoding" not in ask(node, "GET", "/healthz", Accept_Encoding="gzip").headers
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=WAIT_S)
    headers = {"Authorization": f"Bearer {node.operator}", "Accept-Encoding": "gzip"}
    connection.request("GET", f"/api/v1{BASE}/tail", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("content-encoding"), answer.readline()) == (200, None, b": tail\n")
    connection.close()


def test_head_is_get_without_its_body(node: LiveNode, many: str) -> None:
    """An endless stream ends there, too."""
    for path in ("/healthz", THINGS, many, f"/api/v1{BASE}/tail"):
        told = ask(node, "HEAD", path)
        assert (told.status, told.body) == (200, b""), path
    assert ask(node, "HEAD", THINGS).headers["etag"] == ask(node, "GET", THINGS).headers["etag"]
    assert ask(node, "HEAD", f"{THINGS}/absent").status == 404


def test_another_method_is_told_which_there_are(node: LiveNode) -> None:
    for path, allow in (
        (f"/api/v1{BASE}/readings", "DELETE, OPTIONS, POST"),
        (f"{THINGS}/fan/desired", "GET, HEAD, OPTIONS, PUT"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ):
        told = ask(node, "PATCH", path)
        assert (told.status, told.headers["allow"]) == (405, allow)
        assert problem_in(_whole(told))["type"] == "urn:taihu:problem:method"
        options = ask(node, "OPTIONS", path)
        assert (options.status, options.headers["allow"], options.body) == (204, allow, b"")
    for method in ("DELETE", "OPTIONS", "GET"):
        assert ask(node, method, "/api/v1/nowhere").status == 404
    assert ask(node, "GET", f"{THINGS}/").status == 404


def test_every_endpoint_knows_its_methods(node: LiveNode) -> None:
    for route in ROUTES:
        path = re.sub(r"\{[^}]+\}", "x", route.path)
        told = ask(node, "OPTIONS", path, Authorization="")
        assert told.status == 204
        assert set(told.headers["allow"].split(", ")) >= {method.upper() for method in route.operations}, path


def test_pages_of_other_origins_are_told_nothing_by_default(node: LiveNode) -> None:
    for method in ("GET", "OPTIONS"):
        told = ask(node, method, "/healthz", Origin=PAGE, Access_Control_Request_Method="GET")
        assert not [name for name in told.headers if name.startswith("access-control")], told.headers


def test_pages_of_an_allowed_origin_may_ask(node: LiveNode) -> None:
    """The setting counts from a reload on; other origins are still told nothing."""
    file = node.folder / "site.toml"
    before = file.read_text()
    file.write_text(before.replace("[http]\n", f'[http]\ncors_origins = ["{PAGE}"]\n'))
    admin = (node.site.data / "admin.token").read_text().strip()
    owner = f"Bearer {admin}"
    try:
        assert ask(node, "POST", "/api/v1/admin/reload", b"{}", Authorization=owner).status == 200
        told = ask(node, "GET", THINGS, Origin=PAGE)
        assert (told.headers["access-control-allow-origin"], told.headers["vary"]) == (PAGE, "Origin")
        assert "ETag" in told.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in told.headers
        path = f"{THINGS}/fan/desired"
        first = ask(node, "OPTIONS", path, Origin=PAGE, Authorization="", Access_Control_Request_Method="PUT")
        assert (first.status, first.headers["access-control-allow-methods"]) == (204, "PUT")
        assert "Authorization" in first.headers["access-control-allow-headers"]
        refused = ask(node, "GET", f"{THINGS}/absent", Origin=PAGE)
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (404, PAGE)
        for origin in ("https://evil.example.com", "null", f"{PAGE}.evil.com"):
            told = ask(node, "OPTIONS", path, Origin=origin, Access_Control_Request_Method="PUT")
            assert not [name for name in told.headers if name.startswith("access-control")], told.headers
    finally:
        file.write_text(before)
        assert ask(node, "POST", "/api/v1/admin/reload", b"{}", Authorization=owner).status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 5\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0x4\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"POST %s HTTP/1.1\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
        b"POST %s HTTP/1.1\nHost: x\n\n",
        b"POST %s HTTP/3.7\r\nHost: x\r\n\r\n",
        b"PO ST %s HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_a_request_that_two_could_read_differently_is_refused(node: LiveNode, head: bytes) -> None:
    """What would be smuggled behind it is never answered, and the connection ends."""
    smuggled = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = raw(node, head.replace(b"%s", READINGS.encode()) + smuggled)
    assert problem_in(answer)["type"] == "urn:taihu:problem:bad-request"
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer


def test_an_endless_head_is_told_so(node: LiveNode) -> None:
    answer = raw(node, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000)
    assert problem_in(answer)["type"] == "urn:taihu:problem:head-too-large"


def test_every_error_is_a_problem(node: LiveNode) -> None:
    for method, path, body, status in (
        ("GET", "/", None, 404),
        ("GET", f"/api/v1/projects/{PROJECT}/nothing", None, 404),
        ("POST", READINGS, b"x" * 2_000_000, 413),
        ("POST", "/api/v1/admin/%00", b"{}", 403),
        ("POST", "/api/v1/join", b"[]", 400),
        ("GET", f"{THINGS}?limit=x", None, 400),
    ):
        told = ask(node, method, path, body)
        assert (told.status, problem_in(_whole(told))["status"]) == (status, status), path


def test_pipelined_requests_are_answered_in_their_order(node: LiveNode) -> None:
    one, other = (b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in (b"/healthz", b"/nowhere"))
    answer = raw(node, one + other + one.replace(b"\r\n\r\n", LAST))
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200"]


@given(st.text(max_size=40))
def test_any_accept_encoding_and_any_condition_are_read(text: str) -> None:
    """§13"""
    assert chosen_encoding(text) in ("", "gzip", "zstd")
    assert matches(text, tag_of(b"x")) == (text.strip() == "*")


def _whole(told: Told) -> bytes:
    return b"HTTP/1.1 %d \r\ncontent-type: %s\r\n\r\n%s" % (
        told.status, told.headers.get("content-type", "").encode(), told.body,
    )  # fmt: skip
