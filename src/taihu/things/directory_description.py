"""The Thing Description of a directory of things: W3C Web of Things (WoT) Discovery, 5 December 2023, section 7.3.2."""

from taihu.things.document import Json
from taihu.things.forms import SSE, quoted
from taihu.things.registration import DISCOVERY
from taihu.things.structure import CONTEXT

_TD, _LD, _JSON, _PATCH = (
    "application/td+json",
    "application/ld+json",
    "application/json",
    "application/merge-patch+json",
)
_ID: Json = {"id": {"@type": "ThingID", "title": "Identifier of the Thing Description", "type": "string"}}
_PAGE: Json = {
    "offset": {"title": "Descriptions before the page", "type": "integer", "minimum": 0},
    "limit": {"title": "Descriptions in the page", "type": "integer", "minimum": 1},
    "format": {"title": "Form of the page", "type": "string", "enum": ["array", "collection"]},
}
_STREAM: Json = {
    "diff": {"title": "With the description, or what of it changed", "type": "boolean"},
    "ticket": {"title": "A ticket in place of the token", "type": "string"},
}


def directory_id(project: str) -> str:
    """The identifier of a project's directory; an empty project is whichever the token is of."""
    return f"urn:taihu-directory:{quoted(project)}" if project else "urn:taihu-directory:own"


def build_directory(project: str, title: str, address: str, *, writable: bool) -> Json:
    """The Thing Description of a project's directory.

    Args:
        project: whose directory it is; empty for that of the token's own project.
        title: a name for people.
        address: of the directory, without a slash at its end.
        writable: whether who asks may register things in it.
    """
    things = f"{address}/things"
    one = f"{things}/{{id}}"
    actions: Json = {
        "retrieveThing": _action("GET", one, _TD, "The description of a thing", output={"type": "object"}, **_SAFE)
    }
    search = f"{address}/search/jsonpath{{?query}}"
    actions["searchJSONPath"] = _action(
        "GET", search, _JSON, "What a JSONPath query (RFC 9535) finds in the array of all descriptions", **_SAFE
    ) | {"uriVariables": {"query": {"title": "A JSONPath expression", "type": "string"}}, "output": {"type": "array"}}
    if writable:
        document: Json = {"input": {"type": "object"}}
        actions |= {
            "createThing": _action("PUT", one, _TD, "Register a thing by its description", **document),
            "createAnonymousThing": _action("POST", things, _TD, "Register a thing without an identifier", **document),
            "updateThing": _action("PUT", one, _TD, "Replace a description", **document),
            "partiallyUpdateThing": _action("PATCH", one, _PATCH, "Change a part of a description", **document),
            "deleteThing": _action("DELETE", one, "", "Take a thing out of the directory"),
        }
        del actions["createAnonymousThing"]["uriVariables"]
    return {
        "@context": [CONTEXT, DISCOVERY],
        "@type": "ThingDirectory",
        "id": directory_id(project),
        "title": title,
        "securityDefinitions": {"bearer": {"scheme": "bearer", "in": "header", "format": "opaque"}},
        "security": "bearer",
        "properties": {
            "things": {
                "description": "The descriptions of all things, by identifier",
                "type": "array",
                "items": {"type": "object"},
                "readOnly": True,
                "uriVariables": _PAGE,
                "forms": [_form("GET", f"{things}{{?offset,limit,format}}", _LD) | {"op": ["readproperty"]}],
            }
        },
        "actions": actions,
        "events": {
            "thingCreated": _event("A thing was registered", f"{address}/events/thing_created"),
            "thingUpdated": _event("A description changed", f"{address}/events/thing_updated"),
            "thingDeleted": _event("A thing was taken out", f"{address}/events/thing_deleted"),
        },
    }


_SAFE: Json = {"safe": True, "idempotent": True}


def _action(method: str, href: str, content_type: str, description: str, **members: Json) -> Json:
    form = _form(method, href, content_type) | {"op": ["invokeaction"]}
    return {"description": description, **members, "uriVariables": _ID, "forms": [form]}


def _event(description: str, href: str) -> Json:
    form: Json = {"href": f"{href}{{?diff,ticket}}", "contentType": _JSON, "subprotocol": SSE}
    form |= {"op": ["subscribeevent", "unsubscribeevent"]}
    return {"description": description, "uriVariables": _STREAM, "data": {"type": "object"}, "forms": [form]}


def _form(method: str, href: str, content_type: str) -> Json:
    form: Json = {"href": href, "htv:methodName": method}
    return form | ({"contentType": content_type} if content_type else {})
