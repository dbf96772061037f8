"""W3C Thing Models: read, checked and composed into what all things of one type share."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from taihu.kernel.ids import NameRefused, check_name
from taihu.kernel.limits import DEFAULT, Limits
from taihu.things.affordance import read_event, read_property
from taihu.things.definition import check_formulas
from taihu.things.document import DescriptionError, Json, Node, check_bounds, join, merge_patch, read_document
from taihu.things.property import Property, Thing, ThingModel
from taihu.things.structure import MODEL_TYPE, check_structure, is_model

Library = Mapping[str, bytes]
"""Other Thing Models by name, as their documents."""

_PLACEHOLDER = re.compile(r"\{\{([ -z|~]{1,64})\}\}")
_POINTERS = ("tm:optional", "tm:required")
_SUFFIXES = (".jsonld", ".json", ".tm", ".td")


def parse_model(
    document: bytes | str | Json,
    name: str = "",
    library: Library | None = None,
    values: Mapping[str, Any] | None = None,
    limits: Limits = DEFAULT,
) -> ThingModel:
    """The Thing Model of a document; raises DescriptionError.

    Args:
        document: JSON.
        name: what things call the model; else the document's `taihu:name` or title.
        library: the models that `tm:extends` links and `tm:ref` may name, by the last part of their address.
        values: what placeholders such as `{{RATED_POWER}}` stand for; one left over in a property is an error.
        limits: bounds on size, depth and number.
    """
    given = read_document(document, limits)
    whole = _compose(given, library or {}, values or {}, limits)
    root = Node(whole)
    check_structure(root, limits, model=True)
    _check_pointers(root)
    return ThingModel(
        name=_model_name(root, name),
        title=root.optional("title", Node.text, ""),
        version=_version(root),
        properties=_definitions(whole),
        document=msgspec.json.encode(whole),
    )


def optional_properties(model: ThingModel) -> set[str]:
    """The properties that a thing of the model may leave out (`tm:optional`)."""
    document = msgspec.json.decode(model.document) if model.document else {}
    prefix = "/properties/"
    return {_unescape(item[len(prefix) :]) for item in document.get("tm:optional", ()) if item.startswith(prefix)}


def definitions(thing: Thing, model: ThingModel | None) -> Mapping[str, Property]:
    """All properties of a thing: its model's, where it does not override or add to them.

    A thing without a difference gets the model's own mapping: 100,000 of them cost nothing.
    """
    if model is None:
        return thing.properties
    return {**model.properties, **thing.properties} if thing.properties else model.properties


def is_reachable(affordance: Json) -> bool:
    """Whether an affordance of a model says itself how to reach it."""
    forms = affordance.get("forms")
    return bool(forms) and b"{{" not in msgspec.json.encode(forms)


def local_name(address: str) -> str:
    """The name of a model that an address means: its last part, without file suffixes.

    >>> local_name("https://models.example/energy/Meter.tm.jsonld"), local_name("urn:taihu:model:Meter")
    ('Meter', 'Meter')
    """
    name = unquote(address.partition("#")[0].rstrip("/").rpartition("/")[2].rpartition(":")[2])
    if not address.startswith("urn:"):
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
    return name


def _definitions(whole: Json) -> dict[str, Property]:
    """What the model defines; an event that it does not say how to reach is told by the thing's readings."""
    found = {key: read_property(key, node) for key, node in Node(whole.get("properties", {}), "/properties").members()}
    for key, node in Node(whole.get("events", {}), "/events").members():
        if key not in found and not is_reachable(node.value):
            found[key] = read_event(key, node)
    check_formulas(found)
    return found


def _compose(document: Json, library: Library, values: Mapping[str, Any], limits: Limits) -> Json:
    """The model with its bases merged in, its references followed and its placeholders filled."""
    if not is_model(Node(document)):
        Node(document).fail("it is not a Thing Model.", f'Write "@type": "{MODEL_TYPE}".')
    whole: Json = _fill(_Composer(library, limits).model(document, ()), values)
    check_bounds(whole, limits)
    return whole


class _Composer:
    """Follows bases and references; what it copies is counted, so that no document can multiply itself."""

    def __init__(self, library: Library, limits: Limits) -> None:
        self.library = library
        self.limits = limits
        self.budget = limits.description_items_max
        self.bases: dict[str, Json] = {}

    def model(self, document: Json, above: tuple[str, ...]) -> Json:
        """The document with what it extends merged below it; `above` are the models that led here."""
        whole: Json = self.references(document, document, "", above)
        links = Node(whole).optional("links", Node.array, None)
        if links is None:
            return whole
        for link in links.items():
            if _extends(link):
                href = link.need("href", "Name the model.")
                base = self.base(href.text(), href.pointer, above)
                inherited = {key: value for key, value in base.items() if key not in _OWN}
                whole = merge_patch(inherited, whole)
        whole["links"] = [link.value for link in links.items() if not _extends(link)]
        return whole

    def base(self, address: str, pointer: str, above: tuple[str, ...]) -> Json:
        """Another model, composed."""
        name = local_name(address)
        if name in above or len(above) >= self.limits.model_bases_max:
            way = " extends ".join((*above, name))[:200]
            remedy = f"At most {self.limits.model_bases_max} levels, and no circle."
            raise DescriptionError(pointer, f"the models lead too deep or in a circle: {way}.", remedy)
        if name not in self.bases:
            given = self.library.get(name)
            if given is None:
                raise DescriptionError(pointer, f"there is no Thing Model {name[:80]!r} here.", "Load that model too.")
            try:
                document = read_document(given, self.limits)
                self.spend(check_bounds(document, self.limits), pointer)
                self.bases[name] = self.model(document, (*above, name))
            except DescriptionError as error:
                place = f"in the model {name[:80]!r} at {error.pointer[:80] or 'its root'}"
                raise DescriptionError(pointer, f"{place}, {error.message}", error.remedy) from None
        return self.bases[name]

    def references(self, value: Any, home: Json, pointer: str, above: tuple[str, ...], depth: int = 0) -> Any:
        """The value with every `tm:ref` in it replaced by what it names, overridden by the members beside it."""
        if depth > self.limits.description_depth_max:
            raise DescriptionError(pointer, "references lead in a circle.", "Let none name what holds it.")
        if isinstance(value, list):
            return [self.references(v, home, join(pointer, str(i)), above, depth + 1) for i, v in enumerate(value)]
        if not isinstance(value, dict):
            return value
        rest = {
            key: self.references(item, home, join(pointer, key), above, depth + 1)
            for key, item in value.items()
            if key != _REF
        }
        if _REF not in value:
            return rest
        address = Node(value[_REF], f"{pointer}/{_REF}").text()
        place, sharp, path = address.partition("#")
        if not sharp:
            raise DescriptionError(f"{pointer}/{_REF}", "it names no place.", "Write Model#/properties/name.")
        source = self.base(place, f"{pointer}/{_REF}", above) if place else home
        found = _resolve(source, path, f"{pointer}/{_REF}")
        self.spend(check_bounds(found, self.limits), pointer)
        return merge_patch(self.references(found, source, pointer, above, depth + 1), rest)

    def spend(self, items: int, pointer: str) -> None:
        self.budget -= items + 1
        if self.budget < 0:
            remedy = f"At most {self.limits.description_items_max} values are composed."
            raise DescriptionError(pointer, "the model is too large with all that it refers to.", remedy)


_REF = "tm:ref"
_OWN = ("links", "version", "title", "taihu:name")  # what a model does not inherit


def _extends(link: Node) -> bool:
    return bool(link.object().value.get("rel") == "tm:extends")


def _resolve(document: Json, path: str, pointer: str) -> Any:
    """What a JSON pointer names in a document."""
    found: Any = document
    for part in path.split("/")[1:]:
        key = _unescape(unquote(part))
        if not isinstance(found, dict) or key not in found:
            raise DescriptionError(pointer, f"nothing is at {path[:80]!r}.", "Write one such as #/properties/name.")
        found = found[key]
    return found


def _unescape(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def _fill(value: Any, values: Mapping[str, Any]) -> Any:
    """Fill placeholders: one that is a whole string becomes the value itself, of any type."""
    if isinstance(value, dict):
        return {_fill_text(key, values): _fill(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, values) for item in value]
    if not isinstance(value, str):
        return value
    whole = _PLACEHOLDER.fullmatch(value)
    if whole is not None and whole[1] in values:
        return values[whole[1]]
    return _fill_text(value, values)


def _fill_text(text: str, values: Mapping[str, Any]) -> str:
    return _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), text)


def _check_pointers(root: Node) -> None:
    for term in _POINTERS:
        pointers = root.get(term)
        for item in pointers.array().items() if pointers is not None else ():
            parts = item.text().split("/")
            group = root.value.get(parts[1]) if len(parts) == 3 and parts[0] == "" else None
            if not isinstance(group, dict) or _unescape(parts[2]) not in group:
                item.fail(f"nothing is at {item.value[:80]!r}.", "Write one such as /properties/name.")


def _model_name(root: Node, name: str) -> str:
    if not name:
        name = root.optional("taihu:name", Node.text, "") or root.optional("title", Node.text, "")
    try:
        return check_name(name)
    except NameRefused as error:
        root.fail(f"the model has no usable name: {error.message}", 'Write "taihu:name".')


def _version(root: Node) -> str:
    version = root.get("version")
    return "1" if version is None else version.need("model", "").text()
