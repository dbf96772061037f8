"""Thing Models: what is read, composed, and refused with the pointer of the fault."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.limits import Limits
from taihu.things.document import DescriptionError, check_bounds, merge_patch, read_document
from taihu.things.model import definitions, local_name, optional_properties, parse_model
from taihu.things.property import DataType, Kind, OnBad, Property, Thing

METER: dict[str, Any] = {
    "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"taihu": "urn:taihu:ns#"}],
    "@type": "tm:ThingModel",
    "title": "Main meter",
    "taihu:name": "Meter",
    "version": {"model": "2.1.0"},
    "properties": {
        "power": {
            "title": "Power",
            "description": "Active power, import positive",
            "type": "number",
            "unit": "kW",
            "minimum": -100,
            "maximum": 100,
            "taihu:resolution": 0.01,
            "taihu:maxAge": 60,
            "taihu:period": 10,
            "taihu:onBad": "flag",
        },
        "energy": {"type": "number", "unit": "kW.h", "taihu:kind": "counter", "taihu:wrap": 1e6, "taihu:ratio": 40},
        "pulses": {"type": "integer", "multipleOf": 1, "taihu:kind": "interval", "taihu:interval": 3600},
        "mode": {"type": "string", "enum": ["on", "off"], "readOnly": False},
        "closed": {"type": "boolean", "observable": False},
        "harmonics": {"type": "array", "items": {"type": "number"}},
    },
    "tm:optional": ["/properties/harmonics"],
    "actions": {"reset": {"input": {"type": "string"}}},
    "events": {"trip": {"data": {"type": "object", "properties": {"phase": {"type": "integer"}}}}},
}


def changed(pointer: str, value: Any) -> dict[str, Any]:
    """The meter with one member replaced."""
    document = copy.deepcopy(METER)
    at: Any = document
    *way, last = pointer.split("/")[1:]
    for part in way:
        at = at[part.replace("~1", "/")]
    at[last.replace("~1", "/")] = value
    return document


def test_every_term_is_read() -> None:
    model = parse_model(json.dumps(METER).encode())
    assert (model.name, model.title, model.version) == ("Meter", "Main meter", "2.1.0")
    assert model.properties == {
        "power": Property(
            name="power",
            title="Power",
            description="Active power, import positive",
            unit="kW",
            minimum=-100,
            maximum=100,
            resolution=0.01,
            max_age_s=60,
            period_s=10,
            on_bad=OnBad.FLAG,
        ),
        "energy": Property(name="energy", kind=Kind.COUNTER, unit="kW.h", wrap=1e6, ratio=40),
        "pulses": Property(
            name="pulses", kind=Kind.INTERVAL, data_type=DataType.INTEGER, interval_s=3600, resolution=1.0
        ),
        "mode": Property(name="mode", kind=Kind.STATE, data_type=DataType.STRING, enum=("on", "off"), writable=True),
        "closed": Property(name="closed", kind=Kind.STATE, data_type=DataType.BOOLEAN, observable=False),
        "harmonics": Property(name="harmonics", kind=Kind.EVENT, data_type=DataType.OBJECT),
        "trip": Property(name="trip", kind=Kind.EVENT, data_type=DataType.OBJECT),
    }
    assert optional_properties(model) == {"harmonics"}
    assert json.loads(model.document) == METER


@pytest.mark.parametrize(
    ("pointer", "value", "at", "message", "remedy"),
    [
        ("/@context", "https://www.w3.org/2019/wot/td/v1", "/@context", "1.1", "2022/wot/td/v1.1"),
        ("/@type", "Thing", "", "not a Thing Model", "tm:ThingModel"),
        ("/properties", [], "/properties", "an array", "object"),
        ("/properties/power/type", "float", "/properties/power/type", "'float'", "number"),
        ("/properties/power/type", ["number"], "/properties/power/type", "an array", "a string"),
        ("/properties/power/unit", "kWh", "/properties/power/unit", "'kWh' is not a UCUM code", "Write kW.h."),
        ("/properties/power/minimum", "0", "/properties/power/minimum", "a string", "a number"),
        ("/properties/power/minimum", "{{LOW}}", "/properties/power/minimum", "placeholder '{{LOW}}'", "Fill"),
        ("/properties/power/minimum", 200, "/properties/power/maximum", "below the minimum", "Swap"),
        ("/properties/power/minimum", 10**400, "/properties/power/minimum", "too large", "64-bit"),
        ("/properties/power/exclusiveMinimum", 0, "/properties/power/exclusiveMinimum", "not supported", '"minimum"'),
        ("/properties/power/taihu:kind", "meter", "/properties/power/taihu:kind", "'meter'", "counter"),
        ("/properties/power/taihu:maxAge", 0, "/properties/power/taihu:maxAge", "above zero", "above zero"),
        ("/properties/power/taihu:wrap", 10, "/properties/power/taihu:wrap", "a gauge has no", "counter"),
        ("/properties/power/taihu:onBad", "drop", "/properties/power/taihu:onBad", "'drop'", "flag, refuse"),
        ("/properties/pulses/taihu:interval", None, "/properties/pulses/taihu:interval", "null", "number"),
        ("/properties/mode/taihu:kind", "gauge", "/properties/mode/taihu:kind", "gauge of type string", "state"),
        ("/properties/mode/enum", [], "/properties/mode/enum", "empty", "list"),
        ("/properties/mode/enum", ["a", 1], "/properties/mode/enum/1", "a number", "a string"),
        ("/properties/mode/enum", ["a", "a"], "/properties/mode/enum", "twice", "once"),
        ("/properties/mode/minimum", 1, "/properties/mode/minimum", "no minimum", "numeric"),
        ("/properties/mode/readOnly", "yes", "/properties/mode/readOnly", "a string", "true or false"),
        ("/properties/closed", {"unit": "1"}, "/properties/closed", "'type' is missing", "number"),
        ("/properties/a~1b", {"type": "number"}, "/properties/a~1b", "cannot name", "without /"),
        ("/properties/", {"type": "number"}, "/properties/", "empty", "Name it"),
        ("/properties/closed/forms", 5, "/properties/closed/forms", "a number", "array"),
        ("/properties/closed/forms", [{"op": 5}], "/properties/closed/forms/0/op", "a number", "array"),
        ("/properties/closed/forms", [{"op": "read"}], "/properties/closed/forms/0/op", "'read'", "readproperty"),
        ("/events/trip/data/properties/phase/type", "x", "/events/trip/data/properties/phase/type", "'x'", "integer"),
        ("/events/a~1b", {"data": {"type": "string"}}, "/events/a~1b/data", "cannot name", "without /"),
        (
            "/events/trip",
            {"data": {"type": "string", "minimum": 1}},
            "/events/trip/data/minimum",
            "no minimum",
            "numeric",
        ),
        ("/actions/reset/input", 5, "/actions/reset/input", "a number", "object"),
        ("/version", "1", "/version", "a string", "object"),
        ("/version", {}, "/version", "'model' is missing", "1.0.0"),
        ("/tm:optional", ["/properties/x"], "/tm:optional/0", "nothing is at", "/properties/name"),
        ("/tm:required", "power", "/tm:required", "a string", "array"),
        ("/taihu:name", "a/b", "", "no usable name", "taihu:name"),
        ("/links", [{"rel": "tm:extends", "href": "x/Base.tm.json"}], "/links/0/href", "no Thing Model 'Base'", "Load"),
        ("/properties/power/tm:ref", "#/properties/x", "/properties/power/tm:ref", "nothing is at", "#/properties"),
        ("/properties/power/tm:ref", "Base", "/properties/power/tm:ref", "no place", "Model#"),
        ("/properties/power/tm:ref", "#/properties/power", None, "circle", "Let none"),
        ("/properties/power/tm:ref", "#/properties", None, "", ""),
    ],
)
def test_a_fault_is_named_with_its_pointer(pointer: str, value: Any, at: str | None, message: str, remedy: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        parse_model(changed(pointer, value))
    if at is not None:
        assert caught.value.pointer == at
    assert message in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"5", b"\xff\xfe", b'{"a": "\\ud800"}', b"[" * 200_000, "{}"])
def test_what_is_no_model_at_all(document: bytes | str) -> None:
    with pytest.raises(DescriptionError):
        parse_model(document)


def test_placeholders_become_values_of_any_type() -> None:
    document = changed("/properties/power/maximum", "{{RATED}}")
    document["title"] = "Meter of {{RATED}} kW in {{PLACE}}"
    model = parse_model(document, values={"RATED": 63.5})
    assert model.properties["power"].maximum == 63.5
    assert model.title == "Meter of 63.5 kW in {{PLACE}}"


def base(**members: Any) -> bytes:
    document: dict[str, Any] = {"@context": METER["@context"], "@type": ["tm:ThingModel"], **members}
    return json.dumps(document).encode()


def test_extending_overrides_adds_and_removes() -> None:
    library = {
        "Meter": json.dumps(METER).encode(),
        "Device": base(properties={"serial": {"type": "string"}}),
    }
    document: bytes = base(
        links=[
            {"rel": "tm:extends", "href": "./Meter.tm.jsonld", "type": "application/tm+json"},
            {"rel": "tm:extends", "href": "urn:taihu:model:Device"},
            {"rel": "license", "href": "https://example.org/licence"},
        ],
        properties={
            "power": {"unit": "W"},
            "harmonics": None,
            "voltage": {"tm:ref": "Meter#/properties/power", "unit": "V"},
        },
        **{"tm:optional": ["/properties/voltage"]},
    )
    model = parse_model(document, name="Three-phase", library=library)
    assert set(model.properties) == {"power", "energy", "pulses", "mode", "closed", "serial", "voltage", "trip"}
    assert (model.properties["power"].unit, model.properties["power"].maximum) == ("W", 100)
    assert (model.properties["voltage"].unit, model.properties["voltage"].resolution) == ("V", 0.01)
    assert (model.title, model.version) == ("", "1")
    assert json.loads(model.document)["links"] == [{"rel": "license", "href": "https://example.org/licence"}]
    assert parse_model(model.document, name="Three-phase") == model


def test_extending_in_a_circle_or_too_deep_is_refused() -> None:
    def extends(name: str) -> bytes:
        return base(links=[{"rel": "tm:extends", "href": name}])

    with pytest.raises(DescriptionError, match="circle: A extends B extends A"):
        parse_model(extends("A"), "X", {"A": extends("B"), "B": extends("A")})
    ladder = {f"M{row}": extends(f"M{row + 1}") for row in range(30)} | {"M30": base()}
    with pytest.raises(DescriptionError, match="too deep"):
        parse_model(extends("M0"), "X", ladder)
    assert parse_model(extends("M25"), "X", ladder).properties == {}


def test_references_cannot_multiply_without_bound() -> None:
    """§13: each level names the one below twice; 2**28 copies would follow."""
    schemas: dict[str, Any] = {"s0": {"type": "number"}}
    for row in range(1, 29):
        ref = {"tm:ref": f"#/schemaDefinitions/s{row - 1}"}
        schemas[f"s{row}"] = {"type": "object", "properties": {"a": ref, "b": ref}}
    with pytest.raises(DescriptionError, match=r"too large|too deeply|circle"):
        parse_model(base(schemaDefinitions=schemas), "X")


def test_size_depth_and_count_are_bounded() -> None:
    """§6."""
    small = Limits(
        description_bytes_max=5000, description_items_max=200, description_depth_max=8, properties_per_thing_max=5
    )
    documents: list[Any] = [METER, {"a": [0] * 300}, {"a": [[[[[[[[[]]]]]]]]]}, base(title="x" * 6000)]
    for document in documents:
        with pytest.raises(DescriptionError) as caught:
            parse_model(document, limits=small)
        assert caught.value.remedy


def test_a_thing_without_a_difference_shares_its_models_definitions() -> None:
    model = parse_model(METER)
    plain = Thing(name="a", model="Meter")
    assert definitions(plain, model) is model.properties
    other = Property(name="power", unit="W")
    special = definitions(Thing(name="b", model="Meter", properties={"power": other}), model)
    assert special["power"] is other
    assert special["energy"] is model.properties["energy"]
    assert definitions(Thing(name="c", properties={"power": other}), None) == {"power": other}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("Meter", "Meter"),
        ("./Meter.tm.json", "Meter"),
        ("https://models.example/energy/Meter.tm.jsonld#/x", "Meter"),
        ("urn:taihu:model:Main%20meter", "Main meter"),
        ("urn:taihu:model:a.json", "a.json"),
    ],
)
def test_local_names(address: str, name: str) -> None:
    assert local_name(address) == name


def test_merge_patch_follows_the_standards_examples() -> None:
    """RFC 7396, appendix A."""
    for base_value, patch, result in [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]:
        assert merge_patch(base_value, patch) == result


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["number", "{{X}}"]),
    lambda below: (
        st.lists(below, max_size=4)
        | st.dictionaries(
            st.text(max_size=5)
            | st.sampled_from(["type", "forms", "href", "op", "properties", "tm:ref", "enum", "links"]),
            below,
            max_size=4,
        )
    ),
    max_leaves=20,
)
POINTERS = [
    "/" + "/".join(way)
    for way in (
        *((key,) for key in METER),
        *(("properties", name) for name in METER["properties"]),
        *(("properties", name, term) for name, item in METER["properties"].items() for term in (*item, "tm:ref")),
        ("links",),
        ("forms",),
        ("securityDefinitions",),
        ("security",),
        ("actions", "reset", "input"),
        ("events", "trip", "data"),
    )
]


@given(st.sampled_from(POINTERS), json_values)
def test_any_json_in_any_place_is_a_model_or_the_one_error(pointer: str, value: Any) -> None:
    """§13."""
    try:
        model = parse_model(changed(pointer, value))
    except DescriptionError as error:
        assert len(str(error)) < 2000
    else:
        assert parse_model(model.document, model.name) == model


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_object_or_the_one_error(document: bytes) -> None:
    """§13."""
    limits = Limits()
    try:
        found = read_document(document, limits)
    except DescriptionError:
        return
    assert check_bounds(found, limits) < 1000
