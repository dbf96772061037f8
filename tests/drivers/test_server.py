"""Credentials and TLS of all connections to MQTT servers, against mosquitto."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.drivers.broker import Broker

from taihu.drivers.files import ConnectionFile, write_connection
from taihu.drivers.mqtt.driver import MqttDriver
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Plan
from taihu.drivers.sparkplug.driver import SparkplugDriver
from taihu.drivers.sparkplug.edge.teller import SparkplugTeller
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT


@pytest.mark.parametrize(
    ("driver", "path"), [(MqttDriver, ""), (SparkplugDriver, "/plant"), (SparkplugTeller, "/plant/centre")]
)
def test_passwords_and_certificates(tmp_path: Path, driver: Any, path: str) -> None:
    """A broker that asks for both: from the keyring, and from the option `ca`; and what is said without them."""
    key, certificate, passwords = (tmp_path / name for name in ("key.pem", "cert.pem", "passwords"))
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(["openssl", *made, *subject], check=True, capture_output=True)
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "me", "secret"], check=True, capture_output=True)
    for file in (tmp_path, key, passwords):
        file.chmod(0o755)
    broker = Broker("allow_anonymous false", f"password_file {passwords}", f"certfile {certificate}", f"keyfile {key}")

    async def body(password: str, ca: str, version: int = 5) -> Plan:
        options = {"discover_s": 0.3, "ca": ca, "version": version}
        url = f"{driver.schemes[1]}://me@localhost:{broker.port}{path}"
        connection = Connection(name="tls", url=url, options=options, secrets={"password": password})
        assert "secret" not in repr(connection)
        file = ConnectionFile(project="p", driver="d", connection=connection, plan=Plan())
        assert "secret" not in write_connection(tmp_path, file).read_text()
        plan: Plan = await driver.open(connection, SystemClock(), DEFAULT).discover()
        return plan

    try:
        for version in (4, 5):
            assert asyncio.run(body("secret", str(certificate), version)).things == ()
            with pytest.raises(DeviceRefused, match="username and password"):
                asyncio.run(body("wrong", str(certificate), version))
        with pytest.raises(DeviceLost, match="certificate"):
            asyncio.run(body("secret", ""))
    finally:
        broker.stop()
