"""§11 through the HTTP door: a grant opens the things it names, and nothing beside them."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.faults.support import CLOCK, PROJECT, LiveNode
from tests.waiting import WAIT_S

from taihu.doors.http.ports import Caller
from taihu.identity.principal import CredentialKind
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.config import parse_site
from taihu.protocols.mqtt.codec import encode
from taihu.protocols.mqtt.packets import Connect
from taihu.runtime.node.node import Node
from taihu.runtime.run import Supervisor

BASE = f"/projects/{PROJECT}"
MORE = """
[[project]]
name = "district"
[[project]]
name = "whole"
[[grant]]
from = "plant"
to = "district"
things = ["meter*"]
[[grant]]
from = "plant"
to = "whole"
[[project]]
name = "part"
[[grant]]
from = "plant"
to = "part"
rights = ["read", "write"]
things = ["meter-1"]
properties = ["power", "setpoint"]
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """`plant` grants its meters to `district` and all it has to `whole`."""
    node = LiveNode(
        tmp_path_factory.mktemp("grants") / "site", ["fan", "meter-1", "meter-2"], {"snapshot_s": 0.1}, more=MORE
    )
    node.start()
    for thing in node.tokens:
        assert node.ask("POST", f"/api/v1/{node.tokens[thing]}/telemetry", b'{"power": 1, "secret": 2}').status == 200
    node.settle()
    yield node
    node.stop()


def test_a_grant_for_some_things_opens_those(live: LiveNode) -> None:
    def names(path: str, key: str) -> list[str]:
        answer = live.get(f"{BASE}/{path}", live.strangers["district"])
        assert answer.status == 200, answer
        return sorted({entry["name" if key == "things" else "thing"] for entry in answer.body[key]})

    assert names("things", "things") == names("values", "values") == ["meter-1", "meter-2"]
    assert names("values?thing=meter-2", "values") == ["meter-2"]
    page = live.get(f"{BASE}/things", live.strangers["district"], limit=1)
    assert (page.body["things"], page.body["next"]) == ([], "fan")
    (seen,) = (each for each in _projects(live, "district") if each["granted"])
    assert seen == {"name": PROJECT, "title": "", "timezone": "UTC", "granted": True, "things": 2}
    token = live.strangers["district"]
    for path in ("things/{}", "things/{}/properties/power", "things/{}/desired", "values?thing={}"):
        assert live.get(f"{BASE}/{path.format('meter-1')}", token).status == 200, path
        assert live.get(f"{BASE}/{path.format('fan')}", token).status == 404, path
    for path in ("history", "asof"):
        assert live.get(f"{BASE}/{path}", token, thing="meter-1", property="power").status == 200
        assert live.get(f"{BASE}/{path}", token, thing="fan", property="power").status == 404


@pytest.mark.parametrize("reader", ["district", "whole"])
def test_a_grant_opens_nothing_to_write_and_no_other_view(live: LiveNode, reader: str) -> None:
    token = live.strangers[reader]
    for path in ("tail", "quarantine"):
        assert live.get(f"{BASE}/{path}", token).status == 403, path
    wish = live.ask("PUT", f"/api/v1{BASE}/things/meter-1/desired", b'{"power": 2}', token)
    readings = live.ask("POST", f"/api/v1{BASE}/readings?thing=meter-1", b'{"power": 2}', token)
    assert (wish.status, readings.status) == (403, 403)


def test_a_grant_for_some_properties_opens_those(live: LiveNode) -> None:
    """The others are shown nowhere, and what asks for all of a thing is answered as if there were none."""
    token = live.strangers["part"]
    assert [each["name"] for each in live.get(f"{BASE}/things", token).body["things"]] == ["meter-1"]
    for query in ("", "?thing=meter-1"):
        values = live.get(f"{BASE}/values{query}", token).body["values"]
        assert [(each["thing"], each["property"]) for each in values] == [("meter-1", "power")]
    assert set(live.get(f"{BASE}/things/meter-1", token).body["properties"]) == {"power"}
    for prop, status in (("power", 200), ("secret", 404)):
        assert live.get(f"{BASE}/things/meter-1/properties/{prop}", token).status == status
        for path in ("history", "asof"):
            assert live.get(f"{BASE}/{path}", token, thing="meter-1", property=prop).status == status, (path, prop)
    topology = live.get(f"{BASE}/topology", token).body
    assert topology["things"] == ["meter-1"]


def test_a_grant_to_write_lets_say_what_is_wanted(live: LiveNode) -> None:
    token = live.strangers["part"]

    def want(thing: str, body: bytes) -> int:
        return live.ask("PUT", f"/api/v1{BASE}/things/{thing}/desired", body, token).status

    assert want("meter-1", b'{"setpoint": 21}') == 200
    wished = live.get(f"{BASE}/things/meter-1/desired", live.operator).body["desired"]
    assert (wished["setpoint"]["value"], wished["setpoint"]["by"]) == (21, "part/operator")
    assert want("meter-1", b'{"setpoint": 22, "mode": 1}') == 403 and want("meter-2", b'{"setpoint": 1}') == 404
    wished = live.get(f"{BASE}/things/meter-1/desired", live.operator).body["desired"]
    assert {name: wish["value"] for name, wish in wished.items()} == {"setpoint": 21}
    assert live.ask("PUT", f"/api/v1{BASE}/things/meter-1/desired", b"{}", live.strangers["district"]).status == 200
    reader = live.ask("PUT", f"/api/v1{BASE}/things/meter-1/desired", b'{"power": 2}', live.strangers["district"])
    assert reader.status == 403


def test_either_side_proposes_and_the_other_accepts(live: LiveNode) -> None:
    def act(action: str, token: str, **body: Any) -> Any:
        return live.ask("POST", f"/api/v1/admin/{action}", msgspec.json.encode(body), token)

    plant, part = live.operator, live.strangers["part"]
    terms = {"from": PROJECT, "to": "part", "things": ["fan"]}
    assert act("grant-add", part, **terms).status == act("grant-request", plant, **terms).status == 403
    for action, proposer, other in (("grant-add", plant, part), ("grant-request", part, plant)):
        number = act(action, proposer, **terms).body["id"]
        assert live.get(f"{BASE}/values?thing=fan", part).status == 404
        assert act("grant-accept", proposer, id=number).status == 403
        assert act("grant-accept", live.strangers["district"], id=number).status == 403
        for side in (plant, part):
            listed = {each["id"]: each["state"] for each in act("grant-list", side).body["grants"]}
            assert listed[number] == ("offered" if action == "grant-add" else "requested")
        assert number not in {each["id"] for each in act("grant-list", live.strangers["district"]).body["grants"]}
        assert act("grant-accept", other, id=number).body["state"] == "active"
        assert live.get(f"{BASE}/values?thing=fan", part).status == 200
        assert act("grant-remove", live.strangers["district"], id=number).status == 403
        assert act("grant-remove", other, id=number).status == 200
        assert live.get(f"{BASE}/values?thing=fan", part).status == 404


def test_counters_are_those_of_what_one_may_read(live: LiveNode) -> None:
    """§11: nobody learns from them how busy another project is; who may read all is told of the node as a whole."""
    owner = (live.site.data / "admin.token").read_text()
    own, stranger, all_of_it = (
        live.get("/node", token).body for token in (live.operator, live.strangers["district"], owner)
    )
    counted = ("things", "acked", "points", "stored")
    assert [own[name] for name in counted] == [3, 3, 6, 6]
    assert [stranger[name] for name in counted] == [0, 0, 0, 0]
    assert [all_of_it[name] for name in counted] == [3, 3, 6, 6]
    assert (own["projects"], stranger["projects"], all_of_it["projects"]) == (1, 1, 4)
    assert [("mqtt" in status, "groups" in status) for status in (own, stranger, all_of_it)] == [
        (False, False),
        (False, False),
        (True, True),
    ]


def test_a_token_does_no_more_than_its_scopes_and_hands_on_no_more(live: LiveNode) -> None:
    """Every way to write or administer, with tokens of one scope each."""

    def issued(by: str, **terms: Any) -> Any:
        body = {"project": PROJECT, "kind": "operator"} | terms
        return live.ask("POST", "/api/v1/admin/token-issue", msgspec.json.encode(body), by)

    for scope in ("read", "write", "ingest", "command", "admin"):
        token = issued(live.operator, scopes=[scope]).body["token"]
        assert live.get(f"{BASE}/values", token).status == (200 if scope == "read" else 404)
        readings = live.ask("POST", f"/api/v1{BASE}/readings?thing=fan", b'{"power": 1}', token)
        wish = live.ask("PUT", f"/api/v1{BASE}/things/fan/desired", b'{"x": 1}', token)
        assert (readings.status == 200) is (scope == "ingest"), readings
        assert (wish.status == 200) is (scope == "write"), wish
        statuses = [
            issued(token, **terms).status for terms in ({}, {"kind": "viewer"}, {"kind": "thing", "thing": "fan"})
        ]
        assert statuses == [403, 403, 403]
        assert issued(token, scopes=["admin"]).status == (200 if scope == "admin" else 403)
    only = issued(live.operator, things=["meter*"]).body["token"]
    assert live.get(f"{BASE}/values?thing=meter-1", only).status == 200
    assert live.get(f"{BASE}/values?thing=fan", only).status == 404
    assert [each["name"] for each in live.get(f"{BASE}/things", only).body["things"]] == ["meter-1", "meter-2"]
    for path in ("tail", "quarantine", "quarantine?thing=fan"):
        assert live.get(f"{BASE}/{path}", only).status == 403, path
    assert live.ask("POST", f"/api/v1{BASE}/readings?thing=fan", b'{"power": 1}', only).status == 403
    assert live.ask("POST", f"/api/v1{BASE}/readings", b'{"fan": [{"power": 1}]}', only).status == 403
    assert issued(only, kind="viewer").status == 403


def test_a_grant_for_all_opens_all(live: LiveNode) -> None:
    found = live.get(f"{BASE}/things", live.strangers["whole"]).body["things"]
    assert [each["name"] for each in found] == ["fan", "meter-1", "meter-2"]
    assert {each["name"]: each["things"] for each in _projects(live, "whole")} == {PROJECT: 3, "whole": 0}


def test_the_owner_of_the_node_writes_nothing(live: LiveNode) -> None:
    owner = (Path(live.site.data) / "admin.token").read_text()
    assert live.ask("POST", f"/api/v1{BASE}/readings?thing=fan", b'{"power": 9}', owner).status == 403
    assert live.ask("PUT", f"/api/v1{BASE}/things/fan/desired", b'{"power": 9}', owner).status == 403


def test_a_token_that_expires_ends_its_connection(live: LiveNode) -> None:
    """§11: not only the next one."""
    soon = CLOCK.now_ns() + NS_PER_S
    wanted = {"project": PROJECT, "thing": "fan", "expires_at": soon}
    token = live.ask("POST", "/api/v1/admin/token-issue", msgspec.json.encode(wanted)).body["token"]
    with socket.create_connection(("127.0.0.1", live.mqtt_port), timeout=WAIT_S) as device:
        device.sendall(encode(Connect(4, "brief", True, 0, username=token), 4))
        assert device.recv(4) == b"\x20\x02\x00\x00"
        assert device.recv(1) == b""
    assert soon <= CLOCK.now_ns()


def _projects(live: LiveNode, reader: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = live.get("/projects", live.strangers[reader]).body["projects"]
    return found


@pytest.mark.parametrize(("host", "opened"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False)])
def test_metrics_are_open_to_this_machine_and_elsewhere_to_who_reads_all(
    tmp_path: Path, host: str, opened: bool
) -> None:
    """§11: nothing listens here; this is the rule."""
    site = parse_site(f'[http]\nhost = "{host}"\n[[project]]\nname = "a"\n[[project]]\nname = "b"\n', tmp_path)

    async def body() -> None:
        Supervisor(site).prepare().close()
        node = Node(site, CLOCK)
        try:
            assert node.may_see_metrics(None) is opened
            assert node.may_see_metrics(Caller("a", CredentialKind.OPERATOR)) is opened
            assert node.may_see_metrics(Caller("", CredentialKind.ADMIN))
            node.directory.grant("b", "a")
            assert node.may_see_metrics(Caller("a", CredentialKind.VIEWER))
        finally:
            await node.pipeline.close()
            node.journal.close()
            node.directory.close()

    asyncio.run(body())
