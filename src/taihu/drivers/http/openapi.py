"""Things from an OpenAPI 3 document: what can be read without parameters, by its schema."""

from collections.abc import Iterator
from typing import Any

import msgspec

from taihu.drivers.port import Plan, Point, ThingPlan
from taihu.drivers.resources import VALUE, pointer_of
from taihu.kernel.errors import TaihuError
from taihu.kernel.limits import Limits
from taihu.kernel.units import alias
from taihu.things.document import Json
from taihu.things.infer import infer_property
from taihu.things.property import DataType

_DEPTH_MAX = 8
_STEPS_MAX = 20_000
_JSON = "application/json"
Steps = tuple[str, ...]
_SAMPLES: Json = {"number": 1.0, "integer": 1, "boolean": True, "string": ""}


def is_openapi(document: Any) -> bool:
    """Whether a document says that it is OpenAPI 3."""
    return (
        isinstance(document, dict)
        and str(document.get("openapi", "")).startswith("3.")
        and isinstance(document.get("paths"), dict)
    )


def plan_of(name: str, document: Json, limits: Limits) -> Plan:
    """A thing of the leaves of all schemas that GET answers; PATCH or PUT of the same path makes them writable."""
    reader = _Reader(document)
    points: dict[str, Point] = {}
    notes: list[str] = []
    for path, item in document["paths"].items():
        if not isinstance(item, dict) or not isinstance(get := item.get("get"), dict):
            continue
        if "{" in path or any(reader.resolved(one).get("required") for one in _parameters(get, item)):
            notes.append(f"{path} needs parameters and is left out.")
            continue
        for steps, leaf in reader.leaves(reader.schema(get, "responses", "200")):
            try:
                point = _point(path, steps, leaf, reader.write(path, steps, leaf, item))
            except TaihuError as error:
                notes.append(str(error))
                continue
            if len(points) < limits.properties_per_thing_max:
                points.setdefault(point.definition.name, point)
    if not points:
        notes.append("Its OpenAPI document describes nothing that can be read as it is.")
    info = document.get("info")
    title = str(info.get("title", ""))[:128] if isinstance(info, dict) else ""
    return Plan(things=(ThingPlan(name=name, title=title, points=tuple(points.values())),), notes=tuple(notes[:100]))


class _Reader:
    """Walks a document along its references, a bounded number of steps in all."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._left = _STEPS_MAX

    def resolved(self, node: Any) -> Json:
        """A node, or what its `$ref` within the document points at; empty for what cannot be followed."""
        for _ in range(_DEPTH_MAX):
            self._left -= 1
            if not isinstance(node, dict) or self._left < 0:
                return {}
            reference = node.get("$ref")
            if not isinstance(reference, str):
                return node
            node = self._document if reference.startswith("#/") else None
            for step in reference.removeprefix("#/").split("/"):
                node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
        return {}

    def schema(self, operation: Json, *steps: str) -> Json:
        """The schema of the JSON that an operation answers or takes."""
        node: Any = operation
        for step in (*steps, "content", _JSON, "schema"):
            node = self.resolved(node).get(step)
        return self.resolved(node)

    def leaves(self, schema: Json, steps: Steps = (), depth: int = 0) -> Iterator[tuple[Steps, Json]]:
        """The scalar parts of a schema and their paths."""
        if depth > _DEPTH_MAX:
            return
        parts, members = schema.get("allOf"), schema.get("properties")
        for part in parts if isinstance(parts, list) else ():
            yield from self.leaves(self.resolved(part), steps, depth + 1)
        if isinstance(members, dict):
            for name, member in members.items():
                yield from self.leaves(self.resolved(member), (*steps, name), depth + 1)
        elif _type(schema) in _SAMPLES:
            yield steps, schema

    def write(self, path: str, steps: Steps, leaf: Json, item: Json) -> Json | None:
        """How a leaf is written: a scalar by PUT, a member of an object by PATCH, where the same path has it."""
        if leaf.get("readOnly") is True:
            return None
        if not steps and isinstance(item.get("put"), dict):
            return {"href": path}
        patch = item.get("patch")
        if not steps or not isinstance(patch, dict):
            return None
        if steps not in {taken for taken, _ in self.leaves(self.schema(patch, "requestBody"))}:
            return None
        body: Any = VALUE
        for step in reversed(steps):
            body = {step: body}
        return {"href": path, "method": "PATCH", "body": body}


def _parameters(*holders: Json) -> Iterator[Any]:
    for holder in holders:
        parameters = holder.get("parameters")
        yield from parameters if isinstance(parameters, list) else ()


def _type(schema: Json) -> str:
    kind = schema.get("type", "")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "")
    return str(kind)


def _point(path: str, steps: Steps, leaf: Json, write: Json | None) -> Point:
    definition = infer_property(".".join((*filter(None, path.split("/")), *steps)) or "value", _SAMPLES[_type(leaf)])
    assert definition is not None
    unit = alias(leaf["x-unit"]) if isinstance(leaf.get("x-unit"), str) else None
    kind = DataType.INTEGER if _type(leaf) == "integer" else definition.data_type
    definition = msgspec.structs.replace(
        definition, unit=unit, data_type=kind, title=str(leaf.get("title", ""))[:128], inferred=unit is None,
        description=str(leaf.get("description", ""))[:500], writable=write is not None,
    )  # fmt: skip
    where: Json = {"href": path} | ({"pointer": pointer_of(steps)} if steps else {})
    return Point(definition=definition, where=where | ({"write": write} if write is not None else {}))
