"""JSON payloads to rows."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.limits import DEFAULT, Limits
from taihu.things.mapping import PayloadError
from taihu.things.mapping.matcher import DECODERS
from taihu.things.mapping.plan import KeyPlan, plan_for
from taihu.things.mapping.reading import Source
from taihu.things.mapping.rules import Format, Mapping, Nested
from taihu.things.ports import Row

NOW = 1_800_000_000_000_000_000
MS = 1_700_000_000_123
AT = MS * 1_000_000

KEY = st.text(max_size=6)
LEAF = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), KEY)
DOCUMENT = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4))
FORM = st.one_of(
    DOCUMENT,
    st.fixed_dictionaries({"ts": LEAF, "values": DOCUMENT}),
    st.lists(st.fixed_dictionaries({"ts": LEAF, "values": DOCUMENT}), max_size=3),
    st.fixed_dictionaries({"value": DOCUMENT, "ts": LEAF, "unit": LEAF}),
    st.lists(st.dictionaries(st.sampled_from(["n", "bn", "t", "bt", "v", "vs", "vb", "s", "bv", "u"]), LEAF)),
)


def rows(form: Format, payload: object, limits: Limits = DEFAULT, **options: Any) -> list[Row]:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    mapping = Mapping(name="m", topic="t", format=form, **options)
    name = "power" if form is Format.SCALAR else ""
    found = DECODERS[form](Source(mapping, "meter", name, limits), data, NOW)
    return [row for row in found if isinstance(row, Row)]


def reason(form: Format, payload: object, limits: Limits = DEFAULT, **options: Any) -> str:
    with pytest.raises(PayloadError) as caught:
        rows(form, payload, limits, **options)
    assert caught.value.remedy
    return caught.value.reason


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "on", ""])
def test_a_scalar_is_bare_or_in_an_object(value: object) -> None:
    assert rows(Format.SCALAR, value) == [Row({"power": value}, None, "meter")]
    assert rows(Format.SCALAR, {"value": value, "ts": MS, "unit": "kWh"}) == [
        Row({"power": value}, AT, "meter", {"power": "kW.h"})
    ]
    assert type(rows(Format.SCALAR, value)[0].values["power"]) is type(value)


def test_a_sender_may_doubt_a_scalar() -> None:
    assert rows(Format.SCALAR, {"value": 1, "quality": "suspect"}) == [Row({"power": 1}, None, "meter", suspect=True)]
    assert rows(Format.SCALAR, {"value": 1, "quality": ["fine"]}) == [Row({"power": 1}, None, "meter")]


def test_a_scalar_may_hold_an_object() -> None:
    assert rows(Format.SCALAR, {"value": {"x": [1, None]}}) == [Row({"power": {"x": [1, None]}}, None, "meter")]


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"", "not-json"), (b"on", "not-json"), (b"\xff", "not-json"), (b'"\xff"', "not-json"), (b"NaN", "not-json"),
     (b"1 2", "not-json"), (b"null", "no-values"), (b"{}", "no-values"), (b'{"power": 1}', "no-values"),
     (b'{"value": null}', "no-values"), (b"[1]", "bad-form"), (b"1e999", "bad-value"),
     (b'{"value": 1, "unit": 3}', "bad-unit"), (b'{"value": 1, "ts": true}', "bad-time"),
     (b'{"value": 1, "ts": "yesterday"}', "bad-time"), (b'{"value": 1, "ts": 5}', "bad-time")],
)  # fmt: skip
def test_a_bad_scalar(payload: bytes, code: str) -> None:
    """§13."""
    assert reason(Format.SCALAR, payload) == code


def test_an_unknown_unit_is_passed_on_to_be_refused_where_the_property_is_known() -> None:
    assert rows(Format.SCALAR, {"value": 1, "unit": "bananas"})[0].units == {"power": "bananas"}


def test_flat_json() -> None:
    """§3: null is no reading."""
    payload = {"ts": MS, "temp": 21.5, "on": True, "mode": "eco", "gone": None, "time": 7}
    assert rows(Format.FLAT_JSON, payload) == [Row({"temp": 21.5, "on": True, "mode": "eco", "time": 7}, AT, "meter")]


def test_only_declared_keys_are_times() -> None:
    payload = {"ts": 5, "when": "2023-11-14T22:13:20.123Z"}
    assert rows(Format.FLAT_JSON, payload, time=("when",)) == [Row({"ts": 5}, AT, "meter")]
    assert rows(Format.FLAT_JSON, {"ts": MS, "x": 1}, time=()) == [Row({"ts": MS, "x": 1}, None, "meter")]
    assert rows(Format.FLAT_JSON, {"ts": None, "x": 1}) == [Row({"x": 1}, None, "meter")]


def test_decimals_of_seconds_are_exact_to_the_nanosecond() -> None:
    """§1."""
    row = rows(Format.FLAT_JSON, b'{"ts": 1700000000.123456789, "x": 0.1, "o": {"y": 0.2}, "n": 7}')[0]
    assert row.observed_at == 1_700_000_000_123_456_789
    assert row.values == {"x": 0.1, "o.y": 0.2, "n": 7}
    assert {type(value) for value in row.values.values()} == {float, int}
    row = rows(Format.FLAT_JSON, b'{"ts": 1700000000.5, "o": {"y": [0.2]}}', nested=Nested.OBJECT)[0]
    assert type(row.values["o"]["y"][0]) is float


def test_nested_keys_are_flattened_or_kept() -> None:
    payload = {"a": {"b": [1, {"c": 2}, None], "e": {}}, "a.b.0": 9, "ts": {"x": 1}}
    assert rows(Format.FLAT_JSON, payload, time=())[0].values == {"a.b.0": 9, "a.b.1.c": 2, "ts.x": 1}
    kept = rows(Format.FLAT_JSON, {"a": {"b": [1, None]}, "c": []}, nested=Nested.OBJECT)[0].values
    assert kept == {"a": {"b": [1, None]}, "c": []}


def test_the_last_of_duplicate_keys_wins() -> None:
    assert rows(Format.FLAT_JSON, b'{"a": 1, "a": 2}')[0].values == {"a": 2}


def test_integers_beyond_64_bits_become_floats() -> None:
    payload = {"a": 2**63 - 1, "b": 2**63, "c": -(2**63), "d": -(2**63) - 1}
    values = rows(Format.FLAT_JSON, payload)[0].values
    assert [type(value) for value in values.values()] == [int, float, int, float]
    assert reason(Format.FLAT_JSON, {"a": 10**400}) == "bad-value"


def test_rename_and_units_of_the_mapping() -> None:
    row = rows(Format.FLAT_JSON, {"p": {"w": 1}}, rename={"p.w": "power"}, units={"power": "kW"})[0]
    assert (row.values, row.units) == ({"power": 1}, {"power": "kW"})


def test_bounds() -> None:
    """§6: everything is bounded by a named limit."""
    small = Limits(payload_depth_max=2, payload_array_items_max=2, properties_per_thing_max=3, payload_rows_max=2)
    assert rows(Format.FLAT_JSON, {"a": {"b": {"c": 1}}}, small)
    assert reason(Format.FLAT_JSON, {"a": {"b": {"c": {"d": 1}}}}, small) == "too-deep"
    assert reason(Format.FLAT_JSON, {"a": {"b": {"c": {}}}}, small, nested=Nested.OBJECT) == "too-deep"
    assert reason(Format.FLAT_JSON, {"a": [1, 2, 3]}, small) == "too-many"
    assert reason(Format.FLAT_JSON, dict.fromkeys("abcd", 1), small) == "too-many"
    assert reason(Format.FLAT_JSON, {"x": dict.fromkeys("abcd", 1)}, small) == "too-many"
    assert reason(Format.THINGSBOARD, [{"a": 1}] * 3, small) == "too-many"
    assert reason(Format.THINGSBOARD_GATEWAY, {key: {"x": 1} for key in "abc"}, small) == "too-many"
    assert reason(Format.SENML, [{"n": "a", "v": 1}] * 3, small) == "too-many"
    assert reason(Format.FLAT_JSON, {"x" * 129: [1, 2]}) == "bad-name"
    for field in ("bn", "n", "u"):
        assert reason(Format.SENML, [{"n": "a", "v": 1} | {field: "x" * 129}]) == "bad-senml"
    for form in (Format.FLAT_JSON, Format.SCALAR, Format.SENML_JSON):
        assert reason(form, b'{"value":' + b'{"a":[' * 50_000) in ("too-deep", "not-json")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"a": 1}, [({"a": 1}, None)]),
        ([{"a": 1}, {"b": 2}], [({"a": 1}, None), ({"b": 2}, None)]),
        ({"ts": MS, "values": {"a": 1, "b": {"c": 2}}}, [({"a": 1, "b.c": 2}, AT)]),
        (
            [{"ts": MS, "values": {"a": 1}}, {"ts": MS + 1, "values": {"a": 2}}],
            [({"a": 1}, AT), ({"a": 2}, AT + 10**6)],
        ),
        ([{"ts": MS, "values": {"a": 1}}, {"b": 2}], [({"a": 1}, AT), ({"b": 2}, None)]),
        ({"ts": MS, "values": {"a": 1}, "metadata": {"publishedTs": 5}}, [({"a": 1}, AT)]),
        ({"values": {"a": 1}}, [({"a": 1}, None)]),
        ({"values": 3, "ts": MS}, [({"values": 3}, AT)]),
        ({"values": {"a": 1}, "x": 2}, [({"values.a": 1, "x": 2}, None)]),
        ([{"a": None}, {"b": 2}], [({"b": 2}, None)]),
    ],
)
def test_thingsboard_telemetry(payload: object, expected: list[tuple[dict[str, Any], int | None]]) -> None:
    assert [(row.values, row.observed_at) for row in rows(Format.THINGSBOARD, payload)] == expected
    gateway = rows(Format.THINGSBOARD_GATEWAY, {"Device A": payload, "Device B": payload})
    assert [(row.values, row.observed_at) for row in gateway] == expected * 2
    assert {row.thing for row in gateway} == {"Device A", "Device B"}


@pytest.mark.parametrize("payload", [5, [5], [[{"a": 1}]], "x", None])
def test_bad_thingsboard_telemetry(payload: object) -> None:
    assert reason(Format.THINGSBOARD, payload) == "bad-form"
    assert reason(Format.THINGSBOARD_GATEWAY, {"A": payload}) == "bad-form"
    assert reason(Format.THINGSBOARD_GATEWAY, payload) == "bad-form"


@given(st.sampled_from(Format), st.binary() | FORM.map(lambda document: json.dumps(document).encode()))
def test_any_bytes_give_rows_or_the_error(form: Format, payload: bytes) -> None:
    """§13: any bytes give rows or PayloadError; what is given can be stored."""
    try:
        found = rows(form, payload)
    except PayloadError as error:
        assert error.reason and error.remedy
        return
    assert found or form is Format.LINE_PROTOCOL  # which refuses line by line
    for row in found:
        assert row.values
        assert row.observed_at is None or 0 <= row.observed_at < 2**63
        for value in row.values.values():
            assert type(value) in (bool, float, str, dict, list) or -(2**63) <= value < 2**63


@given(st.dictionaries(st.sampled_from(["ts", "a", "b", "c", "values"]), st.integers(10**11, 10**12), max_size=5))
def test_a_plan_says_what_the_decoder_says(document: dict[str, int]) -> None:
    for form in (Format.FLAT_JSON, Format.THINGSBOARD):
        mapping = Mapping(name="m", topic="t", format=form, rename={"a": "x"})
        plan = plan_for(tuple(document), mapping)
        if plan is None:
            assert not set(document) - {"ts"} or "values" in document
            continue
        values = list(document.values())
        moment = None if plan.time_index is None else values.pop(plan.time_index) * 10**6
        assert rows(form, document, rename={"a": "x"}) == [
            Row(dict(zip(plan.names, values, strict=True)), moment, "meter")
        ]


def test_plans_leave_what_they_cannot_know_to_the_decoder() -> None:
    twice = Mapping(name="m", topic="t", format=Format.FLAT_JSON, time=("ts", "time"), rename={"a": "b"})
    assert plan_for(("ts", "time", "x"), twice) is None
    assert plan_for(("a", "b"), twice) is None
    assert plan_for(("time", "b"), twice) == KeyPlan(("b",), 0)
    assert plan_for(("n", "v"), Mapping(name="m", topic="t", format=Format.SENML)) is None
