"""A small question to the node's own API, without an HTTP library in the supervisor."""

import asyncio
import http.client
from typing import Any

import msgspec

from taihu.kernel.errors import RefusedError, TransientError


class Ask:
    """Reads JSON answers of one node; None when it does not answer."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host = host
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}"}

    def of(self, token: str) -> "Ask":
        """The same node, asked by somebody else."""
        return Ask(self._host, self._port, token)

    async def post(self, path: str, body: Any) -> Any:
        """The answer to POST `path`.

        Raises:
            RefusedError: the node says no, with its reason.
            TransientError: it does not answer, or cannot now.
        """
        status, content = await asyncio.to_thread(self._send, "POST", path, msgspec.json.encode(body))
        if 200 <= status < 300:
            return msgspec.json.decode(content) if content else None
        problem = _problem(content)
        message, remedy = str(problem.get("title", f"The node answered {status}.")), str(problem.get("detail", ""))
        raise TransientError(message, remedy) if status in (0, 429) or status >= 500 else RefusedError(message, remedy)

    async def get(self, path: str) -> Any:
        """The answer to GET `path`; None when there is none."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> Any:
        status, content = self._send("GET", path, None)
        try:
            return msgspec.json.decode(content) if status == 200 else None
        except msgspec.DecodeError:
            return None

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Status and content of the answer; status 0 when there is none."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=5)
        headers = self._headers if body is None else self._headers | {"Content-Type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


def _problem(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
