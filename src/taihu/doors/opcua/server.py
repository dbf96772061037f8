"""The OPC UA server: asyncua's, with doors of our own in it for who comes in and how much they may send."""

import logging
from collections.abc import Sequence
from typing import Any

from asyncua import Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.internal_server import InternalServer
from asyncua.server.uaprocessor import UaProcessor
from asyncua.server.user_managers import UserManager
from asyncua.ua.ua_binary import struct_from_binary

from taihu.doors.opcua.ports import Node, Visitor
from taihu.doors.opcua.session import DoorSession
from taihu.doors.opcua.space import Space
from taihu.drivers.opcua.security import Identity
from taihu.kernel.errors import TransientError
from taihu.kernel.limits import Limits

logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)  # it tells of every client's mistakes

_CODES = ua.StatusCodes
_ACTIVATE = ua.NodeId(ua.ObjectIds.ActivateSessionRequest_Encoding_DefaultBinary)
_KINDS = ua.SecurityPolicyType
_SECURE = (_KINDS.Aes256Sha256RsaPss_SignAndEncrypt, _KINDS.Aes128Sha256RsaOaep_SignAndEncrypt,
           _KINDS.Basic256Sha256_SignAndEncrypt)  # fmt: skip
_UNACKNOWLEDGED_MAX = 10
_LIFETIME_MAX = 3_000


class Door(InternalServer):  # type: ignore[misc]
    """asyncua's server behind the sockets, with our sessions."""

    def __init__(self, node: Node, limits: Limits) -> None:
        super().__init__(user_manager=_Known())
        self.node = node
        self.space: Space | None = None
        self.limits = limits
        self.allow_remote_admin = False
        self.max_connections = limits.opcua_connections_max
        self.max_subscriptions = limits.opcua_subscriptions_max
        self.max_monitored_item_queue_size = limits.opcua_queue_max
        self.max_unacked_messages_per_subscription = _UNACKNOWLEDGED_MAX
        self.max_lifetime_count = _LIFETIME_MAX

    def create_session(self, name: str, user: Any = None, external: bool = False) -> Any:
        """A session for a client; nobody is in yet."""
        assert self.space is not None
        return DoorSession(
            self, self.aspace, self.subscription_service, name, user=User(role=UserRole.User), external=external,
            node=self.node, space=self.space, items_max=self.limits.opcua_items_per_session_max,
        )  # fmt: skip

    def register_server(self, server: Any, conf: Any = None) -> None:
        """It is no discovery server: anybody could fill it."""
        raise ServiceError(_CODES.BadServiceUnsupported)

    def sessions(self) -> list[DoorSession]:
        """Those in which somebody is."""
        return [one for one in self._external_sessions.values() if one.visitor is not None]


class OpcuaDoor:
    """One listener, from `open` to `close`."""

    def __init__(self, node: Node, limits: Limits) -> None:
        self._door = Door(node, limits)
        self._server = _Server(iserver=self._door)
        self.space = Space(self._server, limits.opcua_nodes_max)
        self._door.space = self.space

    async def open(self, host: str, port: int, identity: Identity, *, plain: bool, guests: bool) -> int:
        """Listen; returns the port. `plain` lets clients in without security, `guests` those without a name."""
        await self._server.init()
        await self._server.set_application_uri(identity.uri)
        self._server.set_server_name("Taihu")
        self._server.product_uri = "urn:taihu"
        self._door.certificate, self._door.private_key = identity.certificate, identity.key
        self._server.set_endpoint(f"opc.tcp://{f'[{host}]' if ':' in host else host}:{port}")
        self._server.set_security_policy([*_SECURE, *([_KINDS.NoSecurity] if plain else [])])
        guest = [ua.AnonymousIdentityToken] if guests else []
        self._server.set_identity_tokens([ua.UserNameIdentityToken, *guest])
        await self.space.open()
        await self._server.start()
        return int(self._server.bserver.port)

    async def close(self) -> None:
        """Let everybody go."""
        for session in self._door.sessions():
            await session.close_session()
        await self._server.stop()

    def visitors(self) -> Sequence[Visitor]:
        """Who is in."""
        return [one.visitor for one in self._door.sessions() if one.visitor is not None]

    async def check(self) -> None:
        """Let those go whose credential has ended."""
        for session in self._door.sessions():
            try:
                known = session.visitor is None or await self._door.node.still_known(session.visitor)
            except TransientError:
                continue
            if not known:
                await session.close_session()

    async def renew(self) -> None:
        """Ask again what each visitor may: who may less than before is let go, and may come in again."""
        for session in self._door.sessions():
            before = session.visitor
            if before is None:
                continue
            try:
                now = await self._door.node.renewed(before)
            except TransientError:
                continue
            if session.visitor is not before:
                continue
            if now is None or self._less(now, before):
                await session.close_session()
            else:
                session.visitor = now

    def _less(self, now: Visitor, before: Visitor) -> bool:
        """Whether somebody may no longer do or see what they could, and what is still there."""
        if before.commands and not now.commands:
            return True
        owners = {leaf.owner for leaf in self.space.leaves.values()}
        return any(before.may_see(*owner) and not now.may_see(*owner) for owner in owners)


class _Server(Server):  # type: ignore[misc]
    async def start(self) -> None:
        """As asyncua's, with our protocol on the socket."""
        await self._setup_server_nodes()
        await self.iserver.start()
        host, port = self._get_bind_socket_info()
        self.bserver = _Listener(self.iserver, host, port, self.limits)
        self.bserver.set_policies(self._policies)
        try:
            await self.bserver.start()
        except OSError:
            await self.iserver.stop()
            raise


class _Listener(BinaryServer):  # type: ignore[misc]
    def _make_protocol(self) -> Any:
        return _Protocol(
            iserver=self.iserver, policies=self._policies, clients=self.clients, closing_tasks=self.closing_tasks,
            limits=self.limits,
        )  # fmt: skip


class _Protocol(OPCUAProtocol):  # type: ignore[misc]
    _buffer: bytes
    processor: Any

    def connection_made(self, transport: Any) -> None:
        """As asyncua's, with our processor."""
        super().connection_made(transport)
        if self.processor is not None:
            self.processor = _Processor(self.iserver, self.transport, self.limits)
            self.processor.set_policies(self.policies)

    def data_received(self, data: bytes) -> None:
        """A client that sends more than a message may be is cut off before it fills the memory (§6)."""
        if len(self._buffer) + len(data) > self.iserver.limits.opcua_message_bytes_max:
            self._buffer = b""
            self.transport.close()
            return
        super().data_received(data)


class _Processor(UaProcessor):  # type: ignore[misc]
    async def _process_message(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> Any:
        if typeid == _ACTIVATE:
            await self._identify(requesthdr, body.copy())
        return await super()._process_message(typeid, requesthdr, seqhdr, body)

    async def _identify(self, header: Any, body: Any) -> None:
        """Find out who comes, before the session is theirs; a session stays with who came first."""
        session = self.session or self.iserver.lookup_external_session(header.AuthenticationToken)
        if session is None:
            return  # asyncua refuses it
        token = struct_from_binary(ua.ActivateSessionParameters, body).UserIdentityToken
        node: Node = self.iserver.node
        try:
            if isinstance(token, ua.UserNameIdentityToken):
                visitor = await node.sign_in(*self._credentials(session, token))
            elif ua.AnonymousIdentityToken in self.iserver.supported_tokens:
                visitor = await node.guest()
            else:
                visitor = None
        except TransientError:
            raise ServiceError(_CODES.BadResourceUnavailable) from None
        if visitor is None:
            raise ServiceError(_CODES.BadUserAccessDenied)
        if session.visitor is not None and session.visitor.who != visitor.who:
            raise ServiceError(_CODES.BadIdentityChangeNotSupported)
        if session.visitor is not None:
            await node.sign_out(session.visitor)
        session.visitor = visitor

    def _credentials(self, session: Any, token: Any) -> tuple[str, str]:
        try:
            user, password = self.iserver.decrypt_user_token(session, token)
        except Exception:  # noqa: BLE001 - it is decrypted, and may be anything
            raise ServiceError(_CODES.BadIdentityTokenInvalid) from None
        if not isinstance(password, str):
            raise ServiceError(_CODES.BadIdentityTokenInvalid)
        return user or "", password


class _Known(UserManager):  # type: ignore[misc]
    def get_user(self, *_: Any, **__: Any) -> Any:
        """Who is let in was found out before."""
        return User(role=UserRole.User)
