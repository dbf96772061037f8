"""Places on a broker, conventions of a person's own, and Home Assistant's templates."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.drivers.mqtt.conventions import BUILT_IN, load, plan_of
from taihu.drivers.mqtt.home_assistant import find
from taihu.drivers.mqtt.places import Place, Routes, body_of, place_of, same, text_of
from taihu.drivers.port import DeviceRefused, Plan, Point, Reading, ThingPlan
from taihu.things.property import DataType, Property

OWN = """
title = "Ours"
listen = ["factory/#"]

[[state]]
topic = "factory/{line}/{thing}/values"
skip = ["debug"]
time = ["at"]
set = "factory/{line}/{thing}/write"
body = { name = "{property}", value = "{value}" }
settable = "speed|mode"

[[there]]
topic = "factory/{line}/{thing}/health"
path = ["health"]
online = ["good"]
offline = ["bad"]

[units]
speed = "m/s"
"""


def one(where: dict[str, Any], data_type: DataType = DataType.NUMBER) -> Routes:
    point = Point(definition=Property(name="p", data_type=data_type), where=where)
    return Routes(Plan(things=(ThingPlan(name="t", points=(point,)),)))


def test_a_convention_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(OWN)
    heard = {
        "factory/a/press/values": b'{"at": 1767571200.5, "speed": 1.5, "mode": "auto", "debug": {"x": 1}}',
        "factory/a/press/health": b'{"health": "good"}',
    }
    (thing,) = plan_of(heard, load([str(path)])).things
    speed, mode = thing.point("speed"), thing.point("mode")
    assert speed is not None and mode is not None and len(thing.points) == 3  # at, as a number, too
    assert (speed.definition.unit, speed.definition.writable) == ("m/s", True)
    assert mode.definition.data_type is DataType.STRING
    place = place_of(speed)
    assert msgspec.json.decode(body_of(place, 2.5)) == {"name": "speed", "value": 2.5}
    routes = Routes(Plan(things=(thing,)))
    (row,) = routes.rows("factory/a/press/values", heard["factory/a/press/values"])
    assert row.observed_at == 1_767_571_200_500_000_000
    assert routes.alive("factory/a/press/health", b'{"health":"bad"}') == [("press", False)]
    assert routes.alive("factory/a/press/health", b'{"health":"odd"}') == []


@pytest.mark.parametrize("text", ["listen = 5", "listen = []\n[[state]]\ntopic = 1", "x = 1\nlisten = []", "=",
                                  "listen = []\n[units]\n'(' = 'W'"])  # fmt: skip
def test_a_convention_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(text)
    with pytest.raises(DeviceRefused, match="ours"):
        load([str(path)])
    assert set(load([])) == set(BUILT_IN)


@pytest.mark.parametrize(
    ("data_type", "payload", "value"),
    [
        (DataType.NUMBER, "21.5", 21.5), (DataType.NUMBER, "-3", -3), (DataType.NUMBER, "nan", None),
        (DataType.NUMBER, "9" * 400, None), (DataType.INTEGER, "1e400", None),
        (DataType.NUMBER, "high", None), (DataType.NUMBER, "true", None), (DataType.INTEGER, "4.0", 4),
        (DataType.INTEGER, "4.5", None), (DataType.BOOLEAN, "ON", True), (DataType.BOOLEAN, "false", False),
        (DataType.BOOLEAN, "7", None), (DataType.STRING, "x", "x"), (DataType.OBJECT, "x", None),
    ],
)  # fmt: skip
def test_what_a_text_means(data_type: DataType, payload: str, value: Any) -> None:
    rows = one({"topic": "a", "form": "text"}, data_type).rows("a", payload.encode())
    assert rows == ([] if value is None else [Reading("t", {"p": value}, None)])


@pytest.mark.parametrize("held", [0, -5, True, "now", 5e10, 1e13, 2**70, None])
def test_a_time_that_is_none_leaves_the_time_of_arrival(held: Any) -> None:
    payload = msgspec.json.encode({"x": 1, "t": held})
    assert one({"topic": "a", "path": ["x"], "time": ["t"]}).rows("a", payload) == [Reading("t", {"p": 1}, None)]


def test_one_place_is_one_property_by_whichever_convention() -> None:
    config = {
        "stat_t": "zigbee2mqtt/lamp",
        "val_tpl": "{{ value_json.power }}",
        "name": "Power",
        "dev": {"name": "lamp"},
    }
    heard = {
        "zigbee2mqtt/lamp": b'{"power": 5}',
        "homeassistant/sensor/lamp/power/config": msgspec.json.encode(config),
    }
    (thing,) = plan_of(heard, load([])).things
    assert [one.definition.name for one in thing.points] == ["power"]


def test_a_gateway_tells_many_times_of_many_devices() -> None:
    routes = one({"topic": "g", "form": "gateway", "path": ["Dev", "x"]})
    told = b'{"Dev": [{"ts": 1767571200000, "values": {"x": 1}}, {"ts": 1767571201000, "values": {"x": 2, "y": 3}}]}'
    assert [(row.values, row.observed_at) for row in routes.rows("g", told)] == [
        ({"p": 1}, 1_767_571_200_000_000_000),
        ({"p": 2}, 1_767_571_201_000_000_000),
    ]
    assert routes.rows("g", b'{"Dev": {"x": 5}}') == [Reading("t", {"p": 5}, None)]


def test_values_have_their_texts_both_ways() -> None:
    place = Place(topic="a", values={"1": True, "0": False})
    assert (body_of(place, True), body_of(place, False), body_of(place, 5)) == (b"1", b"0", b"5")
    assert one({"topic": "a", "path": ["x"], "values": {"1": True, "0": False}}, DataType.BOOLEAN).rows(
        "a", b'{"x": 1}'
    ) == [Reading("t", {"p": True}, None)]
    assert same(0.1 + 0.2, 0.3) and not same(1, 2) and same("a", "a") and not same(True, False)


@pytest.mark.parametrize(
    ("template", "path"),
    [("", ["text"]), ("{{ value }}", ["text"]), ("{{value_json.a}}", ["a"]),
     ("{{ value_json['a b'][0].c }}", ["a b", 0, "c"]),
     ('{{ value_json["a"] | float(0) | round(1) }}', ["a"]), ("{{ value_json.a * 2 }}", None),
     ("{{ value | regex }}", None), ("{% if x %}", None), ("{{ value.a }}", None)],
)  # fmt: skip
def test_templates_of_home_assistant(template: str, path: list[str | int] | None) -> None:
    config = {"stat_t": "a/b", "val_tpl": template, "name": "n", "unit_of_meas": "W", "dev": {"name": "d"}}
    found, notes = find({"ha/sensor/x/config": msgspec.json.encode(config)}, "ha")
    if path is None:
        assert not found and "not understood" in notes[0]
    elif path == ["text"]:
        assert found[0].where == {"topic": "a/b", "form": "text"}
    else:
        assert found[0].where == {"topic": "a/b", "path": path}


def test_a_device_that_describes_all_its_entities_at_once() -> None:
    config = {
        "dev": {"name": "Meter"}, "~": "m", "state_topic": "~/state", "avty": [{"t": "~/up", "pl_avail": "1"}],
        "cmps": {"e": {"p": "sensor", "stat_cla": "total_increasing", "unit_of_meas": "kWh",
                       "val_tpl": "{{ value_json.e }}"},
                 "b": {"p": "button"}},
    }  # fmt: skip
    found, notes = find({"ha/device/m1/config": msgspec.json.encode(config)}, "ha")
    assert [(one.thing, one.name, one.counter, one.unit) for one in found] == [("Meter", "e", True, "kWh")]
    assert found[0].where["topic"] == "m/state"
    assert found[0].where["alive"] == {"topic": "m/up", "online": ["1"], "offline": ["offline"]}
    assert "button" in notes[0]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Dev", "x", "ts", "values"]), inner),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(_json.map(msgspec.json.encode) | st.binary(max_size=20), st.sampled_from(["json", "text", "gateway"]))
def test_any_payload_gives_readings_or_none_13(payload: bytes, form: str) -> None:
    for data_type in DataType:
        for row in one({"topic": "a", "form": form, "path": ["Dev", "x"]}, data_type).rows("a", payload):
            assert row.values["p"] is not None
    text_of(payload, ("x",))


_topics = st.sampled_from(
    ["zigbee2mqtt/bridge/devices", "zigbee2mqtt/a", "homie/a/b/c", "homie/a/b/c/$unit", "homie/a/$state",
     "tele/a/SENSOR", "homeassistant/sensor/a/config", "homeassistant/device/a/config", "v1/gateway/telemetry", "x"]
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(_topics, _json.map(msgspec.json.encode) | st.binary(max_size=20), max_size=5))
def test_any_messages_give_a_plan_13(heard: dict[str, bytes]) -> None:
    Routes(plan_of(heard, load([])))
