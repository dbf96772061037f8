"""Every way a reading may be written, over MQTT and HTTP, and what the API shows of it."""

import time
from typing import Any

import cbor2
import msgspec
import pytest
from tests.interop.peer import Peer
from tests.interop.support import Site
from tests.waiting import WAIT_S

TELEMETRY = "v1/devices/me/telemetry"
SENML_JSON, SENML_CBOR = "application/senml+json", "application/senml+cbor"
NOW_S = int(time.time())


@pytest.fixture(params=["mqtt", "http"])
def door(request: pytest.FixtureRequest) -> str:
    """Through which door."""
    return str(request.param)


def send_senml(site: Site, door: str, thing: str, pack: list[dict[Any, Any]], form: str = SENML_JSON) -> None:
    """A pack of plant/thing with that thing's own token, acknowledged."""
    payload = cbor2.dumps(pack) if form == SENML_CBOR else msgspec.json.encode(pack)
    token = site.tokens[f"plant/{thing}"]
    if door == "http":
        site.ask("POST", "/api/v1/projects/plant/readings", token, payload, content_type=form)
        return
    with Peer(site.mqtt_port, username=token) as peer:
        assert peer.publish(f"senml/plant/{thing}", payload, 1) == 0


def test_senml_json_is_converted(site: Site, door: str) -> None:
    """§2: a unit that converts into the declared one is converted, once; one that does not is refused."""
    moment = NOW_S - (1_000 if door == "mqtt" else 2_000)
    pack = [
        {"bn": "urn:dev:1:", "bt": moment, "n": "power", "u": "W", "v": 4_200},
        {"n": "temperature", "u": "K", "v": 294.15},
        {"n": "power", "u": "W", "v": 4_300, "t": 1},
    ]
    send_senml(site, door, "valve", pack)
    start = moment * 10**9
    assert site.history("plant/valve", "power", start, start + 2 * 10**9) == [(start, 4.2), (start + 10**9, 4.3)]
    ((_, kelvin),) = site.history("plant/valve", "temperature", start, start + 10**9)
    assert kelvin == pytest.approx(21.0)
    with site.tail("plant") as events:
        send_senml(site, door, "valve", [{"n": "power", "u": "Wh", "v": 1, "bt": moment + 10}])
        while (event := events.get(timeout=WAIT_S))["event"] != "refused":
            pass
        assert (event["thing"], event["property"]) == ("valve", "power")
    assert any(reason.startswith("power") for reason in site.refusals("plant/valve"))
    assert site.history("plant/valve", "power", start + 5 * 10**9, start + 20 * 10**9) == []


def test_senml_cbor(site: Site, door: str) -> None:
    moment = NOW_S - (3_000 if door == "mqtt" else 4_000)
    pack = [
        {-2: "urn:dev:2:", -3: moment + 0.25, 0: "power", 1: "kW", 2: 5.5},
        {0: "temperature", 1: "Cel", 2: 20.5},
        {0: "door/open", 4: True},
    ]
    send_senml(site, door, "valve", pack, SENML_CBOR)
    start = moment * 10**9 + 250_000_000
    assert site.history("plant/valve", "power", start, start + 1) == [(start, 5.5)]
    assert site.history("plant/valve", "temperature", start, start + 1) == [(start, 20.5)]
    assert site.history("plant/valve", "door.open", start, start + 1) == [(start, True)]


def test_senml_of_many_things(site: Site) -> None:
    """An operator, or a gateway, sends a pack whose base names name the things."""
    pack = msgspec.json.encode([{"bn": "dryer:", "n": "heat", "v": 1.5}, {"bn": "oven:", "n": "heat", "v": 2.5}])
    path = "/api/v1/projects/plant/readings"
    assert site.ask("POST", path, "plant", pack, content_type=SENML_JSON).body["accepted"] == 2
    site.wait_value("plant/dryer", "heat", 1.5)
    with Peer(site.mqtt_port, username=site.tokens["plant/gateway"]) as peer:
        assert peer.publish("senml/plant", pack.replace(b"2.5", b"3.5"), 1) == 0
    site.wait_value("plant/oven", "heat", 3.5)


def test_nested_json_and_arrays(site: Site, door: str) -> None:
    body = {"phase": {"a": {"volts": 230.1}, "b": [1, 2.5]}, "flags": [True, False], "name": "x", "none": None}
    document = msgspec.json.encode(body | {"ts": NOW_S * 1000 + (1 if door == "http" else 2)})
    if door == "http":
        answer = site.ask("POST", "/api/v1/projects/plant/readings", "plant/press", document)
        assert answer.status == 200, answer
    else:
        with Peer(site.mqtt_port, username=site.tokens["plant/press"]) as peer:
            assert peer.publish("taihu/plant/press", document, 1) == 0
    site.wait_value("plant/press", "phase.a.volts", 230.1)
    found = {name: entry["value"] for name, entry in site.values("plant/press").items()}
    expected = {"phase.b.0": 1, "phase.b.1": 2.5, "flags.0": True, "flags.1": False, "name": "x"}
    assert {name: found.get(name) for name in expected} == expected
    assert "none" not in found


@pytest.mark.parametrize(
    ("offset_s", "written", "ns"),
    [
        (100, "{s}", 0),
        (101, "{s}.125", 125_000_000),
        (102, "{s}250", 250_000_000),
        (103, "{s}250001", 250_001_000),
        (104, "{s}250000001", 250_000_001),
        (105, '"{iso}.123456789Z"', 123_456_789),
        (106, '"{iso}.5+00:00"', 500_000_000),
    ],
)
def test_times_to_the_nanosecond(site: Site, offset_s: int, written: str, ns: int) -> None:
    """§1: s, ms, us, ns and ISO 8601 are told apart and kept exactly."""
    moment = NOW_S - 10_000 + offset_s
    iso = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    text = written.format(s=moment, iso=iso)
    with Peer(site.mqtt_port, username=site.tokens["plant/press"]) as peer:
        for topic, payload in (
            (TELEMETRY, f'{{"ts": {text}, "values": {{"tick": {offset_s}}}}}'),
            ("taihu/plant/press/tock", f'{{"value": {offset_s}, "ts": {text}}}'),
        ):
            assert peer.publish(topic, payload.encode(), 1) == 0
    exact = moment * 10**9 + ns
    for name in ("tick", "tock"):
        assert site.history("plant/press", name, moment * 10**9, (moment + 1) * 10**9) == [(exact, offset_s)]


def test_bad_payloads_go_to_the_quarantine(site: Site) -> None:
    """Refused with a reason that the API shows; the connection lives on, and the message is acknowledged."""
    bad = [
        (b"not json", "not JSON"),
        (b'{"ts": "yesterday", "values": {"power": 1}}', "not a time"),
        (b'{"power": "high"}', "where a number is defined"),
        (b'{"temperature": 151}', "151"),
        (b'{"ts": 4102444800, "values": {"power": 1}}', "future"),
        (b'{"ts": 200000000, "values": {"power": 1}}', "before"),
        (b"[1, 2]", "another form"),
    ]
    with Peer(site.mqtt_port, username=site.tokens["plant/valve"]) as peer:
        for payload, words in bad:
            assert peer.publish(TELEMETRY, payload, 1) == 0
            site.wait_refusal("plant/valve", words)
        assert peer.publish(TELEMETRY, b'{"power": 77.5}', 1) == 0
        site.wait_value("plant/valve", "power", 77.5)
    things = site.get("/projects/plant/things", "plant", limit=1000).body["things"]
    assert next(thing for thing in things if thing["name"] == "valve")["refused"] >= len(bad)
    answer = site.ask("POST", "/api/v1/projects/plant/readings", "plant/valve", b'{"power": "high"}')
    assert answer.status == 400 and "where a number is defined" in str(answer.body)


def test_the_tail_shows_what_comes(site: Site) -> None:
    with site.tail("plant") as events, Peer(site.mqtt_port, username=site.tokens["plant/press"]) as peer:
        assert peer.publish(TELEMETRY, b'{"tailed": 5}', 1) == 0
        while (event := events.get(timeout=WAIT_S))["event"] != "accepted" or event["things"] != ["press"]:
            pass
        assert event["last"] == [{"tailed": 5}] and event["mapping"].startswith("thingsboard-telemetry@")
