"""Every benchmark in one run.

`python -m bench.all [--smoke] [--only NAME | --part 0|1] [--seconds N] [--runs N] [--json] [--write]`
"""

import argparse
import importlib
import shlex
import sys
import time
from pathlib import Path

import msgspec

from bench.harness import Options, Report, markdown, show
from bench.machine import description

NAMES = (
    "ingest_flood",
    "flood_minute",
    "one_by_one",
    "scenario_b",
    "history",
    "start_idle",
    "scale",
    "http_api",
    "observers",
    "sql",
    "drivers",
    "forecast",
    "score",
    "plan",
    "reflex",
    "reflex_node",
    "commands",
    "ev",
    "carbon",
    "sparkplug",
    "opcua",
    "opcua_door",
    "bridge",
)
_RESULTS = Path(__file__).parent / "RESULTS.md"
_HEAD = (
    "# Benchmarks: results\n\nWritten by `python -m bench.all --write`; a section is replaced when it is run again.\n\n"
)


def main() -> None:
    """Run what was asked for, print it, and write it down if asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.all", description="Our figures beside their peers, in one run."
    )
    parser.add_argument("--smoke", action="store_true", help="tiny: only that nothing acked is lost")
    parser.add_argument("--only", action="append", choices=NAMES, help="one benchmark; may be given again")
    parser.add_argument("--part", type=int, choices=(0, 1), help="every other benchmark, from the first or the second")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each run (default 5)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each, of which the median is shown (default 3)")
    parser.add_argument("--json", action="store_true", help="one JSON line a benchmark")
    parser.add_argument("--write", action="store_true", help="write the results to bench/RESULTS.md")
    given = parser.parse_args()
    options = Options(0.5, 1, True) if given.smoke else Options(given.seconds, given.runs)
    machine = description()
    if not given.json:
        print(f"{machine}")
    for name in given.only or NAMES[given.part :: 1 if given.part is None else 2]:
        began = time.perf_counter()
        report: Report = importlib.import_module(f"bench.{name}").run(options)
        if given.json:
            print(msgspec.json.encode({"machine": machine, "report": report}).decode(), flush=True)
        else:
            show(report)
            print(f"({name}: {time.perf_counter() - began:.0f} s)", flush=True)
        if given.write:
            write(report, machine, shlex.join(["python", "-m", "bench.all", *sys.argv[1:]]))


def write(report: Report, machine: str, command: str, path: Path = _RESULTS) -> None:
    """Put a report's section into RESULTS.md in place of the last one of its name."""
    text = path.read_text() if path.exists() else _HEAD
    begin, end = f"<!-- {report.name} -->\n", f"<!-- end {report.name} -->\n"
    head, _, rest = text.partition(begin)
    tail = rest.partition(end)[2] if rest else ""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    section = f"{begin}{markdown(report, f'{when}; {machine}; `{command}`')}\n{end}"
    path.write_text(head + section + tail)


if __name__ == "__main__":
    main()
