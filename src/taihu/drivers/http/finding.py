"""What is at an HTTP address: Thing Descriptions, an OpenAPI document, a device of a known family, or plain JSON."""

import re
from contextlib import suppress
from typing import Any

from taihu.drivers import described
from taihu.drivers.http import inferred, openapi
from taihu.drivers.http.client import HttpClient
from taihu.drivers.http.line import Response
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Plan
from taihu.drivers.resources import leaves
from taihu.kernel.limits import Limits

_THINGS_MAX = 100
_PROBES = ("/shelly", "/cm?cmnd=Status%200")
_WELL_KNOWN = ("/.well-known/wot", "/openapi.json")
_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_ACCEPT = {"Accept": "application/td+json, application/json, */*;q=0.5"}


async def find(client: HttpClient, connection: Connection, limits: Limits) -> Plan:
    """The things at a connection's address; DeviceRefused when nothing there is understood."""
    return await _Finding(client, connection, limits).at_address()


class _Finding:
    """One search."""

    def __init__(self, client: HttpClient, connection: Connection, limits: Limits) -> None:
        self._client = client
        self._name = connection.name
        parts = connection.parts
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._limits = limits

    async def at_address(self) -> Plan:
        """What the address itself says; at the root also what is at the usual places."""
        home = self._client.target_of(self._path) or "/"
        answer = await self._client.ask("GET", home, _ACCEPT)
        if answer.status in (401, 403):
            raise DeviceRefused(
                f"It answers {answer.status}.", "Give a secret: --secret token, or --option user=NAME --secret password"
            )
        if answer.status == 200:
            linked = self._linked(answer, home)
            found = await self._described(linked) if linked else None
            found = found or await self._understood(answer, home)
            if found is not None:
                return found
        if home == "/":
            found = await self._family() or await self._well_known()
            if found is not None:
                return found
        document = self._json(answer) if answer.status == 200 else None
        if document is None or not any(True for _ in leaves(document)):
            raise DeviceRefused(
                f"{home} answers {answer.status} {answer.media_type}".rstrip() + ".",
                "Give the address of a Thing Description, of an OpenAPI document, or of JSON.",
            )
        return inferred.plan_of(self._name, "", inferred.PLAIN, {home: document}, self._limits)

    async def _understood(self, answer: Response, home: str) -> Plan | None:
        """A description, several, or OpenAPI; None for what must be guessed."""
        document = self._json(answer)
        if described.is_description(document):
            return self._thing(document, home)
        if openapi.is_openapi(document):
            return openapi.plan_of(self._name, document, self._limits)
        if isinstance(document, list) and document:
            if all(map(described.is_description, document)):
                return _joined([self._thing(one, home) for one in document[:_THINGS_MAX]])
            if all(isinstance(one, str) for one in document):
                return await self._listed(document, home)
        return None

    async def _listed(self, addresses: list[str], home: str) -> Plan | None:
        """A list of addresses of descriptions, as node-wot serves it; each once, by whichever leads here."""
        targets = dict.fromkeys(filter(None, (self._client.target_of(one, home) for one in addresses)))
        plans = [plan for target in list(targets)[:_THINGS_MAX] if (plan := await self._described(target)) is not None]
        return _joined(plans) if plans else None

    async def _described(self, target: str) -> Plan | None:
        answer = await self._client.ask("GET", target, _ACCEPT)
        document = self._json(answer) if answer.status == 200 else None
        if document is None or not described.is_description(document):
            return None
        return self._thing(document, target)

    def _thing(self, document: dict[str, Any], home: str) -> Plan:
        return described.plan_of(document, home, self._client.target_of, self._limits)

    async def _family(self) -> Plan | None:
        """A Shelly or Tasmota device."""
        for probe in _PROBES:
            answer = await self._client.ask("GET", probe, _ACCEPT)
            document = self._json(answer) if answer.status == 200 else None
            profile = inferred.profile_of(document)
            if profile is None:
                continue
            documents = {}
            for href in profile.resources:
                answer = await self._client.ask("GET", href, _ACCEPT)
                if answer.status in (401, 403):
                    raise DeviceRefused(f"The {profile.name} wants its password.", "Give: --secret password")
                if answer.status == 200 and (content := self._json(answer)) is not None:
                    documents[href] = content
            title = inferred.title_of(profile, document)
            return inferred.plan_of(self._name, title, profile, documents, self._limits)
        return None

    async def _well_known(self) -> Plan | None:
        for target in _WELL_KNOWN:
            answer = await self._client.ask("GET", target, _ACCEPT)
            found = await self._understood(answer, target) if answer.status == 200 else None
            if found is not None:
                return found
        return None

    def _linked(self, answer: Response, home: str) -> str | None:
        """The description that the answer's Link header points at."""
        for href, attributes in _LINK.findall(answer.headers.get("link", "")):
            if re.search(r'rel="?(describedby|service-desc)\b', attributes):
                return self._client.target_of(href, home)
        return None

    @staticmethod
    def _json(answer: Response) -> Any:
        with suppress(DeviceLost):
            return answer.document if not answer.media_type.startswith("text/plain") else None
        return None


def _joined(plans: list[Plan]) -> Plan:
    return Plan(
        things=tuple(thing for plan in plans for thing in plan.things),
        notes=tuple(note for plan in plans for note in plan.notes),
    )
