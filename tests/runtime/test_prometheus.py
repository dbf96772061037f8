"""Prometheus's HTTP API as Grafana and the PyPI client prometheus-api-client use it; figures as Prometheus's."""

import shutil
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import msgspec
import pytest
from prometheus_api_client import PrometheusConnect
from tests.faults.support import CLOCK, PROJECT, LiveNode
from tests.runtime.test_courtesy import ask
from tests.runtime.test_http import post
from tests.waiting import WAIT_S

ROOT = f"/prometheus/{PROJECT}"
STEP_S = 10
COUNT = 180
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")


@pytest.fixture(scope="module")
def start(node: LiveNode) -> int:
    """Unix seconds of the first reading; one each 10 s, with a gap, a reset and two things."""
    first = CLOCK.now_ns() // 10**9 // 60 * 60 - 7_200
    for thing in ("pump", "fan"):
        rows = [{"ts": (first + at * STEP_S) * 1_000, "values": values} for at, values in readings(thing)]
        assert post(node, rows, thing).status == 200
    energy = [
        {"ts": (first + 60 * at) * 1_000, "values": {"energy_kwh": value}}
        for at, value in enumerate((10, 16, 22, 2, 8))
    ]
    assert post(node, energy, "meter").status == 200
    turns = [{"ts": (first + at) * 1_000, "values": {"turns": at}} for at in (10, 100)]
    assert post(node, turns, "fan").status == 200
    node.settle()
    return first


def readings(thing: str) -> list[tuple[int, dict[str, float]]]:
    shift = 0.5 if thing == "pump" else 0.0
    places = [at for at in range(COUNT) if not 60 <= at < 120]
    return [(at, {"load.kw": (at * 7 % 13) + shift, "ticks": (at * 3) % 200 + shift}) for at in places]


def get(node: LiveNode, path: str, **parameters: Any) -> Any:
    told = ask(node, "GET", f"{ROOT}/api/v1/{path}?{urlencode(parameters, doseq=True)}")
    return told.status, msgspec.json.decode(told.body)


def result(node: LiveNode, query: str, at: float) -> dict[tuple[tuple[str, str], ...], float]:
    status, body = get(node, "query", query=query, time=at)
    assert status == 200, body
    return {tuple(sorted(line["metric"].items())): float(line["value"][1]) for line in body["data"]["result"]}


def test_the_client_of_others_sees_series_labels_and_ranges(node: LiveNode, start: int) -> None:
    url = f"http://127.0.0.1:{node.http_port}{ROOT}"
    client = PrometheusConnect(url=url, headers={"Authorization": f"Bearer {node.operator}"}, disable_ssl=True)
    assert {"load_kw", "ticks", "energy_kwh"} <= set(client.all_metrics())
    assert {"__name__", "thing", "kind", "unit", "property"} <= set(client.get_label_names())
    assert {"pump", "fan"} <= set(client.get_label_values("thing"))
    (line,) = client.custom_query('load_kw{thing="pump"}', params={"time": start + 50 * STEP_S})
    assert line["metric"] == {"__name__": "load_kw", "thing": "pump", "kind": "gauge", "property": "load.kw"}
    assert float(line["value"][1]) == 50 * 7 % 13 + 0.5
    found = client.custom_query_range("sum by (thing) (load_kw)", _moment(start), _moment(start + 100), str(STEP_S))
    assert [series["metric"] for series in found] == [{"thing": "fan"}, {"thing": "pump"}]
    assert [float(value) for _, value in found[0]["values"]] == [at * 7 % 13 for at in range(11)]


def _moment(seconds: int) -> Any:
    import datetime

    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def test_what_grafana_asks_first(node: LiveNode, start: int) -> None:
    """Save & test posts 1+1 as a form, with the token as a password; then it looks around."""
    basic = "Basic " + b64encode(f"any:{node.viewer}".encode()).decode()
    form = {"Content_Type": "application/x-www-form-urlencoded", "Authorization": basic}
    told = ask(node, "POST", f"{ROOT}/api/v1/query", b"query=1%2B1&time=1700000000", **form)
    assert msgspec.json.decode(told.body)["data"] == {"resultType": "scalar", "result": [1_700_000_000.0, "2"]}
    assert get(node, "status/buildinfo")[1]["data"]["version"]
    assert get(node, "rules")[1]["data"] == {"groups": []}
    assert get(node, "query_exemplars", query="up")[1]["data"] == []
    assert get(node, "metadata")[1]["data"]["energy_kwh"] == [{"type": "counter", "help": "", "unit": "kW.h"}]
    body = urlencode({"match[]": 'ticks{thing=~"p.*"}'}).encode()
    told = ask(node, "POST", f"{ROOT}/api/v1/series", body, **form)
    assert [each["thing"] for each in msgspec.json.decode(told.body)["data"]] == ["pump"]
    assert get(node, "label/thing/values", **{"match[]": 'energy_kwh{thing=~"me.*"}'})[1]["data"] == ["meter"]


def test_a_reading_is_seen_until_its_max_age(node: LiveNode, start: int) -> None:
    """§3: never the last value beyond its `max_age`, which is 900 s here."""
    last = start + (COUNT - 1) * STEP_S
    assert len(result(node, "ticks", last + 899)) == 2
    assert result(node, "ticks", last + 901) == {}


def test_a_counter_is_rated_through_its_reset(node: LiveNode, start: int) -> None:
    """What our own windows say: 6 kWh a minute, 2 after the register began again."""
    (increase,) = result(node, 'increase(energy_kwh{thing="meter"}[4m])', start + 240).values()
    assert increase == pytest.approx(6 + 6 + 2 + 6)
    (half,) = result(node, 'increase(energy_kwh{thing="meter"}[90s])', start + 120).values()
    assert half == pytest.approx(9)
    (rate,) = result(node, 'rate(energy_kwh{thing="meter"}[1h])', start + 240).values()
    assert rate == pytest.approx(20 / 240)


def test_readings_of_a_range_come_raw(node: LiveNode, start: int) -> None:
    _, body = get(node, "query", query='ticks{thing="fan"}[30s]', time=start + 40)
    assert body["data"]["resultType"] == "matrix"
    assert body["data"]["result"][0]["values"] == [[start + 20.0, "6"], [start + 30.0, "9"], [start + 40.0, "12"]]


@pytest.mark.parametrize(
    ("path", "parameters", "status", "kind"),
    [
        ("query", {}, 400, "bad_data"),
        ("query", {"query": "up +"}, 400, "bad_data"),
        ("query", {"query": "topk(1, up)"}, 400, "bad_data"),
        ("query", {"query": "1", "time": "noon"}, 400, "bad_data"),
        ("query", {"query": 'rate({thing="fan",property=""}[5m])'}, 422, "execution"),
        ("query_range", {"query": "up", "start": 2, "end": 1, "step": 1}, 400, "bad_data"),
        ("query_range", {"query": "up", "start": 0, "end": 1e9, "step": 1}, 400, "bad_data"),
        ("query_range", {"query": "up", "start": 0, "end": 1, "step": 0}, 400, "bad_data"),
        ("query_range", {"query": "up", "start": 0, "end": 1, "step": "x"}, 400, "bad_data"),
        ("series", {}, 400, "bad_data"),
        ("series", {"match[]": "1"}, 400, "bad_data"),
    ],
)
def test_errors_have_prometheuss_form(
    node: LiveNode, start: int, path: str, parameters: dict[str, Any], status: int, kind: str
) -> None:
    told, body = get(node, path, **{"time": start + 300, **parameters} if path == "query" else parameters)
    assert (told, body["status"], body["errorType"]) == (status, "error", kind), body


def test_nobody_sees_what_is_not_his(node: LiveNode, start: int) -> None:
    """§11: by any endpoint, and a thing sees its own alone."""
    stranger, thing = f"Bearer {node.strangers['other']}", f"Bearer {node.tokens['fan']}"
    for path in ("query?query=ticks", "query_range?query=ticks&start=0&end=1&step=1", "series?match[]=ticks", "labels",
                 "label/thing/values", "metadata", "status/buildinfo", "rules"):  # fmt: skip
        told = ask(node, "GET", f"{ROOT}/api/v1/{path}", Authorization=stranger)
        absent = ask(node, "GET", f"/prometheus/absent/api/v1/{path}", Authorization=stranger)
        assert told.status == absent.status == 404, path
        assert told.body.replace(PROJECT.encode(), b"absent") == absent.body
        assert ask(node, "GET", f"{ROOT}/api/v1/{path}", Authorization="").status == 401
    own = ask(node, "GET", f"{ROOT}/api/v1/label/thing/values", Authorization=thing)
    assert msgspec.json.decode(own.body)["data"] == ["fan"]
    seen = ask(node, "GET", f"{ROOT}/api/v1/query?query=ticks&time={start + 10}", Authorization=thing)
    assert [line["metric"]["thing"] for line in msgspec.json.decode(seen.body)["data"]["result"]] == ["fan"]
    assert not node.log_lines("ingest", "Traceback")
    assert not node.log_lines("worker", "Traceback")


@pytest.fixture(scope="module")
def theirs(start: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prometheus with the same series, backfilled by its own tool: its address."""
    if PROMETHEUS is None or PROMTOOL is None:
        pytest.skip("prometheus is not installed")
    folder = tmp_path_factory.mktemp("prometheus")
    _write(folder / "series", start)
    subprocess.run(
        [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", folder / "series", folder / "data"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "config.yml").write_text("global:\n  scrape_interval: 1h\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROMETHEUS, f"--config.file={folder}/config.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={address}", "--query.lookback-delta=15m"], stdout=log, stderr=log,
        )  # fmt: skip
    try:
        for _ in range(600):
            try:
                with urlopen(f"http://{address}/-/ready", timeout=WAIT_S) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(WAIT_S)


def _write(path: Path, start: int) -> None:
    lines = []
    for metric, name in (("load_kw", "load.kw"), ("ticks", "ticks")):
        lines.append(f"# TYPE {metric} gauge")
        for thing in ("fan", "pump"):
            more = f',property="{name}"' if metric != name else ""
            lines += [
                f'{metric}{{kind="gauge",thing="{thing}"{more}}} {values[name]} {start + at * STEP_S}'
                for at, values in readings(thing)
            ]
    path.write_text("\n".join([*lines, "# EOF", ""]))


QUERIES = [
    "load_kw", 'ticks{thing!="fan"}', 'ticks{thing=~"f.*"} offset 90s', "rate(ticks[2m])", "increase(ticks[95s])",
    "delta(load_kw[3m])", "avg_over_time(load_kw[65s])", "min_over_time(load_kw[65s])", "max_over_time(load_kw[65s])",
    "sum_over_time(load_kw[65s])", "count_over_time(load_kw[15m])", "last_over_time(load_kw[65s])", "sum(load_kw)",
    "avg by (kind) (ticks)", "max without (thing) (load_kw)", "count(ticks)", "min(rate(ticks[5m]))", "load_kw * 2 + 1",
    "100 - ticks", "ticks > 50", "ticks >= bool 50", "-load_kw", "ticks % 7", "2 ^ load_kw", "1 / load_kw",
    "sum(ticks) / 2", '{thing="pump",__name__=~"load.*"}', "rate(ticks[1s])", "absent_metric",
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
def test_prometheus_itself_gives_the_same(node: LiveNode, start: int, theirs: str, query: str) -> None:
    """Over the gap and the resets, at times that are no reading's own: there the two differ by their edges' rule."""
    span = {"query": query, "start": start + 33, "end": start + COUNT * STEP_S + 1_000, "step": 30}
    with urlopen(f"http://{theirs}/api/v1/query_range?{urlencode(span, quote_via=quote)}", timeout=WAIT_S) as answer:
        wanted = msgspec.json.decode(answer.read())["data"]["result"]
    status, body = get(node, "query_range", **span)
    assert status == 200, body
    assert _lines(body["data"]["result"]) == pytest.approx(_lines(wanted), rel=1e-9)


def _lines(result: list[Any]) -> dict[str, float]:
    return {
        f"{sorted(line['metric'].items())} {when:.3f}": float(value)
        for line in result
        for when, value in line["values"]
        if value != "NaN"
    }
