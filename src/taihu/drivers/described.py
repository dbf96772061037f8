"""Things from their Thing Descriptions: W3C WoT 1.1 forms of HTTP and CoAP, as far as they lead to the device."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from taihu.drivers.port import ActionPlan, DeviceRefused, Plan, Point, ThingPlan
from taihu.kernel.errors import TaihuError
from taihu.kernel.ids import check_name
from taihu.kernel.limits import Limits
from taihu.things.affordance import read_event
from taihu.things.description import parse_description
from taihu.things.document import Json, Node

Target = Callable[[str, str], str | None]
"""A form's address and its base -> what to ask the device for; None when it leads elsewhere."""

_METHODS = {"readproperty": "GET", "writeproperty": "PUT", "invokeaction": "POST"}
_SUBPROTOCOLS = ("sse", "cov:observe")
_STREAMS = ("observeproperty", "subscribeevent")
_OPTIONAL = re.compile(r"\{[?&][^}]*\}")
_DEFAULT_OPS = {"properties": ("readproperty", "writeproperty"), "actions": ("invokeaction",)}
_UNKNOWN_OPS = ("subscribeevent", "unsubscribeevent")
_SCHEMA_MAX = 65_536


def is_description(document: Any) -> bool:
    """Whether a document looks like a Thing Description."""
    return isinstance(document, dict) and "@context" in document and "title" in document


def plan_of(document: Json, home: str, target: Target, limits: Limits) -> Plan:
    """The thing that a description from the address `home` describes.

    Raises:
        DeviceRefused: it is no Thing Description.
    """
    try:
        thing = parse_description(document, limits=limits, lenient=True)
    except TaihuError as error:
        raise DeviceRefused(f"Its Thing Description cannot be used: {error.message}", error.remedy) from None
    finder = _Finder(document, home, target)
    points = []
    notes: list[str] = []
    for name, definition in thing.properties.items():
        where = finder.where("properties", name)
        if where is None:
            notes.append(f"{name} has no form that leads to this device.")
        else:
            points.append(Point(definition=definition, where=where))
    for name, affordance in document.get("events", {}).items():
        where = finder.where("events", name)
        if where is None or name in thing.properties:
            notes.append(f"The event {name} has no stream at this device.")
            continue
        try:
            points.append(Point(definition=read_event(name, Node(affordance)), where=where))
        except TaihuError as error:
            notes.append(f"The event {name} is left out: {error}")
    actions = tuple(finder.actions(notes))
    plan = ThingPlan(
        name=thing.name, title=thing.title, description=str(document.get("description", ""))[:1000],
        points=tuple(points), actions=actions,
    )  # fmt: skip
    if finder.elsewhere:
        notes.append(f"Forms lead to {min(finder.elsewhere)[:200]}: add that address if it is the device.")
    return Plan(things=(plan,), notes=(*notes, *_wants(document)))


class _Finder:
    """The forms of one description."""

    def __init__(self, document: Json, home: str, target: Target) -> None:
        self._document = document
        self._base = str(document.get("base", home))
        self._target = target
        self.elsewhere: set[str] = set()

    def forms(self, group: str, name: str) -> Iterator[tuple[tuple[str, ...], str, Json]]:
        """The operations, the target and the whole of each form that leads to the device."""
        affordance = self._document[group][name]
        for form in affordance.get("forms", ()):
            href = _OPTIONAL.sub("", str(form.get("href", "")))
            content = str(form.get("contentType", "application/json"))
            if "{" in href or not href or not ("json" in content or content.startswith("text/")):
                continue
            target = self._target(href, self._base)
            if target is None:
                self.elsewhere.add(urlsplit(urljoin(self._base, href)).netloc)
            else:
                ops = form.get("op", _DEFAULT_OPS.get(group, _UNKNOWN_OPS))
                yield (ops,) if isinstance(ops, str) else tuple(ops), target, form

    def where(self, group: str, name: str) -> dict[str, Any] | None:
        """The driver's address of a property or event."""
        found: dict[str, Any] = {}
        for ops, target, form in self.forms(group, name):
            streams = form.get("subprotocol") in _SUBPROTOCOLS
            if streams and any(op in ops for op in _STREAMS):
                found.setdefault("observe", target)
            elif form.get("subprotocol"):
                continue
            if "readproperty" in ops and not streams and _method(form, "readproperty") == "GET":
                found.setdefault("href", target)
            if "writeproperty" in ops and not streams:
                found.setdefault("write", _call(form, target, "writeproperty"))
        return found if "href" in found or "observe" in found else None

    def actions(self, notes: list[str]) -> Iterator[ActionPlan]:
        """What the thing can be told to do."""
        for name, affordance in self._document.get("actions", {}).items():
            found = [(target, form) for ops, target, form in self.forms("actions", name) if "invokeaction" in ops]
            try:
                check_name(name)
            except TaihuError as error:
                notes.append(str(error))
                continue
            if not found:
                notes.append(f"The action {name} has no form that leads to this device.")
                continue
            target, form = found[0]
            schema = affordance.get("input", {})
            title = str(affordance.get("title", ""))
            call = _call(form, target, "invokeaction") | ({} if schema else {"body": ""})
            output = affordance.get("output", {})
            yield ActionPlan(name=name, title=title, input=schema, output=output, where=call)


def _method(form: Json, op: str) -> str:
    return str(form.get("htv:methodName", form.get("cov:method", _METHODS[op]))).upper()


def _call(form: Json, target: str, op: str) -> dict[str, Any]:
    content = str(form.get("contentType", "application/json"))
    call: dict[str, Any] = {"href": target, "method": _method(form, op)}
    return call if content == "application/json" else call | {"content": content}


def _wants(document: Json) -> Iterator[str]:
    """What its security asks a person for."""
    definitions = document.get("securityDefinitions", {})
    used = document.get("security", ())
    for name in (used,) if isinstance(used, str) else used:
        scheme = definitions.get(name, {})
        kind, place, called = scheme.get("scheme"), scheme.get("in"), scheme.get("name", "")
        if kind == "basic":
            yield "It wants a name and a password: --option user=NAME --secret password"
        elif kind == "bearer":
            yield "It wants a token: --secret token"
        elif kind == "apikey":
            option = "api_key_query" if place == "query" else "api_key_header"
            yield f"It wants a key: --option {option}={called} --secret api_key"
        elif kind not in ("nosec", "auto", None):
            yield f"It wants {kind}, which this driver does not speak."
