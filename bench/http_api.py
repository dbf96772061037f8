"""The HTTP door: newest values one by one and 10,000 at once, and batches of readings."""

import http.client
import select
import socket
import statistics
import time
from collections.abc import Callable

import msgspec

from bench.harness import Options, Report, Row
from bench.http_peers import starlette, victoria
from bench.machine import cpu_seconds
from bench.node import PROJECT, Node, gauge
from bench.peers import Absent
from taihu.things.batch import Batch, Column
from taihu.twin.twin import Twin

NAME = "http_api"
_VALUES = {"power": 1.25, "voltage": 230.1, "current": 5.43, "temperature": 21.5}
_THINGS = 2_500
_CONNECTIONS = 16
_READINGS = (1_000, 5_000)
_LINES = 1_000
_REPEAT = 15
Bodies = Callable[[int], tuple[str, str, bytes]]
"""The path, content type and body of a POST by its number."""


def run(options: Options) -> Report:
    """Our node, and what others make of requests like these; the floor is the same server's /healthz."""
    report = Report(NAME, "HTTP door: requests of one process, one core")
    things = [f"device-{number:04d}" for number in range(50 if options.smoke else _THINGS)]
    with Node(["device"], {name: gauge("kW") for name in _VALUES}, things=things) as node:
        _fill(node, things)
        found = node.get(f"/projects/{PROJECT}/values")["values"]
        assert len(found) == 4 * len(things), "a newest value is missing"
        root = f"/api/v1/projects/{PROJECT}"
        for name, path in (
            ("/healthz: the server alone", "/healthz"),
            ("newest value of one property", f"{root}/values?thing=device-0007&property=power"),
            ("newest values of one thing", f"{root}/values?thing=device-0007"),
            ("1 h of one property, 10 readings", f"{root}/history?thing=device-0007&property=power&start=-1h"),
        ):
            request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {node.operator}\r\n\r\n"
            report.rows.append(_hammered(name, node.pids, node.addresses["http"], request.encode(), options.seconds))
        for count in _READINGS:
            report.rows.append(_batches(node, things[0], options.seconds, count))
        report.rows.append(_once(f"{len(found):,} newest values, one request", node, things))
        report.rows.append(_lines(node, options.seconds))  # last: it brings a thing of its own
    report.rows.append(_in_process(len(things)))
    for row_of in (_hello, _victoria):
        try:
            report.rows.append(row_of(options.seconds))
        except Absent as absent:
            report.note(f"{absent}: not measured.")
    report.note(
        f"Rates at {_CONNECTIONS} connections that each wait for the answer; the rest one at a time, {_REPEAT} times."
    )
    report.note("Points of POSTs: decoded, checked and synced when answered, and counted in the history in the end.")
    report.note("Goal: 6,000 newest values/s, 1 M points/s in batches.")
    report.note("Goal: 10,000 newest values in one request in 40 ms, in process in 5 ms.")
    return report


def hammer(address: tuple[str, int], request: bytes, seconds: float) -> list[float]:
    """Send a request on several connections again and again; the seconds each answer took."""
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    began_at: dict[int, float] = {}
    rest: dict[int, bytes] = {}
    for _ in range(_CONNECTIONS):
        one = socket.create_connection(address)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[one.fileno()], rest[one.fileno()] = one, b""
        poll.register(one.fileno(), select.EPOLLIN)
    taken: list[float] = []
    now = time.perf_counter()
    deadline = now + seconds
    for number, one in sockets.items():
        began_at[number] = now
        one.sendall(request)
    while now < deadline:
        for number, _ in poll.poll(0.1):
            rest[number] += sockets[number].recv(262_144)
            if not _whole(rest[number]):
                continue
            rest[number] = b""
            now = time.perf_counter()
            taken.append(now - began_at[number])
            began_at[number] = now
            sockets[number].sendall(request)
        now = time.perf_counter()
    for one in sockets.values():
        one.close()
    return taken


def _whole(answer: bytes) -> bool:
    """Whether an answer is complete; RuntimeError when it is not a 200."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer[:300].decode(errors="replace"))
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return len(body) >= int(length)


def _hammered(name: str, pids: dict[str, int], address: tuple[str, int], request: bytes, seconds: float) -> Row:
    before = {process: cpu_seconds(pid) for process, pid in pids.items()}
    taken = hammer((address[0], address[1]), request, seconds)
    used = {process: cpu_seconds(pid) - before[process] for process, pid in pids.items()}
    return {
        "request": name,
        "requests/s": len(taken) / seconds,
        **{f"{process} us": spent / len(taken) * 1e6 for process, spent in used.items()},
        "p50 ms": statistics.median(taken) * 1000,
        "p99 ms": sorted(taken)[int(len(taken) * 0.99)] * 1000,
    }


def _hello(seconds: float) -> Row:
    """The floor of others: what a request costs that finds, checks and reads nothing."""
    with starlette() as peer:
        request = b"GET / HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer x\r\n\r\n"
        return _hammered("bare Starlette: a constant", peer.pids, ("127.0.0.1", peer.port), request, seconds)


def _victoria(seconds: float) -> Row:
    """The lines of `_lines` to VictoriaMetrics."""
    with victoria() as peer:
        before = cpu_seconds(peer.pids["peer"])
        taken, elapsed = _post(("127.0.0.1", peer.port), {}, seconds, _line_bodies("/write", 1_700_000_000_000))
        used, points = cpu_seconds(peer.pids["peer"]) - before, 4 * _LINES * len(taken)
    return {
        "request": f"VictoriaMetrics: POST of {_LINES:,} lines of 4 fields",
        "requests/s": len(taken) / elapsed,
        "peer us": used / len(taken) * 1e6,
        "p50 ms": statistics.median(taken) * 1000,
        "points/s": points / elapsed,
        "peer us/point": used / points * 1e6,
    }


def _batches(node: Node, thing: str, seconds: float, count: int) -> Row:
    """One connection that posts so many readings of four values at a time."""
    moment = node.status()["now"] // 1_000_000 - 10_000_000
    path = f"/api/v1/projects/{PROJECT}/readings"
    return _posted(
        f"POST of {count:,} readings of 4 values",
        node,
        seconds,
        count,
        lambda number: (path, "application/json", _body([thing], moment + number * count, count)),
    )


def _lines(node: Node, seconds: float) -> Row:
    """One connection that posts line protocol as Telegraf does."""
    moment = node.status()["now"] // 1_000_000 - 10_000_000
    bodies = _line_bodies(f"/api/v2/write?bucket={PROJECT}&precision=ms", moment)
    return _posted(f"POST of {_LINES:,} lines of 4 fields", node, seconds, _LINES, bodies)


def _line_bodies(path: str, start_ms: int) -> Bodies:
    values = ",".join(f"{name}={value}" for name, value in _VALUES.items())

    def body(number: int) -> tuple[str, str, bytes]:
        first = start_ms + number * _LINES
        lines = [f"meter,host=press-7 {values} {at}" for at in range(first, first + _LINES)]
        return path, "text/plain", "\n".join(lines).encode()

    return body


def _posted(name: str, node: Node, seconds: float, count: int, make: Bodies) -> Row:
    """Post one body after the other on one connection; that all is stored is asserted."""
    before = {process: cpu_seconds(pid) for process, pid in node.pids.items()}
    stored = node.status()["stored"]
    taken, elapsed = _post(node.addresses["http"], {"Authorization": f"Bearer {node.operator}"}, seconds, make)
    node.settle()
    points = 4 * count * len(taken)
    assert node.status()["stored"] - stored == points, "a posted reading is missing"
    used = {process: cpu_seconds(pid) - before[process] for process, pid in node.pids.items()}
    return {
        "request": name,
        "requests/s": len(taken) / elapsed,
        "ingest us": used["ingest"] / len(taken) * 1e6,
        "worker us": used["worker"] / len(taken) * 1e6,
        "p50 ms": statistics.median(taken) * 1000,
        "points/s": points / elapsed,
        "ingest us/point": used["ingest"] / points * 1e6,
    }


def _post(address: tuple[str, int], headers: dict[str, str], seconds: float, make: Bodies) -> tuple[list[float], float]:
    """The seconds that each answer took, and all together, bodies made included."""
    connection = http.client.HTTPConnection(address[0], address[1], timeout=120)
    taken: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        path, kind, body = make(len(taken))
        sent = time.perf_counter()
        connection.request("POST", path, body, headers | {"Content-Type": kind})
        answer = connection.getresponse()
        said = answer.read()
        taken.append(time.perf_counter() - sent)
        if answer.status not in (200, 204):
            raise RuntimeError(said.decode())
    elapsed = time.perf_counter() - began
    connection.close()
    return taken, elapsed


def _once(name: str, node: Node, things: list[str]) -> Row:
    taken = []
    before = cpu_seconds(node.pids["ingest"])
    for _ in range(_REPEAT):
        began = time.perf_counter()
        found = node.get(f"/projects/{PROJECT}/values")["values"]
        taken.append(time.perf_counter() - began)
        assert len(found) == 4 * len(things)
    used = cpu_seconds(node.pids["ingest"]) - before
    return {"request": name, "ingest us": used / _REPEAT * 1e6, "p50 ms": statistics.median(taken) * 1000}


def _in_process(things: int) -> Row:
    """The twin alone."""
    twin = Twin()
    names = tuple(f"device-{number:04d}" for number in range(things))
    columns = tuple(Column("d", b"\0" * 8 * things) for _ in tuple(_VALUES))
    thing_of = b"".join(number.to_bytes(4, "little") for number in range(things))
    twin.apply(1, Batch("bench", "device", tuple(_VALUES), names, thing_of, 1, b"\1" * 8 * things, b"", columns))
    taken = []
    for _ in range(_REPEAT):
        began = time.perf_counter()
        found = [twin.cells("bench", name) for name in names]
        taken.append(time.perf_counter() - began)
    assert sum(map(len, found)) == 4 * things
    return {"request": f"{4 * things:,} newest values, in process", "p50 ms": statistics.median(taken) * 1000}


def _fill(node: Node, things: list[str]) -> None:
    now = node.status()["now"] // 1_000_000
    for first in range(0, len(things), 500):
        report = node.post(f"/projects/{PROJECT}/readings", _body(things[first : first + 500], now - 10, 10))
        assert report["accepted"] == 10 * len(things[first : first + 500]), report
    node.settle()


def _body(things: list[str], start_ms: int, count: int) -> bytes:
    rows = [{"ts": start_ms + at, "values": _VALUES} for at in range(count)]
    return msgspec.json.encode(dict.fromkeys(things, rows))
