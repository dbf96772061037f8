"""Somebody who follows the documents on a node of their own."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from tests.ports import free_port
from tests.waiting import WAIT_S

DOCS = Path(__file__).parents[2] / "docs"
TOOLS = Path(sys.executable).parent
RUN = "taihu run mysite"
TAIL = "taihu tail --site mysite home"
HISTORY = "taihu history --site mysite home/meter/power_kw"
PUBLISHER = shutil.which("mosquitto_pub")


def examples(page: str) -> list[tuple[str, str]]:
    """The shell blocks of a page, each with the JSON that stands below it as its answer, if there is one."""
    text = (DOCS / page).read_text("utf-8")
    return re.findall(r"```sh\n(.*?)```(?:\n\n```json\n(.*?)```)?", text, re.DOTALL)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    return [free_port() for _ in range(count)]


class Reader:
    """Types what `docs/getting-started.md` says, on other ports, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("TAIHU_", "PYTEST_"))
        }
        self.environment["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
        self.ports = dict(zip(("1883", "8080", "8090"), free_ports(3), strict=True))
        self.first, self.then = "\n".join(block for block, _ in examples("getting-started.md")).split(RUN)
        self.node: subprocess.Popen[bytes] | None = None

    def shell(self, script: str) -> str:
        """What a script prints; the variables it sets are there for the next."""
        done = subprocess.run(
            ["bash", "-eua", "-o", "pipefail", "-c", f"{self.here(script)}\nenv -0 > variables"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=4 * WAIT_S,  # of all its commands
            check=False,
        )
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        variables = (self.folder / "variables").read_text("utf-8").split("\0")
        self.environment |= dict(pair.split("=", 1) for pair in variables if pair)
        return done.stdout

    def follow(self) -> str:
        """What the page prints from the start of the node on."""
        script = self.then.replace(TAIL, "")  # it follows until Ctrl-C
        script = script.replace(f"{HISTORY}\n", f"until {HISTORY} | grep stamped; do :; done\n")  # a moment later
        if PUBLISHER is None:
            script = re.sub(r"^(mosquitto_pub .*|taihu read .*power_kw|until .*)$", "", script, flags=re.MULTILINE)
        return self.shell(script)

    def start(self) -> None:
        """Type what comes first, and start the node."""
        self.shell(self.first)
        path = self.folder / "mysite" / "site.toml"
        text = re.sub(r"# (?=port = (?:1883|8080|8090)\b)", "", path.read_text("utf-8"))
        path.write_text(self.here(text), "utf-8")
        self.run("mysite")

    def run(self, site: str) -> None:
        """Start the node of a site and return when it serves."""
        self.node = subprocess.Popen(["taihu", "run", site], cwd=self.folder, env=self.environment)
        until = time.monotonic() + WAIT_S
        ready = self.folder / site / "data" / "node.json"
        while not (ready.exists() and msgspec.json.decode(ready.read_bytes())["worker"]):
            assert self.node.poll() is None and time.monotonic() < until
            time.sleep(0.02)

    def stop(self) -> None:
        """As Ctrl-C does."""
        if self.node is not None:
            self.node.terminate()
            assert self.node.wait(WAIT_S) == 0

    def here(self, text: str) -> str:
        """What a page says, with the ports of this reader."""
        for usual, port in self.ports.items():
            text = text.replace(usual, str(port))
        return text
