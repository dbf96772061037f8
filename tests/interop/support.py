"""A real node with three projects, spoken to as strangers speak: over its MQTT and HTTP ports alone."""

import http.client
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from tests.waiting import WAIT_S

from taihu.identity.principal import CredentialKind
from taihu.kernel.config import load_site
from taihu.runtime.run import Supervisor

SITE = """
[mqtt]
port = 0
anonymous = "lab"

[http]
port = 0

[limits]
mqtt_keepalive_max_s = 60

[[project]]
name = "plant"
free_topics = ["chat/#"]
deny_subscribe = ["secret/#"]
mappings = ["plant.toml"]

[[project.thing]]
name = "meter"
model = "meter.tm.json"

[[project.thing]]
name = "valve"
model = "meter.tm.json"

[[project.thing]]
name = "press"

[[project.thing]]
name = "gateway"
role = "gateway"

[[project]]
name = "other"
free_topics = ["chat/#"]

[[project.thing]]
name = "meter"

[[project]]
name = "lab"
free_topics = ["#"]
deny_subscribe = ["test/nosubscribe"]
"""

MAPPINGS = """
[[mapping]]
name = "press"
topic = "machines/status"
format = "flat-json"

[[mapping]]
name = "collector"
topic = "collector/all"
format = "thingsboard-gateway"
"""

MODEL = {
    "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"taihu": "urn:taihu:ns#"}],
    "@type": "tm:ThingModel",
    "title": "Meter",
    "properties": {
        "power": {"type": "number", "unit": "kW", "readOnly": True, "taihu:kind": "gauge", "taihu:maxAge": 600},
        "temperature": {"type": "number", "unit": "Cel", "readOnly": True, "minimum": -50, "maximum": 150},
        "setpoint": {"type": "number", "unit": "Cel", "readOnly": False, "minimum": 5, "maximum": 40},
        "mode": {"type": "string", "readOnly": False, "enum": ["off", "on"]},
    },
}


class Answer(msgspec.Struct):
    """An HTTP answer; `body` is its JSON."""

    status: int
    body: Any


class Site:
    """A node's two processes and its ports. Tokens are by `project/thing`, or `project` for its operator."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "site.toml").write_text(SITE)
        (folder / "plant.toml").write_text(MAPPINGS)
        (folder / "meter.tm.json").write_bytes(msgspec.json.encode(MODEL))
        self.site = load_site(folder)
        self.tokens: dict[str, str] = {}
        directory = Supervisor(self.site).prepare()
        try:
            for project in self.site.projects:
                _, self.tokens[project.name] = directory.issue_token(CredentialKind.OPERATOR, project.name)
                for thing in project.things:
                    token = directory.issue_token(CredentialKind.THING, project.name, thing.name)[1]
                    self.tokens[f"{project.name}/{thing.name}"] = token
            self.join_token = directory.issue_token(CredentialKind.JOIN, "plant")[1]
            self.narrow_join_token = directory.issue_token(
                CredentialKind.JOIN, "plant", limits={"join_things_max": 3, "join_things_per_minute_max": 2}
            )[1]
            self.viewer = directory.issue_token(CredentialKind.VIEWER, "plant")[1]
        finally:
            directory.close()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start ingest and worker; returns once both serve."""
        ready = self.site.data / "node.json"
        ready.unlink(missing_ok=True)
        for name in ("ingest", "worker"):
            with (self.folder / f"{name}.log").open("ab") as log:
                command = [sys.executable, "-m", "taihu.runtime", name, str(self.folder)]
                self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)
        ingest = self.processes["ingest"]
        wait_for(lambda: ready.exists() or ingest.poll() is not None, "the node listens")
        assert ingest.poll() is None, self.log()[-4000:]
        addresses = msgspec.json.decode(ready.read_bytes())
        self.mqtt_port: int = addresses["mqtt"][1]
        self.http_port: int = addresses["http"][1]
        wait_for(lambda: self.get("/node", "plant").body["worker"] == "running", "the worker runs")

    def stop(self) -> None:
        """Stop the worker, then ingest."""
        for name in ("worker", "ingest"):
            if process := self.processes.pop(name, None):
                process.terminate()
                process.wait(WAIT_S)

    def log(self, name: str = "ingest") -> str:
        """What a process said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def ask(self, method: str, path: str, token: str, body: bytes | None = None, **headers: str) -> Answer:
        """One HTTP request; `token` is one, or the name of one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=WAIT_S)
        given = {"Authorization": f"Bearer {self.tokens.get(token, token)}"}
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, given | names)
            answer = connection.getresponse()
            data = answer.read()
            return Answer(answer.status, msgspec.json.decode(data) if data[:1] in b"{[" else data)
        finally:
            connection.close()

    def get(self, path: str, token: str, **query: Any) -> Answer:
        """GET below /api/v1."""
        return self.ask("GET", f"/api/v1{path}" + (f"?{urlencode(query)}" if query else ""), token)

    def send(self, method: str, path: str, token: str, body: Any) -> Answer:
        """PUT or POST a JSON document below /api/v1."""
        return self.ask(method, f"/api/v1{path}", token, msgspec.json.encode(body), content_type="application/json")

    def values(self, name: str) -> dict[str, Any]:
        """The newest values of `project/thing` by property; none when there is no such thing."""
        project, _, thing = name.partition("/")
        answer = self.get(f"/projects/{project}/values", project, thing=thing)
        return {entry["property"]: entry for entry in answer.body["values"]} if answer.status == 200 else {}

    def wait_value(self, name: str, prop: str, value: Any) -> dict[str, Any]:
        """The newest value of `project/thing` once it is `value`."""
        found: dict[str, Any] = {}

        def arrived() -> bool:
            found.update(self.values(name).get(prop, {}))
            return bool(found) and found["value"] == value

        wait_for(arrived, f"{name}/{prop} is {value!r}")
        return found

    def history(self, name: str, prop: str, start: int = 0, end: int = 2**63 - 1) -> list[tuple[int, Any]]:
        """(observed_at, value) of every stored reading of `project/thing`, once the history has all there is."""
        project, _, thing = name.partition("/")

        def settled() -> bool:
            status = self.get("/node", project).body
            return bool(status["history_position"] >= status["journal_position"])

        wait_for(settled, "the history has caught up")
        answer = self.get(f"/projects/{project}/history", project, thing=thing, property=prop, start=start, end=end)
        assert answer.status == 200, answer
        return [(reading["observed_at"], reading["value"]) for reading in answer.body["readings"]]

    def refusals(self, name: str) -> list[str]:
        """Why messages of `project/thing` were refused, newest first."""
        project, _, thing = name.partition("/")
        answer = self.get(f"/projects/{project}/quarantine", project, thing=thing)
        return [f"{entry['property']}: {entry['reason']}".removeprefix(": ") for entry in answer.body["refused"]]

    def wait_refusal(self, name: str, words: str) -> None:
        """Return once a refusal of `project/thing` says `words`."""
        wait_for(lambda: any(words in reason for reason in self.refusals(name)), f"{name} is refused: {words}")

    @contextmanager
    def tail(self, project: str) -> Iterator["queue.Queue[dict[str, Any]]"]:
        """The events of a project's live tail."""
        events: queue.Queue[dict[str, Any]] = queue.Queue()
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=WAIT_S)
        path = f"/api/v1/projects/{quote(project)}/tail"
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.tokens[project]}"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.readline() == b": tail\n"
        wire = connection.sock
        assert wire is not None

        def follow() -> None:
            try:
                while line := answer.readline():
                    if line.startswith(b"data: "):
                        events.put(msgspec.json.decode(line[6:]))
            except (OSError, ValueError):
                return

        thread = threading.Thread(target=follow)
        thread.start()
        try:
            yield events
        finally:
            wire.shutdown(socket.SHUT_RDWR)
            thread.join(WAIT_S)
            answer.close()
            connection.close()


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Return when `condition()` holds; fails after `timeout_s`."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"never: {what}"
        time.sleep(0.02)
