"""§11: a thing has its own topics, a project its own space; no trick of topics or sessions crosses either border."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from tests.interop.peer import Peer, payloads
from tests.interop.support import Site, wait_for
from tests.waiting import WAIT_S

from taihu.protocols.mqtt.packets import Will

TELEMETRY = "v1/devices/me/telemetry"
NOT_AUTHORIZED = 0x87


@pytest.fixture
def press(site: Site) -> Iterator[Peer]:
    """A thing of `plant`."""
    with Peer(site.mqtt_port, "press", username=site.tokens["plant/press"]) as peer:
        yield peer


@pytest.fixture
def stranger(site: Site) -> Iterator[Peer]:
    """An operator of `other`, who subscribes to everything he can think of."""
    with Peer(site.mqtt_port, "stranger", username=site.tokens["other"]) as peer:
        filters = [
            "#", "+/#", "/#", "+/+/+/+", "taihu/#", "taihu/plant/#", "taihu/+/meter/#", "plant/#", "v1/devices/me/#",
            "$share/a/#", "$share/b/taihu/plant/#", "$share/plant/+/plant/+/power", "chat/#", "senml/#",
        ]  # fmt: skip
        assert set(peer.subscribe(*filters)) == {2}
        assert set(peer.subscribe("$SYS/#", "$provision/#", "$plant/#", "$share/c/$SYS/#")) <= {2, NOT_AUTHORIZED}
        peer.quiet(0.1)
        peer.messages.clear()
        yield peer


def test_free_topics_are_routed_and_not_journalled(site: Site, press: Peer) -> None:
    """Between all clients of the project; a message there is no reading, whatever it looks like."""
    with Peer(site.mqtt_port, "op", 4, username=site.tokens["plant"]) as operator:
        operator.subscribe("#")
        operator.quiet(0.1)
        operator.messages.clear()
        before = site.get("/node", "plant").body
        assert press.publish("chat/room", b'{"power": 1}', 1) == 0
        assert press.publish("chat", b'{"power": 2}', 1) == 0
        assert payloads(operator.wait(2)) == [b'{"power": 1}', b'{"power": 2}']
        after = site.get("/node", "plant").body
        assert after["points"] == before["points"]
        assert press.subscribe("chat/+", "chat/#") == [2, 2]
        operator.publish("chat/room", b"to all", 1)
        assert payloads(press.wait(1)) == [b"to all"]


def test_denied_filters(site: Site, press: Peer) -> None:
    """Refused with the reason code, for an operator too, and however the filter is dressed."""
    with Peer(site.mqtt_port, "op", username=site.tokens["plant"]) as operator:
        denied = ["secret/#", "secret/plans", "secret", "$share/a/secret/plans", "secret/+/x"]
        assert operator.subscribe(*denied) == [0x80] * len(denied)
        assert press.subscribe("secret/plans")[0] >= 0x80


def test_a_things_own_topics_and_no_others(site: Site, press: Peer) -> None:
    allowed = [TELEMETRY, "v1/devices/me/attributes", "taihu/plant/press", "taihu/plant/press/x", "senml/plant/press"]
    for topic in allowed:
        assert press.publish(topic, b"1", 1) == 0
    assert set(press.subscribe("taihu/plant/press/#", "v1/devices/me/+", "taihu/plant/press")) == {2}
    refused = [
        "taihu/plant/meter", "taihu/plant/meter/power", "taihu/plant/presse/x", "taihu/other/press/x", "taihu/plant",
        "senml/plant", "senml/plant/meter", "v1/gateway/telemetry", "v1/gateway/connect", "v1/gateway/attributes",
        "collector/all", "anything", "taihu/plant/PRESS/x", "taihu//press/x", "/taihu/plant/press/x", "v1/devices/x/y",
        "taihu/plant/press\u200b/x", "taihu/plant/\uff50ress/x", "$share/a/taihu/plant/press/x", "$SYS/broker/x",
    ]  # fmt: skip
    for topic in refused:
        assert press.publish(topic, b'{"meter": {"power": 666}}', 1) == NOT_AUTHORIZED, topic
    filters = [
        "#", "+", "taihu/#", "taihu/plant/#", "taihu/plant/+/power", "taihu/+/press/#", "taihu/plant/meter/power",
        "senml/plant/#", "v1/gateway/attributes", "v1/#", "+/devices/me/telemetry", "$SYS/#", "machines/status",
        "$share/a/taihu/plant/#", "$share/a/#",
    ]  # fmt: skip
    for topic_filter in filters:
        assert press.subscribe(topic_filter) == [NOT_AUTHORIZED], topic_filter
    site.wait_refusal("plant/press", "may not subscribe to")
    assert site.values("plant/meter").get("power", {}).get("value") != 666


def test_nobody_speaks_for_another(site: Site, press: Peer) -> None:
    """A payload that names things is a gateway's or an operator's: neither topic nor body forges a reading."""
    forged = b'[{"bn": "meter:", "n": "power", "v": 666}]'
    for topic in ("senml/plant", "senml/plant/press", "senml/plant/meter"):
        press.publish(topic, forged, 1)
    press.publish("collector/all", b'{"meter": {"power": 666}}', 1)
    token = site.tokens["plant/press"]
    path = "/api/v1/projects/plant/readings"
    for query, form in (("", "senml+json"), ("?thing=", "senml+json"), ("?thing=meter", "json"), ("?thing=", "json")):
        site.ask("POST", path + query, token, forged, content_type=f"application/{form}")
    assert site.ask("POST", "/api/v1/projects/other/readings", token, b'{"power": 666}').status == 404
    press.publish(TELEMETRY, b'{"done": 1}', 1)
    site.wait_value("plant/press", "done", 1)
    for name in ("plant/meter", "other/meter", "other/press"):
        assert all(entry["value"] != 666 for entry in site.values(name).values())


def test_a_shared_reading_topic(site: Site, press: Peer) -> None:
    """Where a mapping takes the connection's thing, each may write it for itself, and none may listen to the others."""
    assert press.publish("machines/status", b'{"lamp": "green"}', 1) == 0
    site.wait_value("plant/press", "lamp", "green")


def test_an_operator_is_no_thing(site: Site, press: Peer) -> None:
    """What is each thing's own cannot be sent to all of them; a gateway's topics are an operator's too, unheard."""
    with Peer(site.mqtt_port, "op", username=site.tokens["plant"]) as operator:
        press.subscribe("v1/devices/me/#")
        with site.tail("plant") as events:
            for topic in (TELEMETRY, "v1/devices/me/attributes", "v1/devices/me/rpc/request/1"):
                assert operator.publish(topic, b'{"setpoint": 1}', 1, retain=True) == NOT_AUTHORIZED
            assert "an operator is no thing" in events.get(timeout=WAIT_S)["reason"]
        with Peer(site.mqtt_port, "gw", username=site.tokens["plant/gateway"]) as gateway:
            gateway.subscribe("v1/gateway/#")
            assert operator.publish("v1/gateway/attributes", b'{"kiln": {"zone": 4}}', 1, retain=True) == 0
            site.wait_value("plant/kiln", "zone", 4)
            assert gateway.quiet() == press.quiet() == []


def test_a_viewer_reads_and_does_not_write(site: Site, press: Peer) -> None:
    with Peer(site.mqtt_port, "viewer", username=site.viewer) as viewer:
        assert viewer.subscribe("taihu/plant/#") == [2]
        press.publish("taihu/plant/press/seen", b"1", 1)
        assert payloads(viewer.wait(1)) == [b"1"]
        for topic in ("chat/x", "taihu/plant/press/x", TELEMETRY):
            assert viewer.publish(topic, b"1", 1) == NOT_AUTHORIZED


def test_no_topic_crosses_projects(site: Site, stranger: Peer, press: Peer) -> None:
    for topic in ("taihu/plant/press/crossed", "chat/all", TELEMETRY, "senml/plant/press"):
        for retain in (False, True):
            assert press.publish(topic, b"1", 2, retain=retain) == 0
    with Peer(site.mqtt_port, "op", username=site.tokens["plant"]) as operator:
        for topic in (
            "taihu/other/meter/power",
            "taihu/plant/meter/power",
            "other/x",
            "chat/x",
            "/",
        ):
            operator.publish(topic, b"666", 1, retain=True)
        assert operator.publish("$SYS/broker/x", b"666", 1) == NOT_AUTHORIZED
    assert [message for message in stranger.quiet(0.4) if not message.topic.startswith("$SYS/")] == []
    with Peer(site.mqtt_port, "late", username=site.tokens["other"]) as late:
        late.subscribe("#", "chat/#", "taihu/#")
        assert late.quiet(0.3) == []
    assert site.values("other/meter") == {}
    with Peer(site.mqtt_port, "op", username=site.tokens["plant"]) as operator:
        for topic in ("taihu/plant/press/crossed", "chat/all", "taihu/other/meter/power", "taihu/plant/meter/power",
                      "other/x", "chat/x", "/", "senml/plant/press"):  # fmt: skip
            operator.publish(topic, b"", 1, retain=True)


def test_one_client_identifier_in_two_projects(site: Site) -> None:
    """No takeover and no inherited session, neither across projects nor across credentials."""
    lasting: dict[str, Any] = {"session_expiry_interval": 60}
    with Peer(site.mqtt_port, "same", username=site.tokens["plant/press"], **lasting) as ours:
        ours.subscribe("chat/same")
        for version, who in product((4, 5), ("other", "other/meter", "plant", "plant/valve")):
            kept: dict[str, Any] = lasting if version == 5 else {}
            token = site.tokens[who]
            with Peer(site.mqtt_port, "same", version, clean=False, username=token, **kept) as theirs:
                assert (theirs.connack.reason, theirs.connack.session_present) == (0, False)
                theirs.subscribe("chat/other")
            Peer(site.mqtt_port, "same", version, username=token).disconnect()
        assert ours.publish("chat/same", b"alive", 1) == 0
        assert payloads(ours.wait(1)) == [b"alive"]


def test_wills_stay_at_home(site: Site, stranger: Peer) -> None:
    """A will goes only where its owner may publish, and never onto a topic that means each client's own."""
    token = site.tokens["plant/valve"]
    with (
        Peer(site.mqtt_port, "op", username=site.tokens["plant"]) as operator,
        Peer(site.mqtt_port, "victim", username=site.tokens["plant/press"]) as victim,
    ):
        operator.subscribe("#")
        victim.subscribe("v1/devices/me/#")
        operator.quiet(0.1)
        operator.messages.clear()
        for topic in ("taihu/other/meter/power", "taihu/plant/meter/power", "other/x", "v1/gateway/telemetry"):
            with Peer(site.mqtt_port, "w", username=token, will=Will(topic, b"666", 1, True)) as peer:
                assert peer.connack.reason in (NOT_AUTHORIZED, 0x90), topic
        for topic in ("v1/devices/me/attributes", "v1/devices/me/rpc/request/1"):
            for kind in (token, site.join_token):
                with Peer(site.mqtt_port, "will-thing", username=kind, will=Will(topic, b'{"gone": true}', 1, True)):
                    pass
        for name in ("plant/valve", "plant/will-thing"):
            assert site.wait_value(name, "gone", True)["kind"] == "state"
        with Peer(site.mqtt_port, "w", username=token, will=Will("chat/will", b"bye", 1, True)):
            pass
        assert payloads(operator.wait(1)) == [b"bye"]
        assert victim.quiet() == []
        operator.publish("chat/will", b"", 1, retain=True)
    assert [message for message in stranger.quiet() if not message.topic.startswith("$SYS/")] == []


def test_newcomers_share_nothing(site: Site) -> None:
    """Provisioning is one door for all projects: what one newcomer's session holds is never another's."""
    with Peer(site.mqtt_port, "new", username="provision", session_expiry_interval=60) as one:
        one.subscribe("/provision/response")
        with Peer(site.mqtt_port, "new", username="provision", clean=False, session_expiry_interval=60) as two:
            assert not two.connack.session_present
            assert two.publish("/provision/response", b"forged", 1) == NOT_AUTHORIZED
            two.subscribe("/provision/response")
            request = b'{"provisionDeviceKey":"k","provisionDeviceSecret":"%s","deviceName":"alone"}'
            one.publish("/provision/request", request % site.join_token.encode(), 1)
            assert b"SUCCESS" in one.wait(1)[0].payload
            assert two.quiet() == []


def test_http_shows_a_project_to_its_own(site: Site) -> None:
    paths = ["values", "things", "things/meter", "quarantine", "tail", "things/meter/desired"]
    paths += ["history?thing=meter&property=power", "asof?thing=meter&property=power"]
    for path in paths:
        for token in ("other", "other/meter"):
            assert site.get(f"/projects/plant/{path}", token).status == 404, path
        assert site.get(f"/projects/plant/{path}", "nobody").status == 401
    for path in ("tail", "things", "history?thing=meter&property=power", "things/meter", "things/meter/desired"):
        assert site.get(f"/projects/plant/{path}", "plant/press").status in (403, 404), path
    own = site.get("/projects/plant/quarantine", "plant/press", thing="meter").body["refused"]
    assert {entry["thing"] for entry in own} <= {"press"}
    assert site.send("PUT", "/projects/plant/things/meter/desired", "other", {"setpoint": 20}).status in (403, 404)
    arguments = {"project": "plant", "thing": "meter", "property": {"name": "power", "unit": "W"}}
    for token in ("other", "plant/press", site.viewer):
        assert site.send("POST", "/admin/property-declare", token, arguments).status in (401, 403)


def test_a_revoked_token_ends_its_connections(site: Site) -> None:
    issued = site.send("POST", "/admin/token-issue", "plant", {"project": "plant", "thing": "press"}).body
    with Peer(site.mqtt_port, "revoked", username=issued["token"]) as peer:
        assert peer.publish(TELEMETRY, b'{"a": 1}', 1) == 0
        revoke = {"project": "plant", "id": issued["id"]}
        assert site.send("POST", "/admin/token-revoke", "other", revoke | {"project": "other"}).status >= 400
        assert site.send("POST", "/admin/token-revoke", "plant", revoke).status == 200
        assert peer.gone() == 0x98
    with Peer(site.mqtt_port, "revoked", username=issued["token"]) as peer:
        assert peer.connack.reason == 0x86
    wait_for(lambda: site.get("/node", "plant").status == 200, "others are served")
