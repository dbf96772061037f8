"""Pushes: signed as Standard Webhooks has it, each taken once, answered when they are durable (§4)."""

import asyncio
import base64
import hashlib
import hmac
from typing import Any

import httpx
import pytest
from tests.drivers.conformance import Collected, free_port
from tests.drivers.http.test_driver import point
from tests.waiting import WAIT_S

from taihu.drivers.http.driver import HttpDriver
from taihu.drivers.http.webhook import TOLERANCE_S, Signatures
from taihu.drivers.port import Connection, DeviceRefused, Plan, ThingPlan
from taihu.kernel.clock import NS_PER_S, SimClock, SystemClock
from taihu.kernel.limits import DEFAULT

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SENT = 1_614_265_330


def sign(number: str, sent: int, body: bytes, secret: str = SECRET) -> dict[str, str]:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{number}.{sent}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": number, "webhook-timestamp": str(sent), "webhook-signature": signature}


def test_the_example_that_the_standards_libraries_share() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": str(SENT),
        "webhook-signature": "v1a,other v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    body = b'{"test": 2432232314}'
    signatures = Signatures(SECRET, SimClock(SENT * NS_PER_S))
    assert signatures.fault(headers, body) == 0
    assert signatures.fault(headers, body + b" ") == 401
    assert signatures.fault(headers | {"webhook-id": "msg_other"}, body) == 401
    assert signatures.fault({}, body) == 401


def test_only_what_was_signed_now_is_taken_and_once() -> None:
    clock = SimClock(SENT * NS_PER_S)
    signatures = Signatures(SECRET, clock)
    for sent in (SENT - TOLERANCE_S - 1, SENT + TOLERANCE_S + 1):
        assert signatures.fault(sign("a", sent, b"{}"), b"{}") == 401
    for sent in (SENT - TOLERANCE_S, SENT + TOLERANCE_S):
        assert signatures.fault(sign("a", sent, b"{}"), b"{}") == 0
    signatures.remember(sign("a", SENT, b"{}"))
    assert signatures.was_taken(sign("a", SENT, b"{}"))
    clock.advance(TOLERANCE_S + 1)
    assert signatures.fault(sign("b", SENT + TOLERANCE_S + 1, b"{}"), b"{}") == 0
    assert not signatures.was_taken(sign("a", SENT, b"{}"))  # its time is refused by now
    for weak in ("", "whsec_", "whsec_c2hvcnQ=", "no base64!"):
        with pytest.raises(DeviceRefused):
            Signatures(weak, clock)


def test_a_push_is_answered_when_it_is_durable_4() -> None:
    class Node(Collected):
        """Durable when told."""

        synced = asyncio.Event()

        async def durable(self) -> None:
            await self.synced.wait()

    async def body() -> None:
        port, clock, out = free_port(), SystemClock(), Node()
        out.synced = asyncio.Event()
        connection = Connection(
            name="hook",
            url="http://192.0.2.1/",
            options={"listen": f"127.0.0.1:{port}"},
            secrets={"webhook_secret": SECRET},
        )
        plan = Plan(things=(ThingPlan(name="door", points=(point("level", push="/hook", pointer="/level"),)),))
        driver = HttpDriver.open(connection, clock, DEFAULT)
        task = asyncio.create_task(driver.run(plan, out))
        now = clock.now_ns() // NS_PER_S

        async def push(number: str, content: bytes, path: str = "/hook", method: str = "POST", **change: str) -> int:
            headers = sign(number, now, content) | {name.replace("_", "-"): value for name, value in change.items()}
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.request(
                    method, f"http://127.0.0.1:{port}{path}", content=content, headers=headers, timeout=WAIT_S
                )
                return answer.status_code

        await asyncio.sleep(0.05)
        pushed = asyncio.create_task(push("one", b'{"level": 3}'))
        while not out.rows:
            await asyncio.sleep(0.01)
        assert not pushed.done()
        assert await push("one", b'{"level": 3}') == 503  # it is not yet known what becomes of it
        out.synced.set()
        assert await pushed == 204
        assert await push("one", b'{"level": 3}') == 204
        assert [row.values for row in out.rows] == [{"level": 3}]
        told: list[Any] = [
            await push("two", b'{"level": 4}', webhook_signature="v1,AAAA"),
            await push("two", b'{"level": 4}', path="/other"),
            await push("two", b"no json"),
            await push("two", b'{"level": 4}', method="PUT"),
            await push("two", b"x" * (DEFAULT.device_answer_bytes_max + 1)),
            await push("two", b'{"level": 4}'),
        ]
        assert told == [401, 404, 400, 405, 413, 204]
        assert out.newest()["door"] == {"level": 4}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await driver.close()

    asyncio.run(body())


def test_points_that_are_pushed_want_a_listener_and_it_a_secret() -> None:
    plan = Plan(things=(ThingPlan(name="door", points=(point("level", push="/hook"),)),))
    driver = HttpDriver.open(Connection(name="x", url="http://192.0.2.1/"), SystemClock(), DEFAULT)
    with pytest.raises(DeviceRefused, match="listen"):
        asyncio.run(driver.run(plan, Collected()))
    with pytest.raises(DeviceRefused, match="webhook_secret"):
        options = {"listen": "127.0.0.1:0"}
        HttpDriver.open(Connection(name="x", url="http://192.0.2.1/", options=options), SystemClock(), DEFAULT)
