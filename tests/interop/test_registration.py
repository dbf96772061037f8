"""Self-registration: a join token makes things, so many in all and so many a minute; each gets a token of its own."""

import queue
from typing import Any

import msgspec
from tests.interop.peer import Peer
from tests.interop.support import Site, wait_for
from tests.waiting import WAIT_S

from taihu.protocols.mqtt.packets import Publish

TELEMETRY = "v1/devices/me/telemetry"
REQUEST = "v1/devices/me/credentials/request/"
RESPONSE = "v1/devices/me/credentials/response/"


def own_token(peer: Peer, number: int = 1) -> str:
    """The token that a joined connection asks for."""
    assert peer.subscribe(f"{RESPONSE}+") == [2]
    peer.messages.clear()
    assert peer.publish(f"{REQUEST}{number}", b"", 1) == 0
    (answer,) = peer.wait(1)
    assert answer.topic == f"{RESPONSE}{number}"
    token: str = msgspec.json.decode(answer.payload)["token"]
    return token


def refusal(events: "queue.Queue[dict[str, Any]]", words: str) -> dict[str, Any]:
    """The next refusal of a tail that says `words`."""
    while True:
        event = events.get(timeout=WAIT_S)
        if event["event"] == "refused" and words in event["reason"]:
            return event


def test_over_mqtt_until_the_own_token_was_used(site: Site) -> None:
    """The join token speaks for the thing until its own token was used; it was told to that connection alone."""
    for version in (4, 5):
        name = f"sensor-{version}"
        with Peer(site.mqtt_port, name, version, username=site.join_token) as peer:
            assert peer.connack.reason == 0
            assert peer.publish(TELEMETRY, b'{"humidity": 40}', 1) == 0
            site.wait_value(f"plant/{name}", "humidity", 40)
        with Peer(site.mqtt_port, name, version, username=site.join_token) as peer:
            token = own_token(peer)
            with Peer(site.mqtt_port, "any", version, username=token) as own:
                assert own.connack.reason == 0
                peer.gone()
                assert own.publish(TELEMETRY, b'{"humidity": 41}', 1) == 0
                site.wait_value(f"plant/{name}", "humidity", 41)
                own.subscribe(f"{RESPONSE}+")
                own.publish(f"{REQUEST}2", b"", 1)
                assert own.quiet() == []
                site.wait_refusal(f"plant/{name}", "Only a connection with a join token")
        with site.tail("plant") as events, Peer(site.mqtt_port, name, version, username=site.join_token) as peer:
            assert peer.connack.reason == (5 if version == 4 else 0x87)
            assert refusal(events, "has a token of its own")["thing"] == name


def test_the_token_is_written_nowhere(site: Site) -> None:
    """Neither in the node's log nor in the journal, even for a session that is to last (no credentials in it)."""
    with Peer(site.mqtt_port, "careful", username=site.join_token, session_expiry_interval=3_600) as peer:
        token = own_token(peer).encode()
        peer.publish(TELEMETRY, b'{"a": 1}', 1)
    files = [path for path in site.folder.rglob("*") if path.is_file() and path.suffix != ".toml"]
    holders = [str(path) for path in files if token in path.read_bytes()]
    assert not holders
    assert site.join_token not in site.log()


def test_a_number_is_needed(site: Site) -> None:
    with Peer(site.mqtt_port, "numberless", username=site.join_token) as peer:
        peer.subscribe(f"{RESPONSE}+")
        peer.publish(f"{REQUEST}one", b"", 1)
        assert peer.quiet() == []
    site.wait_refusal("plant/numberless", "no request number")


def test_over_http(site: Site) -> None:
    joined = site.send("POST", "/join", site.join_token, {"thing": "http-sensor"})
    assert joined.status == 201 and joined.body["project"] == "plant"
    token = joined.body["token"]
    sent = site.send("POST", "/projects/plant/readings", token, {"level": 3})
    assert sent.status == 200 and sent.body == {"accepted": 1, "refused": []}
    site.wait_value("plant/http-sensor", "level", 3)
    again = site.send("POST", "/join", site.join_token, {"thing": "http-sensor"})
    assert again.status == 403 and "token of its own" in str(again.body)
    for wrong in (site.tokens["plant"], "nothing"):
        assert site.send("POST", "/join", wrong, {"thing": "x"}).status in (401, 403)
    assert site.send("POST", "/join", site.join_token, {"thing": "a/b"}).status in (400, 403)


def test_limits_of_a_join_token(site: Site) -> None:
    """Two things a minute and three in all; beyond that refused at each door, and shown."""
    token = site.narrow_join_token
    with site.tail("plant") as events:
        assert site.send("POST", "/join", token, {"thing": "narrow-1"}).status == 201
        with Peer(site.mqtt_port, "narrow-2", username=token) as peer:
            assert peer.connack.reason == 0
        with Peer(site.mqtt_port, "narrow-3", username=token) as peer:
            assert peer.connack.reason == 0x87
        assert refusal(events, "at most 2 things a minute")["thing"] == "narrow-3"
        over_http = site.send("POST", "/join", token, {"thing": "narrow-4"})
        assert over_http.status == 403 and "a minute" in str(over_http.body)
        assert refusal(events, "at most 2 things a minute")["thing"] == "narrow-4"
        with Peer(site.mqtt_port, "p", 4, username="provision") as peer:
            peer.subscribe("/provision/response")
            request = {"provisionDeviceKey": "k", "provisionDeviceSecret": token, "deviceName": "narrow-5"}
            peer.publish("/provision/request", msgspec.json.encode(request), 1)
            assert b"a minute" in peer.wait(1)[0].payload
        assert refusal(events, "at most 2 things a minute")["thing"] == "narrow-5"
    assert any("a minute" in reason for reason in site.refusals("plant/narrow-4"))
    assert site.values("plant/narrow-3") == {}
    names = [thing["name"] for thing in site.get("/projects/plant/things", "plant", limit=1000).body["things"]]
    assert [name for name in names if name.startswith("narrow")] == ["narrow-1", "narrow-2"]


def test_an_inferred_model_until_it_is_declared(site: Site) -> None:
    """§2: what traffic teaches has no unit; a declaration holds at once, also for who is connected."""
    with Peer(site.mqtt_port, "learner", username=site.join_token) as peer:
        for value in (20, 21):
            peer.publish(TELEMETRY, b'{"heat": %d, "on": true}' % value, 1)
        found = site.wait_value("plant/learner", "heat", 21)
        assert found["unit"] is None and found["kind"] == "gauge"
        things = site.get("/projects/plant/things", "plant", limit=1000).body["things"]
        assert next(thing for thing in things if thing["name"] == "learner")["inferred"]
        description = site.get("/projects/plant/things/learner", "plant").body
        assert "unit" not in description["properties"]["heat"]
        declared = {"name": "heat", "unit": "kW", "minimum": 0, "maximum": 100}
        arguments = {"project": "plant", "thing": "learner", "property": declared}
        assert site.send("POST", "/admin/property-declare", "plant", arguments).status == 200
        peer.publish(TELEMETRY, b'{"heat": 22, "on": true}', 1)
        assert site.wait_value("plant/learner", "heat", 22)["unit"] == "kW"

        def refused() -> bool:
            peer.send(Publish(TELEMETRY, b'{"heat": 900, "on": true}', 0))
            return any("900" in reason for reason in site.refusals("plant/learner"))

        wait_for(refused, "the declared range holds for the connected device")
        assert site.values("plant/learner")["heat"]["value"] == 22
        assert site.get("/projects/plant/things/learner", "plant").body["properties"]["heat"]["unit"] == "kW"
