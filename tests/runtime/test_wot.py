"""The W3C Web of Things over HTTP: what a Thing Description promises is served, to who may, and nothing else is."""

import json
import threading
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from tests.faults.support import CLOCK, PROJECT, Answer, LiveNode, wait_until
from tests.runtime.streams import Stream, stream
from tests.waiting import WAIT_S
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.connection import Connection

from taihu.kernel.clock import NS_PER_S

THINGS = f"/api/v1/projects/{PROJECT}/things"
METER = f"{THINGS}/meter"
SCHEMA = Path(__file__).parent.parent / "data" / "wot" / "td-1.1.schema.json"


def send(node: LiveNode, values: Any, thing: str = "meter", at_s: float | None = None) -> None:
    body = values if at_s is None else {"ts": int(at_s * 1000), "values": values}
    path = f"/api/v1/projects/{PROJECT}/readings?thing={thing}"
    answer = node.ask("POST", path, msgspec.json.encode(body), Content_Type="application/json")
    assert answer.status == 200, answer


def put(node: LiveNode, path: str, value: Any, token: str | None = None) -> Answer:
    return node.ask("PUT", path, msgspec.json.encode(value), token)


def ticket(node: LiveNode, token: str | None = None) -> str:
    answer = node.ask("POST", "/api/v1/tickets", b"", token)
    assert answer.status == 201, answer
    return str(answer.body["ticket"])


def issued(node: LiveNode, **arguments: Any) -> tuple[str, str]:
    body = msgspec.json.encode({"project": PROJECT, "kind": "viewer"} | arguments)
    answer = node.ask("POST", "/api/v1/admin/token-issue", body)
    return answer.body["id"], answer.body["token"]


def test_every_form_of_the_description_is_served(node: LiveNode) -> None:
    """What a TD promises: each address with each of its operations answers, and the whole meets the W3C's schema."""
    send(node, {"power_kw": 1, "energy_kwh": 2, "mode": "on", "setpoint": 21, "quiet": True, "trip": 0, "door": "open"})
    document = node.get(f"/projects/{PROJECT}/things/meter").body
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(document)
    groups = [document, *document["properties"].values(), *document["events"].values()]
    forms = [form for group in groups for form in group["forms"]]
    assert {form.get("subprotocol", "") for form in forms} == {"", "sse", "webthingprotocol"}
    for form in forms:
        assert form["op"] and form["contentType"] == "application/json"
        path = form["href"].partition(str(node.http_port))[2].replace("{?ticket}", "").replace("{?property*}", "")
        if form.get("subprotocol") == "sse":
            with stream(node.http_port, path, node.viewer) as one:
                assert one.answer.headers["content-type"].startswith("text/event-stream")
        elif form.get("subprotocol") == "webthingprotocol":
            assert form["href"].startswith("ws://")
        else:
            assert node.ask("GET", path).status == 200, path
            if {"writeproperty", "writemultipleproperties"} & set(form["op"]):
                value = 20 if path.endswith("setpoint") else {"setpoint": 20}
                assert put(node, path, value).status == 202, path
    assert "quiet" in document["properties"]
    assert node.ask("GET", f"{METER}/properties/quiet/observe").status == 403
    with socket(node) as one_socket:
        for operation in {op for form in forms if form["href"].startswith("ws:") for op in form["op"]}:
            name = "trip" if "event" in operation else "setpoint"
            extra = {"value": 20} if operation == "writeproperty" else {"values": {"setpoint": 20}, "names": [name]}
            assert "error" not in ask(one_socket, operation, name=name, **extra), operation


def test_properties_are_read_alone_some_and_all(node: LiveNode) -> None:
    """§3: what never had a value is not there; what does not hold any more says so."""
    send(node, {"level": 1.5, "mode": "on"}, "fan")
    assert node.ask("GET", f"{THINGS}/fan/properties/level").body == 1.5
    values = node.ask("GET", f"{THINGS}/fan/properties").body
    assert values["level"] == 1.5
    assert node.ask("GET", f"{THINGS}/fan/properties?property=mode").body == {"mode": "on"}
    for path in ("properties/none", "properties?property=none", "properties/none/observe", "events/none"):
        assert node.ask("GET", f"{THINGS}/fan/{path}").status == 404, path
    for path in ("properties", "observe", "events"):
        assert node.ask("GET", f"{THINGS}/none/{path}").status == 404, path


def test_a_value_says_how_old_it_is(node: LiveNode) -> None:
    """§3"""
    for age_s, stale in ((10, "false"), (10_000, "true")):
        send(node, {f"aged_{age_s}": 1}, "fan", CLOCK.now_ns() / NS_PER_S - age_s)
        with stream(node.http_port, f"{THINGS}/fan/properties/aged_{age_s}", node.viewer) as one:
            assert one.answer.headers["taihu-stale"] == stale
            assert str(one.answer.headers["taihu-observed-at"]).endswith("Z")


def test_a_write_is_a_wish_that_the_device_is_told(node: LiveNode) -> None:
    """§4: accepted when it is durable, which is not yet applied: 202, and where to look."""
    assert put(node, f"{METER}/properties/setpoint", 22.5).status == 202
    wished = node.ask("GET", f"{METER}/desired").body["desired"]["setpoint"]
    assert (wished["value"], wished["by"]) == (22.5, "operator")
    assert put(node, f"{METER}/properties", {"setpoint": 23}).status == 202
    assert node.ask("GET", f"{METER}/desired").body["desired"]["setpoint"]["value"] == 23


@pytest.mark.parametrize(
    ("path", "value", "status"),
    [
        ("properties/setpoint", 99, 403),
        ("properties/setpoint", "warm", 403),
        ("properties/setpoint", None, 403),
        ("properties/power_kw", 1, 403),
        ("properties/none", 1, 404),
        ("properties", {"setpoint": 20, "power_kw": 1}, 403),
        ("properties", {"setpoint": 20, "none": 1}, 404),
        ("properties", {}, 403),
        ("properties", [1], 400),
    ],
)
def test_what_may_not_be_written_is_refused_whole(node: LiveNode, path: str, value: Any, status: int) -> None:
    put(node, f"{METER}/properties/setpoint", 19)
    answer = put(node, f"{METER}/{path}", value)
    assert answer.status == status, answer
    assert node.ask("GET", f"{METER}/desired").body["desired"]["setpoint"]["value"] == 19
    assert node.ask("PUT", f"{METER}/properties/setpoint", b"{not json").status == 400


def test_an_observer_hears_the_newest_value_and_each_after_it(node: LiveNode) -> None:
    """§5: by event time; a late reading is stored, and is no news."""
    now_s = CLOCK.now_ns() / NS_PER_S
    send(node, {"observed": 1}, "pump", now_s - 60)
    with stream(node.http_port, f"{THINGS}/pump/properties/observed/observe", node.viewer) as one:
        assert one.next()[:2] == ("message", 1)
        send(node, {"observed": 2, "other": 5}, "pump", now_s - 30)
        send(node, {"observed": 1.5}, "pump", now_s - 45)
        send(node, {"other": 6}, "pump")
        send(node, {"observed": 3}, "pump")
        heard = one.take(2)
        assert [event.data for event in heard] == [2, 3]
        last = heard[-1].id
    again = f"{THINGS}/pump/properties/observed/observe"
    with stream(node.http_port, again, node.viewer, Last_Event_ID=last) as one:
        send(node, {"observed": 4}, "pump")
        assert one.next().data == 4, "the value it had heard is not told again"
    with stream(node.http_port, again, node.viewer, Last_Event_ID=last) as one:
        assert one.next().data == 4, "what it missed is"


def test_all_properties_are_observed_by_name_and_events_are_not_among_them(node: LiveNode) -> None:
    send(node, {"mode": "off"})
    with stream(node.http_port, f"{METER}/observe", node.viewer) as one:
        while one.next()[:2] != ("mode", "off"):
            pass
        send(node, {"trip": 1, "mode": "on"})
        while (event := one.next()).name != "mode":
            assert event.name not in ("trip", "door")
        assert event.data == "on"


def test_a_subscriber_hears_every_occurrence_late_ones_too_and_those_while_it_was_away(node: LiveNode) -> None:
    now_s = CLOCK.now_ns() / NS_PER_S
    send(node, {"trip": 0})
    with stream(node.http_port, f"{METER}/events/trip", node.viewer) as one:
        send(node, {"trip": 1})
        send(node, {"trip": 2}, at_s=now_s - 3_600)
        first, late = one.take(2)
        assert [first.data, late.data] == [1, 2]
    send(node, {"trip": 3})
    send(node, {"door": "open"})
    with stream(node.http_port, f"{METER}/events/trip", node.viewer, Last_Event_ID=first.id) as one:
        assert [event.data for event in one.take(2)] == [2, 3]
    with stream(node.http_port, f"{METER}/events", node.viewer, Last_Event_ID=late.id) as one:
        assert [event[:2] for event in one.take(2)] == [("trip", 3), ("door", "open")]
    assert node.ask("GET", f"{METER}/events/power_kw").status == 404


def test_a_ticket_opens_streams_for_who_can_send_no_header(node: LiveNode) -> None:
    send(node, {"ticketed": 1}, "pump")
    path = f"{THINGS}/pump/properties/ticketed"
    given = ticket(node, node.viewer)
    with stream(node.http_port, f"{path}/observe?ticket={given}") as one:
        assert one.next().data == 1
    assert node.ask("GET", f"{path}?ticket={given}", token="").status == 401, "it opens nothing else"
    assert node.ask("GET", f"{path}/observe?ticket=x{given}", token="").status == 401
    assert node.ask("POST", "/api/v1/tickets", b"", given).status == 401, "it is no token"
    assert node.ask("GET", f"{path}/observe?ticket={given}", token="wrong").status == 401
    foreign = ticket(node, node.strangers["other"])
    assert node.ask("GET", f"{path}/observe?ticket={foreign}", token="").status == 404
    assert given not in node.log("ingest")


def test_streams_are_for_who_may_read(node: LiveNode) -> None:
    """§11: to a stranger the thing does not exist; a thing observes itself alone."""
    send(node, {"trip": 0})
    for path in (f"{METER}/properties/mode/observe", f"{METER}/observe", f"{METER}/events/trip", f"{METER}/events"):
        assert node.ask("GET", path, token="").status == 401, path
        for token in (node.strangers["other"], node.tokens["pump"]):
            assert node.ask("GET", path, token=token).status == 404, path
    for path in (f"{METER}/properties/mode", f"{METER}/properties"):
        assert node.ask("GET", path, token=node.strangers["other"]).status == 404
        assert put(node, path, {"setpoint": 20}, node.strangers["other"]).status == 404
        assert put(node, path, {"setpoint": 20}, node.viewer).status == 403
    with stream(node.http_port, f"{THINGS}/pump/observe", node.tokens["pump"]):
        pass
    for token, status in ((node.strangers["other"], 404), (node.tokens["pump"], 404), ("", 401)):
        with pytest.raises(InvalidStatus) as denied:
            socket(node, token)
        assert denied.value.response.status_code == status
        assert b"urn:taihu:problem:" in (denied.value.response.body or b"")


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_stream_ends_with_its_token(node: LiveNode, how: str) -> None:
    """§11: within a second or two, and says why."""
    ends = {"expires_at": CLOCK.now_ns() + NS_PER_S} if how == "expired" else {}
    number, token = issued(node, **ends)
    with stream(node.http_port, f"{METER}/observe", token) as one, socket(node, token) as other:
        ask(other, "observeallproperties")
        if how == "revoked":
            body = msgspec.json.encode({"project": PROJECT, "id": number})
            assert node.ask("POST", "/api/v1/admin/token-revoke", body).status == 200
        while (event := one.next()).name != "$end":
            pass
        assert "token" in event.data["reason"]
        with pytest.raises(EOFError):
            one.next()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                other.recv(timeout=WAIT_S)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, "token" in closed.value.rcvd.reason) == (1008, True)


def test_a_head_request_opens_no_stream(node: LiveNode) -> None:
    for path in (f"{METER}/observe", f"{METER}/events", f"{METER}/properties", f"{METER}/properties/mode"):
        answer = node.ask("HEAD", path)
        assert answer.status == 200, path


# Over a WebSocket


def socket(node: LiveNode, token: str | None = None, query: str = "") -> ClientConnection:
    token = node.operator if token is None else token
    return connect(
        f"ws://127.0.0.1:{node.http_port}{METER}/socket{query}",
        subprotocols=["webthingprotocol"],  # type: ignore[list-item]  # a NewType of str
        additional_headers={"Authorization": f"Bearer {token}"} if token else {},
        proxy=None,
    )


def ask(one: Connection, operation: str, **members: Any) -> dict[str, Any]:
    """Send a request and return its response; notices that come before it are passed over."""
    one.send(json.dumps({"messageType": "request", "operation": operation, "correlationID": operation} | members))
    while (message := json.loads(one.recv(timeout=WAIT_S)))["messageType"] != "response":
        pass
    assert message["correlationID"] == operation
    return dict(message)


def test_one_socket_reads_writes_and_observes(node: LiveNode) -> None:
    send(node, {"power_kw": 7, "mode": "on"})
    with socket(node) as one:
        assert one.subprotocol == "webthingprotocol"
        answer = ask(one, "readproperty", name="power_kw")
        assert (answer["value"], answer["thingID"]) == (7, f"urn:taihu:{PROJECT}:meter")
        assert ask(one, "readmultipleproperties", names=["mode"])["values"] == {"mode": "on"}
        assert ask(one, "readallproperties")["values"]["mode"] == "on"
        written = ask(one, "writeproperty", name="setpoint", value=24)
        assert "value" not in written and "error" not in written
        assert node.ask("GET", f"{METER}/desired").body["desired"]["setpoint"]["value"] == 24
        ask(one, "observeproperty", name="power_kw")
        ask(one, "subscribeevent", name="trip")
        send(node, {"power_kw": 8, "mode": "off", "trip": 2})
        heard = [json.loads(one.recv(timeout=WAIT_S)) for _ in range(2)]
        told = {(each["operation"], each["name"]): each.get("value", each.get("data")) for each in heard}
        assert told == {("observeproperty", "power_kw"): 8, ("subscribeevent", "trip"): 2}
        assert {each["correlationID"] for each in heard} == {"observeproperty", "subscribeevent"}
        ask(one, "unobserveproperty", name="power_kw")
        send(node, {"power_kw": 9, "trip": 3})
        assert json.loads(one.recv(timeout=WAIT_S))["data"] == 3


def test_a_ticket_opens_a_socket(node: LiveNode) -> None:
    with socket(node, "", f"?ticket={ticket(node, node.viewer)}") as one:
        assert ask(one, "writeproperty", name="setpoint", value=20)["error"]["status"] == 403
        assert "values" in ask(one, "readallproperties")


@pytest.mark.parametrize(
    "message",
    [
        "", "{", "[]", "1", "{}", '{"operation": 5}', '{"operation": "invokeaction", "name": "x"}',
        '{"operation": "readproperty"}', '{"operation": "readproperty", "name": 5}',
        '{"operation": "readproperty", "name": "none"}', '{"operation": "readmultipleproperties", "names": "mode"}',
        '{"operation": "observeproperty", "name": "quiet"}', '{"operation": "subscribeevent", "name": "mode"}',
        '{"operation": "writeproperty", "name": "power_kw", "value": 1}', '{"operation": "writemultipleproperties"}',
        '{"operation": "readallproperties", "thingID": "urn:other"}', '{"messageType": "response"}',
        '{"operation": "writemultipleproperties", "values": [1]}', '{"operation": ["readallproperties"]}',
        "[" * 60_000, b"\xff\xfe", '"\\ud800"',
    ],
)  # fmt: skip
def test_any_message_gets_an_answer_or_an_error(node: LiveNode, message: Any) -> None:
    """§13: and the connection lives on."""
    with socket(node) as one:
        one.send(message)
        answer = json.loads(one.recv(timeout=WAIT_S))
        assert answer["error"]["type"].startswith("urn:taihu:problem:"), answer
        assert "values" in ask(one, "readallproperties")


def test_a_message_beyond_the_limit_ends_the_connection(node: LiveNode) -> None:
    """§6: and so does another subprotocol."""
    with socket(node) as one:
        one.send("x" * 70_000)
        with pytest.raises(ConnectionClosed) as closed:
            one.recv(timeout=WAIT_S)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
    with pytest.raises(InvalidStatus) as denied:
        connect(
            f"ws://127.0.0.1:{node.http_port}{METER}/socket",
            subprotocols=["mqtt"],  # type: ignore[list-item]  # a NewType of str
            additional_headers={"Authorization": f"Bearer {node.operator}"},
            proxy=None,
        )
    assert denied.value.response.status_code == 400


def test_many_observe_at_once_and_others_are_served(node: LiveNode) -> None:
    """Streams are not counted among the requests at once; when they leave, their places are free."""
    open_now = [Stream(node.http_port, f"{METER}/properties/power_kw/observe", node.viewer) for _ in range(150)]
    try:
        assert {one.status for one in open_now} == {200}
        heard: list[Any] = []

        def follow(one: Stream) -> None:
            while (event := one.next()).data != 55:
                pass
            heard.append(event.data)

        readers = [threading.Thread(target=follow, args=(one,)) for one in open_now]
        for reader in readers:
            reader.start()
        send(node, {"power_kw": 55})
        for reader in readers:
            reader.join(WAIT_S)
        assert len(heard) == len(open_now)
        assert observers(node) >= 150
    finally:
        for one in open_now:
            one.close()
    wait_until(lambda: observers(node) < 10, "the observers are gone")


def observers(node: LiveNode) -> int:
    owner = (node.site.data / "admin.token").read_text()
    return int(node.get("/node", owner).body["observers"])
