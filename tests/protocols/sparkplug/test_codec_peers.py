"""The codec against Google's protocol buffers, by pysparkplug, and against Eclipse Tahu's JavaScript."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from tests.protocols.sparkplug.payloads import PAYLOADS
from tests.waiting import WAIT_S

from taihu.protocols.sparkplug.decode import decode
from taihu.protocols.sparkplug.encode import encode
from taihu.protocols.sparkplug.kinds import DataType
from taihu.protocols.sparkplug.payload import DataSet, Metric, Payload, PropertyValue, Template

PYTHON = os.environ.get("TAIHU_PYSPARKPLUG_PYTHON", "")
MODULES = os.environ.get("TAIHU_SPARKPLUG_NPM", "")
NODE = shutil.which("node") or ""

_GOOGLE = """
import sys
from pysparkplug._protobuf import Payload
for line in sys.stdin:
    print(Payload.FromString(bytes.fromhex(line)).SerializeToString().hex())
"""
_TAHU = """
const tahu = require("sparkplug-payload").get("spBv1.0")
const lines = require("readline").createInterface({ input: process.stdin })
lines.on("line", line => {
  const payload = tahu.decodePayload(Buffer.from(line, "hex"))
  const shown = JSON.stringify(payload.metrics, (key, value) => key === "long" ? undefined : value)
  console.log(JSON.stringify([Buffer.from(tahu.encodePayload(payload)).toString("hex"), shown]))
})
"""


@pytest.mark.skipif(not PYTHON, reason="TAIHU_PYSPARKPLUG_PYTHON names no interpreter that has pysparkplug")
def test_what_google_reads_and_writes_again_is_the_same() -> None:
    payloads: list[Payload] = []

    @settings(max_examples=100, phases=[Phase.generate], deadline=None, database=None)
    @given(PAYLOADS)
    def collect(payload: Payload) -> None:
        payloads.append(payload)

    collect()
    sent = "\n".join(encode(payload).hex() for payload in payloads) + "\n"
    run = subprocess.run([PYTHON, "-c", _GOOGLE], input=sent, capture_output=True, text=True, timeout=WAIT_S)
    assert run.returncode == 0, run.stderr
    answers = run.stdout.split("\n")[:-1]
    assert [decode(bytes.fromhex(answer)) for answer in answers] == payloads


_METRICS = (
    Metric("int", 1, 1_700_000_000_000, DataType.INT32, -42),
    Metric("long", 2, 1_700_000_000_000, DataType.INT64, 12345),
    Metric("double", 3, None, DataType.DOUBLE, 2.5, properties={"engUnit": PropertyValue(DataType.STRING, "kW")}),
    Metric("flag", None, None, DataType.BOOLEAN, True, historical=True),
    Metric("text", None, None, DataType.STRING, "泵 1"),
    Metric("blob", None, None, DataType.BYTES, b"\0\1"),
    Metric("table", None, None, DataType.DATASET, DataSet(("a", "b"), (9, 12), ((0.5, "x"), (1.5, "y")))),
    Metric("motor", None, None, DataType.TEMPLATE, Template("Motor", members=(Metric("rpm", None, None, 3, 7),))),
)


@pytest.mark.skipif(
    not NODE or not (Path(MODULES) / "node_modules" / "sparkplug-payload").is_dir(),
    reason="TAIHU_SPARKPLUG_NPM names no folder with sparkplug-payload in its node_modules, or there is no node",
)
def test_what_tahu_reads_and_writes_again_is_the_same() -> None:
    payload = Payload(1_700_000_000_000, _METRICS, 7)
    environment = os.environ | {"NODE_PATH": f"{MODULES}/node_modules"}
    run = subprocess.run([NODE, "-e", _TAHU], input=encode(payload).hex() + "\n", capture_output=True, text=True,
                         env=environment, timeout=WAIT_S)  # fmt: skip
    assert run.returncode == 0, run.stderr
    again, shown = json.loads(run.stdout)
    assert [metric["name"] for metric in json.loads(shown)] == [metric.name for metric in _METRICS]
    assert json.loads(shown)[0]["value"] == -42
    back = decode(bytes.fromhex(again))
    assert (back.timestamp, back.seq) == (payload.timestamp, payload.seq)
    assert [(one.name, one.kind, one.historical) for one in back.metrics] == [
        (one.name, one.kind, one.historical) for one in _METRICS
    ]
    assert [one.value for one in back.metrics[:7]] == [one.value for one in _METRICS[:7]]
    motor = back.metrics[7].value
    assert isinstance(motor, Template) and motor.ref == "Motor"
    assert [(one.name, one.value) for one in motor.members] == [("rpm", 7)]
