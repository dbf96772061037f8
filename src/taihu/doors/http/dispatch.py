"""Finds who answers a request, by the segments of its path, and makes a problem of what goes wrong meanwhile."""

from collections.abc import Iterator, Sequence

from starlette.responses import Response
from starlette.routing import BaseRoute, Router
from starlette.types import Receive, Scope, Send

from taihu.doors.http.answers import Problem, not_found, refusal
from taihu.doors.http.endpoint import Endpoint
from taihu.doors.http.requests import Asked
from taihu.doors.http.shared import Shared
from taihu.kernel.errors import TaihuError

_Captured = tuple[str, ...]


class Dispatch:
    """The door's ASGI application. `shared` is what all requests share; the door sets it.

    However many endpoints there are, finding one costs a look at each segment of the path. What is written goes before
    what is captured. Sockets are opened seldom: Starlette's own router finds them.
    """

    shared: Shared

    def __init__(self, endpoints: Sequence[Endpoint], sockets: Sequence[BaseRoute]) -> None:
        self.endpoints = endpoints
        self._root = _Segment()
        self._sockets = Router(sockets)
        for endpoint in endpoints:
            self._root.add(endpoint)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or open a socket."""
        scope["app"] = self
        if scope["type"] != "http":
            await self._sockets(scope, receive, send)
            return
        try:
            answer = await self._answer(scope, receive)
        except TaihuError as error:
            answer = refusal(error, scope["path"])
        except Exception:  # nobody foresaw it: the client hears that, and the log of the server has it
            told = Problem(500, "internal", "The node met a defect.", "See its log, and report it.")
            await refusal(told, scope["path"])(scope, receive, send)
            raise
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        method, allowed = scope["method"], {"OPTIONS"}
        for segment, captured in self._root.find(scope["path"]):
            endpoint = segment.methods.get(method)
            if endpoint is not None:
                scope["path_params"] = dict(zip(endpoint.captures, captured, strict=True))
                return await endpoint.handler(Asked(scope, receive))
            allowed.update(segment.methods)
        if len(allowed) == 1:
            raise not_found("such address")
        headers = {"Allow": ", ".join(sorted(allowed))}
        if method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        told = Problem(405, "method", f"{method} is not for this address.", f"Use {headers['Allow']}.")
        answer = refusal(told, scope["path"])
        answer.headers.update(headers)
        return answer


class _Segment:
    """A place in the tree of paths: the endpoints that end here by their methods, and what may follow."""

    __slots__ = ("captured", "literals", "methods", "rest")

    def __init__(self) -> None:
        self.methods: dict[str, Endpoint] = {}
        self.literals: dict[str, _Segment] = {}
        self.captured: _Segment | None = None
        self.rest: _Segment | None = None

    def add(self, endpoint: Endpoint) -> None:
        """Put an endpoint in its place under this, the root."""
        place = self
        for part in endpoint.path.split("/"):
            if part.endswith(":path}"):
                place.rest = place = place.rest or _Segment()
            elif part.startswith("{"):
                place.captured = place = place.captured or _Segment()
            else:
                place = place.literals.setdefault(part, _Segment())
        for method in endpoint.methods:
            place.methods.setdefault(method, endpoint)

    def find(self, path: str) -> Iterator[tuple["_Segment", _Captured]]:
        """The places under this where a path may end, the best first, with what was captured on the way."""
        parts = path.split("/")
        ways: list[tuple[_Segment, int, _Captured]] = [(self, 0, ())]
        while ways:
            place, at, captured = ways.pop()
            while at < len(parts):
                part, at = parts[at], at + 1
                literal, capturing = place.literals.get(part), place.captured if part else None
                if place.rest is not None:
                    ways.append((place.rest, len(parts), (*captured, "/".join(parts[at - 1 :]))))
                if literal is None:
                    if capturing is None:
                        break
                    place, captured = capturing, (*captured, part)
                    continue
                if capturing is not None:
                    ways.append((capturing, at, (*captured, part)))
                place = literal
            else:
                if place.methods:
                    yield place, captured
