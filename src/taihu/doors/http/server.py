"""The door itself, on uvicorn, in the loop of the process that opens it."""

import asyncio
import socket
import ssl

import uvicorn

from taihu.doors.http import (
    audit,
    batch,
    calculation,
    carbon,
    commands,
    deletions,
    directory,
    est,
    forecast,
    history,
    influx,
    newest,
    people,
    plans,
    prometheus,
    routes,
    sessions,
    sql,
    standing,
    storage,
    streams,
    websocket,
    wot,
)
from taihu.doors.http.connection import bounded
from taihu.doors.http.courtesy import Courtesy, Origins
from taihu.doors.http.dispatch import Dispatch
from taihu.doors.http.ports import Node
from taihu.doors.http.shared import Shared
from taihu.kernel.addresses import address_family

ROUTES = [
    *routes.ROUTES,
    *newest.ROUTES,
    *history.ROUTES,
    *influx.ROUTES,
    *prometheus.ROUTES,
    *carbon.ROUTES,
    *forecast.ROUTES,
    *plans.ROUTES,
    *commands.ROUTES,
    *batch.ROUTES,
    *standing.ROUTES,
    *wot.ROUTES,
    *streams.ROUTES,
    *directory.ROUTES,
    *audit.ROUTES,
    *sql.ROUTES,
    *sessions.ROUTES,
    *people.ROUTES,
    *est.ROUTES,
    *deletions.ROUTES,
    *calculation.ROUTES,
    *storage.ROUTES,
]
SOCKETS = websocket.ROUTES


class HttpDoor:
    """Serves the API of one node."""

    def __init__(self, node: Node, origins: Origins = tuple) -> None:
        """`origins` are the web origins whose pages may ask, now; `*` is all."""
        app = Dispatch(ROUTES, SOCKETS)
        app.shared = Shared(node)
        self._app = Courtesy(app, origins)
        self._node = node
        self._limits = node.limits
        self._servers: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> tuple[str, int]:
        """Open a listener; port 0 takes a free one. Returns the address. OSError when the port is taken."""
        listener = socket.create_server((host, port), family=address_family(host), backlog=1024)
        config = uvicorn.Config(
            self._app,
            http=bounded(self._limits, lambda: self._node.observers_count),
            ws="websockets-sansio",
            ws_max_size=self._limits.http_socket_message_bytes_max,
            ws_per_message_deflate=False,
            access_log=False,
            log_config=None,
            lifespan="off",
            limit_concurrency=self._limits.http_requests_pending_max,
            timeout_graceful_shutdown=2,
            server_header=False,
        )
        if tls is not None:
            config.load()
            config.ssl = tls
        server = _Server(config)
        task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
        self._servers.append((server, task))
        address = listener.getsockname()
        return address[0], address[1]

    def end_revoked(self) -> None:
        """Close the connections of clients whose certificate counts no more."""
        for server, _ in self._servers:
            for connection in list(server.server_state.connections):
                certificate = getattr(connection, "certificate", None)
                if certificate is not None and self._node.caller(certificate) is None:
                    connection.transport.abort()

    async def close(self) -> None:
        """Finish the requests in hand and close."""
        self._node.end_observers("the node stops")
        for server, _ in self._servers:
            server.should_exit = True
        for _, task in self._servers:
            await task


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: the process has its own."""

    def capture_signals(self):  # type: ignore[no-untyped-def]  # uvicorn's own signature is a contextmanager
        from contextlib import nullcontext

        return nullcontext()
