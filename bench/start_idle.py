"""Start and idle: time until a node serves, what it takes while nothing happens, and what 100,000 things cost."""

import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.harness import ROOT, Options, Report, Row
from bench.machine import memory_mb
from bench.node import PROJECT, Node, gauge
from bench.peers import free_port

NAME = "start_idle"
MODEL = {
    name: gauge(unit) for name, unit in (("power", "kW"), ("voltage", "V"), ("current", "A"), ("temperature", "Cel"))
}
_THINGS = 100_000
_BODY_THINGS = 5_000
_IDLE_S = 2.0
_READY_S = 60.0
_NAMES = ("supervisor", "ingest", "worker", "console")


def run(options: Options) -> Report:
    """An empty node with its console, then one with many things, each with four values."""
    report = Report(NAME, "Start and idle: `taihu run` until ready, PSS and RSS of its processes while idle, in MB")
    idle_s = 0.2 if options.smoke else _IDLE_S
    with Node([], MODEL, things=["device-0"]) as node:
        node.stop()
        starts = [_row("1 thing, 4 properties", node, idle_s) for _ in range(1 if options.smoke else options.runs)]
    empty = sorted(starts, key=lambda row: float(row["ready s"] or 0))[len(starts) // 2]
    report.rows.append(empty)
    things = 2_000 if options.smoke else _THINGS
    with Node([], MODEL, things=[f"device-{number:06d}" for number in range(things)]) as node:
        fill(node, things)
        node.stop()
        full = _row(f"{things:,} things, 4 properties", node, idle_s)
    report.rows.append(full)
    for kind in ("RSS", "PSS"):
        sums = [sum(float(row[f"{name} {kind}"] or 0) for name in ("ingest", "worker")) for row in (empty, full)]
        report.note(f"{kind} of ingest and worker a thing: {(sums[1] - sums[0]) * 1024 / things:.2f} kB.")
    report.note(
        "Ready: MQTT and HTTP serve and the worker answers. The console served its page once; no browser is open."
    )
    report.note(
        "Goal: ready in 3 s; ingest at most 120 MB PSS, all with the console at most 320 MB; with 100,000 things "
        "ready in 10 s and at most 4 kB RSS a thing. No peer: theirs have no things."
    )
    return report


def _row(name: str, node: Node, idle_s: float) -> Row:
    with _running(node) as (pids, ready_s):
        time.sleep(idle_s)
        row: Row = {"node": name, "ready s": ready_s}
        total = {"pss": 0.0, "rss": 0.0}
        for process in _NAMES:
            memory = memory_mb(pids[process])
            for kind in ("pss", "rss"):
                total[kind] += memory[kind]
                row[f"{process} {kind.upper()}"] = memory[kind]
        row["all PSS"] = total["pss"]
    return row


@contextmanager
def _running(node: Node) -> Iterator[tuple[dict[str, int], float]]:
    """The site under its supervisor, as `taihu run` does it, with a console: pids by name, seconds until ready."""
    code = "import sys; from pathlib import Path; from taihu.runtime.run import main; main(Path(sys.argv[1]))"
    node.configure("console", port=(port := free_port()))
    node.configure("http", port=free_port())
    token = node.folder / "operator.token"
    token.write_text(node.operator)
    with (node.folder / "supervisor.log").open("wb") as log:
        began = time.perf_counter()
        supervisor = subprocess.Popen([sys.executable, "-c", code, str(node.folder)], stderr=log, cwd=ROOT)
        try:
            node.wait_ready(supervisor, began)
            ready_s = time.perf_counter() - began
            console = subprocess.Popen(
                [sys.executable, "-m", "taihu.runtime", "console", str(node.folder), str(token)], stderr=log, stdout=log
            )
            try:
                _wait_page(port, console)
                pids = {"supervisor": supervisor.pid, "console": console.pid} | _children(supervisor.pid)
                yield pids, ready_s
            finally:
                console.terminate()
                console.wait()
        finally:
            supervisor.send_signal(signal.SIGINT)
            supervisor.wait()


def _wait_page(port: int, console: "subprocess.Popen[bytes]") -> None:
    began = time.perf_counter()
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                answer.read()
            return
        except OSError:
            if console.poll() is not None or time.perf_counter() - began > _READY_S:
                raise RuntimeError("the console did not start") from None
            time.sleep(0.05)


def _children(pid: int) -> dict[str, int]:
    """The supervised processes by name."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if b"taihu.runtime" in words:
                found[words[words.index(b"taihu.runtime") + 1].decode()] = int(child)
    return found


def fill(node: Node, things: int) -> None:
    """One reading of four values for every thing, through the HTTP door."""
    now = node.status()["now"] // 1_000_000
    for first in range(0, things, _BODY_THINGS):
        values = {"power": 1.25, "voltage": 230.1, "current": 5.43, "temperature": 21.5}
        names = [f"device-{number:06d}" for number in range(first, min(things, first + _BODY_THINGS))]
        body = {name: [{"ts": now + at, "values": values}] for at, name in enumerate(names)}
        report = node.post(f"/projects/{PROJECT}/readings", msgspec.json.encode(body))
        assert report["accepted"] == len(names), report
    node.settle()
