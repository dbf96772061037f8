"""The OpenAPI 3.1 description of the API, made from the table of endpoints."""

import inspect
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taihu import __version__
from taihu.doors.http.endpoint import CAPTURE, JSON, Endpoint, Operation, Parameter
from taihu.doors.http.shapes import Problem
from taihu.doors.http.shared import shared_by

PROBLEM = "application/problem+json"
_PATH = {
    "session": "The session's id.",
    "user": "The person's name.",
    "project": "The project's name.",
    "thing": "The thing's name.",
    "property": "The property's name.",
    "event": "The event's name.",
    "kind": "`thing_created`, `thing_updated` or `thing_deleted`.",
    "rest": "An address in the directory.",
    "token": "The thing's own token.",
    "label": "The label's name.",
    "number": "The token's id.",
    "action": "What to do.",
    "id": "Its id.",
}
_INTRODUCTION = (
    "Newest values, history and readings of the things of a node. Times are UTC nanoseconds; a time parameter may also "
    "be ISO 8601 with an offset, or back from now, such as -24h. What a token may not see is answered as if it did not "
    "exist."
)
REFUSALS = (304, 400, 401, 403, 404, 406, 409, 412, 413, 415, 422, 429, 502, 503)
"""The statuses that an operation may answer with beside its own."""


async def openapi(request: Request) -> Response:
    """This description."""
    shared = shared_by(request)
    if not shared.openapi:
        shared.openapi = msgspec.json.encode(describe(request.app.endpoints))
    return Response(shared.openapi, media_type=JSON)


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The OpenAPI document of some endpoints."""
    shapes = _Shapes(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = CAPTURE.sub(r"{\1}", endpoint.path)
        for method, operation in endpoint.operations.items():
            paths.setdefault(path, {})[method] = _operation(endpoint, method, operation, shapes)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Taihu", "version": __version__, "description": _INTRODUCTION},
        "paths": paths,
        "components": {
            "schemas": shapes.components,
            "responses": {
                str(status): _response(status, {} if status < 400 else shapes.content({PROBLEM: Problem}))
                for status in REFUSALS
            },
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


class _Shapes:
    """The schemas of all types that operations name."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        types: list[Any] = [Problem]
        for endpoint in endpoints:
            for operation in endpoint.operations.values():
                types += [shape for contents in _contents(operation) for shape in contents.values()]
                types += [each.type for each in (*operation.query, *operation.headers)]
        self._types = list({repr(each): each for each in types if each is not bytes}.values())
        schemas, self.components = msgspec.json.schema_components(
            self._types, ref_template="#/components/schemas/{name}"
        )
        self._schemas = {repr(each): schema for each, schema in zip(self._types, schemas, strict=True)}

    def of(self, shape: Any) -> dict[str, Any]:
        """The schema of a type; of `bytes`, one that says nothing."""
        return {} if shape is bytes else self._schemas[repr(shape)]

    def content(self, contents: Any) -> dict[str, Any]:
        """Media types with their schemas."""
        return {media: {"schema": self.of(shape)} for media, shape in contents.items()}


def _contents(operation: Operation) -> Iterator[Any]:
    yield operation.body
    yield operation.answer
    yield from operation.others.values()


def _operation(endpoint: Endpoint, method: str, operation: Operation, shapes: _Shapes) -> dict[str, Any]:
    summary, _, description = inspect.cleandoc(endpoint.handler.__doc__ or "").partition("\n\n")
    described: dict[str, Any] = {
        "operationId": f"{method}_{endpoint.handler.__name__}",
        "summary": (operation.summary or summary).replace("\n", " "),
        "parameters": [*_path_parameters(endpoint), *_parameters(operation, shapes)],
        "responses": dict(_responses(endpoint, method, operation, shapes)),
        "security": [] if operation.public else [{"bearer": []}],
    }
    if description:
        described["description"] = description.replace("\n", " ")
    if operation.body:
        described["requestBody"] = {"content": shapes.content(operation.body)}
    return described


def _path_parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    for name in endpoint.captures:
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH.get(name, ""),
            "schema": {"type": "string", "minLength": 1},
        }


def _parameters(operation: Operation, shapes: _Shapes) -> Iterator[dict[str, Any]]:
    for place, parameters in (("query", operation.query), ("header", operation.headers)):
        for parameter in parameters:
            yield {
                "name": parameter.name,
                "in": place,
                "required": parameter.required,
                "description": parameter.description,
                "schema": _schema(parameter, shapes),
            }


def _schema(parameter: Parameter, shapes: _Shapes) -> dict[str, Any]:
    schema = shapes.of(parameter.type)
    return {"type": "array", "items": schema} if parameter.many else schema


def _responses(endpoint: Endpoint, method: str, operation: Operation, shapes: _Shapes) -> Iterator[tuple[str, Any]]:
    for status, contents in {operation.status: operation.answer, **operation.others}.items():
        yield str(status), _response(status, shapes.content(contents))
    for status in sorted(refusals(endpoint, method, operation)):
        yield str(status), {"$ref": f"#/components/responses/{status}"}


def refusals(endpoint: Endpoint, method: str, operation: Operation) -> set[int]:
    """The statuses that an operation may answer with beside its own."""
    found = {400, 429, 503, *operation.refuses}
    if method == "get":
        found.add(304)
    if not operation.public:
        found |= {401, 403}
    if endpoint.captures:
        found.add(404)
    if operation.body:
        found |= {413, 415}
    return found - {operation.status, *operation.others}


def _response(status: int, content: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if content:
        response["content"] = content
    return response
