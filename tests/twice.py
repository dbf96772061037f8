"""All tests; what failed is tried once more, alone and one after the other. `python tests/twice.py [PYTEST'S OPTIONS]`.

A machine that stood still, or that others kept busy, fails nothing twice; a fault does. More than a few failures are a
fault of the whole and are not tried again, and neither is anything but failed tests: a file that cannot be collected,
a process of the run that died, an interruption. What passed only the second time is told by name.
"""

import json
import subprocess
import sys
from pathlib import Path

AGAIN_MAX = 12
FAILED = 1  # pytest's exit code for failed tests, and for nothing else
SIDE_BY_SIDE = ("--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")
ALONE = ("--last-failed", "--last-failed-no-failures", "none", "--numprocesses", "0")
CACHE = Path(__file__).parent.parent / ".pytest_cache" / "v" / "cache" / "lastfailed"


def main(options: list[str]) -> int:
    """The exit code of pytest: of the second try where there was one."""
    code = run("--cache-clear", *SIDE_BY_SIDE, *options)
    if code != FAILED:
        return code
    first = failed()
    if not 0 < len(first) <= AGAIN_MAX or not all("::" in name for name in first):
        print(f"\n{len(first)} failed: none is tried again (at most {AGAIN_MAX} tests are).", flush=True)
        return code
    print(f"\nTried once more, one after the other: {len(first)} that failed.", flush=True)
    code = run(*ALONE, *options)
    for name in sorted(first - failed() if code in (0, FAILED) else ()):
        print(f"passed only the second time: {name}", flush=True)
    return code


def run(*options: str) -> int:
    """The exit code of one run of pytest."""
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *options], check=False).returncode


def failed() -> set[str]:
    """The tests that failed last."""
    return set(json.loads(CACHE.read_text())) if CACHE.exists() else set()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
