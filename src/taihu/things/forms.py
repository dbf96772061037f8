"""The forms of a Thing Description: every operation that the HTTP door serves for a thing, and no other.

A stream's address has the variable `ticket`, for clients that cannot send a header with it, such as a browser's
EventSource; who sends the token in a header leaves it out.
"""

from functools import lru_cache
from urllib.parse import quote, unquote

from taihu.things.document import Json
from taihu.things.property import Kind, Property

OP_READ, OP_WRITE = "readproperty", "writeproperty"
SSE, WEB_THING = "sse", "webthingprotocol"
MQTT_SECURITY = "mqtt"

URI_VARIABLES: Json = {
    "ticket": {"type": "string", "description": "A ticket from POST /api/v1/tickets, in place of a header."},
    "property": {"type": "array", "items": {"type": "string"}, "description": "The properties to read."},
}

_CONTENT_TYPE = "application/json"
_OBSERVE = ("observeproperty", "unobserveproperty")
_SUBSCRIBE = ("subscribeevent", "unsubscribeevent")
_TICKET = "{?ticket}"


@lru_cache(maxsize=1024)  # a description has its thing's name ten times
def quoted(name: str) -> str:
    """A name as one part of an address."""
    return quote(name, safe="")


def thing_id(project: str, thing: str) -> str:
    """The identifier of a thing that was not registered under one of its own."""
    return f"urn:taihu:{quoted(project)}:{quoted(thing)}"


def own_name(project: str, identifier: str) -> str:
    """The name of the thing whose identifier that is, as `thing_id` makes it; empty when it is of another form.

    >>> own_name("home", "urn:taihu:home:main%20meter"), own_name("home", "urn:uuid:0")
    ('main meter', '')
    """
    prefix = thing_id(project, "")
    name = unquote(identifier.removeprefix(prefix)) if identifier.startswith(prefix) else ""
    return name if thing_id(project, name) == identifier else ""


def property_forms(address: str, definition: Property, *, write_only: bool) -> list[Json]:
    """How to read, write and observe a property of the thing at `address`."""
    ops = ([] if write_only else [OP_READ]) + ([OP_WRITE] if definition.writable else [])
    observed = list(_OBSERVE) if definition.observable and not write_only else []
    href = f"{address}/properties/{quoted(definition.name)}"
    forms = [_form(href, ops)] if ops else []
    if observed:
        forms.append(_stream(f"{href}/observe", observed))
    forms.append(_socket(address, ops + observed))
    return forms


def action_forms(address: str, name: str) -> list[Json]:
    """How to invoke an action of the thing at `address`; its status is where the answer's Location says."""
    return [_form(f"{address}/actions/{quoted(name)}", ["invokeaction"])]


def event_forms(address: str, name: str) -> list[Json]:
    """How to subscribe to an event of the thing at `address`."""
    return [_stream(f"{address}/events/{quoted(name)}", list(_SUBSCRIBE)), _socket(address, list(_SUBSCRIBE))]


def mqtt_property_forms(href: str, topic: str, definition: Property) -> list[Json]:
    """How to write a property over MQTT; `topic` is the thing's own at the broker `href`."""
    return [_mqtt(href, f"{topic}/$set/{definition.name}", [OP_WRITE], "publish")] if definition.writable else []


def mqtt_action_form(href: str, topic: str, name: str) -> Json:
    """How to invoke an action over MQTT; its steps are told on the thing's `$steps`."""
    return _mqtt(href, f"{topic}/$do/{name}", ["invokeaction"], "publish")


def mqtt_event_form(href: str, topic: str, name: str) -> Json:
    """How to subscribe to an event over MQTT."""
    return _mqtt(href, f"{topic}/$event/{name}", list(_SUBSCRIBE), "subscribe")


def thing_forms(address: str, definitions: list[Property], write_only: set[str]) -> list[Json]:
    """How to read, write, observe and subscribe to many at once; none for a thing without properties."""
    read = [one for one in definitions if one.name not in write_only]
    write = ["writemultipleproperties"] if any(one.writable for one in definitions) else []
    observe = ["observeallproperties", "unobserveallproperties"] if any(map(_is_observed, read)) else []
    subscribe = ["subscribeallevents", "unsubscribeallevents"] if any(one.kind is Kind.EVENT for one in read) else []
    several = "readmultipleproperties"
    forms = []
    if read or write:
        forms.append(_form(f"{address}/properties", (["readallproperties"] if read else []) + write))
    if read:
        forms.append(_form(f"{address}/properties{{?property*}}", [several]))
    if observe:
        forms.append(_stream(f"{address}/observe", observe))
    if subscribe:
        forms.append(_stream(f"{address}/events", subscribe))
    if forms:
        forms.append(_socket(address, (["readallproperties", several] if read else []) + write + observe + subscribe))
    return forms


def _is_observed(definition: Property) -> bool:
    return definition.observable and definition.kind is not Kind.EVENT


def _form(href: str, ops: list[str]) -> Json:
    return {"href": href, "op": ops, "contentType": _CONTENT_TYPE}


def _stream(href: str, ops: list[str]) -> Json:
    return _form(href + _TICKET, ops) | {"subprotocol": SSE}


def _mqtt(href: str, topic: str, ops: list[str], packet: str) -> Json:
    """A form of the MQTT binding; a broker takes the token as user name."""
    place = {"mqv:filter": topic} if packet == "subscribe" else {"mqv:topic": topic}
    form = _form(f"{href}/{quote(topic, safe='/$')}", ops) | {"security": [MQTT_SECURITY], "mqv:controlPacket": packet}
    return form | place | {"mqv:qos": "1"}


def _socket(address: str, ops: list[str]) -> Json:
    """`http` becomes `ws`, and `https` becomes `wss`."""
    return _form(f"ws{address.removeprefix('http')}/socket{_TICKET}", ops) | {"subprotocol": WEB_THING}
