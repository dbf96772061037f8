"""A small question to the node's own API, without an HTTP library in the supervisor."""

import asyncio
import http.client
from typing import Any

import msgspec


class Ask:
    """Reads JSON answers of one node; None when it does not answer."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host = host
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str) -> Any:
        """The answer to GET `path`; None when there is none."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=5)
        try:
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            body = answer.read()
            return msgspec.json.decode(body) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, msgspec.DecodeError):
            return None
        finally:
            connection.close()
