"""Somebody who follows docs/certificates.md, block by block, on other ports."""

import re
import shutil
from pathlib import Path

import pytest
from tests.docs.support import DOCS, Reader, examples, free_ports

TOOLS = ("openssl", "curl", "mosquitto_pub")


@pytest.mark.skipif(None in map(shutil.which, TOOLS), reason="openssl, curl or mosquitto_pub is not installed")
def test_the_page_of_certificates_runs(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.ports |= dict(zip(("8883", "8443"), free_ports(2), strict=True))
    first, *blocks = (script for script, _ in examples("certificates.md"))
    reader.shell(first)
    settings = re.findall(r"```toml\n(.*?)```", (DOCS / "certificates.md").read_text("utf-8"), re.DOTALL)[0]
    path = tmp_path / "works" / "site.toml"
    ports = {"mqtt": "port = 1883\n", "http": "port = 8080\n"}
    for section, port in ports.items():
        own = re.search(rf"\[{section}\]\n(.*?)(?:\n\n|\Z)", settings, re.DOTALL)
        assert own is not None
        text = path.read_text("utf-8").replace(
            f"[{section}]\n", f"[{section}]\n{port}{own[1].replace('0.0.0.0', '127.0.0.1')}\n", 1
        )
        path.write_text(reader.here(text), "utf-8")
    reader.run("works")
    try:
        shown = [reader.shell(block) for block in blocks]
    finally:
        reader.stop()
    assert '{"accepted":1,"refused":[]}' in shown[0]
    assert "device.crt: OK" in shown[2]
    assert "nothing to do" in shown[3]
    assert "Revoked" in shown[4] and "1 revoked" in shown[4]
