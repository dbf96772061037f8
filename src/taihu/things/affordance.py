"""A property between its two forms: the Property the system works with and the affordance a W3C document holds.

W3C Thing Description 1.1 gives the terms `type`, `unit`, `minimum`, `maximum`, `enum`, `readOnly`, `observable`,
`title` and `description`; what it has no term for is in the `taihu:` vocabulary. Three defaults differ from the
standard's, which describes the device and not the server: without `readOnly: false`, `writeOnly` or a write form
nothing is writable; without `observable` everything is observable; `unit` must be a UCUM code. An `enum` is enforced
for strings.
"""

from typing import Any

from taihu.kernel.ids import NameRefused, check_name
from taihu.kernel.retention import STEPS, Retention, RetentionRefused, check_retention
from taihu.kernel.units import UnitError, parse_unit
from taihu.things.definition import formula_fault
from taihu.things.document import Json, Node
from taihu.things.forms import OP_WRITE
from taihu.things.formula import FormulaError, parse_formula
from taihu.things.property import DataType, Kind, OnBad, Property, Signal

TAIHU = "urn:taihu:ns#"

_DATA_TYPES = {data_type.value: data_type for data_type in DataType} | {"array": DataType.OBJECT}
_NUMERIC = (DataType.NUMBER, DataType.INTEGER)
_DEFAULT_KINDS = {
    DataType.NUMBER: Kind.GAUGE,
    DataType.INTEGER: Kind.GAUGE,
    DataType.BOOLEAN: Kind.STATE,
    DataType.STRING: Kind.STATE,
    DataType.OBJECT: Kind.EVENT,
}
_DEFAULT_AGE_S = Property(name="").max_age_s
_SCHEMA_TERMS = ("type", "unit", "minimum", "maximum", "enum")
# Terms that only one kind has, so that a misplaced one is an error and not ignored.
_AGES = dict(zip(("raw", *STEPS[1:]), Retention.__struct_fields__, strict=True))
_KIND_TERMS = {"taihu:wrap": Kind.COUNTER, "taihu:ratio": Kind.COUNTER, "taihu:interval": Kind.INTERVAL}


def read_property(name: str, node: Node) -> Property:
    """The Property that an affordance defines; raises DescriptionError."""
    node.object()
    data_type = _data_type(node)
    kind = _kind(node, data_type)
    for term, needed in _KIND_TERMS.items():
        if node.has(term) and kind is not needed:
            _member(node, term).fail(f"a {kind} has no {term}.", f'Leave it out, or write "taihu:kind": "{needed}".')
    minimum, maximum = _range(node, data_type)
    interval_s = node.optional("taihu:interval", Node.positive, None)
    if kind is Kind.INTERVAL and interval_s is None:
        node.fail("an interval has no length.", 'Write "taihu:interval" in seconds, such as 3600.')
    return Property(
        name=_name(name, node),
        kind=kind,
        data_type=data_type,
        unit=node.optional("unit", _unit, None),
        resolution=node.optional("taihu:resolution", Node.positive, node.optional("multipleOf", Node.positive, None)),
        minimum=minimum,
        maximum=maximum,
        max_age_s=node.optional("taihu:maxAge", Node.positive, _DEFAULT_AGE_S),
        period_s=node.optional("taihu:period", Node.positive, None),
        interval_s=interval_s,
        wrap=node.optional("taihu:wrap", Node.positive, None),
        ratio=node.optional("taihu:ratio", Node.positive, 1.0),
        enum=_enum(node, data_type),
        on_bad=OnBad(node.optional("taihu:onBad", _on_bad, OnBad.REFUSE.value)),
        writable=_writable(node),
        observable=node.optional("observable", Node.flag, True),
        inferred=node.optional("taihu:inferred", Node.flag, False),
        formula=node.optional("taihu:formula", lambda text: _formula(node, text, kind), ""),
        signal=node.optional("taihu:signal", _signal, None),
        retention=node.optional("taihu:retention", _retention, None),
        title=node.optional("title", Node.string, ""),
        description=node.optional("description", Node.string, ""),
    )


def write_property(definition: Property) -> Json:
    """The affordance of a Property, without its forms; `read_property` gives the Property back."""
    members: Json = {
        "title": definition.title or None,
        "description": definition.description or None,
        "type": definition.data_type.value,
        "unit": definition.unit,
        "minimum": definition.minimum,
        "maximum": definition.maximum,
        "enum": list(definition.enum) or None,
        "readOnly": not definition.writable,
        "observable": definition.observable,
        "taihu:kind": definition.kind.value,
        "taihu:resolution": definition.resolution,
        "taihu:maxAge": _unless(definition.max_age_s, _DEFAULT_AGE_S),
        "taihu:period": definition.period_s,
        "taihu:interval": definition.interval_s,
        "taihu:wrap": definition.wrap,
        "taihu:ratio": _unless(definition.ratio, 1.0),
        "taihu:onBad": _unless(definition.on_bad.value, OnBad.REFUSE.value),
        "taihu:inferred": definition.inferred or None,
        "taihu:formula": definition.formula or None,
        "taihu:signal": definition.signal and definition.signal.value,
        "taihu:retention": _ages(definition.retention),
    }
    return {term: value for term, value in members.items() if value is not None}


def read_event(name: str, node: Node) -> Property:
    """The Property that an event affordance without forms defines: the readings that tell of it."""
    data = node.object().get("data")
    schema: Json = {} if data is None else data.object().value
    kept = {term: schema[term] for term in _SCHEMA_TERMS if term in schema}
    told = {term: node.value[term] for term in ("title", "description") if term in node.value}
    affordance = {"type": "object", "taihu:kind": Kind.EVENT.value} | kept | told
    return read_property(name, Node(affordance, node.pointer if data is None else data.pointer))


def write_event(definition: Property, data: Json) -> Json:
    """The event affordance of a Property of kind event, without its forms; `data` is what its model says of it."""
    schema = write_property(definition)
    members: Json = {
        "title": definition.title or None,
        "description": definition.description or None,
        "data": {term: schema[term] for term in _SCHEMA_TERMS if term in schema} | data,
    }
    return {term: value for term, value in members.items() if value is not None}


def _name(name: str, node: Node) -> str:
    try:
        return check_name(name)
    except NameRefused as error:
        node.fail(error.message, error.remedy)


def _data_type(node: Node) -> DataType:
    kind = node.need("type", 'Write "type": "number", or integer, boolean, string, object or array.')
    return _DATA_TYPES[kind.choice(_DATA_TYPES)]


def _kind(node: Node, data_type: DataType) -> Kind:
    declared = node.get("taihu:kind")
    if declared is None:
        return _DEFAULT_KINDS[data_type]
    kind = Kind(declared.choice([kind.value for kind in Kind]))
    if kind in (Kind.GAUGE, Kind.COUNTER, Kind.INTERVAL) and data_type not in _NUMERIC:
        declared.fail(f"a {kind} of type {data_type} cannot be.", 'Write "state" or "event", or a numeric type.')
    return kind


def _range(node: Node, data_type: DataType) -> tuple[float | None, float | None]:
    for term in ("exclusiveMinimum", "exclusiveMaximum"):
        if node.has(term):
            other = term.removeprefix("exclusive").lower()
            _member(node, term).fail(f"{term} is not supported.", f'Write "{other}" with the nearest value allowed.')
    for term in ("minimum", "maximum"):
        if node.has(term) and data_type not in _NUMERIC:
            _member(node, term).fail(f"a {data_type} has no {term}.", "Leave it out, or write a numeric type.")
    minimum = node.optional("minimum", Node.number, None)
    maximum = node.optional("maximum", Node.number, None)
    if minimum is not None and maximum is not None and minimum > maximum:
        _member(node, "maximum").fail(f"{maximum:g} is below the minimum {minimum:g}.", "Swap the two.")
    return minimum, maximum


def _enum(node: Node, data_type: DataType) -> tuple[str, ...]:
    allowed = node.get("enum")
    if allowed is None:
        return ()
    if not allowed.array().value:
        allowed.fail("the enumeration is empty.", "Leave it out, or list the values allowed.")
    if data_type is not DataType.STRING:
        return ()
    names = tuple(item.text() for item in allowed.items())
    if len(set(names)) < len(names):
        allowed.fail("the enumeration names a value twice.", "List each value once.")
    return names


def _writable(node: Node) -> bool:
    read_only = node.optional("readOnly", Node.flag, None)
    write_only = node.optional("writeOnly", Node.flag, False)
    if read_only and write_only:
        _member(node, "writeOnly").fail("readOnly and writeOnly exclude each other.", "Leave one out.")
    if read_only is not None:
        return not read_only
    return write_only or any(OP_WRITE in _ops(form) for form in node.value.get("forms", ()))


def _ops(form: Any) -> Any:
    """The operations of a form that was checked, as a string or list."""
    return form.get("op", "") if isinstance(form, dict) else ""


def _unit(node: Node) -> str:
    try:
        return parse_unit(node.text()).code
    except UnitError as error:
        node.fail(error.message, error.remedy)


def _formula(node: Node, text: Node, kind: Kind) -> str:
    """The formula of a calculated property; what it is built on is looked at where its thing is."""
    formula = text.text()
    try:
        parse_formula(formula)
    except FormulaError as error:
        text.fail(error.message, error.remedy)
    if fault := formula_fault(kind, node.value["type"], node.value.get("unit"), _writable(node)):
        text.fail(f"{fault[0]}.", fault[1])
    return formula


def _retention(node: Node) -> Retention:
    """The ages of an object such as {"raw": "30d", "1h": "5y"}."""
    members = {name: node.object().need(name, "").text() for name in node.object().value}
    for name in members:
        if name not in _AGES:
            node.fail(f"{name} is not kept.", f"Name some of {', '.join(_AGES)}.")
    try:
        return check_retention(Retention(**{_AGES[name]: age for name, age in members.items()}))
    except RetentionRefused as error:
        node.fail(error.message, error.remedy)


def _ages(retention: Retention | None) -> Json | None:
    if retention is None:
        return None
    return {name: getattr(retention, field) for name, field in _AGES.items() if getattr(retention, field)}


def _signal(node: Node) -> Signal:
    return Signal(node.choice(tuple(Signal)))


def _on_bad(node: Node) -> str:
    return node.choice([rule.value for rule in OnBad])


def _member(node: Node, term: str) -> Node:
    return node.need(term, "")


def _unless(value: Any, default: Any) -> Any:
    return None if value == default else value
