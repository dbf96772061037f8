"""The examples of docs/mqtt.md and docs/thingsboard.md run, and their tables are complete."""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.interop.support import Site
from tests.waiting import WAIT_S

from taihu.kernel.limits import Limits

DOCS = Path(__file__).parents[2] / "docs"
TEXTS = {name: (DOCS / name).read_text("utf-8") for name in ("mqtt.md", "thingsboard.md")}
EXAMPLES = [
    (name, language, code)
    for name, text in TEXTS.items()
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL)
    for code in (block.splitlines() if language == "sh" else [block])
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "language", "code"), EXAMPLES)
def test_examples_run(site: Site, name: str, language: str, code: str) -> None:
    code = code.replace("1883", str(site.mqtt_port)).replace("8080", str(site.http_port))
    tool = code.partition(" ")[0]
    if language == "sh" and subprocess.run(["which", tool], capture_output=True, check=False).returncode:
        pytest.skip(f"{tool} is not installed")
    tokens = {"TOKEN": site.tokens["plant/press"], "OPERATOR": site.tokens["plant"], "JOIN": site.join_token}
    command = ["sh", "-c", code] if language == "sh" else [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | tokens, capture_output=True, text=True, timeout=WAIT_S, check=False)
    ended_by_its_time = "-W 1" in code and done.returncode == 27
    assert done.returncode == 0 or ended_by_its_time, done
    if "credentials/request" in code:
        assert len(msgspec.json.decode(done.stdout)["token"]) == 43
    if "curl" in code:
        assert "setpoint" in done.stdout


def test_every_limit_of_the_endpoint_is_listed() -> None:
    own = ("mqtt_client_pending_", "mqtt_client_in_flight_")  # of our own client, not of the endpoint
    listed = re.findall(r"^\| `(mqtt_\w+)` \|", TEXTS["mqtt.md"], re.MULTILINE)
    names = {name for name in Limits.__struct_fields__ if name.startswith("mqtt_")}
    assert set(listed) == {name for name in names if not name.startswith(own)}
    assert len(listed) == len(set(listed))


def test_links_lead_somewhere() -> None:
    for text in TEXTS.values():
        for file, anchor in re.findall(r"\]\((\w[\w-]*\.md)(?:#([\w-]+))?\)", text):
            headings = re.findall(r"^#+ (.+)$", (DOCS / file).read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-").lower() for heading in headings}
            assert not anchor or anchor in slugs, (file, anchor)
