"""Long answers of the history over HTTP: in three forms, page by page, bounded, and nobody else's (§11)."""

import csv
import http.client
from io import BytesIO, StringIO
from typing import Any

import msgspec
import polars as pl
import pytest
from tests.faults.support import CLOCK, LiveNode, wait_until
from tests.runtime.test_courtesy import ask
from tests.runtime.test_http import BASE, post
from tests.waiting import WAIT_S

PATH = f"/api/v1{BASE}/history"
ARROW = "application/vnd.apache.arrow.stream"
COUNT = 25_000  # several pages


@pytest.fixture(scope="module")
def start(node: LiveNode) -> int:
    """UTC ms of the first reading of `flow` of the pump; one a millisecond, `count` beside it."""
    first = CLOCK.now_ns() // 1_000_000 - 3_600_000
    for begin in range(0, COUNT, 5_000):
        rows = [
            {"ts": first + place, "values": {"flow": place / 4, "count": place}}
            for place in range(begin, begin + 5_000)
        ]
        assert post(node, rows, "pump").status == 200
    assert post(node, {"ts": first, "values": {"flow": -1, "state": "on"}}, "fan").status == 200
    node.settle()
    return first


def wanted(start: int, **more: Any) -> str:
    query = {"start": start * 1_000_000, "end": (start + COUNT) * 1_000_000} | more
    return "&".join(f"{name}={value}" for name, value in query.items())


def test_a_long_answer_comes_whole_in_every_form(node: LiveNode, start: int) -> None:
    path = f"{PATH}?thing=pump&property=flow&{wanted(start)}"
    told = ask(node, "GET", path, Accept=ARROW, Accept_Encoding="zstd")
    assert told.headers["content-type"] == ARROW
    plain = ask(node, "GET", path, Accept=ARROW)
    assert "content-length" not in plain.headers
    frame = pl.read_ipc_stream(BytesIO(plain.body))
    assert frame["value"].to_list() == [place / 4 for place in range(COUNT)]
    assert frame["observed_at"].dtype == pl.Datetime("ns", "UTC")
    assert frame["observed_at"].to_physical()[0] == start * 1_000_000
    table = pl.read_csv(BytesIO(ask(node, "GET", path, Accept="text/csv").body), try_parse_dates=True)
    assert table["value"].to_list() == frame["value"].to_list()
    document = msgspec.json.decode(ask(node, "GET", f"{path}&limit=1000000").body)
    assert [each["value"] for each in document["readings"]] == frame["value"].to_list()
    assert set(document) == {"project", "thing", "property", "unit", "kind", "readings"}


def test_many_properties_come_in_one_answer(node: LiveNode, start: int) -> None:
    several = f"{PATH}?thing=pump&thing=fan&property=flow&property=count&property=state&{wanted(start)}"
    document = msgspec.json.decode(ask(node, "GET", f"{several}&limit=2").body)
    found = {
        (each["thing"], each["property"]): [one["value"] for one in each["readings"]] for each in document["series"]
    }
    assert found == {
        ("pump", "flow"): [0, 0.25],
        ("pump", "count"): [0, 1],
        ("fan", "flow"): [-1],
        ("fan", "state"): ["on"],
    }
    everything = ask(node, "GET", f"{PATH}?format=csv&{wanted(start)}").body.decode()
    rows = list(csv.DictReader(StringIO(everything, newline="")))
    names = {(row["thing"], row["property"]) for row in rows}
    assert {("pump", "flow"), ("pump", "count"), ("fan", "flow"), ("fan", "state")} <= names
    assert sum(row["thing"] == "pump" and row["property"] in ("flow", "count") for row in rows) == 2 * COUNT
    windows = msgspec.json.decode(ask(node, "GET", f"{several}&every=10s").body)["series"]
    assert sum(window["count"] for window in windows[0]["windows"]) == COUNT


def test_a_limit_links_to_what_it_left_out(node: LiveNode, start: int) -> None:
    path = f"{PATH}?thing=pump&property=count&limit=5000&{wanted(start)}"
    for order, values in (("asc", list(range(COUNT))), ("desc", list(range(COUNT))[::-1])):
        found: list[float] = []
        following = f"{path}&order={order}"
        while following:
            told = ask(node, "GET", following)
            found += [reading["value"] for reading in msgspec.json.decode(told.body)["readings"]]
            following = told.headers.get("link", "")[1:].partition(">")[0]
        assert found == values


def test_a_form_nobody_gives_is_refused(node: LiveNode, start: int) -> None:
    path = f"{PATH}?thing=pump&property=flow&{wanted(start)}"
    told = ask(node, "GET", path, Accept="image/png")
    assert (told.status, msgspec.json.decode(told.body)["type"]) == (406, "urn:taihu:problem:not-acceptable")
    assert ask(node, "GET", f"{path}&format=xml").status == 400
    assert ask(node, "GET", path, Accept="image/png, */*;q=0.1").headers["content-type"] == "application/json"
    assert ask(node, "GET", f"{path}&format=csv", Accept="image/png").headers["content-type"].startswith("text/csv")


def test_a_long_answer_holds_little_memory_and_ends_with_its_reader(node: LiveNode, start: int) -> None:
    """§6: someone who reads a little and goes away costs no more than that."""
    before = {name: node.rss_bytes(name) for name in ("ingest", "worker")}
    path = f"{PATH}?format=csv&thing=pump&{wanted(start)}"
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=WAIT_S)
        connection.request("GET", path, headers={"Authorization": f"Bearer {node.operator}"})
        assert connection.getresponse().read(100).startswith(b"thing,property,unit,")
        connection.close()
    assert ask(node, "HEAD", path).status == 200
    assert len(ask(node, "GET", path).body) > 3_000_000
    wait_until(lambda: node.status()["worker"] == "running", "the worker")
    for name, size in before.items():
        assert node.rss_bytes(name) - size < 60_000_000, name


def test_nobody_reads_what_is_not_his(node: LiveNode, start: int) -> None:
    """§11: in every form, named and unnamed."""
    stranger, thing = f"Bearer {node.strangers['other']}", f"Bearer {node.tokens['fan']}"
    for form in ("json", "csv", "arrow"):
        query = f"format={form}&{wanted(start)}"
        for named in ("", "&thing=pump", "&thing=pump&property=flow"):
            assert ask(node, "GET", f"{PATH}?{query}{named}", Authorization=stranger).status == 404
        assert ask(node, "GET", f"{PATH}?{query}&thing=pump", Authorization=thing).status == 404
        assert ask(node, "GET", f"{PATH}?{query}&thing=fan&thing=pump", Authorization=thing).status == 404
        own = ask(node, "GET", f"{PATH}?{query}", Authorization=thing)
        assert own.status == 200
        assert b"pump" not in own.body


def test_nothing_of_it_was_a_defect(node: LiveNode, start: int) -> None:
    assert not node.log_lines("ingest", "Traceback")
    assert not node.log_lines("worker", "Traceback")
