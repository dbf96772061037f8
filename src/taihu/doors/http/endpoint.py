"""Endpoints: one table says where a request goes and what the description of the API says of it."""

import re
from collections.abc import Awaitable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

JSON = "application/json"
CAPTURE = re.compile(r"\{(\w+)(?::path)?\}")


class Handler(Protocol):
    """Answers the requests of an endpoint; its name and docstring go into the description."""

    __name__: str

    def __call__(self, request: Request, /) -> Awaitable[Response]:
        """The answer, or a TaihuError raised."""
        ...


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of the query. `many` says that it may stand several times."""

    name: str
    description: str
    type: Any = str
    required: bool = False
    many: bool = False


IF_MATCH = Parameter("If-Match", "The entity tag of what is to be changed: 412 when it was changed meanwhile.")


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What one method of an endpoint takes and gives, beyond what all do.

    `body` and `answer` map media types to the shape of their content, `bytes` for what has none; `others` are further
    good answers by status. `refuses` are the statuses of errors beyond those that follow from path, query and body.
    `public` says that it needs no token. `summary` is the handler's docstring unless given.
    """

    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    body: Mapping[str, Any] = {}
    answer: Mapping[str, Any] = MappingProxyType({JSON: dict[str, Any]})
    status: int = 200
    others: Mapping[int, Mapping[str, Any]] = {}
    refuses: tuple[int, ...] = ()
    public: bool = False
    summary: str = ""


class Endpoint:
    """A path whose methods are described; each is given as a keyword: `Endpoint("/x/{id}", handler, get=Operation())`.

    `{id}` captures a segment of the path, `{id:path}` all the rest of it; neither is empty but the rest.
    """

    def __init__(self, path: str, handler: Handler, **operations: Operation) -> None:
        self.path = path
        self.handler = handler
        self.operations = operations
        self.methods = {method.upper() for method in operations} | ({"HEAD"} if "get" in operations else set())
        self.captures = CAPTURE.findall(path)
