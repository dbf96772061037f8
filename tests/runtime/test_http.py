"""The HTTP door of a real node, end to end: what it takes, what it gives, and that no request is ever a defect."""

import http.client
import socket
import threading
from random import Random
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.faults.support import CLOCK, PROJECT, LiveNode, wait_until
from tests.waiting import WAIT_S

from taihu.kernel.clock import NS_PER_S

BASE = f"/projects/{PROJECT}"
READINGS = f"/api/v1{BASE}/readings"


def post(node: LiveNode, body: Any, thing: str = "", token: str | None = None, kind: str = "application/json") -> Any:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    query = f"?thing={thing}" if thing else ""
    return node.ask("POST", READINGS + query, data, token, Content_Type=kind)


def newest(node: LiveNode, thing: str) -> dict[str, Any]:
    answer = node.get(f"{BASE}/values", thing=thing)
    assert answer.status == 200, answer
    return {entry["property"]: entry for entry in answer.body["values"]}


def test_readings_come_in_and_go_out(node: LiveNode) -> None:
    """§4: what a 200 covers is there: newest, as history, as of a time, in windows with coverage (§3)."""
    start = CLOCK.now_ns() // NS_PER_S - 3_600
    rows = [{"ts": (start + 60 * minute) * 1_000, "values": {"level": minute}} for minute in range(60)]
    answer = post(node, rows, "pump")
    assert (answer.status, answer.body) == (200, {"accepted": 60, "refused": []})
    level = newest(node, "pump")["level"]
    assert (level["value"], level["quality"], level["unit"]) == (59, "good", None)
    node.settle()
    readings = node.history("pump", "level", start * NS_PER_S, (start + 3_600) * NS_PER_S)
    assert [reading["value"] for reading in readings] == list(range(60))
    at = f"{(start + 90) * NS_PER_S}"
    assert node.get(f"{BASE}/asof", thing="pump", property="level", at=at).body["reading"]["value"] == 1
    windows = node.get(
        f"{BASE}/history", thing="pump", property="level",
        start=start * NS_PER_S, end=(start + 7_200) * NS_PER_S, every="30m",
    ).body["windows"]  # fmt: skip
    assert sum(window["count"] for window in windows) == 60
    assert all(0 <= window["coverage"] <= 1 for window in windows)
    assert windows[-1]["coverage"] < 1
    assert all(window["mean"] is None for window in windows if not window["count"])


def test_a_correction_takes_the_place_of_what_it_corrects(node: LiveNode) -> None:
    """§5: the same time again; both revisions are kept."""
    moment = (CLOCK.now_ns() // NS_PER_S - 5_000) * 1_000
    for value in (1, 2):
        assert post(node, {"ts": moment, "values": {"corrected": value}}, "pump").status == 200
    node.settle()
    start, end = (moment - 1) * 1_000_000, (moment + 1) * 1_000_000
    assert [each["value"] for each in node.history("pump", "corrected", start, end)] == [2]
    both = node.get(f"{BASE}/history", thing="pump", property="corrected", revisions="true", start=start, end=end)
    assert sorted(each["value"] for each in both.body["readings"]) == [1, 2]


@pytest.mark.parametrize("kind", ["application/senml+json", "application/senml+cbor"])
def test_senml_in_its_own_units(node: LiveNode, kind: str) -> None:
    """§2: watts become the declared kilowatts, once, at the edge."""
    text = msgspec.json.encode([{"bn": "urn:x:", "bu": "W", "n": "power_kw", "v": 1_500}])
    binary = cbor2.dumps([{-2: "urn:x:", -4: "W", 0: "power_kw", 2: 1_500}])
    answer = post(node, text if kind.endswith("json") else binary, "meter", kind=kind)
    assert (answer.status, answer.body) == (200, {"accepted": 1, "refused": []})
    assert newest(node, "meter")["power_kw"]["value"] == 1.5


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"power_kw": "high"}, "power_kw"),
        ({"power_kw": 5_000}, "100"),
        ({"mode": "sideways"}, "mode"),
        ({"ts": 4_102_444_800_000, "values": {"power_kw": 1}}, "future"),
        ({"ts": "yesterday", "values": {"power_kw": 1}}, "time"),
        (b"{not json", "JSON"),
        (b"", "JSON"),
        ([], "value"),
        (17, "object"),
        ({"power_kw": None}, "value"),
    ],
)
def test_bad_readings_are_refused_with_the_reason(node: LiveNode, body: Any, reason: str) -> None:
    answer = post(node, body, "meter")
    assert answer.status == 400, answer
    assert answer.body["accepted"] == 0
    assert any(reason in each for each in answer.body["refused"]), answer
    shown = node.get(f"{BASE}/quarantine", thing="meter").body["refused"]
    assert reason in shown[0]["reason"] + shown[0]["property"]


def test_one_bad_value_does_not_refuse_the_others(node: LiveNode) -> None:
    answer = post(node, {"power_kw": 5_000, "energy_kwh": 7}, "meter")
    assert (answer.status, answer.body["accepted"], len(answer.body["refused"])) == (200, 1, 1)
    assert newest(node, "meter")["energy_kwh"]["value"] == 7


def test_a_wrong_unit_is_refused_and_the_node_lives(node: LiveNode) -> None:
    """§2"""
    answer = post(node, [{"bn": "x:", "n": "power_kw", "u": "Cel", "v": 20}], "meter", kind="application/senml+json")
    assert answer.status == 400, answer
    assert post(node, {"power_kw": 1}, "meter").status == 200


def test_the_devices_api_of_thingsboard(node: LiveNode) -> None:
    token = node.tokens["fan"]
    assert node.ask("POST", f"/api/v1/{token}/telemetry", b'{"rpm": 900}').status == 200
    assert newest(node, "fan")["rpm"]["value"] == 900
    assert node.ask("POST", "/api/v1/wrong/telemetry", b'{"rpm": 900}').status == 401


@pytest.mark.parametrize(
    ("who", "thing", "status"),
    [("pump", "", 200), ("pump", "pump", 200), ("pump", "fan", 403), ("viewer", "fan", 403), ("nobody", "fan", 401)],
)
def test_a_token_speaks_for_its_own(node: LiveNode, who: str, thing: str, status: int) -> None:
    """§11"""
    token = {"viewer": node.viewer, "nobody": "x" * 43}.get(who) or node.tokens[who]
    assert post(node, {"own": 1}, thing, token).status == status


def test_a_thing_cannot_name_another_in_its_payload(node: LiveNode) -> None:
    """§11"""
    pack = [{"bn": "fan/", "n": "forged", "v": 1}]
    post(node, pack, "", node.tokens["pump"], "application/senml+json")
    assert "forged" not in newest(node, "fan")


def test_another_project_is_not_there_without_a_grant(node: LiveNode) -> None:
    """§11: the same answer as for a name that does not exist, on every path."""
    stranger = node.strangers["other"]
    for path in ("things", "things/pump", "values", "history?thing=pump&property=own", "asof?thing=pump&property=own",
                 "tail", "quarantine"):  # fmt: skip
        answer = node.get(f"{BASE}/{path}", token=stranger)
        absent = node.get(f"/projects/absent/{path}", token=stranger)
        assert answer.status == absent.status == 404, path
    assert post(node, {"own": 1}, "pump", stranger).status == 404
    assert [each["name"] for each in node.get("/projects", token=stranger).body["projects"]] == ["other"]


def test_a_thing_reads_nothing_but_its_own(node: LiveNode) -> None:
    token = node.tokens["pump"]
    assert {each["thing"] for each in node.get(f"{BASE}/values", token=token).body["values"]} <= {"pump"}
    for path in ("history", "asof"):
        assert node.get(f"{BASE}/{path}", token=token, thing="fan", property="rpm").status == 404
    for path in ("things/fan", "things/fan/properties/rpm"):
        assert node.get(f"{BASE}/{path}", token=token).status in (403, 404), path


@pytest.mark.parametrize(
    "query",
    [
        "", "thing=pump", "thing=pump&property=nope", "thing=nope&property=own", "thing=pump&property=own&start=later",
        "thing=pump&property=own&start=-99999999999999999999h", "thing=pump&property=own&end=nan",
        "thing=pump&property=own&start=-nand", "thing=pump&property=own&start=-infw",
        "thing=pump&property=own&limit=0", "thing=pump&property=own&limit=99999999999999999999",
        "thing=pump&property=own&limit=-1", "thing=pump&property=own&limit=x",
        "thing=pump&property=own&every=0s", "thing=pump&property=own&every=1y",
        "thing=pump&property=own&every=1ns&start=0",
        "thing=pump&property=own&every=1h&tz=Mars/Base", "thing=pump&property=own&every=1h&tz=../../etc/passwd",
        "thing=pump&property=own&start=9223372036854775807", "thing=pump&property=own&start=2&end=1",
        "thing=pump&property=own&start=%00", "thing=%F0%9F%92%A9&property=own",
    ],
)  # fmt: skip
def test_bad_parameters_are_told_and_never_a_defect(node: LiveNode, query: str) -> None:
    post(node, {"own": 1}, "pump")
    for path in ("history", "asof"):
        answer = node.ask("GET", f"/api/v1{BASE}/{path}?{query}")
        assert answer.status < 500, (path, answer)
        assert answer.status == 200 or (answer.body["type"].startswith("urn:taihu:problem:") and answer.body["title"])


TEXT = st.text(max_size=12) | st.sampled_from(["-24h", "0", "-1", "own", "pump", "1m", "1d", "UTC", "desc", "true"])
NAMES = st.sampled_from(
    ["thing", "property", "start", "end", "at", "limit", "every", "tz", "order", "revisions", "after"]
)
PATHS = st.sampled_from(["things", "values", "history", "asof", "quarantine", "things/pump", "things/x/properties/y"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=PATHS, parameters=st.dictionaries(NAMES, TEXT, max_size=5), body=st.binary(max_size=60))
def test_any_parameters_give_an_answer_and_any_body_a_report(
    node: LiveNode, path: str, parameters: dict[str, str], body: bytes
) -> None:
    """§13"""
    assert node.get(f"{BASE}/{path}", **parameters).status < 500, (path, parameters)
    for kind in ("application/json", "application/senml+cbor", "application/senml+json", "text/plain"):
        assert post(node, body, "pump", kind=kind).status < 500, (kind, body)


def test_an_oversize_body_is_refused(node: LiveNode) -> None:
    assert post(node, b"[" + b"1," * 600_000 + b"1]", "pump").status == 413
    assert post(node, {"own": 1}, "pump").status == 200


@pytest.mark.parametrize("action", ["token-issue", "thing-create", "grant-add", "project-create", "nothing"])
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"project": "other", "thing": "pump", "from": "other"}', b'{"project": 1}']
)
def test_administration_is_for_who_may(node: LiveNode, action: str, body: bytes) -> None:
    """§11"""
    for token in (node.operator, node.tokens["pump"], node.viewer):
        answer = node.ask("POST", f"/api/v1/admin/{action}", body, token)
        assert 400 <= answer.status < 500, answer


def test_the_tail_shows_what_is_accepted_and_what_is_refused(node: LiveNode) -> None:
    events: list[dict[str, Any]] = []
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=WAIT_S)
    connection.request("GET", f"/api/v1{BASE}/tail", headers={"Authorization": f"Bearer {node.operator}"})
    answer = connection.getresponse()
    assert answer.readline() == b": tail\n"

    def follow() -> None:
        while len(events) < 2:
            line = answer.readline()
            if line.startswith(b"data: "):
                events.append(msgspec.json.decode(line[6:]))

    reader = threading.Thread(target=follow)
    reader.start()
    post(node, {"power_kw": 3}, "meter")
    post(node, {"power_kw": "high"}, "meter")
    reader.join(WAIT_S)
    connection.close()
    assert [event["event"] for event in events] == ["accepted", "refused"]
    assert events[0]["last"] == [{"power_kw": 3.0}]
    assert "power_kw" in events[1]["property"]


def test_health_metrics_and_status(node: LiveNode) -> None:
    assert node.ask("GET", "/healthz", token="").body["status"] == "ok"
    assert b"taihu_acked" in node.ask("GET", "/metrics", token="").body
    assert node.status()["worker"] == "running"
    assert node.get("/node", token="").status == 401


@pytest.mark.parametrize(
    "opening",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n{",
    ],
)
def test_a_request_that_never_ends_is_closed(node: LiveNode, opening: bytes) -> None:
    """§6: slow heads and slow bodies end after `http_request_timeout_s`, told so and with one log line each."""
    before = len(node.log_lines("ingest", "no whole request came"))
    if b"%s" in opening:
        opening %= (READINGS.encode(), node.operator.encode())
    with socket.create_connection(("127.0.0.1", node.http_port), timeout=WAIT_S) as slow:
        slow.sendall(opening)
        told = slow.recv(4_096)
        assert told.startswith(b"HTTP/1.1 408 ") if opening else not told
        assert slow.recv(100) == b""
    wait_until(lambda: len(node.log_lines("ingest", "no whole request came")) == before + 1, "the line")
    assert not node.log_lines("ingest", "Traceback")


def test_an_endless_head_is_cut(node: LiveNode) -> None:
    """§6"""
    with socket.create_connection(("127.0.0.1", node.http_port), timeout=WAIT_S) as client, pytest.raises(OSError):
        client.sendall(b"GET / HTTP/1.1\r\n")
        for number in range(100_000):
            client.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1_000))
    assert node.log_lines("ingest", "head of its request is larger")


def test_random_bytes_are_answered_or_closed(node: LiveNode) -> None:
    """§13"""
    random = Random(5)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", node.http_port), timeout=WAIT_S) as client:
            client.sendall(random.randbytes(random.randint(1, 2_000)))
            client.shutdown(socket.SHUT_WR)
    assert node.status()["worker"] == "running"
    assert not node.log_lines("ingest", "Traceback"), node.log("ingest")


@pytest.mark.parametrize("limit", ["0" * 11 + "1" + "0" * 5_000, "0" * 11 + "1999999999"])
def test_a_number_is_read_whole_or_refused(node: LiveNode, limit: str) -> None:
    """§13, §6: no digits beyond those that were checked."""
    for path in (f"{BASE}/things", f"{BASE}/history?thing=pump&property=own"):
        answer = node.ask("GET", f"/api/v1{path}{'&' if '?' in path else '?'}limit={limit}")
        assert answer.status in (400, 404), answer


def test_what_is_wanted_of_a_thing_is_bounded_and_survives(node: LiveNode) -> None:
    """§6: ever new wishes; §4: the last one stands."""
    path = f"/api/v1{BASE}/things/fan/desired"
    for _ in range(2):
        answer = node.ask("PUT", path, msgspec.json.encode({"speed": "x" * 60_000}))
        assert answer.status == 200, answer
    refused = node.ask("PUT", path, msgspec.json.encode({"other": "x" * 60_000}))
    assert (refused.status, "desired_bytes_per_thing_max" in refused.body["detail"]) == (429, True)
    assert node.ask("PUT", path, b'{"speed": null}').body == {"desired": {}}


def test_a_revoked_token_follows_nothing_any_more(node: LiveNode) -> None:
    """§11"""
    issued = node.ask("POST", "/api/v1/admin/token-issue", b'{"project": "plant", "kind": "viewer"}').body
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=WAIT_S)
    connection.request("GET", f"/api/v1{BASE}/tail", headers={"Authorization": f"Bearer {issued['token']}"})
    answer = connection.getresponse()
    assert answer.readline() == b": tail\n"
    revoke = msgspec.json.encode({"project": PROJECT, "id": issued["id"]})
    assert node.ask("POST", "/api/v1/admin/token-revoke", revoke).status == 200
    post(node, {"power_kw": 3}, "meter")
    assert b"data" not in answer.read()
    connection.close()
