"""A real node in processes of its own, and senders that remember what was acknowledged to them."""

import asyncio
import datetime
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.ports import free_port
from tests.waiting import WAIT_S

from taihu.identity.principal import CredentialKind
from taihu.kernel.clock import NS_PER_S, SystemClock, to_datetime
from taihu.kernel.config import load_site
from taihu.kernel.errors import TaihuError
from taihu.protocols.mqtt.client import Client, State
from taihu.protocols.mqtt.packets import Puback, Pubcomp
from taihu.runtime.run import Supervisor

CLOCK = SystemClock()
LONG = bool(os.environ.get("TAIHU_LONG_FAULTS"))
PROJECT = "plant"
_READ_BYTES = 262_144
_PAGE = 300_000


class Answer(msgspec.Struct):
    """An HTTP answer; `body` is its JSON."""

    status: int
    body: Any


class LiveNode:
    """A site folder and its two processes, each of which can be killed and started alone."""

    def __init__(
        self,
        folder: Path,
        names: list[str],
        limits: Mapping[str, float] | None = None,
        *,
        node: str = "",
        project: str = "",
        mqtt: str = "",
        things: str = "",
        more: str = "",
    ) -> None:
        self.folder = folder
        self.mqtt_port, self.http_port = free_port(), free_port()
        folder.mkdir(parents=True, exist_ok=True)
        mqtt = mqtt.replace("$PORT", str(self.mqtt_port))
        lines = [f"{name} = {value}" for name, value in (limits or {}).items()]
        things += "".join(f'[[project.thing]]\nname = "{name}"\n' for name in names)
        text = (
            f"[node]\n{node}\n[mqtt]\nport = {self.mqtt_port}\n{mqtt}\n[http]\nport = {self.http_port}\n[limits]\n"
            + "\n".join(lines)
            + f'\n[[project]]\nname = "{PROJECT}"\n{project}\n{things}{more}'
        )
        (folder / "site.toml").write_text(text)
        self.site = load_site(folder)
        self.tokens: dict[str, str] = {}
        supervisor = Supervisor(self.site)
        directory = supervisor.prepare()
        try:
            for name in names:
                _, self.tokens[name] = directory.issue_token(CredentialKind.THING, PROJECT, name, by="test")
            _, self.operator = directory.issue_token(CredentialKind.OPERATOR, PROJECT, by="test")
            _, self.viewer = directory.issue_token(CredentialKind.VIEWER, PROJECT, by="test")
            self.strangers = {
                config.name: directory.issue_token(CredentialKind.OPERATOR, config.name, by="test")[1]
                for config in self.site.projects
                if config.name != PROJECT
            }
        finally:
            directory.close()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        """Start the named processes (both without a name) and return once the doors are open."""
        ready = self.site.data / "node.json"
        for name in names or ("ingest", "worker"):
            if name == "ingest":
                ready.unlink(missing_ok=True)
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "taihu.runtime", name, str(self.folder)], stdout=log, stderr=log
                )
        until = CLOCK.monotonic() + WAIT_S
        while not ready.exists():
            if self.processes["ingest"].poll() is not None or CLOCK.monotonic() > until:
                raise AssertionError(f"ingest did not start:\n{self.log('ingest')[-4000:]}")
            _pause(0.02)

    def running(self, name: str) -> bool:
        """Whether the process lives."""
        process = self.processes.get(name)
        return process is not None and process.poll() is None

    def kill(self, *names: str) -> None:
        """`kill -9`. When ingest goes the worker leaves by itself, unless it has only just come and waits for one."""
        for name in names:
            self.processes[name].kill()
        for name in names:
            self.processes[name].wait(WAIT_S)
        if "ingest" in names:
            with suppress(subprocess.TimeoutExpired):
                self.processes["worker"].wait(5)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal."""
        self.processes[name].send_signal(number)

    def stop(self) -> None:
        """An orderly stop; whatever hangs is killed and told of."""
        hung = []
        for name in ("worker", "ingest"):
            process = self.processes.get(name)
            if process is None:
                continue
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            try:
                process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(WAIT_S)
                hung.append(name)
        assert not hung, f"{hung} did not stop:\n{self.log(hung[0])[-4000:]}"

    def log(self, name: str) -> str:
        """What the process wrote to stderr, over all its lives."""
        path = self.folder / f"{name}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def log_lines(self, name: str, pattern: str) -> list[str]:
        """The lines of a process's log that match."""
        return [line for line in self.log(name).splitlines() if re.search(pattern, line)]

    def rss_bytes(self, name: str = "ingest") -> int:
        """Resident memory of a process."""
        fields = Path(f"/proc/{self.processes[name].pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def ask(
        self, method: str, path: str, body: bytes | None = None, token: str | None = None, **headers: str
    ) -> Answer:
        """One HTTP request, as the project's operator unless a token is given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=WAIT_S)
        given = {"Authorization": f"Bearer {self.operator if token is None else token}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body=body, headers=given)
            answer = connection.getresponse()
            data = answer.read()
            kind = answer.headers.get_content_subtype()
            return Answer(answer.status, msgspec.json.decode(data) if data and "json" in kind else data)
        finally:
            connection.close()

    def get(self, path: str, token: str | None = None, **parameters: Any) -> Answer:
        """GET a path below /api/v1."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self.ask("GET", f"/api/v1{path}{query}", token=token)

    def status(self) -> dict[str, Any]:
        """The node's own counters."""
        answer = self.get("/node")
        assert answer.status == 200, answer
        return dict(answer.body)

    def settle(self, timeout_s: float = WAIT_S) -> None:
        """Return when the history has taken over everything that the journal has now, whatever comes meanwhile."""
        until, now = CLOCK.monotonic() + timeout_s, self.status()["journal_position"]
        while True:
            status = self.status()
            if status["worker"] == "running" and status["history_position"] >= now:
                return
            if CLOCK.monotonic() > until:
                raise AssertionError(f"the history does not catch up: {status}\n{self.log('worker')[-4000:]}")
            _pause(0.05)

    def history(self, thing: str, name: str, start: int, end: int) -> list[dict[str, Any]]:
        """Every reading of a range, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.get(
                f"/projects/{PROJECT}/history", thing=thing, property=name, start=start, end=end, limit=_PAGE
            )
            assert answer.status == 200, answer
            page: list[dict[str, Any]] = answer.body["readings"]
            if len(page) < _PAGE:
                return found + page
            start = page[-1]["observed_at"]
            found += [reading for reading in page if reading["observed_at"] < start]


class Sender:
    """A device that floods `{"ts": ..., "id": n}` and remembers which were acknowledged.

    What was not is sent again after each reconnect, as MQTT has it. At QoS 2 the messages have no `ts`: only the
    protocol keeps them from being stored twice.
    """

    def __init__(self, node: LiveNode, thing: str, *, in_flight: int = 200, first: int = 0, qos: int = 1) -> None:
        self.thing = thing
        self.qos = qos
        self.acked: set[int] = set()
        self.sent = first
        self.first = first
        self.connects = 0
        self.base_ms = CLOCK.now_ns() // 1_000_000 - 7_200_000
        self._port = node.mqtt_port
        self._in_flight = in_flight
        self._pending: dict[int, int] = {}
        self._client = Client(
            f"sender-{thing}", username=node.tokens[thing], clean_start=False, in_flight_max=in_flight, keep_alive=30
        )

    @property
    def start_ns(self) -> int:
        """The time of the first message."""
        return (self.base_ms + self.first) * 1_000_000

    @property
    def end_ns(self) -> int:
        """Just after the time of the last."""
        return (self.base_ms + self.sent) * 1_000_000

    async def run(self, stop: asyncio.Event, messages_max: int = 6_000_000) -> None:
        """Flood until `stop`, then wait for the last acknowledgements."""
        while not (stop.is_set() or self.sent - self.first >= messages_max) or self._pending:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            try:
                await self._serve(reader, writer, stop, messages_max)
            except (OSError, TaihuError):
                pass
            finally:
                self._client.connection_lost()
                writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stop: asyncio.Event, messages_max: int
    ) -> None:
        client = self._client
        client.connect(CLOCK.monotonic())
        writer.write(client.take_output())
        while True:
            data = await asyncio.wait_for(reader.read(_READ_BYTES), WAIT_S)
            if not data:
                raise ConnectionResetError
            for packet in client.receive(data, CLOCK.monotonic()):
                if isinstance(packet, Puback | Pubcomp):
                    assert packet.reason < 0x80, packet
                    self.acked.add(self._pending.pop(packet.packet_id))
            if client.state is State.CONNECTED:
                more = not stop.is_set()
                while more and len(self._pending) < self._in_flight and self.sent - self.first < messages_max:
                    self._publish()
            if not self._pending:
                return
            writer.write(client.take_output())
            await writer.drain()

    def _publish(self) -> None:
        payload = b'{"ts":%d,"id":%d}' % (self.base_ms + self.sent, self.sent)
        if self.qos == 2:
            payload = b'{"id":%d}' % self.sent
        self._pending[self._client.publish("v1/devices/me/telemetry", payload, qos=self.qos)] = self.sent
        self.sent += 1


async def flooded(sender: Sender, rounds: Iterable[Callable[[], None]]) -> None:
    """One round after the other, each in a thread, while the sender floods; then it has its last acknowledgements."""
    stop = asyncio.Event()
    task = asyncio.create_task(sender.run(stop))
    try:
        for each in rounds:
            await asyncio.to_thread(each)
    finally:
        stop.set()
    await asyncio.wait_for(task, WAIT_S)


def strike(node: LiveNode, random: Random) -> tuple[str, ...]:
    """`kill -9` of ingest, of the worker or of both, which come back; returns who was hit."""
    victims = random.choice((("ingest",), ("worker",), ("ingest", "worker")))
    node.kill(*victims)
    bring_back(node)
    return victims


def bring_back(node: LiveNode) -> None:
    """Start what is gone, and wait until both are there."""
    if not node.running("ingest"):
        node.start("ingest")

    def is_back() -> bool:
        if not node.running("worker"):  # it ends with ingest, unless it has only just come and waits for one
            node.start("worker")
        return bool(node.status()["worker"] == "running")

    wait_until(is_back, "the worker is back", 60)


def check_exactly_once(node: LiveNode, senders: list[Sender]) -> None:
    """Every acknowledged id is read back through the history API exactly once, at its own time (§4)."""
    for sender in senders:
        span = (sender.start_ns, sender.end_ns) if sender.qos == 1 else (sender.start_ns, CLOCK.now_ns() + NS_PER_S)
        readings = node.history(sender.thing, "id", *span)
        counts = Counter(int(reading["value"]) for reading in readings)
        lost = sorted(sender.acked - counts.keys())
        twice = [number for number, count in counts.items() if count > 1]
        assert not lost, f"{sender.thing}: {len(lost)} of {len(sender.acked)} acked are lost: {lost[:5]}..{lost[-5:]}"
        assert not twice, f"{sender.thing}: {len(twice)} twice: {twice[:5]}"
        assert counts.keys() <= set(range(sender.first, sender.sent)), "readings nobody sent"
        if sender.qos == 2:
            assert all(each["quality"] == "stamped" for each in readings)
            continue
        wrong = [each for each in readings if each["observed_at"] != (sender.base_ms + int(each["value"])) * 1_000_000]
        assert not wrong, f"{sender.thing}: {wrong[:3]}"


def write_certificate(folder: Path) -> None:
    """A certificate of 127.0.0.1 for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = to_datetime(CLOCK.now_ns())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def wait_until(condition: Any, what: str, timeout_s: float = WAIT_S) -> None:
    """Return when `condition()` holds; fails after `timeout_s`."""
    until = CLOCK.monotonic() + timeout_s
    while not condition():
        if CLOCK.monotonic() > until:
            raise AssertionError(f"never: {what}")
        _pause(0.02)


def _pause(seconds: float) -> None:
    time.sleep(seconds)
