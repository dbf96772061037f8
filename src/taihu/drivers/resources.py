"""Resources of devices on the web, by HTTP or CoAP: where a property is, how it is taken, and how it is written."""

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, Any
from urllib.parse import quote

import msgspec

from taihu.drivers.address import where_of
from taihu.drivers.port import ActionPlan, DeviceLost, DeviceRefused, Point

PAGE = "docs/http-devices.md"
VALUE = "$value"
_DEPTH_MAX = 8
_ITEMS_MAX = 32
_IN_HREF = "{value}"


class Call(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request that changes something.

    In `href` the word `{value}`, and in `body` the string `$value`, stand for the value; `words` are what some values
    are called there, by their JSON.
    """

    href: str
    method: str = "PUT"
    body: Any = VALUE
    words: dict[str, Any] = {}
    content: str = "application/json"


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a point is: what is polled, the stream that tells of it, the path of its pushes; and the way into JSON."""

    href: str = ""
    pointer: Annotated[str, msgspec.Meta(pattern="^(/.*)?$")] = ""
    words: dict[str, Any] = {}
    scale: float = 1.0
    offset: float = 0.0
    observe: str = ""
    event: str = ""
    push: str = ""
    write: Call | None = None


class Place(msgspec.Struct, frozen=True):
    """One point, ready to be taken: its thing and name, the way into the document, and what is made of it."""

    thing: str
    name: str
    path: tuple[str, ...]
    address: Address
    plain: bool

    def take(self, document: Any) -> Any:
        """The value in a document; None where it has none (§3)."""
        for step in self.path:
            if type(document) is dict:
                document = document.get(step)
            elif type(document) is list and step.isdecimal() and int(step) < len(document):
                document = document[int(step)]
            else:
                return None
        if self.plain or document is None:
            return document
        if self.address.words:
            document = self.address.words.get(document if type(document) is str else _json(document), document)
        if type(document) in (int, float):
            return document * self.address.scale + self.address.offset
        return document


def place_of(thing: str, point: Point) -> Place:
    """A point, ready to be taken; DeviceRefused when its address is none."""
    address = where_of(point, Address, PAGE)
    if not address.href and not address.observe and not address.push:
        raise DeviceRefused(f"{point.definition.name} has no href, observe or push.", "Say where it is read.")
    if not math.isfinite(address.scale) or not math.isfinite(address.offset) or not address.scale:
        raise DeviceRefused(f"{point.definition.name} has a scale that cannot be.", "Leave it out, or give one.")
    path = tuple(step.replace("~1", "/").replace("~0", "~") for step in address.pointer.split("/")[1:])
    plain = not address.words and address.scale == 1.0 and not address.offset
    return Place(thing, point.definition.name, path, address, plain)


def pointer_of(steps: Iterable[str]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def leaves(document: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values of a document that are no objects, and their paths; of long lists and deep objects, the beginning."""
    if isinstance(document, dict) and len(path) < _DEPTH_MAX:
        for name, one in document.items():
            yield from leaves(one, (*path, str(name)))
    elif isinstance(document, list) and len(path) < _DEPTH_MAX:
        for number, one in enumerate(document[:_ITEMS_MAX]):
            yield from leaves(one, (*path, str(number)))
    elif not isinstance(document, dict | list):
        yield path, document


def json_of(body: bytes | str) -> Any:
    """JSON; DeviceLost when it is none."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise DeviceLost("What it answers is no JSON.") from None
    return document


def word_of(body: bytes) -> Any:
    """What plain text says: a number, a truth, or the text."""
    text = body.decode("utf-8", "replace").strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def pick(places: Iterable[Place], document: Any) -> dict[str, dict[str, Any]]:
    """The values of a document, by thing and name."""
    found: dict[str, dict[str, Any]] = {}
    for place in places:
        value = place.take(document)
        if value is not None:
            found.setdefault(place.thing, {})[place.name] = value
    return found


def raw_of(address: Address, value: Any) -> Any:
    """A value as the device has it: the way back through scale and offset."""
    if type(value) in (int, float) and (address.scale != 1.0 or address.offset):
        return (value - address.offset) / address.scale
    return value


def request_of(call: Call, value: Any) -> tuple[str, str, bytes]:
    """The address, media type and body of a request; DeviceRefused when the value cannot be in it."""
    value = call.words.get(_json(value), value)
    href = call.href
    if _IN_HREF in href:
        href = href.replace(_IN_HREF, quote(value if isinstance(value, str) else _json(value), safe=""))
    if call.method == "GET" or call.body == "" or (_IN_HREF in call.href and call.body == VALUE):
        return href, "", b""
    body = _filled(call.body, value)
    if call.content.startswith("text/"):
        return href, call.content, (body if isinstance(body, str) else _json(body)).encode()
    try:
        return href, call.content, msgspec.json.encode(body)
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise DeviceRefused(f"The value cannot be sent: {error}.", "Give JSON.") from None


def call_of(action: ActionPlan) -> Call:
    """How an action is done; DeviceRefused when its plan does not say."""
    try:
        return msgspec.convert(action.where, Call)
    except msgspec.ValidationError as error:
        raise DeviceRefused(f"{action.name}: {error}.", f"{PAGE} has what where holds.") from None


def _filled(body: Any, value: Any) -> Any:
    if body == VALUE:
        return value
    if isinstance(body, dict):
        return {name: _filled(one, value) for name, one in body.items()}
    return [_filled(one, value) for one in body] if isinstance(body, list) else body


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise DeviceRefused(f"The value cannot be sent: {error}.", "Give JSON.") from None
