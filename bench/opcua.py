"""OPC UA: our driver beside a bare asyncua loop, at what a server can be told to change."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from bench.harness import ROOT, Options, Report, Row, side_by_side
from bench.machine import cpu_seconds
from bench.peers import Absent, free_port

NAME = "opcua"
_NODES = 1_000
_RATES = (2_000, 10_000)


def run(options: Options) -> Report:
    """Both clients in turn, at each rate."""
    report = Report(NAME, "OPC UA: a subscription to 1,000 nodes, asyncua's server in another process")
    if importlib.util.find_spec("asyncua") is None:
        report.note("asyncua is not installed: pip install 'taihu[opcua]'.")
        return report
    nodes, seconds = (20, 3.0) if options.smoke else (_NODES, max(10.0, options.seconds))
    for rate in (200,) if options.smoke else _RATES:
        contenders: dict[str, Callable[[], Row]] = {
            name: lambda kind=kind, name=name, rate=rate: _one(name, kind, nodes, rate, seconds)  # type: ignore[misc]
            for name, kind in (("taihu", "taihu"), ("bare asyncua", "asyncua"))
        }
        side_by_side(report, contenders, 1 if options.smoke else options.runs, "changes/s")
    report.note("Both encode each reading as the driver's line to the node does; CPU is the client's alone.")
    report.note(
        "Goal: clean at 2,000/s; offered 10,000/s the session is kept, every node is heard of, and what is sampled is "
        "counted."
    )
    return report


def _one(name: str, kind: str, nodes: int, rate: int, seconds: float) -> Row:
    from bench.opcua_client import Came

    with _server(nodes, rate) as (port, server):
        written = _written(server)
        before = cpu_seconds(server.pid)
        command = [sys.executable, "-m", "bench.opcua_client", kind, str(port), str(nodes), str(seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, check=True, timeout=seconds + 60)
        came = msgspec.json.decode(done.stdout, type=Came)
        used = cpu_seconds(server.pid) - before
        written = _written(server) - written
    if not came.points:
        raise Absent("nothing came")
    return {
        "client": name,
        "offered/s": float(rate),
        "changes/s": came.changes / seconds,
        "CPU us/change": came.cpu_s / max(1, came.changes) * 1e6,
        "server us/change": used / max(1, written) * 1e6,
        "nodes heard of": float(came.points),
        "sessions lost": float(came.lost),
        "sampled": float(came.counts.get("sampled", 0)),
        "slowed": float(came.counts.get("slowed", 0)),
    }


@contextmanager
def _server(nodes: int, rate: int) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    port = free_port()
    command = [sys.executable, "-m", "bench.opcua_server", str(port), str(nodes), str(rate)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield port, process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _written(server: "subprocess.Popen[str]") -> int:
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write("\n")
    server.stdin.flush()
    return int(server.stdout.readline())
