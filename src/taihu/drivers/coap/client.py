"""Requests to one CoAP device over aiocoap: one error each way, bounded in time and size, under OSCORE with a key."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from aiocoap import Context, Message, error
from aiocoap.numbers import GET, POST, PUT, TransportTuning
from aiocoap.numbers.codes import DELETE, FETCH, PATCH, iPATCH
from cbor2 import CBORDecodeError
from cbor2 import loads as cbor_of

from taihu.drivers.address import endpoint_of
from taihu.drivers.coap.oscore import security_of
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused
from taihu.drivers.resources import json_of, word_of
from taihu.kernel.limits import Limits

for _name in ("coap", "coap-server", "aiocoap"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # what it tells, this driver raises

TEXT, LINKS, CBOR = 0, 40, 60
_JSON = (50, 432)
_FORMATS = {"text/plain": TEXT, "application/json": 50, "application/td+json": 432}
_METHODS = {"GET": GET, "PUT": PUT, "POST": POST, "DELETE": DELETE, "FETCH": FETCH, "PATCH": PATCH, "IPATCH": iPATCH}
_SAFE = "%/:?#[]@!$&'()*+,;=~"
_EXAMPLE = "coap://host:5683/path"
_SUCCESS = 2


class CoapClient:
    """Requests to the device of a connection."""

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self.endpoint = endpoint_of(connection, 5683, _EXAMPLE)
        self.origin = f"coap://{self.endpoint.bracketed}:{self.endpoint.port}"
        self._limits = limits
        self._timeout_s = float(connection.option("timeout_s", 2.0))
        answer_s = float(connection.option("answer_s", 10.0))
        if not 0 < answer_s <= 3_600:
            raise DeviceRefused("The option answer_s is not from 0 to 3600.", "Correct the option.")
        self._tuning = _tuning(self._timeout_s, int(connection.option("retries", 2)))
        self._patience_s = self._timeout_s * 2 ** (self._tuning.MAX_RETRANSMIT + 1) + answer_s
        self._security = security_of(connection)
        self._context: Any = None

    async def connect(self) -> None:
        """Open our end; a device is not called by it."""
        await self.close()
        if self._security is not None:
            self._security.hold()
        try:
            self._context = await Context.create_client_context(transports=["oscore", "udp6"])
        except (OSError, error.Error) as fault:
            raise DeviceLost(f"No socket for CoAP: {fault}.") from None
        if self._security is not None:
            self._context.client_credentials[f"{self.origin}/*"] = self._security

    async def close(self) -> None:
        """Let go."""
        context, self._context = self._context, None
        if context is not None:
            await context.shutdown()
            if self._security is not None:
                self._security.release()

    def target_of(self, href: str, base: str = "/") -> str | None:
        """What to ask this device for, for an address relative to `base`; None when it is another's."""
        root = f"http{self.origin.removeprefix('coap')}"  # urljoin knows no coap
        try:
            parts = urlsplit(urljoin(urljoin(root, _webbed(base)), _webbed(href)))
            port = parts.port or 5683
        except ValueError:
            return None
        if (parts.scheme, parts.hostname, port) != ("http", self.endpoint.host, self.endpoint.port):
            return None
        return quote(parts.path or "/", _SAFE) + (f"?{quote(parts.query, _SAFE)}" if parts.query else "")

    async def ask(self, method: str, target: str, content: str = "", body: bytes = b"") -> Any:
        """The device's answer, of whatever code; DeviceLost when there is none."""
        request = self._message(method, target, payload=body)
        if content:
            request.opt.content_format = _FORMATS.get(content, TEXT if content.startswith("text/") else 50)
        try:
            async with asyncio.timeout(self._patience_s):
                answer = await self._need_context().request(request).response
        except TimeoutError:
            raise DeviceLost(f"{self.endpoint.host} does not answer.") from None
        except (error.Error, OSError, ValueError) as fault:
            raise self._lost(fault) from None
        if len(answer.payload) > self._limits.device_answer_bytes_max:
            raise DeviceLost(f"{self.endpoint.host} answers {len(answer.payload)} bytes.")
        return answer

    @asynccontextmanager
    async def observe(self, target: str) -> AsyncIterator[AsyncIterator[Any]]:
        """What a resource is and becomes; DeviceRefused when it cannot be observed."""
        pending = self._need_context().request(self._message("GET", target, observe=0))
        try:
            yield self._told(target, pending)
        finally:
            with suppress(error.Error):
                if pending.observation is not None and not pending.observation.cancelled:
                    pending.observation.cancel()

    async def _told(self, target: str, pending: Any) -> AsyncIterator[Any]:
        try:
            async with asyncio.timeout(self._patience_s):
                first = await pending.response
            refuse(first, target)
            yield first
            async for answer in pending.observation:
                refuse(answer, target)
                yield answer
        except TimeoutError:
            raise DeviceLost(f"{self.endpoint.host} does not answer.") from None
        except error.NotObservable:
            raise DeviceRefused(f"{target} cannot be observed.", "Poll it: leave observe out.") from None
        except (error.Error, OSError, ValueError) as fault:
            raise self._lost(fault) from None

    def _message(self, method: str, target: str, **members: Any) -> Any:
        code = _METHODS.get(method)
        if code is None:
            raise DeviceRefused(f"CoAP has no method {method[:20]!r}.", f"There are: {', '.join(_METHODS)}.")
        return Message(code=code, uri=self.origin + target, transport_tuning=self._tuning, **members)

    def _need_context(self) -> Any:
        if self._context is None:
            raise DeviceLost(f"{self.endpoint.host} is not connected.")
        return self._context

    def _lost(self, fault: Exception) -> DeviceLost:
        return DeviceLost(
            f"{self.endpoint.host} does not answer sensibly: {type(fault).__name__} {fault}".rstrip() + "."
        )


def refuse(answer: Any, target: str) -> None:
    """Raise DeviceRefused for an answer that is no success."""
    if not answer.code.is_successful():
        text = answer.payload[:200].decode("utf-8", "replace")
        raise DeviceRefused(f"It answers {answer.code.dotted} {text}".rstrip() + f" to {target}.", "See its manual.")


def document_of(answer: Any) -> Any:
    """What an answer says: JSON, CBOR, or one word of text; DeviceLost when it is what it does not say it is."""
    content = answer.opt.content_format
    if content is not None and int(content) in _JSON:
        return json_of(answer.payload)
    if content is not None and int(content) == CBOR:
        try:
            return cbor_of(answer.payload)
        except (CBORDecodeError, ValueError, TypeError, RecursionError, OverflowError):
            raise DeviceLost("What it answers is no CBOR.") from None
    return word_of(answer.payload)


def _webbed(address: str) -> str:
    return f"http{address[4:]}" if address.startswith("coap://") else address


def _tuning(timeout_s: float, retries: int) -> Any:
    if not 0.05 <= timeout_s <= 60 or not 0 <= retries <= 10:
        raise DeviceRefused("timeout_s is from 0.05 to 60, retries from 0 to 10.", "Correct the option.")
    tuning = TransportTuning()
    tuning.ACK_TIMEOUT, tuning.MAX_RETRANSMIT = timeout_s, retries
    return tuning
