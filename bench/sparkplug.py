"""Sparkplug B: payloads decoded and encoded, by our codec, by pysparkplug, and by the protocol buffers under it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from bench.harness import Options, Report, Row, side_by_side
from bench.peers import Absent
from taihu.protocols.sparkplug.decode import decode
from taihu.protocols.sparkplug.encode import encode
from taihu.protocols.sparkplug.kinds import DataType
from taihu.protocols.sparkplug.payload import Metric, Payload

NAME = "sparkplug"
_METRICS = 100
_NOW_MS = 1_767_571_200_000
_VALUES = (
    (DataType.DOUBLE, 21.5), (DataType.FLOAT, 1.5), (DataType.INT32, -42), (DataType.BOOLEAN, True),
    (DataType.INT64, 1 << 40), (DataType.STRING, "running"),
)  # fmt: skip
_THEIRS = """
import sys, time
from pysparkplug import NData
from pysparkplug._protobuf import Payload
named, plain, aliases = (bytes.fromhex(line) for line in sys.stdin.read().split())
seconds, way = float(sys.argv[1]), sys.argv[2]
def rate(function, argument):
    function(argument)
    count, began = 0, time.process_time()
    while (used := time.process_time() - began) < seconds:
        function(argument)
        count += 1
    return 100 * count / used
if way == "pysparkplug":
    given = NData.decode(named)
    rates = [rate(NData.decode, named), rate(NData.decode, plain), 0.0,
             rate(lambda one: one.encode(include_dtypes=True), given)]
else:
    given = Payload.FromString(named)
    rates = [*(rate(Payload.FromString, one) for one in (named, plain, aliases)),
             rate(lambda one: one.SerializeToString(), given)]
print(*rates)
"""


def run(options: Options) -> Report:
    """Each in a process of its own, in turn."""
    report = Report(NAME, f"Sparkplug B: metrics a CPU second, {_METRICS} of six types in a payload")
    seconds = 0.05 if options.smoke else max(0.5, options.seconds / 5)
    contenders: dict[str, Callable[[], Row]] = {
        "taihu": lambda: _ours(seconds),
        "pysparkplug": lambda: _theirs("pysparkplug", seconds),
        "protobuf": lambda: _theirs("protobuf", seconds),
    }
    side_by_side(report, contenders, options.runs, "decoded: names, types")
    report.note(
        "pysparkplug makes its own objects with typed values, as we do, and cannot read aliases alone without the "
        "birth. protobuf (Google's, compiled) makes messages of raw fields alone."
    )
    report.note("Goal: 300,000 metrics a CPU second decoded.")
    return report


def payloads() -> tuple[Payload, list[bytes]]:
    """With names and types, as a birth; with aliases and types; with aliases alone, as the standard has data."""
    metrics = tuple(
        Metric(f"Line 3/Motor {number}/Speed", number, _NOW_MS, *_VALUES[number % len(_VALUES)])
        for number in range(_METRICS)
    )
    named = Payload(_NOW_MS, metrics, 7)
    aliases = msgspec.structs.replace(
        named, metrics=tuple(msgspec.structs.replace(metric, name=None) for metric in metrics)
    )
    return named, [encode(named), encode(aliases), encode(aliases, with_kinds=False)]


def _rate(work: Callable[[], object], seconds: float) -> float:
    work()
    count, began = 0, time.process_time()
    while (used := time.process_time() - began) < seconds:
        work()
        count += 1
    return _METRICS * count / used


def _ours(seconds: float) -> Row:
    named, sent = payloads()
    decoded = [_rate(lambda data=data: decode(data), seconds) for data in sent]  # type: ignore[misc]
    return _row("taihu", [*decoded, _rate(lambda: encode(named), seconds)])


def _theirs(name: str, seconds: float) -> Row:
    python = os.environ.get("TAIHU_PYSPARKPLUG_PYTHON", sys.executable)
    lines = "\n".join(data.hex() for data in payloads()[1])
    run = subprocess.run(
        [python, "-c", _THEIRS, str(seconds), name], input=lines, capture_output=True, text=True, timeout=120
    )
    if run.returncode:
        raise Absent("pysparkplug is not installed; TAIHU_PYSPARKPLUG_PYTHON may name an interpreter that has it")
    return _row(name, [float(rate) for rate in run.stdout.split()])


def _row(name: str, rates: list[float]) -> Row:
    named, plain, aliases, encoded = rates
    return {
        "codec": name,
        "decoded: names, types": named,
        "decoded: aliases, types": plain,
        "decoded: aliases alone": aliases or None,
        "encoded": encoded,
    }
