"""Thing Descriptions: round trip, the standard's own schema, and faults with their pointer."""

import copy
import json
import tracemalloc
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.retention import Retention
from taihu.things.description import _built, build_description, parse_description
from taihu.things.document import DescriptionError
from taihu.things.model import definitions, parse_model
from taihu.things.property import DataType, Kind, OnBad, Property, Signal, Thing, ThingModel

SCHEMA = Path(__file__).parent.parent / "data" / "wot" / "td-1.1.schema.json"
BASE = "http://localhost:8080/api/v1/projects/house-03/things"
MQTT = "mqtt://localhost:1883"

MODEL_DOCUMENT: dict[str, Any] = {
    "@context": "https://www.w3.org/2022/wot/td/v1.1",
    "@type": ["tm:ThingModel", "saref:Meter"],
    "taihu:name": "Meter",
    "title": "Meter",
    "description": "A meter",
    "properties": {
        "power": {"type": "number", "unit": "kW", "titles": {"zh": "功率"}},
        "energy": {"type": "number", "unit": "kW.h", "taihu:kind": "counter"},
        "limit": {"type": "number", "unit": "kW", "readOnly": False},
        "pin": {"type": "string", "writeOnly": True},
        "harmonics": {"type": "array", "items": {"type": "number"}},
        "spare": {"type": "boolean"},
    },
    "tm:optional": ["/properties/spare"],
    "actions": {
        "reset": {"forms": [{"href": "https://meter.example/reset", "op": "invokeaction"}]},
        "dose": {"input": {"type": "string"}},
    },
    "events": {"trip": {"forms": [{"href": "{{HOST}}/trip", "op": "subscribeevent"}]}},
}
METER = parse_model(MODEL_DOCUMENT)
MODELS = {"Meter": METER}

names = st.text(min_size=1, max_size=20).filter(
    lambda text: not set(text) & set("/+#") and text.isprintable() and text == text.strip() and text[0] != "$"
)
amounts = st.floats(1e-6, 1e6)


@st.composite
def properties(draw: st.DrawFn, name: str) -> Property:
    data_type = draw(st.sampled_from(DataType))
    numeric = data_type in (DataType.NUMBER, DataType.INTEGER)
    kind = draw(st.sampled_from(Kind if numeric else [Kind.STATE, Kind.EVENT]))
    bounds = sorted(draw(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)))) if numeric else [None, None]
    ages = st.sampled_from(["", "90d", "2y", "forever"])
    retention = draw(st.none() | st.builds(Retention, raw=ages, minutes=ages, hours=ages, days=ages))
    return Property(
        retention=None if retention == Retention() else retention,
        name=name,
        kind=kind,
        data_type=data_type,
        unit=draw(st.sampled_from([None, "kW", "Cel", "1", "kg{CO2}"])),
        resolution=draw(st.none() | amounts),
        minimum=draw(st.sampled_from([None, bounds[0]])),
        maximum=draw(st.sampled_from([None, bounds[1]])),
        max_age_s=draw(amounts),
        period_s=draw(st.none() | amounts),
        interval_s=draw(amounts) if kind is Kind.INTERVAL else None,
        wrap=draw(st.none() | amounts) if kind is Kind.COUNTER else None,
        ratio=draw(amounts) if kind is Kind.COUNTER else 1.0,
        enum=tuple(draw(st.lists(names, max_size=3, unique=True))) if data_type is DataType.STRING else (),
        on_bad=draw(st.sampled_from(OnBad)),
        signal=draw(st.none() | st.sampled_from(Signal)),
        writable=draw(st.booleans()),
        observable=draw(st.booleans()),
        inferred=draw(st.booleans()),
        title=draw(st.text(max_size=10)),
        description=draw(st.text(max_size=10)),
    )


@st.composite
def things(draw: st.DrawFn) -> Thing:
    name = draw(names)
    own = {key: draw(properties(key)) for key in draw(st.lists(names | st.just("power"), max_size=3))}
    place = st.just("") | names
    return Thing(
        name=name,
        model=draw(st.sampled_from(["", "Meter"])),
        title=draw((st.just("") | names).filter(lambda title: title != name)),
        properties=own,
        site=draw(place),
        building=draw(place),
        parent=draw(place),
        role=draw(place),
        tags=tuple(draw(st.lists(names, max_size=2))),
        groups=tuple(draw(st.lists(names, max_size=2))),
        inferred=draw(st.booleans()),
        created_at=draw(st.integers(0, 2**61)),
    )


@cache
def validator() -> Any:
    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))


@given(things())
def test_what_is_built_reads_back_and_meets_the_standard(thing: Thing) -> None:
    document = build_description("house-03", thing, MODELS.get(thing.model), BASE, MQTT)
    assert parse_description(json.dumps(document).encode(), models=MODELS) == thing
    validator().validate(document)


@given(names, st.sampled_from([BASE, "https://ü.example/a%20b", 'http://a"b', "/things", "coap://x"]), things())
def test_what_is_read_from_the_text_of_another_is_what_is_built(name: str, base: str, other: Thing) -> None:
    """Things that add nothing to their model differ in their address alone, whatever was built before."""
    build_description("house-03", other, MODELS.get(other.model), base)
    thing = Thing(name=name, model="Meter", tags=("a",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("taihu.things.description._of_model", _built)
        built = build_description("house-03", thing, METER, base)
    found = build_description("house-03", thing, METER, base)
    assert json.dumps(found) == json.dumps(built)
    again = build_description("house-03", thing, METER, base)
    assert again["properties"]["power"] is not found["properties"]["power"], "a new document"


def test_what_clients_rely_on() -> None:
    """Decision 1: explicit `op`, no empty arrays, the 1.1 context first."""
    thing = Thing(name="main meter", model="Meter", site="plant", parent="board", created_at=1_700_000_000_000_000_001)
    document = build_description("house-03", thing, METER, BASE, MQTT)
    assert document["@context"][0] == "https://www.w3.org/2022/wot/td/v1.1"
    assert document["@type"] == ["saref:Meter"]
    assert document["title"] == "main meter"
    assert document["security"] == "bearer"
    assert document["created"] == "2023-11-14T22:13:20.000000001Z"
    assert {"rel": "up", "href": f"{BASE}/board"} in document["links"]
    power = document["properties"]["power"]
    assert power["titles"] == {"zh": "功率"}
    address, json_type = f"{BASE}/main%20meter", {"contentType": "application/json"}
    observe = ["observeproperty", "unobserveproperty"]
    socket = "ws://localhost:8080/api/v1/projects/house-03/things/main%20meter/socket{?ticket}"
    assert power["forms"] == [
        {"href": f"{address}/properties/power", "op": ["readproperty"]} | json_type,
        {"href": f"{address}/properties/power/observe{{?ticket}}", "op": observe, "subprotocol": "sse"} | json_type,
        {"href": socket, "op": ["readproperty", *observe], "subprotocol": "webthingprotocol"} | json_type,
    ]
    assert document["properties"]["limit"]["forms"][-1] == {
        "href": "mqtt://localhost:1883/taihu/house-03/main%20meter/$set/limit",
        "op": ["writeproperty"],
        "contentType": "application/json",
        "security": ["mqtt"],
        "mqv:controlPacket": "publish",
        "mqv:topic": "taihu/house-03/main meter/$set/limit",
        "mqv:qos": "1",
    }
    assert document["properties"]["limit"]["forms"][0]["op"] == ["readproperty", "writeproperty"]
    assert [form["op"] for form in document["properties"]["pin"]["forms"]] == [["writeproperty"]] * 3
    read, write = ["readallproperties", "readmultipleproperties"], "writemultipleproperties"
    observe_all = ["observeallproperties", "unobserveallproperties"]
    subscribe_all = ["subscribeallevents", "unsubscribeallevents"]
    many = [[*read[:1], write], read[1:], observe_all, subscribe_all, [*read, write, *observe_all, *subscribe_all]]
    assert [form["op"] for form in document["forms"]] == many
    assert document["uriVariables"].keys() == {"ticket", "property"}
    assert document["properties"]["harmonics"]["items"] == {"type": "number"}
    for name in ("reset", "dose"):
        form = {"href": f"{address}/actions/{name}", "op": ["invokeaction"]} | json_type
        assert document["actions"][name]["forms"][0] == form
        assert document["actions"][name]["forms"][1]["mqv:topic"] == f"taihu/house-03/main meter/$do/{name}"
    trip = document["events"]["trip"]
    assert trip["data"] == {"type": "object"}
    assert trip["forms"][0] == {
        "href": f"{address}/events/trip{{?ticket}}",
        "op": ["subscribeevent", "unsubscribeevent"],
        "contentType": "application/json",
        "subprotocol": "sse",
    }
    assert document["properties"]["trip"]["taihu:kind"] == "event"
    assert not any(value in ([], {}, None, "") for value in flat(document))


def flat(value: Any) -> list[Any]:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(item for part in below for item in flat(part))]


def test_a_thing_without_properties_promises_nothing() -> None:
    document = build_description("p", Thing(name="m"), None, BASE)
    assert not {"properties", "events", "forms", "uriVariables"} & document.keys()


def test_an_own_definition_says_nothing_of_the_models() -> None:
    thing = Thing(name="m", model="Meter", properties={"power": Property(name="power", unit="W")})
    document = build_description("p", thing, METER, BASE)
    assert document["properties"]["power"]["unit"] == "W"
    assert "titles" not in document["properties"]["power"]


def test_a_foreign_description_is_a_thing_with_all_in_its_delta() -> None:
    thing = parse_description(
        {
            "@context": ["https://www.w3.org/2019/wot/td/v1", "https://www.w3.org/2022/wot/td/v1.1", {"x": "urn:x"}],
            "id": "urn:dev:ops:32473-lamp",
            "title": "Lamp",
            "description": "",
            "securityDefinitions": {
                "basic_sc": {"scheme": "basic", "in": "header"},
                "own": {"scheme": "x:own"},
                "both": {"scheme": "combo", "allOf": ["basic_sc", "own"]},
            },
            "security": ["both"],
            "forms": [{"href": "/all", "op": ["readallproperties"]}],
            "links": [{"rel": "type", "href": "https://models.example/Lamp.tm.json"}],
            "properties": {
                "on": {"type": "boolean", "forms": [{"href": "/on", "op": ["readproperty", "writeproperty"]}]},
                "level": {"type": "integer", "enum": [0, 50, 100], "forms": [{"href": "/level"}]},
            },
            "actions": {"toggle": {"safe": False, "forms": [{"href": "/toggle"}]}},
            "events": {"overheated": {"data": {"type": "string"}, "forms": [{"href": "/oh", "subprotocol": "sse"}]}},
        },
        models=MODELS,
    )
    assert thing == Thing(
        name="Lamp",
        properties={
            "on": Property(name="on", kind=Kind.STATE, data_type=DataType.BOOLEAN, writable=True),
            "level": Property(name="level", data_type=DataType.INTEGER),
        },
    )
    assert parse_description(built(), name="other").name == "other"


def built(model: ThingModel | None = METER) -> dict[str, Any]:
    name = "" if model is None else model.name
    return build_description("p", Thing(name="m", model=name), model, BASE)


def test_optional_properties_may_be_missing_and_others_not() -> None:
    document = built()
    del document["properties"]["spare"]
    assert parse_description(document, models=MODELS) == Thing(name="m", model="Meter")
    del document["properties"]["energy"]
    with pytest.raises(DescriptionError, match="also has 'energy'"):
        parse_description(document, models=MODELS)


REMOVED = object()


@pytest.mark.parametrize(
    ("pointer", "value", "at", "message", "remedy"),
    [
        ("/@context", REMOVED, "", "'@context' is missing", "2022/wot/td/v1.1"),
        ("/title", REMOVED, "", "'title' is missing", "title"),
        ("/title", "", "/title", "empty", "Write a value"),
        ("/taihu:name", "a#b", "/taihu:name", "cannot name", "taihu:name"),
        ("/security", REMOVED, "", "'security' is missing", '"bearer"'),
        ("/security", "basic", "/security", "'basic' is not in securityDefinitions", "Define"),
        ("/security", [], "/security", "empty", "Leave"),
        ("/securityDefinitions", REMOVED, "", "missing", "bearer"),
        ("/securityDefinitions", {}, "/securityDefinitions", "defines nothing", "nosec"),
        ("/securityDefinitions/bearer", {}, "/securityDefinitions/bearer", "'scheme'", "bearer"),
        ("/securityDefinitions/bearer/scheme", "own", "/securityDefinitions/bearer/scheme", "'own'", "oauth2"),
        ("/securityDefinitions/bearer/oneOf", ["x"], "/securityDefinitions/bearer/oneOf", "'x'", "Define"),
        ("/created", "yesterday", "/created", "not a time", "2025-01-31"),
        ("/links", [{}], "/links/0", "'href' is missing", "links to"),
        ("/forms", [{"href": "/"}], "/forms/0", "'op' is missing", "readallproperties"),
        ("/properties/power/forms", REMOVED, "/properties/power", "'forms' is missing", "href"),
        ("/properties/power/forms", [], "/properties/power/forms", "empty", "at least one"),
        ("/properties/power/forms", [{}], "/properties/power/forms/0", "'href' is missing", "address"),
        ("/properties/power/forms", [{"href": "x", "op": ["invokeaction"]}], "/properties/power/forms/0/op/0", "", ""),
        ("/actions/reset/forms", REMOVED, "/actions/reset", "'forms' is missing", "href"),
        ("/version", {"model": "1"}, "/version", "'instance' is missing", "instance"),
        ("/@type", "tm:ThingModel", "", "a Thing Model", "model"),
        ("/properties/spare/taihu:retention", {"raw": "soon"}, "/properties/spare/taihu:retention", "no age", "90d"),
        ("/properties/spare/taihu:retention", {"2h": "1d"}, "/properties/spare/taihu:retention", "2h", "raw, 1m"),
        ("/properties/spare/taihu:retention", "1d", "/properties/spare/taihu:retention", "", ""),
        ("/taihu:tags", [1], "/taihu:tags/0", "a number", "a string"),
    ],
)
def test_a_fault_is_named_with_its_pointer(pointer: str, value: Any, at: str, message: str, remedy: str) -> None:
    document = copy.deepcopy(built())
    at_node: Any = document
    *way, last = pointer.split("/")[1:]
    for part in way:
        at_node = at_node[part]
    if value is REMOVED:
        del at_node[last]
    else:
        at_node[last] = value
    with pytest.raises(DescriptionError) as caught:
        parse_description(document)
    assert caught.value.pointer == at
    assert message in caught.value.message
    assert remedy in caught.value.remedy


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=10,
)


@given(st.data(), json_values)
def test_any_json_in_any_place_is_a_thing_or_the_one_error(data: st.DataObject, value: Any) -> None:
    """§13; and what was understood can be written and read again."""
    document = copy.deepcopy(built())
    at: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], (dict, list)) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = value
    try:
        thing = parse_description(document)
    except DescriptionError:
        return
    assert parse_description(build_description("p", thing, None, BASE)) == thing


@given(json_values)
def test_any_json_is_a_thing_or_the_one_error(value: Any) -> None:
    with pytest.raises(DescriptionError):
        parse_description(value)


def test_many_things_of_one_model_are_cheap() -> None:
    """Decision 1: a thing is its model and a small delta; at most 4 kB a thing in all, of which this is a tenth."""
    thing_count = 5_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        many = [Thing(name=f"meter-{row}", model="Meter", site="plant") for row in range(thing_count)]
        total = sum(len(definitions(thing, METER)) for thing in many)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert total == thing_count * len(METER.properties)
    assert used / thing_count < 400
