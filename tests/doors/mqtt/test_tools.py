"""The door against mosquitto's command-line clients."""

import shutil
import subprocess
from typing import Any

import pytest
from tests.waiting import WAIT_S

needs_mosquitto = pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto-clients is not installed")


def publish(port: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )


@needs_mosquitto
@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_publish_and_subscribe_at_each_qos(running: Any, version: str, qos: str) -> None:
    """A retained message reaches a later subscriber at every QoS (clauses 3.3.1 and 4.3)."""
    done = publish(running.port, "-V", version, "-q", qos, "-t", "a/b", "-m", "hello", "-r")
    assert done.returncode == 0, done.stderr
    got = subprocess.run(
        ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(running.port), "-V", version, "-q", qos, "-t", "a/#",
         "-C", "1", "-F", "%t %p %q %r", "-W", "10"],
        capture_output=True, text=True, timeout=WAIT_S,
    )  # fmt: skip
    assert got.stdout == f"a/b hello {qos} 1\n", got.stderr


@needs_mosquitto
def test_readings_reach_the_pipeline(running: Any) -> None:
    """§4: claimed messages go to the group commit before they are acknowledged."""
    for qos in "012":
        assert publish(running.port, "-q", qos, "-t", "readings/x", "-m", qos).returncode == 0
    assert running.pipeline.readings == [("readings/x", b"0"), ("readings/x", b"1"), ("readings/x", b"2")]
