"""The node, as the OPC UA door asks it: by its own HTTP API, as whoever came in.

What a visitor may see is what the directory shows to their credential, and what they may do is what the API lets them:
the door has no rules of its own.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from taihu.doors.opcua.ports import Ending, Visitor
from taihu.kernel.errors import RefusedError, TransientError

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_KINDS = ("operator", "viewer", "admin", "person")
_WAIT_S = 5.0
_TIMEOUT_S = 15.0
_PAGE = 500
_API = "/api/v1"

Descriptions = dict[str, dict[str, dict[str, Any]]]
"""Thing Descriptions by project and name."""


class NodeApi:
    """One node's API, by its owner's credential where nobody else's is said. `guest` is the project anybody may see.

    `arrived` is called with the projects of who comes in, before they are told that they are in.
    """

    def __init__(self, url: str, owner: str, guest: str, arrived: Callable[[list[str]], Awaitable[None]]) -> None:
        self._owner = owner
        self._guest = guest
        self._arrived = arrived
        self._http = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_S, trust_env=False)

    async def close(self) -> None:
        """Let go of the node."""
        await self._http.aclose()

    async def sign_in(self, user: str, password: str) -> Visitor | None:
        """See `ports.Node`: what looks like a token is tried as one, and anything else is a person's password."""
        visitor = await self._visit(password) if _TOKEN.fullmatch(password) else None
        if visitor is None and user:
            status, found = await self._ask("POST", f"{_API}/session", "", {"name": user, "password": password})
            visitor = await self._visit(found["secret"], signed_in=True) if status == 200 else None
        if visitor is not None:
            await self._arrived(list(visitor.rights))
        return visitor

    async def guest(self) -> Visitor | None:
        """See `ports.Node`."""
        if not self._guest:
            return None
        things = await self._things(self._guest, self._owner)
        await self._arrived([self._guest])
        rights = {self._guest: {thing: _names(document) for thing, document in things.items()}}
        return Visitor(who="", credential="", commands=False, rights=rights)

    async def still_known(self, visitor: Visitor) -> bool:
        """See `ports.Node`."""
        return not visitor.credential or (await self._ask("GET", f"{_API}/session", visitor.credential))[0] == 200

    async def renewed(self, visitor: Visitor) -> Visitor | None:
        """See `ports.Node`."""
        if not visitor.credential:
            return await self.guest()
        return await self._visit(visitor.credential, signed_in=visitor.signed_in)

    async def sign_out(self, visitor: Visitor) -> None:
        """See `ports.Node`; a session that cannot be ended now ends by itself."""
        if visitor.signed_in:
            try:
                await self._ask("DELETE", f"{_API}/session", visitor.credential)
            except TransientError:
                return

    async def write(self, visitor: Visitor, project: str, thing: str, name: str, value: Any) -> Ending:
        """See `ports.Node`."""
        return await self._command(visitor, project, {"thing": thing, "property": name, "input": value})

    async def invoke(self, visitor: Visitor, project: str, thing: str, name: str, value: Any) -> Ending:
        """See `ports.Node`."""
        return await self._command(visitor, project, {"thing": thing, "action": name, "input": value})

    async def descriptions(self, credential: str = "") -> Descriptions:
        """Every description that a credential shows. TransientError."""
        credential = credential or self._owner
        status, found = await self._ask("GET", f"{_API}/projects", credential)
        names = [one["name"] for one in found["projects"]] if status == 200 else []
        return {name: await self._things(name, credential) for name in names}

    async def values(self, project: str) -> list[dict[str, Any]]:
        """The newest values of a project. TransientError."""
        status, found = await self._ask("GET", f"{_API}/projects/{quote(project)}/values", self._owner)
        return list(found["values"]) if status == 200 else []

    async def _visit(self, credential: str, *, signed_in: bool = False) -> Visitor | None:
        status, me = await self._ask("GET", f"{_API}/session", credential)
        if status != 200 or me["kind"] not in _KINDS:
            return None
        shown = await self.descriptions(credential)
        rights = {project: {thing: _names(document) for thing, document in things.items()}
                  for project, things in shown.items()}  # fmt: skip
        return Visitor(
            who=me["user"] or hashlib.sha256(credential.encode()).hexdigest()[:16],
            credential=credential,
            commands="command" in me.get("scopes", ()),
            rights=rights,
            signed_in=signed_in,
        )

    async def _things(self, project: str, credential: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        while True:
            path = f"{_API}/projects/{quote(project)}/directory/things?limit={_PAGE}&offset={len(found)}"
            status, page = await self._ask("GET", path, credential)
            if status != 200 or not page:
                return found
            before = len(found)
            found |= {document["taihu:name"]: document for document in page if "taihu:name" in document}
            if len(page) < _PAGE or len(found) == before:
                return found

    async def _command(self, visitor: Visitor, project: str, body: dict[str, Any]) -> Ending:
        body |= {"wait_s": _WAIT_S, "why": "OPC UA"}
        status, found = await self._ask("POST", f"{_API}/projects/{quote(project)}/commands", visitor.credential, body)
        if status not in (200, 201, 202):
            raise RefusedError(str(found.get("title", f"The node answered {status}.")))
        last = found["steps"][-1]
        return Ending(found["state"], last.get("result"), str(last.get("detail", "")))

    async def _ask(self, method: str, path: str, credential: str, body: Any = None) -> tuple[int, Any]:
        """Status and document of an answer; TransientError when there is none, or it says: later."""
        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        content = None
        if body is not None:
            headers["Content-Type"], content = "application/json", msgspec.json.encode(body)
        try:
            answer = await self._http.request(method, path, headers=headers, content=content)
        except httpx.HTTPError as error:
            raise TransientError(f"The node does not answer: {error}.") from None
        if answer.status_code == 429 or answer.status_code >= 500:
            raise TransientError(f"The node answers {answer.status_code}.")
        try:
            return answer.status_code, msgspec.json.decode(answer.content) if answer.content else {}
        except msgspec.DecodeError:
            raise TransientError("The node's answer is no JSON.") from None


def _names(document: dict[str, Any]) -> frozenset[str]:
    return frozenset(document.get("properties", {})) | frozenset(document.get("actions", {}))
