"""W3C Thing Descriptions: what a thing is and how to reach it, read from JSON and built when asked for.

A thing is kept as its model's name and a small delta. Nothing of a description is stored.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from taihu.kernel.clock import format_iso, parse_iso
from taihu.kernel.ids import NameRefused, check_name
from taihu.kernel.limits import DEFAULT, Limits
from taihu.kernel.units import alias
from taihu.things.affordance import TAIHU, read_property, write_event, write_property
from taihu.things.definition import check_formulas
from taihu.things.document import DescriptionError, Json, Node, read_document
from taihu.things.forms import (
    MQTT_SECURITY,
    URI_VARIABLES,
    action_forms,
    event_forms,
    mqtt_action_form,
    mqtt_event_form,
    mqtt_property_forms,
    property_forms,
    quoted,
    thing_forms,
    thing_id,
)
from taihu.things.model import definitions, is_reachable, local_name, optional_properties
from taihu.things.property import Kind, Property, Thing, ThingModel
from taihu.things.structure import CONTEXT, check_structure, is_model

_MQTT = "http://www.w3.org/2018/wot/mqtt#"
_CONTENT_TYPE = "application/json"
_MODEL_URN = "urn:taihu:model:"
_PLACES = ("site", "building", "parent", "role")
_MODEL_ONLY = ("forms", "tm:ref", "taihu:name")
_KEPT_OF_MODEL = ("@type", "titles", "description", "descriptions", "support", "schemaDefinitions")
_SCHEME = "http"  # or https; sockets are at ws or wss
_SOMEWHERE = "://7b1f6a2e-3d0c-4f58-9a43-c2b7e1d05c96"  # in the place of the rest of an address; no model has it
_TEXTS_MAX = 256
_texts: dict[str, tuple[ThingModel, bytes]] = {}  # by model: what `_built` gives, at no address


def parse_description(
    document: bytes | str | Json,
    name: str = "",
    models: Mapping[str, ThingModel] | None = None,
    limits: Limits = DEFAULT,
    *,
    lenient: bool = False,
) -> Thing:
    """The thing that a Thing Description describes; raises DescriptionError.

    Args:
        document: JSON.
        name: what the thing is called here; else the document's `taihu:name` or title.
        models: the Thing Models that a link of relation `type` may name; with another or none, all is in the delta.
        limits: bounds on size, depth and number.
        lenient: take Thing Description 1.0 too, and leave a property out that Taihu cannot use, such as one without a
            type. A unit that is no UCUM code is then undeclared (§2). What uses terms of Taihu is never taken so.

    A title equal to the name is no title.
    """
    root = Node(read_document(document, limits))
    if is_model(root):
        root.fail("it is a Thing Model, not a Thing Description.", "Load it as a model.")
    check_structure(root, limits, model=False, old=lenient)
    name = _thing_name(root, name)
    title = root.need("title", "").text()
    model = (models or {}).get(_model_link(root))
    lenient = lenient and model is None
    given = _properties(root, lenient=lenient)
    check_formulas(given)
    return Thing(
        name=name,
        model="" if model is None else model.name,
        title="" if title == name else title,
        properties=given if model is None else _delta(root, given, model),
        site=_place(root, "site"),
        building=_place(root, "building"),
        parent=_place(root, "parent"),
        role=_place(root, "role"),
        tags=root.optional("taihu:tags", Node.texts, ()),
        groups=root.optional("taihu:groups", Node.texts, ()),
        inferred=root.optional("taihu:inferred", Node.flag, False),
        created_at=root.optional("created", lambda node: parse_iso(node.text()), 0),
    )


def build_description(
    project: str, thing: Thing, model: ThingModel | None, base_href: str, mqtt_href: str = ""
) -> Json:
    """The Thing Description of a thing, as a new document; `parse_description` gives the thing back.

    Args:
        project: whose thing it is.
        thing: the thing.
        model: the model it names, or None where it has none.
        base_href: address of the project's things in the HTTP API, without a slash at its end.
        mqtt_href: address of the MQTT endpoint, such as `mqtt://host:1883`; empty leaves its forms out.

    What is calculated has no form of MQTT: there only what devices send is told.

    An event of the model, like a property of kind event, is one that the thing's readings tell of; events that the
    model says how to reach are in it as the model has them. An action is a command to the thing.
    """
    address = f"{base_href}/{quoted(thing.name)}"
    given, affordances = _of_model(project, thing, model, address, mqtt_href)
    document: Json = {"@context": [CONTEXT, {"taihu": TAIHU, "mqv": _MQTT}]}
    document |= heading(project, thing)
    document["securityDefinitions"] = {"bearer": {"scheme": "bearer", "in": "header", "format": "opaque"}}
    document["security"] = "bearer"
    if mqtt_href:
        document["securityDefinitions"][MQTT_SECURITY] = {"scheme": "basic", "description": "The token as user name."}
    document |= given
    document |= {"created": format_iso(thing.created_at)} if thing.created_at else {}
    document["links"] = _links(thing, base_href)
    return document | affordances


HEADING = {"id", "title"} | {f"taihu:{term}" for term in ("name", "tags", "groups", "inferred", *_PLACES)}
"""The members of `heading`; nothing else of a description has any of them."""


def heading(project: str, thing: Thing) -> Json:
    """What a Thing Description says of the thing by itself, its model and addresses aside."""
    document: Json = {
        "id": thing.registered_id or thing_id(project, thing.name),
        "title": thing.title or thing.name,
        "taihu:name": thing.name,
    }
    document |= {f"taihu:{term}": value for term in _PLACES if (value := getattr(thing, term))}
    document |= {f"taihu:{term}": list(value) for term in ("tags", "groups") if (value := getattr(thing, term))}
    if thing.inferred:
        document["taihu:inferred"] = True
    return document


def actions_of(thing: Thing, model: Json) -> Json:
    """What a thing can be told to do: its own actions, and those of its model's document, which count first."""
    return {**thing.actions, **model.get("actions", {})}


def part_of(description: Json, shown: Callable[[str], bool]) -> Json:
    """A description with the properties and events that are shown; what concerns all of the thing is left out."""
    whole = ("properties", "events", "actions", "forms", "uriVariables")
    part = {term: value for term, value in description.items() if term not in whole}
    for term in ("properties", "events"):
        seen = {name: found for name, found in description.get(term, {}).items() if shown(name)}
        part |= {term: seen} if seen else {}
    return part


def _of_model(project: str, thing: Thing, model: ThingModel | None, address: str, mqtt_href: str) -> tuple[Json, Json]:
    """What the model says of the thing, and its affordances.

    Things that add nothing to their model differ in their address alone, so that most are read from the text of one:
    a fifth of what it takes to build them.
    """
    scheme, rest = address[: len(_SCHEME)], address[len(_SCHEME) :]
    if model is None or thing.properties or thing.actions or mqtt_href or scheme != _SCHEME:
        return _built(project, thing, model, address, mqtt_href)
    known, text = _texts.get(model.name, (None, b""))
    if known is not model:
        text = msgspec.json.encode(_built(project, thing, model, _SCHEME + _SOMEWHERE, ""))
        if len(_texts) >= _TEXTS_MAX:
            _texts.clear()
        _texts[model.name] = (model, text)
    given, affordances = msgspec.json.decode(text.replace(_SOMEWHERE.encode(), msgspec.json.encode(rest)[1:-1]))
    return given, affordances


def _built(project: str, thing: Thing, model: ThingModel | None, address: str, mqtt_href: str) -> tuple[Json, Json]:
    raw: Json = msgspec.json.decode(model.document) if model is not None and model.document else {}
    declared = Node(raw["@type"]).texts() if "@type" in raw else ()
    types = [name for name in declared if not name.startswith("tm:")]
    given = {term: raw[term] for term in _KEPT_OF_MODEL if term in raw and term != "@type"}
    given |= {"@type": types} if types else {}
    return given, _affordances(project, thing, model, raw, address, mqtt_href)


def _affordances(project: str, thing: Thing, model: ThingModel | None, raw: Json, address: str, mqtt_href: str) -> Json:
    """Properties, actions and events, and the forms of many at once; what there is none of is left out."""
    known = definitions(thing, model)
    properties: Json = {}
    events: Json = {name: item for name, item in raw.get("events", {}).items() if is_reachable(item)}
    hidden: set[str] = set()
    for name, definition in known.items():
        own = {} if name in thing.properties else raw.get("properties", {}).get(name, {})
        affordance = _affordance(definition, own)
        if affordance.get("writeOnly", False):
            hidden.add(name)
        affordance["forms"] = property_forms(address, definition, write_only=name in hidden)
        if mqtt_href and not definition.formula:
            topic = f"taihu/{project}/{thing.name}"
            affordance["forms"] += mqtt_property_forms(mqtt_href, topic, definition)
        properties[name] = affordance
        if definition.kind is Kind.EVENT and name not in hidden and name not in events:
            events[name] = _event(definition, raw.get("events", {}).get(name, {}), address)
            if mqtt_href:
                events[name]["forms"].append(mqtt_event_form(mqtt_href, f"taihu/{project}/{thing.name}", name))
    actions = {name: _action(name, item, address) for name, item in actions_of(thing, raw).items()}
    for name, action in actions.items() if mqtt_href else ():
        action["forms"].append(mqtt_action_form(mqtt_href, f"taihu/{project}/{thing.name}", name))
    forms = thing_forms(address, list(known.values()), hidden)
    found = {"properties": properties, "actions": actions, "events": events, "forms": forms}
    found |= {"uriVariables": URI_VARIABLES} if forms else {}
    return {term: group for term, group in found.items() if group}


def _properties(root: Node, *, lenient: bool) -> dict[str, Property]:
    found: dict[str, Property] = {}
    for name, node in Node(root.value.get("properties", {}), "/properties").members():
        if not lenient or any(term.startswith("taihu:") for term in node.value):
            found[name] = read_property(name, node)
            continue
        plain = {term: value for term, value in node.value.items() if term != "unit"}
        unit = alias(node.value["unit"]) if node.has("unit") else None
        with suppress(DescriptionError):
            found[name] = read_property(name, Node(plain | ({"unit": unit} if unit else {}), node.pointer))
    return found


def _thing_name(root: Node, name: str) -> str:
    named = root.get("taihu:name") or root.need("title", "")
    try:
        return check_name(name or named.text())
    except NameRefused as error:
        named.fail(error.message, 'Write "taihu:name", ' + error.remedy)


def _place(root: Node, term: str) -> str:
    return root.optional(f"taihu:{term}", Node.text, "")


def _model_link(root: Node) -> str:
    """The name of the model the thing says it is of, or empty."""
    for link in root.value.get("links", ()):
        if link.get("rel") == "type":
            return local_name(link["href"])
    return ""


def _delta(root: Node, given: dict[str, Property], model: ThingModel) -> dict[str, Property]:
    """What differs from the model; a thing has all that its model demands."""
    missing = model.properties.keys() - given.keys() - root.value.get("events", {}).keys()
    if missing and (missing := missing - optional_properties(model)):
        root.fail(f"the model {model.name} also has {min(missing)!r}.", "Add it, or leave out the link to the model.")
    return {name: definition for name, definition in given.items() if model.properties.get(name) != definition}


def _links(thing: Thing, base_href: str) -> list[Json]:
    links: list[Json] = [{"rel": "collection", "href": base_href, "type": _CONTENT_TYPE}]
    if thing.model:
        links.append({"rel": "type", "href": _MODEL_URN + quoted(thing.model), "type": "application/tm+json"})
    if thing.parent:
        links.append({"rel": "up", "href": f"{base_href}/{quoted(thing.parent)}"})
    return links


def _affordance(definition: Property, raw: Json) -> Json:
    """The affordance, with what only the model's document says of it, such as an object's schema."""
    kept = {term: value for term, value in raw.items() if term not in _MODEL_ONLY}
    merged = kept | write_property(definition)
    if raw.get("type") == "array":
        merged["type"] = "array"
    return merged


def _action(name: str, raw: Json, address: str) -> Json:
    """An action affordance; the server passes it on as a command."""
    kept = {term: value for term, value in raw.items() if term not in _MODEL_ONLY}
    return kept | {"forms": action_forms(address, name)}


def _event(definition: Property, raw: Json, address: str) -> Json:
    """An event affordance for a property of kind event; its data is what the property holds."""
    kept = {term: value for term, value in raw.items() if term not in _MODEL_ONLY}
    return kept | write_event(definition, raw.get("data", {})) | {"forms": event_forms(address, definition.name)}
