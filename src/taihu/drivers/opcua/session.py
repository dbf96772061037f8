"""A session with a server: made, taken up again after a loss, asked, and let go; every fault is one of the two errors.

Requests are asyncua's. Its own supervisor is not used: what is lost is told to the host, which calls again, and the
session that the server may still hold is then taken up with its subscriptions.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
from asyncua import Client, ua
from asyncua.crypto import uacrypto
from asyncua.ua.ua_binary import struct_from_binary

from taihu.drivers.opcua.security import NO_POLICY, Identity, Policy, check_trusted, choose, leaf, own_identity
from taihu.drivers.port import DeviceLost, DeviceRefused
from taihu.kernel.clock import Clock

logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)  # what it tells, this driver raises

_T = TypeVar("_T")
_SESSION_S, _CHANNEL_S = 60.0, 3_600.0
_RENEW_AT = 0.75
_SERVERS_MAX = 1_000
_BATCH_MAX = 500
_STATUS_CODES = ua.StatusCodes
_AWAY = frozenset({
    _STATUS_CODES.BadTimeout, _STATUS_CODES.BadNoSubscription,
    _STATUS_CODES.BadCommunicationError, _STATUS_CODES.BadConnectionClosed,
    _STATUS_CODES.BadSecureChannelClosed, _STATUS_CODES.BadSecureChannelIdInvalid, _STATUS_CODES.BadSessionClosed,
    _STATUS_CODES.BadSessionIdInvalid, _STATUS_CODES.BadServerHalted, _STATUS_CODES.BadShutdown,
    _STATUS_CODES.BadServerNotConnected, _STATUS_CODES.BadNotConnected, _STATUS_CODES.BadNoCommunication,
    _STATUS_CODES.BadDeviceFailure, _STATUS_CODES.BadTooManySessions, _STATUS_CODES.BadTooManyOperations,
    _STATUS_CODES.BadResourceUnavailable, _STATUS_CODES.BadOutOfMemory, _STATUS_CODES.BadRequestTimeout,
    _STATUS_CODES.BadWaitingForInitialData, _STATUS_CODES.BadTcpInternalError, _STATUS_CODES.BadDecodingError,
})  # fmt: skip
_AGAIN = frozenset({_STATUS_CODES.BadTimeout, _STATUS_CODES.BadTooManyPublishRequests})
_UNTRUSTED = frozenset({
    _STATUS_CODES.BadSecurityChecksFailed, _STATUS_CODES.BadCertificateUntrusted,
    _STATUS_CODES.BadCertificateInvalid,
})  # fmt: skip
_DENIED = frozenset({
    _STATUS_CODES.BadIdentityTokenRejected, _STATUS_CODES.BadIdentityTokenInvalid, _STATUS_CODES.BadUserAccessDenied,
})  # fmt: skip


class ServiceFault(DeviceRefused):
    """A service that says no as a whole, by a status code."""

    def __init__(self, message: str, remedy: str, status: int) -> None:
        super().__init__(message, remedy)
        self.status = status


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to call, and how. `trusted` is the fingerprint of the server's certificate; empty trusts the first shown."""

    url: str
    host: str
    timeout_s: float
    policy: Policy = "auto"
    mode: str = ""
    trusted: str = ""
    user: str = ""
    password: str = ""
    plain_password: bool = False
    folder: Path | None = None

    def __repr__(self) -> str:
        return f"Target({self.host!r})"


class Session:
    """One session; `open` may be called again after a loss."""

    def __init__(self, target: Target, clock: Clock) -> None:
        self.target = target
        self.fingerprint = ""
        self.secured = False
        self.namespaces: list[str] = []
        self._clock = clock
        self._client: Client | None = None
        self._identity: Identity | None = None

    async def open(self) -> bool:
        """Connect; whether the session that there was before lives on, with its subscriptions.

        Raises:
            DeviceLost, DeviceRefused: as the server, or the silence, says.
        """
        if self._client is not None:
            with suppress(DeviceRefused):
                await self._ask(self._channel(self._client))
                if await self._taken_up(self._client):
                    return True
            self._client.disconnect_socket()
        self._client = await self._fresh()
        await self._ask(self._begin(self._client))
        self.namespaces = [str(one) for one in (await self.read([ua.NodeId(2255)]))[0].Value.Value or ()]
        return False

    async def servers(self) -> Sequence[ua.ApplicationDescription]:
        """The servers that are known at the address, as it says without security (FindServers)."""
        client = Client(self.target.url, timeout=self.target.timeout_s)
        found: list[ua.ApplicationDescription] = await self._ask(client.connect_and_find_servers())
        return found[:_SERVERS_MAX]

    async def close(self) -> None:
        """Let go: tell the server if it still listens, and close the connection in any case."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(DeviceLost, DeviceRefused):
                await self._ask(client.close_session())
            with suppress(DeviceLost, DeviceRefused):
                await self._ask(client.close_secure_channel())
            client.disconnect_socket()

    def drop(self) -> None:
        """Close the connection and keep the session, to be taken up again."""
        if self._client is not None:
            self._client.disconnect_socket()

    async def renew(self) -> None:
        """Renew the channel's keys in time, for ever."""
        client = self._need()
        while True:
            await asyncio.sleep(client.secure_channel_timeout / 1000 * _RENEW_AT)
            await self._ask(client.open_secure_channel(renew=True))
            client.uaclient.revolve_security_token()

    async def request(self, request: Any, answer: Any) -> Any:
        """Ask a service and decode its answer, good or DeviceLost or DeviceRefused."""
        data = await self._ask(self._protocol().send_request(request))
        return self.decode(answer, data)

    async def publish(self, acknowledged: Sequence[tuple[int, int]]) -> bytes | int:
        """Ask for the next notifications, however long it takes: the answer's bytes, or the status that says: again."""
        request = ua.PublishRequest()
        request.Parameters.SubscriptionAcknowledgements = [
            ua.SubscriptionAcknowledgement(SubscriptionId=one, SequenceNumber=number) for one, number in acknowledged
        ]
        try:
            return bytes(await self._protocol().send_request(request, timeout=0))
        except DeviceLost:
            raise
        except Exception as error:  # noqa: BLE001 - asyncua raises anything for a garbled answer
            if isinstance(error, ua.UaStatusCodeError) and error.code in _AGAIN:
                return int(error.code)
            self._fail(error)

    def decode(self, answer: Any, data: Any) -> Any:
        """A service's answer; DeviceLost where it is none, or by what status it has."""
        try:
            found = struct_from_binary(answer, data)
            found.ResponseHeader.ServiceResult.check()
        except Exception as error:  # noqa: BLE001 - asyncua raises anything for bytes that are no answer
            self._fail(error)
        return found

    async def read(self, nodes: Sequence[ua.NodeId], attribute: int = ua.AttributeIds.Value) -> list[ua.DataValue]:
        """One attribute of many nodes, in requests of a size that servers take."""
        return await self.read_all([(node, attribute) for node in nodes])

    async def read_all(self, wanted: Sequence[tuple[ua.NodeId, int]]) -> list[ua.DataValue]:
        """Attributes of nodes; a bad one has its status and no value."""
        found: list[ua.DataValue] = []
        for start in range(0, len(wanted), _BATCH_MAX):
            request = ua.ReadRequest()
            request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
            batch = wanted[start : start + _BATCH_MAX]
            request.Parameters.NodesToRead = [
                ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds(attribute)) for node, attribute in batch
            ]
            results = (await self.request(request, ua.ReadResponse)).Results
            if len(results) != len(batch):
                raise DeviceLost(f"{self.target.host} answered {len(results)} of {len(batch)} values.")
            found += results
        return found

    async def _fresh(self) -> Client:
        """A client, secured as asked and with the server's certificate looked at."""
        target = self.target
        client = Client(target.url, timeout=target.timeout_s)
        client.session_timeout, client.secure_channel_timeout = int(_SESSION_S * 1000), int(_CHANNEL_S * 1000)
        client.name = client.description = "Taihu"
        client.product_uri = "urn:taihu"
        client.uaclient.pre_request_hook = None
        if target.user:
            client.set_user(target.user)
            client.set_password(target.password)
        if target.policy != "None":
            endpoints = await self._ask(client.connect_and_get_server_endpoints())
            client.uaclient.clear_disconnect_request()
            endpoint, policy = choose(endpoints, target.policy, target.mode)
            if policy is not None:
                certificate = leaf(endpoint.ServerCertificate)
                self.fingerprint = check_trusted(certificate, target.trusted, target.host)
                self._identity = await own_identity(target.folder, self._clock)
                client.application_uri = self._identity.uri
                await self._ask(self._secure(client, policy, certificate, endpoint.SecurityMode))
        self.secured = client.security_policy.URI != NO_POLICY
        if target.trusted and not self.secured:
            raise DeviceRefused(
                f"{target.host} offers no security any more, and a certificate was trusted.",
                "If that is meant, remove trusted from [options].",
            )
        return client

    async def _secure(self, client: Client, policy: Any, certificate: bytes, mode: Any) -> None:
        assert self._identity is not None
        identity = self._identity
        client.security_policy = policy(uacrypto.x509_from_der(certificate), identity.certificate, identity.key, mode)
        client.uaclient.set_security(client.security_policy)

    async def _channel(self, client: Client) -> None:
        await client.connect_socket()
        await client.send_hello()
        await client.open_secure_channel()

    async def _begin(self, client: Client) -> None:
        await self._channel(client)
        await client.create_session()
        if self.target.user and self.target.password and not (self.secured or self.target.plain_password):
            policy = client.server_policy(ua.UserTokenType.UserName).SecurityPolicyUri
            if policy in ("", None, NO_POLICY):
                raise DeviceRefused(
                    f"{self.target.host} would get the password in the clear.",
                    "Set --option security=auto, or --option plain_password=true on a line that nobody hears.",
                )
        await client.activate_session(self.target.user or None, self.target.password or None)

    async def _taken_up(self, client: Client) -> bool:
        client.uaclient.session.rebind_authentication_token()
        try:
            await client.activate_session(self.target.user or None, self.target.password or None)
        except (ua.UaError, TimeoutError, OSError):
            return False
        return True

    def _protocol(self) -> Any:
        protocol = self._need().uaclient.protocol
        if protocol is None or protocol.is_closed:
            raise DeviceLost(f"{self.target.host} is not connected.")
        return protocol

    def _need(self) -> Client:
        if self._client is None:
            raise DeviceLost(f"{self.target.host} is not connected.")
        return self._client

    async def _ask(self, call: Awaitable[_T]) -> _T:
        try:
            return await call
        except (DeviceLost, DeviceRefused):
            raise
        except Exception as error:  # noqa: BLE001 - asyncua raises anything for a garbled answer
            self._fail(error)

    def _fail(self, error: Exception) -> NoReturn:
        """A fault as one of the two errors."""
        host = self.target.host
        if not isinstance(error, ua.UaStatusCodeError):
            said = str(error) or type(error).__name__
            raise DeviceLost(f"{host} does not answer: {said}."[:300]) from None
        if error.code in _AWAY:
            raise DeviceLost(f"{host} says {status_name(error.code)}.") from None
        if error.code in _UNTRUSTED:
            place = "connections/opcua/certificate.der" if self.target.folder else "our certificate"
            raise DeviceRefused(
                f"{host} does not trust us: {status_name(error.code)}.",
                f"Accept {place} on the server and try again, or set --option security=None.",
            ) from None
        if error.code in _DENIED:
            raise DeviceRefused(
                f"{host} lets this user not in: {status_name(error.code)}.",
                "Set --option user=NAME and --secret password.",
            ) from None
        raise ServiceFault(f"{host} says {status_name(error.code)}.", "See docs/opcua.md.", error.code) from None


def status_name(code: int) -> str:
    """What the standard calls a status code, without its information bits.

    >>> status_name(0x80340000)
    'BadNodeIdUnknown'
    """
    name: str = ua.StatusCode(code & 0xFFFF0000).name
    return name


def check_done(code: int, host: str, what: str) -> None:
    """Return if a status says that it was done.

    Raises:
        DeviceLost: who should do it cannot be reached. DeviceRefused: it says no.
    """
    if code >> 30 == 0:
        return
    if code & 0xFFFF0000 in _AWAY:
        raise DeviceLost(f"{host} says {status_name(code)}.")
    raise DeviceRefused(f"{host} refuses {what}: {status_name(code)}.", "See the device's manual.")
