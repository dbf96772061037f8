"""Our node as a benchmark runs it: a site in a temporary folder, two processes, free ports on loopback."""

import http.client
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from taihu.identity.directory import Directory
from taihu.identity.join import Joined
from taihu.identity.principal import CredentialKind
from taihu.kernel.clock import NS_PER_S, SystemClock
from taihu.kernel.config import load_site
from taihu.runtime.paths import Paths
from taihu.runtime.run import Supervisor
from taihu.things.model import parse_model
from taihu.things.property import Thing

PROJECT = "bench"
_READY_S = 60.0
_STOP_S = 30.0


def gauge(unit: str, max_age_s: float = 600) -> dict[str, Any]:
    """A numeric property of a Thing Model."""
    kind = {"taihu:kind": "gauge", "taihu:maxAge": max_age_s}
    return {"type": "number", "unit": unit, "multipleOf": 0.01, "readOnly": True, "observable": True} | kind


def thing_model(properties: dict[str, Any]) -> bytes:
    """A Thing Model with these properties."""
    context = ["https://www.w3.org/2022/wot/td/v1.1", {"taihu": "urn:taihu:ns#"}]
    return msgspec.json.encode(
        {"@context": context, "@type": "tm:ThingModel", "title": "Device", "properties": properties}
    )


class Node:
    """A node that benchmarks start and stop.

    `devices` are things with a token each, `things` others; `properties` make the model of all, None leaves them
    untyped.
    """

    def __init__(
        self, devices: Sequence[str], properties: dict[str, Any] | None = None, things: Sequence[str] = ()
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="taihu-bench-"))
        self._settings: dict[str, dict[str, int]] = {
            "mqtt": {"port": 0},
            "http": {"port": 0},
            "console": {"port": 0},
            "limits": {"join_things_max": 200_000, "join_things_per_minute_max": 10_000_000},
        }
        self.configure("site")
        self.tokens: dict[str, str] = {}
        self.ready_s = 0.0
        self.addresses: dict[str, Any] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log = (self.folder / "log").open("wb")
        self._prepare(devices, things, properties)

    def __enter__(self) -> "Node":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def configure(self, section: str, **settings: int) -> None:
        """Write site.toml again with other settings of a section."""
        self._settings.setdefault(section, {}).update(settings)
        text = ""
        for name, values in self._settings.items():
            text += f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()) + "\n"
        (self.folder / "site.toml").write_text(f'{text}[[project]]\nname = "{PROJECT}"\n')

    def start(self) -> None:
        """Start ingest and worker; returns once both serve. `ready_s` says how long it took."""
        Paths(load_site(self.folder).data).node.unlink(missing_ok=True)
        began = time.perf_counter()
        for name in ("ingest", "worker"):
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "taihu.runtime", name, str(self.folder)], stderr=self._log, stdout=self._log
            )
        self.wait_ready(self._processes["ingest"], began)

    def wait_ready(self, process: "subprocess.Popen[bytes]", began: float) -> None:
        """Wait until both doors and the worker answer; RuntimeError when `process` ends or it takes too long."""
        path = Paths(load_site(self.folder).data).node
        while True:
            if path.exists():
                self.addresses = msgspec.json.decode(path.read_bytes())
                if self.status()["worker"] == "running":
                    break
            if process.poll() is not None or time.perf_counter() - began > _READY_S:
                raise RuntimeError(f"the node did not start:\n{self.log()}")
            time.sleep(0.005)
        self.ready_s = time.perf_counter() - began

    def stop(self) -> None:
        """Stop the worker, then ingest, as the supervisor does."""
        for name in ("worker", "ingest"):
            process = self._processes.pop(name, None)
            if process is not None:
                process.terminate()
                try:
                    process.wait(_STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {name: process.pid for name, process in self._processes.items()}

    @property
    def mqtt(self) -> tuple[str, int]:
        """Where it takes MQTT."""
        host, port = self.addresses["mqtt"]
        return host, port

    def log(self) -> str:
        """The end of what both processes said."""
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET of the API as the project's operator; RuntimeError when it is not 200."""
        return self._ask("GET", f"/api/v1{path}?{urllib.parse.urlencode(query, doseq=True)}")

    def post(self, path: str, body: bytes) -> Any:
        """The answer to a POST of JSON, likewise."""
        return self._ask("POST", f"/api/v1{path}", body)

    def status(self) -> Any:
        """The node's counters."""
        return self.get("/node")

    def history(self, thing: str, name: str, start: int, end: int, **query: Any) -> Any:
        """The history of a property over [start, end) ns."""
        where = {"thing": thing, "property": name, "start": start, "end": end}
        return self.get(f"/projects/{PROJECT}/history", **where, **query)

    def settle(self, timeout_s: float = 120.0) -> float:
        """Wait until the history has taken over all that is durable; returns the seconds it took."""
        began = time.perf_counter()
        while True:
            status = self.status()
            if status["history_position"] >= status["journal_position"]:
                return time.perf_counter() - began
            if time.perf_counter() - began > timeout_s:
                raise RuntimeError(f"the history is behind: {status}\n{self.log()}")
            time.sleep(0.02)

    def count(self, thing: str, name: str, start: int, end: int, slice_s: int) -> int:
        """How many readings the history API finds in [start, end), counted by seconds or hours in slices."""
        every = "1h" if slice_s % 3600 == 0 else "1s"
        width = slice_s * NS_PER_S
        found = 0
        for begin in range(start // width * width, end, width):
            windows = self.history(thing, name, begin, begin + width, every=every)["windows"]
            found += sum(window["count"] for window in windows)
        return found

    def disk_bytes(self) -> dict[str, int]:
        """Bytes below each folder of the data folder."""
        data = load_site(self.folder).data
        return {
            part.name: sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
            for part in data.iterdir()
            if part.is_dir()
        }

    def _ask(self, method: str, url: str, body: bytes | None = None) -> Any:
        connection = http.client.HTTPConnection(self.addresses["http"][0], self.addresses["http"][1], timeout=120)
        try:
            headers = {"Authorization": f"Bearer {self.operator}", "Content-Type": "application/json"}
            connection.request(method, url, body, headers)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{url}: {answer.status} {said[:300].decode(errors='replace')}")
        return msgspec.json.decode(said)

    def _prepare(self, devices: Sequence[str], things: Sequence[str], properties: dict[str, Any] | None) -> None:
        directory = Supervisor(load_site(self.folder)).prepare()
        try:
            model = ""
            if properties is not None:
                known = parse_model(thing_model(properties), name="device")
                directory.put_model(PROJECT, known)
                model = known.name
            _, self.operator = directory.issue_token(CredentialKind.OPERATOR, PROJECT, label="benchmark")
            self.tokens = issue(directory, PROJECT, devices)
            directory.put_things(PROJECT, [Thing(name=name, model=model) for name in (*devices, *things)])
        finally:
            directory.close()


def issue(directory: Directory, project: str, devices: Sequence[str]) -> dict[str, str]:
    """A token for each device, in one transaction: as devices that join get theirs."""
    _, join = directory.issue_token(CredentialKind.JOIN, project, label="benchmark")
    answers = directory.join_all([(join, name) for name in devices], SystemClock().now_ns())
    return dict(zip(devices, map(_token, answers), strict=True))


def _token(answer: Joined | Exception) -> str:
    assert isinstance(answer, Joined), answer
    return answer.token
