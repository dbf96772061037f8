"""Answers say that inputs were deleted (§10); taking readings away is noted; nobody overwrites unseen."""

from io import BytesIO
from typing import Any
from urllib.parse import quote

import msgspec
import polars as pl
import pytest
from tests.faults.support import CLOCK, PROJECT, LiveNode, wait_until
from tests.runtime.test_courtesy import ask
from tests.runtime.test_http import BASE, post

THING = "leaky"
MINUTE_NS = 60_000_000_000


@pytest.fixture(scope="module")
def start(node: LiveNode) -> int:
    """UTC ns: an hour of readings, one a minute, of which the second quarter was deleted."""
    body = msgspec.json.encode({"project": PROJECT, "name": THING})
    assert node.ask("POST", "/api/v1/admin/thing-create", body).status == 200
    first = (CLOCK.now_ns() // (60 * MINUTE_NS) - 3) * 60 * MINUTE_NS
    rows = [{"ts": (first + minute * MINUTE_NS) // 1_000_000, "values": {"drip": minute}} for minute in range(60)]
    assert post(node, rows, THING).status == 200
    node.settle()
    query = f"thing={THING}&property=drip&start={first + 15 * MINUTE_NS}&end={first + 30 * MINUTE_NS}"
    assert node.ask("DELETE", f"/api/v1{BASE}/readings?{query}").status in (200, 202)
    node.settle()
    return first


def test_tables_of_windows_say_so(node: LiveNode, start: int) -> None:
    path = f"/api/v1{BASE}/history?thing={THING}&property=drip&start={start}&end={start + 60 * MINUTE_NS}&every=15m"
    expected = [False, True, False, False]
    table = pl.read_csv(BytesIO(ask(node, "GET", f"{path}&format=csv").body))
    assert table["gone"].to_list() == expected
    frame = pl.read_ipc_stream(BytesIO(ask(node, "GET", f"{path}&format=arrow").body))
    assert frame["gone"].to_list() == expected
    assert frame["count"].to_list() == [15, 0, 15, 15]


def test_sql_says_so(node: LiveNode, start: int) -> None:
    sql = "SELECT thing, property, epoch_ns(start), epoch_ns(\"end\") FROM deletions WHERE thing = 'leaky'"
    answer = node.ask("POST", f"/api/v1{BASE}/sql", msgspec.json.encode({"sql": sql}))
    assert answer.body["rows"] == [[THING, "drip", start + 15 * MINUTE_NS, start + 30 * MINUTE_NS]], answer
    earlier = node.ask("POST", f"/api/v1{BASE}/sql?end={start}", msgspec.json.encode({"sql": sql}))
    assert earlier.body["rows"] == []
    stranger = node.ask(
        "POST", "/api/v1/projects/other/sql", msgspec.json.encode({"sql": sql}), node.strangers["other"]
    )
    assert stranger.body["rows"] == []


@pytest.mark.parametrize(
    ("minute", "query", "gone"), [(20, "drip", True), (59, "drip", False), (59, "avg_over_time(drip[1h])", True)]
)
def test_prometheus_warns(node: LiveNode, start: int, minute: int, query: str, gone: bool) -> None:
    asked = quote(query.replace("drip", f'drip{{thing="{THING}"}}'))
    path = f"/prometheus/{PROJECT}/api/v1/query?time={(start + minute * MINUTE_NS) // 10**9}&query={asked}"
    body = msgspec.json.decode(ask(node, "GET", path).body)
    assert body["status"] == "success"
    assert body.get("warnings", []) == ([f"Readings of {THING}/drip in this time were deleted."] if gone else [])


def test_who_takes_readings_away_is_noted(node: LiveNode, start: int) -> None:
    for form in ("csv", "arrow"):
        assert ask(node, "GET", f"/api/v1{BASE}/history?thing={THING}&format={form}").status == 200
    body = msgspec.json.encode({"sql": "SELECT 1 AS one"})
    assert ask(node, "POST", f"/api/v1{BASE}/sql?format=parquet", body).status == 200

    def noted() -> set[str]:
        entries = node.ask("GET", f"/api/v1/audit?project={PROJECT}&limit=200").body["entries"]
        return {one["detail"].partition(",")[0] for one in entries if one["what"] == "exported"}

    wanted = {f"{PROJECT} as {form}" for form in ("csv", "arrow", "parquet")}
    wait_until(lambda: wanted <= noted(), "the audit")
    entries: list[dict[str, Any]] = node.ask("GET", f"/api/v1/audit?project={PROJECT}&limit=200").body["entries"]
    assert any(one["what"] == "deleted" and THING in one["detail"] for one in entries)


def test_nobody_overwrites_what_he_has_not_seen(node: LiveNode, start: int) -> None:
    """If-Match on a description: PUT and PATCH change what was read, or nothing (412)."""
    path = f"/api/v1{BASE}/directory/things/" + quote("urn:example:matched", safe="")
    document = {
        "@context": "https://www.w3.org/2022/wot/td/v1.1", "id": "urn:example:matched", "title": "Matched",
        "securityDefinitions": {"no": {"scheme": "nosec"}}, "security": "no",
    }  # fmt: skip

    def put(**headers: str) -> int:
        return ask(
            node, "PUT", path, msgspec.json.encode(document), Content_Type="application/td+json", **headers
        ).status

    def patch(title: str, tag: str) -> int:
        kind = "application/merge-patch+json"
        return ask(node, "PATCH", path, msgspec.json.encode({"title": title}), Content_Type=kind, If_Match=tag).status

    assert put(If_Match="*") == 412
    assert put() == 201
    first = ask(node, "GET", path).headers["etag"]
    assert ask(node, "GET", path).headers["etag"] == first
    assert ask(node, "GET", path, If_None_Match=first).status == 304
    assert patch("One", first) == 204
    assert patch("Two", first) == 412
    assert put(If_Match=first) == 412
    assert msgspec.json.decode(ask(node, "GET", path).body)["title"] == "One"
    second = ask(node, "GET", path).headers["etag"]
    assert second != first
    assert put(If_Match=second) == 204
    assert put(If_Match="*") == 204
