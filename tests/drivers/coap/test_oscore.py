"""OSCORE: the vectors of RFC 8613, Appendix C, and devices of aiocoap and OpenWSN that want it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from tests.drivers.broker import Speaker
from tests.drivers.conformance import Peer, free_port

pytest.importorskip("aiocoap", reason="aiocoap is not installed (the extra coap)")

from aiocoap import Message
from aiocoap.message import Direction
from tests.drivers.coap.test_driver import PEER, driver_at, following, found, point

from taihu.drivers.coap.driver import CoapDriver
from taihu.drivers.coap.oscore import KeptContext
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Plan, Result, ThingPlan
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT

SECRET, SALT = "0102030405060708090a0b0c0d0e0f10", "9e7ca92223786340"
KEYS = {"oscore_secret": SECRET, "oscore_salt": SALT}
PYTHON = os.environ.get("TAIHU_OPENWSN_PYTHON", "")
PLAN = Plan(things=(ThingPlan(name="t", points=(point("x", href="/temperature", write={"href": "/temperature"}),)),))


def test_the_vectors_of_rfc_8613(tmp_path: Path) -> None:
    """C.1.1: the client's keys; C.4: its request; C.7: the server's answer."""
    hexadecimal = bytes.fromhex
    context: Any = KeptContext(hexadecimal(SECRET), hexadecimal(SALT), b"", b"\x01", tmp_path / "kept.oscore")
    assert context.sender_key.hex() == "f0910ed7295e6ad4b54fc793154302ff"
    assert context.recipient_key.hex() == "ffb14e093c94c9cac9471648b4f98710"
    assert context.common_iv.hex() == "4622d4dd6d944168eefb54987c"
    context.sender_sequence_number = 20
    plain = Message.decode(hexadecimal("44015d1f00003974396c6f63616c686f737483747631"))
    plain.direction = Direction.OUTGOING
    protected, request = context.protect(plain)
    protected.mtype, protected.mid, protected.token = plain.mtype, plain.mid, plain.token
    assert protected.encode().hex() == "44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e"
    answer = Message.decode(hexadecimal("64445d1f0000397490ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106"))
    assert context.unprotect(answer, request)[0].payload == b"Hello World!"


def test_it_protects_and_no_number_comes_twice(tmp_path: Path) -> None:
    """Without the key the device refuses; with it, also after our restart, it answers: its window saw none twice."""
    peer = Peer(PEER, SECRET, str(tmp_path))

    async def body() -> None:
        with pytest.raises(DeviceRefused, match=r"4\.01"):
            await found(driver_at(peer.port, "/temperature"))
        numbers = []
        for _ in range(2):
            out = await following(driver_at(peer.port, "", KEYS, tmp_path), PLAN, lambda out: len(out.rows) > 2)
            assert out.newest()["t"]["x"] == 21.5
            numbers.append(int((tmp_path / "peer.oscore").read_text()))
        assert numbers[1] > numbers[0]
        wrong = KEYS | {"oscore_secret": SECRET[::-1]}
        with pytest.raises((DeviceLost, DeviceRefused)):
            await found(driver_at(peer.port, "/temperature", wrong, tmp_path / "other"))

    try:
        asyncio.run(body())
    finally:
        peer.stop()
    with pytest.raises(DeviceRefused):
        driver_at(1, "", {"oscore_secret": "xyz"}, tmp_path)
    with pytest.raises(DeviceRefused):
        driver_at(1, "", KEYS)


@pytest.mark.skipif(not PYTHON, reason="TAIHU_OPENWSN_PYTHON names no interpreter that has openwsn-coap")
def test_a_device_of_openwsn_is_read_and_written_under_protection(tmp_path: Path) -> None:
    """Another implementation: its keys, its nonces and its checks are its own."""
    port = free_port()
    (tmp_path / "peer").mkdir()
    (tmp_path / "peer.oscore").write_text("1")  # it takes the number 0 for none at all
    script = str(Path(__file__).with_name("openwsn.py"))
    speaker = Speaker([PYTHON, script, str(port), SECRET, SALT, str(tmp_path / "peer")]).ready()

    def opened(secrets: dict[str, str], folder: Path) -> CoapDriver:
        options = {"timeout_s": 1.0, "retries": 1, "answer_s": 1.0}
        connection = Connection(
            name="peer", url=f"coap://[::1]:{port}/temperature", period_s=0.05, options=options, secrets=secrets,
            folder=folder,
        )  # fmt: skip
        return CoapDriver.open(connection, SystemClock(), DEFAULT)

    async def body() -> None:
        with pytest.raises(DeviceRefused, match=r"4\.01"):
            await found(opened({}, tmp_path))
        with pytest.raises((DeviceLost, DeviceRefused)):
            await found(opened(KEYS | {"oscore_salt": SALT[::-1]}, tmp_path / "other"))
        driver = opened(KEYS, tmp_path)

        async def doing(out: Any) -> None:
            assert out.newest()["t"]["x"] == 21.5
            assert (await driver.write("t", PLAN.things[0].points[0], 22.5)).result is Result.DONE
            while out.newest()["t"]["x"] != 22.5:
                await asyncio.sleep(0.01)

        await following(driver, PLAN, lambda out: out.rows, doing)

    try:
        asyncio.run(body())
    finally:
        speaker.stop()
