"""What W3C Thing Description 1.1 demands of a document's structure, beyond what a property means to the system.

Source: W3C Recommendation "Web of Things (WoT) Thing Description 1.1", 5 December 2023, section 5.3 and annex on Thing
Models. A Thing Model may leave out forms and security, and hold placeholders; everything else is checked alike.
"""

from collections.abc import Callable

from taihu.kernel.clock import parse_iso
from taihu.kernel.limits import Limits
from taihu.things.document import Json, Node, check_bounds

CONTEXT = "https://www.w3.org/2022/wot/td/v1.1"
MODEL_TYPE = "tm:ThingModel"
_OLD_CONTEXT = "https://www.w3.org/2019/wot/td/v1"

_TYPES = ("boolean", "integer", "number", "string", "object", "array", "null")
_SCHEMES = ("nosec", "auto", "combo", "basic", "digest", "apikey", "bearer", "psk", "oauth2")
_PROPERTY_OPS = ("readproperty", "writeproperty", "observeproperty", "unobserveproperty")
_ACTION_OPS = ("invokeaction", "queryaction", "cancelaction")
_EVENT_OPS = ("subscribeevent", "unsubscribeevent")
_THING_OPS = (
    *("readallproperties", "writeallproperties", "readmultipleproperties", "writemultipleproperties"),
    *("observeallproperties", "unobserveallproperties", "queryallactions"),
    *("subscribeallevents", "unsubscribeallevents"),
)
_TEXTS = ("id", "description", "support", "base")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength")


def check_structure(root: Node, limits: Limits, model: bool, *, old: bool = False) -> None:
    """Raise DescriptionError unless `root` is a Thing Description, or with `model` a Thing Model.

    With `old` it may be of version 1.0, whose terms are among those of 1.1.
    """
    _check_context(root, old)
    if not model or root.has("title"):
        root.need("title", 'Write "title", the name people know the thing by.').text()
    for term in _TEXTS:
        root.optional(term, Node.string, "")
    for term in ("created", "modified"):
        root.optional(term, _check_time, None)
    root.optional("version", lambda node: _check_version(node, model), None)
    root.optional("@type", Node.texts, None)
    schemes = _check_security(root, model)
    _check_security_use(root, schemes, model)
    _check_affordances(root, "properties", _check_property, _PROPERTY_OPS, limits, model)
    _check_affordances(root, "actions", _check_action, _ACTION_OPS, limits, model)
    _check_affordances(root, "events", _check_event, _EVENT_OPS, limits, model)
    root.optional("forms", lambda node: _check_forms(node, _THING_OPS, model, op_needed=True), None)
    root.optional("links", _check_links, None)
    for term in ("uriVariables", "schemaDefinitions"):
        root.optional(term, _check_schemas, None)


def is_model(root: Node) -> bool:
    """Whether the document says that it is a Thing Model."""
    return MODEL_TYPE in (root.optional("@type", Node.texts, None) or ())


def check_actions(actions: Json, limits: Limits) -> None:
    """Raise DescriptionError where action affordances without forms are not well formed, or are too large."""
    check_bounds(actions, limits)
    _check_affordances(Node({"actions": actions}), "actions", _check_action, _ACTION_OPS, limits, model=True)


def _check_context(root: Node, old: bool) -> None:
    context = root.need("@context", f'Write "@context": "{CONTEXT}".')
    entries = [context] if isinstance(context.value, str) else list(context.array().items())
    names = [entry.value for entry in entries if isinstance(entry.value, str)]
    if names[:1] != [CONTEXT] and names[:2] != [_OLD_CONTEXT, CONTEXT] and not (old and names[:1] == [_OLD_CONTEXT]):
        context.fail("it does not begin with the context of Thing Description 1.1.", f'Put "{CONTEXT}" first.')
    for entry in entries:
        if not isinstance(entry.value, str):
            entry.object()


def _check_time(node: Node) -> None:
    try:
        parse_iso(node.text())
    except (ValueError, OverflowError):
        node.fail(f"{node.value[:40]!r} is not a time.", "Write one such as 2025-01-31T12:00:00Z.")


def _check_version(node: Node, model: bool) -> None:
    term = "model" if model else "instance"
    node.object().need(term, f'Write "version": {{"{term}": "1.0.0"}}.').text()


def _check_security(root: Node, model: bool) -> set[str]:
    """The names of the security definitions."""
    definitions = root.get("securityDefinitions")
    if definitions is None:
        if model:
            return set()
        root.need("securityDefinitions", 'Write "securityDefinitions": {"bearer": {"scheme": "bearer"}}.')
        return set()
    if not definitions.object().value:
        definitions.fail("it defines nothing.", 'Write {"bearer": {"scheme": "bearer"}}, or "nosec" for no security.')
    for _, definition in definitions.members():
        scheme = definition.object().need("scheme", f"Write one of {', '.join(_SCHEMES)}.")
        if ":" not in scheme.text():  # a scheme of another vocabulary has a prefix
            scheme.choice(_SCHEMES)
        for term in ("oneOf", "allOf"):
            definition.optional(term, lambda node: _check_names(node, set(definitions.value)), None)
    return set(definitions.value)


def _check_security_use(node: Node, schemes: set[str], model: bool) -> None:
    if not model:
        node.need("security", f'Write "security": "{min(schemes)}".')
    node.optional("security", lambda names: _check_names(names, schemes), None)


def _check_names(node: Node, known: set[str]) -> None:
    for name in node.texts():
        if name not in known:
            node.fail(f"{name[:40]!r} is not in securityDefinitions.", "Define it there, or name one that is.")


_Check = Callable[[Node], None]


def _check_affordances(root: Node, term: str, check: _Check, ops: tuple[str, ...], limits: Limits, model: bool) -> None:
    group = root.get(term)
    if group is None:
        return
    if len(group.object().value) > limits.properties_per_thing_max:
        group.fail(f"it has {len(group.value)} members.", f"At most {limits.properties_per_thing_max} do.")
    for name, affordance in group.members():
        if not name:
            affordance.fail("the name is empty.", "Name it.")
        if not model:
            affordance.object().need("forms", 'Write "forms": [{"href": "..."}], how to reach it.')
        check(affordance.object())
        affordance.optional("@type", Node.texts, None)
        affordance.optional("uriVariables", _check_schemas, None)
        affordance.optional("forms", lambda node: _check_forms(node, ops, model), None)


def _check_property(node: Node) -> None:
    _check_schema(node)
    node.optional("observable", Node.flag, False)


def _check_action(node: Node) -> None:
    _check_text_terms(node)
    for term in ("safe", "idempotent", "synchronous"):
        node.optional(term, Node.flag, False)
    for term in ("input", "output"):
        node.optional(term, _check_schema, None)


def _check_event(node: Node) -> None:
    _check_text_terms(node)
    for term in ("subscription", "data", "dataResponse", "cancellation"):
        node.optional(term, _check_schema, None)


def _check_text_terms(node: Node) -> None:
    for term in ("title", "description"):
        node.optional(term, Node.string, "")
    for term in ("titles", "descriptions"):
        translations = node.get(term)
        if translations is not None:
            for _, translation in translations.object().members():
                translation.string()


def _check_schema(node: Node) -> None:
    """A data schema; as deep as the document, which is bounded."""
    _check_text_terms(node.object())
    node.optional("type", lambda name: name.choice(_TYPES), "")
    for term in ("readOnly", "writeOnly"):
        node.optional(term, Node.flag, False)
    for term in ("unit", "format", "contentEncoding", "contentMediaType", "pattern"):
        node.optional(term, Node.text, "")
    for term in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        node.optional(term, Node.number, 0.0)
    node.optional("multipleOf", Node.positive, 1.0)
    for term in _COUNTS:
        if node.optional(term, Node.number, 0.0) < 0:
            node.fail(f"{term} is negative.", "Write 0 or more.")
    node.optional("properties", _check_schemas, None)
    node.optional("required", _check_strings, None)
    for term in ("oneOf", "items"):
        below = node.get(term)
        if below is not None:
            for schema in below.items() if isinstance(below.value, list) else (below,):
                _check_schema(schema)


def _check_strings(node: Node) -> None:
    for item in node.array().items():
        item.string()


def _check_schemas(node: Node) -> None:
    for _, schema in node.object().members():
        _check_schema(schema)


def _check_forms(node: Node, ops: tuple[str, ...], model: bool, op_needed: bool = False) -> None:
    if not node.array().value:
        node.fail("the array is empty.", "Write at least one form, or leave it out of a Thing Model.")
    for form in node.items():
        if not model or form.object().has("href"):
            form.object().need("href", "Write the address to read it from.").text()
        if op_needed:
            form.need("op", f"Write one of {', '.join(ops)}.")
        operations = form.get("op")
        if operations is not None:
            operations.texts()
            many = isinstance(operations.value, list)
            for operation in operations.items() if many else (operations,):
                operation.choice(ops)
        for term in ("contentType", "contentCoding", "subprotocol"):
            form.optional(term, Node.text, "")
        form.optional("security", Node.texts, None)


def _check_links(node: Node) -> None:
    for link in node.array().items():
        link.object().need("href", "Write what it links to.").text()
        for term in ("rel", "type"):
            link.optional(term, Node.text, "")
