"""A restored node answers what the one that was saved answered, at every address, and has every file of its data."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import numpy as np
import pytest
from tests.faults.support import LiveNode, wait_until
from tests.runtime.people import add_people
from tests.runtime.test_backup import ACCOUNT, BEGIN_MS, DAY, HOUR_MS, MODEL, report, revived
from tests.runtime.test_decisions import decision
from tests.runtime.test_openapi_fuzz import DOCUMENT

from taihu.carbon.driven import Driven
from taihu.cli.enrolment import Key as DeviceKey
from taihu.cli.main import run
from taihu.insight.forecast.candidate import LEVELS
from taihu.insight.forecast.store import ForecastStore, Key
from taihu.insight.forecast.trained import Forecast
from taihu.kernel.files import OsFiles
from taihu.runtime.backup.repository import Repository
from taihu.runtime.edge.ledger import Record
from taihu.runtime.edge.state import Sent, State, read_state
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.decisions import Decisions

MORE = """
[[project.forecast]]
property = "main/energy"
[[project.controller]]
name = "b"
battery = "battery"
net = "main/power"
load = "main/power"
intensity = "main/power"
cost_weight = 0
carbon_weight = 1
capacity_kwh = 5
power_kw = 2
"""
GET = {path: operations["get"] for path, operations in DOCUMENT["paths"].items() if "get" in operations}
APART = {
    "/healthz": "of the process",
    "/metrics": "of the process",
    "/ping": "of the process",
    "/query": "of the process",
    "/api/v1/node": "of the process",
    "/api/v1/openapi.json": "of the release",
    "/.well-known/wot": "of the release",
    "/api/v1/session": "sessions are left out",
    "/api/v1/sessions": "sessions are left out",
    "/api/v1/sign-in": "of the configuration",
    "/api/v1/storage": "the journal holds less",
    "/api/v1/projects/{project}/storage": "the journal holds less",
    "/api/v1/directory/{rest}": "forwards to the directory",
    "/api/v1/projects/{project}/things/{thing}/actions/{action}/{id}": "a command by another name",
    "/api/v1/tokens": "of the person who asks",
    "/api/v1/ca/revoked": "signed anew at each start",
}
PASSING = {"now", "age_s", "stale", "last_used_at", "made_at", "known_at", "retrieved"}
FILES_APART = re.compile(
    r"data/(node\.json|control\.key|.*-(wal|shm)|.*\.(sock|lock|new)|history/(tmp/|.*/_delta_log/).*)"
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """A site in which every store has something."""
    folder = tmp_path_factory.mktemp("whole") / "site"
    folder.mkdir()
    model = MODEL | {"properties": MODEL["properties"] | {"power": {"type": "number", "unit": "kW"}}}
    (folder / "meter.tm.json").write_bytes(msgspec.json.encode(model))
    things = '[[project.thing]]\nname = "main"\nmodel = "meter.tm.json"\n'
    more = ACCOUNT.replace("[[project]]", MORE + "[[project]]")
    live = LiveNode(folder, ["pump", "flat"], {"snapshot_s": 0.5}, things=things, more=more)
    assert run(["ca", "init", "--site", str(folder)]) == 0
    paths = Paths(live.site.data)
    decisions = Decisions(paths.decisions)
    decisions.add("plant", "b", 5, decision(5))
    decisions.account("plant", "b", Driven(1, 1.0, 3.0, True, ""), 1.0)
    decisions.close()
    forecasts = ForecastStore(paths.forecasts)
    steps = np.arange(len(LEVELS) * 24, dtype=float).reshape(len(LEVELS), 24)
    key = Key("plant", "main", "energy", 3_600)
    forecasts.keep([(key, Forecast((BEGIN_MS + 20 * HOUR_MS) * 10**6, 3_600, "ridge", steps))])
    forecasts.close()
    paths.upstream.write_bytes(msgspec.json.encode(State(7, {"plant": Sent(Record(((1, 6),), {"main": 3}))})))
    paths.pilot_tokens.write_text('{"plant": "secret"}')
    live.start()
    try:
        fill(live)
        yield live
    finally:
        live.stop()


def fill(node: LiveNode) -> None:
    add_people(node)
    owner = (node.site.data / "admin.token").read_text()

    def act(action: str, **body: Any) -> Any:
        answer = node.ask("POST", f"/api/v1/admin/{action}", msgspec.json.encode(body), owner)
        assert answer.status == 200, answer
        return answer.body

    plant = {"project": "plant"}
    act("property-calculate", **plant, thing="main", name="twice", formula="2 * power", unit="kW")
    act("grant-add", **{"from": "plant", "to": "other", "things": ["main"]})
    act("certificate-issue", **plant, thing="pump", request=DeviceKey.make().request().decode())
    act("property-declare", **plant, thing="pump", property={"name": "level", "unit": "m"})
    hours = [{"ts": BEGIN_MS + hour * HOUR_MS, "values": {"energy": hour + 1.0, "power": 1.5}} for hour in range(24)]
    report(node, "main", hours)
    report(node, "pump", [{"ts": BEGIN_MS, "values": {"mode": "on", "words": "text", "on": True}}])
    report(node, "flat", [{"ts": BEGIN_MS, "values": {"mode": "off"}}])
    wait_until(lambda: len(node.get("/projects/plant/carbon/rows", **DAY).body["rows"]) == 24, "accounted")
    wish = {"thing": "main", "property": "limit", "input": 3.0, "why": "a test"}
    assert node.ask("POST", "/api/v1/projects/plant/commands", msgspec.json.encode(wish)).status in (200, 201, 202)
    permit = {"things": "main", "name": "limit", "low": 0, "high": 5, "per_minute": 1, "hours": 100}
    assert node.ask("POST", "/api/v1/projects/plant/standing", msgspec.json.encode(permit)).status in (200, 201)
    node.settle()
    assert node.ask("DELETE", "/api/v1/projects/plant/things/flat").status == 202
    wait_until(lambda: [one["state"] for one in node.get("/deletions").body["deletions"]] == ["erased"], "erased")


def asked(node: LiveNode, path: str, token: str) -> list[Any]:
    """What an address answers: with each project, thing and property that a description of it leaves open."""
    wanted: dict[str, Any] = {
        "thing": "main", "property": "energy", "project": "plant", "query": "$..title", "limit": 100, "every": "1h",
        "q": "SHOW DATABASES", "step": 3_600, "match[]": "energy", "end": DAY["end"], "start": DAY["start"],
    }  # fmt: skip
    if path.startswith("/prometheus"):
        wanted |= {name: DAY[key] // 10**9 for name, key in (("start", "start"), ("end", "end"), ("time", "end"))}
        wanted["query"] = "energy"
    if path.endswith("/forecast"):
        wanted |= {"at": DAY["end"], "horizon": "2h"}
    names = {one["name"] for one in GET[path].get("parameters", []) if one["in"] == "query"}
    found = []
    for thing, name in (("main", "energy"), ("main", "twice"), ("pump", "mode")):
        filled = {"project": "plant", "thing": thing, "property": name, "label": "thing"}
        query = {key: value for key, value in wanted.items() if key in names} | (
            {"thing": thing, "property": name} if {"thing", "property"} <= names else {}
        )
        address = path.format(**filled, id=id_of(node, path, token)) + (f"?{urlencode(query)}" if query else "")
        answer = node.ask("GET", address, token=token)
        assert answer.status < 500, (address, answer)
        found.append((address, answer.status, lasting(answer.body)))
        if address == path:
            break
    return found


def id_of(node: LiveNode, path: str, token: str) -> str:
    if "/directory/things/" in path:
        return str(node.get("/projects/plant/directory/things", token).body[0]["id"])
    kind = "deletions" if "/deletions/" in path else "projects/plant/commands"
    return str(node.get(f"/{kind}", token).body[kind.rpartition("/")[2]][0]["id"]) if "{id}" in path else ""


def lasting(body: Any) -> Any:
    """An answer without what changes by itself."""
    if isinstance(body, dict):
        return {name: lasting(value) for name, value in body.items() if name not in PASSING}
    if isinstance(body, str):
        return re.sub(r"&as_of=\d+", "", re.sub(r"127\.0\.0\.1:\d+", "node", body))
    return [lasting(one) for one in body] if isinstance(body, list) else body


PATHS = sorted(
    path for path, one in GET.items() if path not in APART and b"event-stream" not in msgspec.json.encode(one)
)


def test_every_address_answers_what_it_answered(node: LiveNode, tmp_path: Path) -> None:
    """§4, and nothing under `data` is left behind."""
    owner = (node.site.data / "admin.token").read_text()
    backups, target = tmp_path / "backups", tmp_path / "new"
    before = {path: asked(node, path, owner) for path in PATHS}
    assert run(["backup", "create", str(backups), "--site", str(node.folder)]) == 0
    assert run(["restore", str(backups), str(target)]) == 0
    saved = {one.path for one in Repository(OsFiles(), backups).manifest("").entries}
    there = {f"data/{path.relative_to(node.site.data)}" for path in node.site.data.rglob("*") if path.is_file()}
    journal = {name for name in there if name.startswith("data/journal/")}
    assert {name for name in there - saved - journal if not FILES_APART.fullmatch(name)} == set()
    assert {"data/decisions.sqlite", "data/forecasts.sqlite", "data/carbon.sqlite", "data/control.snapshot"} <= saved
    assert read_state(target / "data" / "upstream.json").keep_from == 7
    assert (target / "data" / "pilot-tokens.json").read_text() == '{"plant": "secret"}'

    other = revived(node, target)
    other.start()
    try:
        other.settle()
        after = {path: asked(other, path, owner) for path in PATHS}
    finally:
        other.stop()
    changed = {path: (before[path], after[path]) for path in PATHS if before[path] != after[path]}
    assert changed == {}
    empty = {path for path, answers in before.items() if not any(one[1] == 200 and one[2] for one in answers)}
    assert empty == set(), "nothing is compared there"
