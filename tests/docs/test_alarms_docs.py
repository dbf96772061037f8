"""docs/alerts.yml: each rule has its heading in docs/alarms.md, asks for what is served, and speaks when it is to."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.docs.support import DOCS

PROMTOOL = shutil.which("promtool")
RULES = (DOCS / "alerts.yml").read_text("utf-8")


def test_every_alert_has_its_heading() -> None:
    headings = re.findall(r"^### (\w+)$", (DOCS / "alarms.md").read_text("utf-8"), re.MULTILINE)
    assert headings == re.findall(r"- alert: (\w+)", RULES)


def test_every_figure_is_served() -> None:
    listed = set(re.findall(r"^\| `(taihu_\w+)` \|", (DOCS / "metrics.md").read_text("utf-8"), re.MULTILINE))
    asked = set(re.findall(r"\btaihu_\w+", RULES))
    assert asked <= listed and len(asked) > 10


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: nobody reads the alert rules")
def test_prometheus_agrees() -> None:
    assert PROMTOOL is not None
    scenes = Path(__file__).with_name("alerts_test.yml")
    done = subprocess.run([PROMTOOL, "test", "rules", scenes], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
