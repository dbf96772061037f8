"""Policies, certificates and users: who is trusted, and what is refused before a secret leaves."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import WAIT_S

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'taihu[opcua]'")

from tests.drivers.conformance import Collected
from tests.drivers.opcua.support import Peer

from taihu.drivers.opcua.driver import OpcuaDriver
from taihu.drivers.opcua.security import own_identity
from taihu.drivers.port import Connection, DeviceRefused, Plan, Result
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT

USER = {"user": "engineer"}
PASSWORD = {"password": "tai hu 36000"}


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.stop()


def driver(peer: Peer, folder: Path, secrets: dict[str, str] | None = None, **options: Any) -> OpcuaDriver:
    connection = Connection(
        name="plant", url=f"opc.tcp://127.0.0.1:{peer.port}", period_s=0.05, secrets=secrets or {}, folder=folder,
        options={"timeout_s": 4.0, **options},
    )  # fmt: skip
    return OpcuaDriver.open(connection, SystemClock(), DEFAULT)


def found(peer: Peer, folder: Path, secrets: dict[str, str] | None = None, **options: Any) -> Plan:
    async def body() -> Plan:
        one = driver(peer, folder, secrets, **options)
        try:
            return await one.discover()
        finally:
            await one.close()

    return asyncio.run(body())


@pytest.mark.parametrize(
    ("policy", "mode"),
    [("Basic256Sha256", "Sign"), ("Basic256Sha256", "SignAndEncrypt"), ("Aes128Sha256RsaOaep", ""), ("auto", "")],
)
def test_values_come_and_go_under_every_policy(peer: Peer, tmp_path: Path, policy: str, mode: str) -> None:
    plan = found(peer, tmp_path, PASSWORD, security=policy, mode=mode, **USER)
    trusted = plan.options["trusted"]
    assert len(trusted) == 64 and trusted in plan.notes[0]
    setpoint = plan.things[0].point("Setpoint")
    assert setpoint is not None

    async def body() -> None:
        one, out = driver(peer, tmp_path, PASSWORD, security=policy, mode=mode, trusted=trusted, **USER), Collected()
        task = asyncio.create_task(one.run(plan, out))
        async with asyncio.timeout(WAIT_S):
            while "Temperature" not in out.newest().get("Boiler", {}):
                await asyncio.sleep(0.01)
        assert (await one.write("Boiler", setpoint, 61.0)).result is Result.DONE
        task.cancel()
        await one.close()

    asyncio.run(body())


def test_another_certificate_than_the_trusted_one_is_refused(peer: Peer, tmp_path: Path) -> None:
    with pytest.raises(DeviceRefused, match="not the trusted one"):
        found(peer, tmp_path, trusted="0" * 64)


def test_security_that_went_away_is_refused(peer: Peer, tmp_path: Path) -> None:
    with pytest.raises(DeviceRefused, match="no security any more"):
        found(peer, tmp_path, trusted="0" * 64, security="None")


def test_a_wrong_password_is_refused(peer: Peer, tmp_path: Path) -> None:
    with pytest.raises(DeviceRefused, match="lets this user not in"):
        found(peer, tmp_path, {"password": "wrong"}, **USER)


def test_what_the_server_does_not_offer_is_refused(peer: Peer, tmp_path: Path) -> None:
    with pytest.raises(DeviceRefused, match=r"It offers: .*Basic256Sha256"):
        found(peer, tmp_path, security="Aes256Sha256RsaPss", mode="Sign")


@pytest.mark.parametrize("options", [{"security": "Basic128"}, {"mode": "Loud"}, {"timeout_s": 0.0}, {"queue": 0},
                                     {"timestamps": "none"}])  # fmt: skip
def test_options_that_cannot_be_are_refused(peer: Peer, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(DeviceRefused):
        driver(peer, tmp_path, **options)


def test_the_own_certificate_is_made_once_and_its_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    first = asyncio.run(own_identity(tmp_path, SystemClock()))
    again = asyncio.run(own_identity(tmp_path, SystemClock()))
    assert first.certificate == again.certificate and first.uri == again.uri
    assert (tmp_path / "opcua" / "key.pem").stat().st_mode & 0o077 == 0
    assert (tmp_path / "opcua").stat().st_mode & 0o077 == 0
    (tmp_path / "opcua" / "key.pem").write_text("no key")
    with pytest.raises(DeviceRefused, match="Remove the folder"):
        asyncio.run(own_identity(tmp_path, SystemClock()))


def test_secrets_are_in_no_text(peer: Peer, tmp_path: Path) -> None:
    one = driver(peer, tmp_path, PASSWORD, **USER)
    assert PASSWORD["password"] not in repr(one) + repr(vars(one))
