"""The bridge: what devices publish on another broker, mosquitto, as readings of our node, durably and without loss."""

import socket
import subprocess
import sys
import threading
import time
from typing import Any

from bench.harness import Options, Report
from bench.machine import cpu_seconds
from bench.node import PROJECT, Node, gauge
from bench.peers import Absent, Peer, mosquitto
from taihu.drivers.files import FOLDER, ConnectionFile, write_connection
from taihu.drivers.port import Connection, Plan, Point, ThingPlan
from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.packets import Connect, Publish
from taihu.things.property import Property

NAME = "bridge"
_THINGS = 100
_START_NS = 1_767_571_200_000_000_000
_DAY_MS = 86_400_000
_TIMEOUT_S = 300.0


def run(options: Options) -> Report:
    """Messages at QoS 1, published as fast as the broker takes them."""
    report = Report(NAME, f"Bridge: JSON of one number at QoS 1 from {_THINGS} devices on mosquitto, to our history")
    each = 10 if options.smoke else int(400 * options.seconds)
    try:
        with mosquitto() as broker, Node([], {"n": gauge("1")}, [f"d{number}" for number in range(_THINGS)]) as node:
            report.rows.append(_bridged(broker, node, each))
    except Absent as absent:
        report.note(f"Left out: {absent}.")
    report.note(
        "The clock runs from the first message published until the last is durable and readable; the field process "
        "takes and publishes each message, and mosquitto gets its acknowledgement after our sync."
    )
    report.note("Goal: 20,000 messages/s, none lost.")
    return report


def _bridged(broker: Peer, node: Node, each: int) -> dict[str, Any]:
    things = [f"d{number}" for number in range(_THINGS)]
    plan = Plan(
        things=tuple(
            ThingPlan(name=thing, points=(Point(definition=Property(name="n", unit="1"), where=_where(thing)),))
            for thing in things
        )
    )
    connection = Connection(name="bridge", url=f"mqtt://127.0.0.1:{broker.port}")
    write_connection(
        node.folder / FOLDER, ConnectionFile(project=PROJECT, driver="mqtt", connection=connection, plan=plan)
    )
    field = subprocess.Popen(
        [sys.executable, "-m", "taihu.runtime", "field", str(node.folder)], stderr=subprocess.DEVNULL
    )
    try:
        _publish(broker.port, things, 0, 1)
        while not _all_have(node, things, 0):  # until the bridge has subscribed, which nothing tells
            time.sleep(0.3)
            _publish(broker.port, things, 0, 1)
        pids = {"field": field.pid, **node.pids, **broker.pids}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        began = time.perf_counter()
        publishing = threading.Thread(target=_publish, args=(broker.port, things, 1, each + 1))
        publishing.start()
        while not _all_have(node, things, each):
            if time.perf_counter() - began > _TIMEOUT_S:
                raise RuntimeError(f"not all came\n{node.log()}")
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        publishing.join()
        used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    finally:
        field.terminate()
        field.wait(30)
    node.settle()
    end = _START_NS + (each + 2) * 1_000_000
    held = sum(node.count(thing, "n", _START_NS + 1, end, 3_600) for thing in things)
    sent = each * _THINGS
    assert held == sent, (held, sent)
    return {
        "bridge": "mosquitto to taihu",
        "messages/s": sent / seconds,
        "sent": sent,
        "lost": sent - held,
        **{f"{name} us": value / sent * 1e6 for name, value in used.items()},
    }


def _where(thing: str) -> dict[str, Any]:
    return {"topic": f"bridge/{thing}", "path": ["n"], "time": ["ts"]}


def _all_have(node: Node, things: list[str], value: int) -> bool:
    found = node.get(f"/projects/{PROJECT}/values", property="n", limit=1_000)["values"]
    newest = {one["thing"]: one["value"] for one in found}
    return all(newest.get(thing) == value for thing in things)


def _publish(port: int, things: list[str], begin: int, end: int) -> None:
    """Publish the numbers from `begin` to `end` for each thing, at times of their own."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(encode(Connect(4, f"bench-{begin}", True, 0), 4))
        line.recv(100)
        acked = threading.Semaphore(20_000)
        total = (end - begin) * len(things)
        reading = threading.Thread(target=_read, args=(line, total, acked))
        reading.start()
        packet_id = 0
        for number in range(begin, end):
            out = bytearray()
            ts = _START_NS // 1_000_000 + (number or -_DAY_MS)
            payload = f'{{"n": {number}, "ts": {ts}}}'.encode()
            for thing in things:
                acked.acquire()
                packet_id = packet_id % 65_535 + 1
                out += encode(Publish(f"bridge/{thing}", payload, 1, False, False, packet_id), 4)
            line.sendall(out)
        reading.join()


def _read(line: socket.socket, total: int, acked: threading.Semaphore) -> None:
    decoder = Decoder(4)
    while total:
        data = line.recv(65_536)
        if not data:
            raise RuntimeError("mosquitto closed the connection")
        decoder.feed(data)
        for _ in decoder.packets():
            total -= 1
            acked.release()
