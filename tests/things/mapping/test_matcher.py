"""Which mapping claims a topic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.things.mapping.matcher import Matcher
from taihu.things.mapping.rules import Format, Mapping, builtin_mappings
from taihu.things.mapping.topics import parse_pattern
from taihu.things.ports import Row

BUILTIN = Matcher(builtin_mappings(), "house-03")
LEVEL = st.text(st.characters(exclude_characters="/+#{}\0", exclude_categories=["Cs"]), max_size=8)


def mapping(name: str, topic: str, **more: str) -> Mapping:
    return Mapping(name=name, topic=topic, format=Format.FLAT_JSON, **more)  # type: ignore[arg-type]  # **str


@pytest.mark.parametrize(
    ("topic", "name", "thing"),
    [
        ("taihu/house-03/meter/power", "native-property", "meter"),
        ("taihu/house-03/meter", "native-thing", "meter"),
        ("v1/devices/me/telemetry", "thingsboard-telemetry", None),
        ("v1/devices/me/attributes", "thingsboard-attributes", None),
        ("v1/gateway/telemetry", "thingsboard-gateway-telemetry", None),
        ("v1/gateway/attributes", "thingsboard-gateway-attributes", None),
        ("senml/house-03/meter", "senml-thing", "meter"),
        ("senml/house-03", "senml-gateway", None),
    ],
)
def test_built_in_topics(topic: str, name: str, thing: str | None) -> None:
    match = BUILTIN.match(topic)
    assert match is not None
    assert (match.mapping.name, match.thing) == (name, thing)


@pytest.mark.parametrize(
    "topic",
    ["", "/", "taihu", "taihu/house-03", "taihu/house-03//power", "taihu/house-03/meter/power/x", "v1/devices/me/rpc",
     "V1/devices/me/telemetry", "/v1/devices/me/telemetry", "v1/devices/me/telemetry/", "$SYS/uptime"],
)  # fmt: skip
def test_other_topics_carry_no_readings(topic: str) -> None:
    assert BUILTIN.match(topic) is None


@given(LEVEL.filter(lambda name: name != "house-03"))
def test_another_projects_name_never_matches(project: str) -> None:
    """§11: nothing crosses a project's border."""
    assert BUILTIN.match(f"taihu/{project}/meter/power") is None


def test_what_says_more_wins_then_the_order() -> None:
    matcher = Matcher(
        [
            mapping("rest", "plant/#"),
            mapping("any", "plant/+/x"),
            mapping("first", "plant/{thing}/x"),
            mapping("second", "plant/{thing}/x"),
            mapping("deep", "plant/press/{thing}"),
            mapping("exact", "plant/press/x"),
        ]
    )
    topics = ("plant/press/x", "plant/press/y", "plant/mill/x", "plant/mill/y", "plant")
    assert [(found := matcher.match(topic)) and found.mapping.name for topic in topics] == [
        "exact", "deep", "first", "rest", "rest",
    ]  # fmt: skip


def test_a_thing_may_be_made_of_captures() -> None:
    match = Matcher([mapping("m", "{site}/+/{device}", thing="{site}-{device}")]).match("a/b/7")
    assert match is not None
    assert (match.thing, match.captures) == ("a-7", {"site": "a", "device": "7"})
    assert match.decoder(None)(b'{"x": 1}', 0) == [Row({"x": 1}, None, "a-7")]


@given(st.lists(LEVEL, min_size=1, max_size=5), st.lists(st.sampled_from(["text", "capture", "+"]), max_size=5))
def test_a_pattern_matches_the_topic_it_was_made_from(levels: list[str], kinds: list[str]) -> None:
    pattern = []
    captured = {}
    for index, level in enumerate(levels):
        kind = kinds[index] if index < len(kinds) else "text"
        if kind == "capture" and level:
            name = "abcde"[index]
            captured[name] = level
            pattern.append(f"{{{name}}}")
        else:
            pattern.append("+" if kind == "+" else level)
    text = "/".join(pattern)
    if not text:
        return
    found = parse_pattern(text).regex.fullmatch("/".join(levels))
    assert found is not None
    assert found.groupdict() == captured
    assert parse_pattern(text).regex.fullmatch("/".join([*levels, "more"])) is None


@given(st.text(max_size=20))
def test_any_text_is_a_pattern_or_a_value_error(text: str) -> None:
    try:
        parse_pattern(text)
    except ValueError as error:
        assert str(error)
