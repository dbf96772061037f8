"""A request finds the endpoint that is meant, whatever else the tree of paths holds."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http.dispatch import Dispatch
from taihu.doors.http.endpoint import CAPTURE, Endpoint, Operation
from taihu.doors.http.server import ROUTES


def named(name: str) -> Any:
    """A handler that says who it is, and what was captured."""

    async def handler(request: Request) -> Response:
        return Response(f"{name} {sorted(request.path_params.items())}")

    return handler


def ask(app: Dispatch, path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer to a request."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    asyncio.run(app(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], headers, b"".join(one["body"] for one in messages[1:]).decode()


GET, POST = {"get": Operation()}, {"post": Operation()}
APP = Dispatch(
    [
        Endpoint("/a/{one}/c", named("captured"), **GET),
        Endpoint("/a/b/{two}", named("other"), **GET),
        Endpoint("/a/b/c", named("literal"), **POST),
        Endpoint("/files/{rest:path}", named("rest"), **GET),
    ],
    [],
)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/a/x/c", "captured [('one', 'x')]"),
        ("/a/b/x", "other [('two', 'x')]"),
        ("/a/b/c", "other [('two', 'c')]"),  # what is written there takes POST alone
        ("/files/", "rest [('rest', '')]"),
        ("/files/x/y", "rest [('rest', 'x/y')]"),
    ],
)
def test_the_best_place_that_takes_the_method_answers(path: str, body: str) -> None:
    assert ask(APP, path) == (200, {"content-length": str(len(body))}, body)


@pytest.mark.parametrize("path", ["/", "", "/a", "/a/", "/a//c", "/a/x/c/", "/files", "a/x/c", "/a/x/c\n", "//a/x/c"])
def test_any_other_path_is_nowhere(path: str) -> None:
    status, _, body = ask(APP, path)
    assert status == 404 and "urn:taihu:problem:not-found" in body


def test_another_method_is_told_all_there_are() -> None:
    assert ask(APP, "/a/b/c", "DELETE")[:1] == (405,)
    assert ask(APP, "/a/b/c", "DELETE")[1]["allow"] == "GET, HEAD, OPTIONS, POST"
    assert ask(APP, "/a/b/c", "OPTIONS")[1]["allow"] == "GET, HEAD, OPTIONS, POST"
    assert ask(APP, "/nowhere", "OPTIONS")[0] == 404


@pytest.mark.parametrize("endpoint", ROUTES, ids=lambda one: f"{'-'.join(sorted(one.operations))} {one.path}")
def test_no_endpoint_of_the_api_hides_another(endpoint: Endpoint) -> None:
    root = Dispatch(ROUTES, [])._root
    for method in endpoint.methods:
        path = CAPTURE.sub("x", endpoint.path)
        found = next(place.methods[method] for place, _ in root.find(path) if method in place.methods)
        assert found is endpoint, (method, path)


def test_a_defect_is_told_and_goes_on_to_the_log() -> None:
    async def broken(request: Request) -> Response:
        raise ZeroDivisionError

    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Dispatch([Endpoint("/x", broken, **GET)], [])(scope, None, send))  # type: ignore[arg-type]
    assert told[0]["status"] == 500 and b"urn:taihu:problem:internal" in told[1]["body"]
