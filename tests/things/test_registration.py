"""Descriptions as a directory keeps them: what is submitted, what is shown, and what changed."""

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.things.test_description import BASE, METER, MODELS, things

from taihu.kernel.ids import check_name
from taihu.kernel.limits import DEFAULT, Limits
from taihu.things.description import build_description
from taihu.things.document import DescriptionError, merge_patch
from taihu.things.forms import own_name, thing_id
from taihu.things.property import DataType, Thing
from taihu.things.registration import DISCOVERY, another_name, check_kept, difference, enrich, read_submission

NO_NULL = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=2), below, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=2), NO_NULL, max_size=4)


@given(OBJECTS, OBJECTS)
def test_a_difference_makes_the_one_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    """RFC 7396: for every two documents without nulls."""
    patch = difference(copy.deepcopy(before), after)
    made = merge_patch(before, patch)
    assert made == after
    assert difference(before, before) == {}
    assert difference(made, after) == {}


def test_a_number_is_the_same_however_it_is_written() -> None:
    assert difference({"a": 1, "b": 1, "c": [1]}, {"a": 1.0, "b": True, "c": [2]}) == {"b": True, "c": [2]}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(things())
def test_what_taihu_says_of_a_thing_it_takes_back(thing: Thing) -> None:
    document = build_description("house-03", thing, MODELS.get(thing.model), BASE)
    shown = enrich(document, {"created": 5, "modified": None})
    assert shown["@context"][-1] == DISCOVERY
    submission = read_submission(shown, thing.name, MODELS, DEFAULT, lenient=False)
    assert submission.thing == thing
    built = build_description("house-03", submission.thing, MODELS.get(thing.model), "/elsewhere")
    check_kept(submission.document, built)


def test_what_would_be_lost_is_refused_with_its_place() -> None:
    document = build_description("p", Thing(name="m", model="Meter"), METER, BASE)
    for path, value in (("title", "Other"), ("x:y", 1), ("properties/power/unit", "W"), ("properties/new", {"a": 1})):
        wanted: Any = copy.deepcopy(document)
        *way, last = path.split("/")
        at = wanted
        for part in way:
            at = at[part]
        at[last] = value
        with pytest.raises(DescriptionError) as refused:
            check_kept(wanted, document)
        assert refused.value.pointer.startswith(f"/{path}")
    changed = document | {"forms": [], "links": [], "@context": "x", "security": "y", "registration": {}}
    check_kept(changed, document)


@given(st.text(max_size=200), st.text(max_size=60))
def test_any_title_gives_a_name(title: str, rest: str) -> None:
    """§13: or the one error."""
    document = {"@context": "https://www.w3.org/2022/wot/td/v1.1", "title": title, "id": f"urn:x:{rest}"}
    document |= {"securityDefinitions": {"n": {"scheme": "nosec"}}, "security": "n"}  # type: ignore[dict-item]
    try:
        thing = read_submission(document, "", {}, DEFAULT).thing
    except DescriptionError:
        return
    assert check_name(thing.name) == thing.name
    other = another_name(thing.name, "urn:x:1")
    assert check_name(other) == other != thing.name


@given(st.text(max_size=20), st.text(min_size=1, max_size=20).filter(str.isprintable))
def test_an_identifier_of_our_own_says_the_name(project: str, name: str) -> None:
    assert own_name("home", thing_id("home", name)) == name
    assert own_name("home", project) == ""
    assert own_name("home", thing_id("other", name)) == ""


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda b: (
            st.lists(b)
            | st.dictionaries(
                st.text(max_size=8)
                | st.sampled_from(
                    [
                        "@context",
                        "title",
                        "properties",
                        "forms",
                        "href",
                        "type",
                        "registration",
                        "ttl",
                        "security",
                        "securityDefinitions",
                        "id",
                    ]
                ),
                b,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_is_a_submission_or_one_error(document: Any) -> None:
    """§13"""
    try:
        read_submission(document, "x", {}, Limits(description_items_max=50))
    except DescriptionError as error:
        assert error.message


def test_a_property_of_others_is_taken_as_far_as_it_can_be_used() -> None:
    form = [{"href": "/x"}]
    document: dict[str, Any] = {
        "@context": "https://www.w3.org/2019/wot/td/v1",
        "title": "T",
        "securityDefinitions": {"n": {"scheme": "nosec"}},
        "security": "n",
        "properties": {
            "power": {"type": "number", "unit": "kWh", "forms": form},
            "speed": {"type": "integer", "unit": "knots per hour", "forms": form},
            "none": {"forms": form},
        },
    }
    thing = read_submission(document, "", {}, DEFAULT).thing
    assert {name: (one.unit, one.data_type) for name, one in thing.properties.items()} == {
        "power": ("kW.h", DataType.NUMBER),
        "speed": (None, DataType.INTEGER),
    }
    document["properties"]["speed"]["taihu:kind"] = "gauge"
    with pytest.raises(DescriptionError, match="UCUM"):
        read_submission(document, "", {}, DEFAULT)
