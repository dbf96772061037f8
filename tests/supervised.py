"""A node as `taihu run` starts it, with its supervisor, for tests that speak to it as its users do."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.waiting import WAIT_S

from taihu.cli.client import NodeClient, connect

CONTEXT = ["https://www.w3.org/2022/wot/td/v1.1", {"taihu": "urn:taihu:ns#"}]


class SupervisedNode:
    """A site folder and the node that serves it; it is up when this returns. `models` are properties by model name."""

    def __init__(
        self, folder: Path, site: str, models: Mapping[str, Mapping[str, Any]] | None = None, **files: str
    ) -> None:
        self.folder = folder
        self.errors: list[str] = []
        (folder / "site.toml").write_text(site)
        for name, parts in (models or {}).items():
            model = {"@context": CONTEXT, "@type": "tm:ThingModel", "title": name, **parts}
            (folder / f"{name}.tm.json").write_text(json.dumps(model))
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text)
        command = [sys.executable, "-m", "taihu.cli.main", "run", str(folder)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(ready,), daemon=True)
        self._reader.start()
        assert ready.wait(WAIT_S) and self.process.poll() is None, f"the node did not start: {''.join(self.errors)}"

    @property
    def owner(self) -> NodeClient:
        """Who runs the node."""
        return connect(None, None, self.folder)

    @property
    def addresses(self) -> Any:
        """Where its doors are, and its process."""
        return json.loads((self.folder / "data" / "node.json").read_text())

    def token(self, project: str, kind: str = "operator", **more: str) -> str:
        """A new token of a project."""
        body = {"project": project, "kind": kind} | more
        return str(self.owner.post("admin", "token-issue", body=body)["token"])

    def operator(self, project: str) -> NodeClient:
        """Somebody who may command a project."""
        return NodeClient(self.owner.url, self.token(project))

    def stop(self) -> str:
        """An orderly stop; what the node wrote to stderr in its life, without a traceback."""
        self.process.terminate()
        code = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        said = "".join(self.errors)
        assert code == 0, said
        assert "Traceback" not in said, said
        return said

    def _read(self, ready: threading.Event) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.errors.append(line)
                if "API on" in line:
                    ready.set()
        ready.set()


def until(ask: Callable[[], Any], ready: Callable[[Any], bool] = bool, seconds: float = WAIT_S) -> Any:
    """The first answer that is ready."""
    found = None
    for _ in range(int(seconds / 0.05)):
        found = ask()
        if ready(found):
            return found
        time.sleep(0.05)
    raise AssertionError(found)
