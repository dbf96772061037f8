"""The demo's terminal: what its processes say stays readable above the counters."""

import os
import pty
import subprocess
import sys

SCRIPT = """
import subprocess, sys, time
from rich.live import Live
from taihu.runtime.screen import shared_screen
with shared_screen() as screen, Live("counter 1", console=screen, auto_refresh=False, transient=True) as live:
    live.refresh()
    subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('a [bold]child[/] spoke\\\\n')"])
    print("so did we", file=sys.stderr)
    live.update("counter 2", refresh=True)
"""


def test_a_line_of_any_process_stands_above_the_picture() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4_096)
        except OSError:  # the terminal's other end is closed
            break
    os.close(ours)
    assert process.wait() == 0
    for line in (b"a [bold]child[/] spoke", b"so did we"):
        before, found, after = shown.partition(line)
        assert found and before.endswith((b"\x1b[2K", b"\r", b"\n")) and after.startswith(b"\r\n"), shown


def test_where_nobody_looks_on_nothing_is_changed() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert "a [bold]child[/] spoke\nso did we\n" in done.stderr and "\x1b" not in done.stderr
