"""docs/console.md: the pages of a site of one's own, and a port that is taken."""

import signal
import subprocess
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from tests.docs.support import Reader
from tests.waiting import WAIT_S

from taihu.cli.main import EXIT_INTERRUPTED, EXIT_REFUSED

COMMAND = ["taihu", "console", "mysite"]


@pytest.fixture
def console(reader: Reader) -> subprocess.Popen[str]:
    return subprocess.Popen(
        COMMAND, cwd=reader.folder, env=reader.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_site_has_pages(reader: Reader, console: subprocess.Popen[str]) -> None:
    until = time.monotonic() + WAIT_S
    try:
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{reader.ports['8090']}/en/things", timeout=WAIT_S) as answer:
                    assert answer.status == 200
                    break
            except URLError:
                assert console.poll() is None and time.monotonic() < until
                time.sleep(0.05)
        again = subprocess.run(COMMAND, cwd=reader.folder, env=reader.environment, capture_output=True, text=True)
        assert again.returncode == EXIT_REFUSED and "(console.port) is taken by" in again.stderr
    finally:
        console.send_signal(signal.SIGINT)
        shown, _ = console.communicate(timeout=WAIT_S)
    assert console.returncode in (0, EXIT_INTERRUPTED) and shown.startswith("The pages: http://127.0.0.1:")
