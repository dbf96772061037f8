"""`make` says in one sentence what Python it needs, and leaves no half-made environment behind."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.waiting import WAIT_S

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


@pytest.mark.parametrize(
    ("lacks", "says"),
    [
        ("version_info", "Taihu needs Python 3.11 or newer, and {} is older or not there: name another"),
        ("ensurepip", "{} cannot make virtual environments: on Debian and Ubuntu, apt install python3-venv"),
    ],
)
def test_a_python_that_will_not_do(tmp_path: Path, lacks: str, says: str) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *{lacks}*) exit 1 ;; esac\n')
    python.chmod(0o755)
    command = [str(MAKE), "demo", f"PYTHON={python}"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, timeout=WAIT_S)
    told, failed = done.stderr.splitlines()
    assert told.startswith(says.format(python)) and failed.startswith("make: ***")
    assert done.stdout == "" and not (tmp_path / ".venv").exists()
