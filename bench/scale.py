"""One node with 1,000 to 100,000 things: start, memory, the directory, newest values, a page of history.

While each question is answered, another connection asks for /healthz again and again: its longest wait says how long
the ingest process was kept from its devices.
"""

import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from bench.harness import ROOT, Options, Report, Row
from bench.machine import cpu_seconds, memory_mb
from bench.node import PROJECT, Node
from bench.probe import PERIOD_S
from bench.start_idle import MODEL, fill

NAME = "scale"
_THINGS = (1_000, 10_000, 100_000)
_PAGE = 1_000
_REPEAT = 3
_IDLE_S = 2.0
_AHEAD_NS = 60 * 1_000_000_000  # the readings lie that far ahead at most
_PATIENCE_S = 110
_BOTH = ("ingest", "worker")


def run(options: Options) -> Report:
    """Our node only: the peers of the other benchmarks have no things, and those that do need a database beside."""
    report = Report(NAME, "Scale of one node: things with 4 properties each, all with newest values")
    counts = (50,) if options.smoke else _THINGS
    starts = []
    for count in counts:
        rows = _rows(count, 1 if options.smoke else _REPEAT, 0.1 if options.smoke else _IDLE_S)
        starts.append(rows[0])
        report.rows += rows
    for kind in ("PSS MB", "RSS MB") if len(starts) > 1 else ():
        grown = sum(
            float(starts[-1][f"{name} {kind}"] or 0) - float(starts[0][f"{name} {kind}"] or 0) for name in _BOTH
        )
        report.note(f"Ingest and worker a thing: {grown * 1024 / (counts[-1] - counts[0]):.2f} k{kind[-1]} {kind[:3]}.")
    report.note(
        f"ms: median of {_REPEAT} questions one after the other, as a client sees them. CPU: of ingest, worker and the "
        "process that searches, the mean. Stall: the longest that another connection waited for /healthz meanwhile, "
        f"asked each {PERIOD_S * 1000:.0f} ms, which the CPU includes; idling says what the machine makes of it."
    )
    report.note(
        f"Pages: {_PAGE:,} Thing Descriptions at the front and at the end. Searches: JSONPath over all descriptions. "
        "Newest values: all of all things, page by page where they are more than a page. History: 1,000 readings."
    )
    report.note(
        "Goal: 100,000 things ready in 10 s, at most 4 kB RSS a thing, and no search stalls the ingest process."
    )
    return report


def _rows(count: int, repeat: int, idle_s: float) -> list[Row]:
    names = [f"device-{number:06d}" for number in range(count)]
    with Node([], MODEL, things=names) as node:
        node.configure("limits", query_timeout_s=_PATIENCE_S)  # however slow the machine, the figure is told
        fill(node, count)
        node.settle()
        node.stop()
        node.start()
        start: Row = {"things": f"{count:,}", "question": "start, then idle", "ms": node.ready_s * 1000}
        start["CPU ms"] = sum(map(cpu_seconds, node.pids.values())) * 1000
        with probed(node) as stall:
            time.sleep(idle_s)
        start["stall ms"] = stall["s"] * 1000
        for process, pid in node.pids.items():
            memory = memory_mb(pid)
            start |= {f"{process} PSS MB": memory["pss"], f"{process} RSS MB": memory["rss"]}
        rows = [start]
        for question, path, good in _questions(names, node.status()["now"] + _AHEAD_NS):
            row: Row = {"things": f"{count:,}", "question": question}
            rows.append(row | _asked(node, path, good, repeat))
        return rows


def _questions(names: list[str], now: int) -> list[tuple[str, str, Callable[[list[Any]], bool]]]:
    """What is asked, where, and whether the pages of the answer are right."""
    project = f"/api/v1/projects/{PROJECT}"
    things, search = f"{project}/directory/things", f"{project}/directory/search/jsonpath"
    page = min(_PAGE, len(names))
    last = quote(f"$[?@.title=='{names[-1]}'].id")
    past = f"thing={names[-1]}&property=power&start=0&end={now}&limit=1000"
    return [
        ("first page of descriptions", f"{things}?limit={page}", lambda pages: len(pages[0]) == page),
        ("last page of descriptions", f"{things}?limit={page}&offset={len(names) - page}", lambda p: len(p[0]) == page),
        ("search: one title of all", f"{search}?query={last}", lambda pages: len(pages[0]) == 1),
        ("search: every title", f"{search}?query={quote('$[*].title')}", lambda pages: len(pages[0]) == len(names)),
        ("search: the first ten", f"{search}?query={quote('$[:10].title')}", lambda pages: len(pages[0]) == 10),
        ("newest values of all", f"{project}/values", lambda p: sum(len(one["values"]) for one in p) == 4 * len(names)),
        ("page of a history", f"{project}/history?{past}", lambda pages: len(pages[0]["readings"]) == 1),
    ]


def _asked(node: Node, path: str, good: Callable[[list[Any]], bool], repeat: int) -> Row:
    """Ask again and again; the first answer, which may start a process, is checked and not counted."""
    assert good(ask(node, path)), path
    pids = [*node.pids.values(), *_children(node.pids["worker"])]
    before = {pid: cpu_seconds(pid) for pid in pids}
    taken = []
    with probed(node) as stall:
        for _ in range(repeat):
            began = time.perf_counter()
            pages = ask(node, path)
            taken.append(time.perf_counter() - began)
            assert good(pages), path
    used = sum(max(0.0, cpu_seconds(pid) - before[pid]) for pid in pids)
    return {
        "ms": statistics.median(taken) * 1000,
        "CPU ms": used / repeat * 1000,
        "stall ms": stall["s"] * 1000,
    }


def _children(pid: int) -> list[int]:
    """The processes that the worker has started: searches run in one of their own."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def ask(node: Node, path: str) -> list[Any]:
    """The pages of the answer to a question of the project's operator; RuntimeError when one is not 200."""
    pages: list[Any] = []
    target = path
    while True:
        connection = _connect(node)
        try:
            connection.request("GET", target, headers={"Authorization": f"Bearer {node.operator}"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{target}: {answer.status} {body[:300].decode(errors='replace')}")
        pages.append(msgspec.json.decode(body))
        following = pages[-1].get("next") if "/values" in path else None
        if following is None:
            return pages
        target = f"{path}?after={quote(following)}"


def _connect(node: Node) -> http.client.HTTPConnection:
    host, port = node.addresses["http"]
    return http.client.HTTPConnection(host, port, timeout=120)


@contextmanager
def probed(node: Node) -> Iterator[dict[str, float]]:
    """The longest that /healthz took meanwhile, in seconds, in `["s"]`."""
    stall = {"s": 0.0}
    host, port = node.addresses["http"]
    command = [sys.executable, "-m", "bench.probe", host, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        yield stall
        said, _ = process.communicate()
    stall["s"] = float(said)
