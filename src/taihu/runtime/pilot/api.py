"""The node's public API as the pilot uses it: one connection pool, a token for each project.

Numbers are in the pilot's units, kW and kWh above all, whatever the properties declare.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Container, Sequence
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec

from taihu.kernel.errors import RefusedError, TransientError
from taihu.kernel.limits import DEFAULT, Limits
from taihu.runtime.pilot.permitted import Permitted
from taihu.runtime.pilot.units import ours, theirs, window_of

_TIMEOUT_S = 10.0
_IDLE_S = 2.0  # less than the node keeps a connection open: none is closed under a request
_AT_ONCE = 8  # requests that are on their way together; the others wait here, not at the node
_SILENT_S = 60.0  # a stream says that it is there more often than that
_FRESH_S = 0.2
_LOOKED_S = 1.0  # for which what was looked at together holds for others too
_LOOK_MAX = 200  # things in one request
_ADDRESSES_MAX = 1_000
_BATCH_MAX = 500  # commands, or permits, in one request, where the node takes so many
_MODELS_FRESH_S = 60.0
_UNITS_PACE_S = 0.05  # no two things are asked again for the units they have sooner
_UNKNOWN_FRESH_S = 1.0  # a property may come with the next reading, a unit be declared
_UNTRAINED_FRESH_S = 5.0


class _Problem(msgspec.Struct):
    """The body of a refusal (RFC 9457)."""

    title: str
    detail: str = ""


class NodeApi:
    """Reads values and hours, and posts. `tokens` are operators' by project, `limits` are the node's."""

    def __init__(
        self, url: str, tokens: dict[str, str], transport: httpx.AsyncBaseTransport | None = None,
        limits: Limits = DEFAULT,
    ) -> None:  # fmt: skip
        self._limits = limits
        pool = httpx.Limits(keepalive_expiry=_IDLE_S)
        self._http = httpx.AsyncClient(
            base_url=url, timeout=_TIMEOUT_S, limits=pool, trust_env=False, transport=transport
        )
        self._url = url
        self._addresses: dict[tuple[str, tuple[str, ...]], httpx.URL] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.learning = asyncio.Lock()
        """Whoever learns a long past holds it: one after the other, so that the first drives early."""
        self.replaying = asyncio.Lock()
        """Whoever replays stored days holds it."""
        self._tokens = tokens
        self._permitted: defaultdict[str, Permitted] = defaultdict(Permitted)
        self._values: dict[tuple[str, str, str], tuple[float, Said]] = {}
        self._units: dict[tuple[str, str, str], tuple[float, dict[str, str]]] = {}
        self._units_at = 0.0
        self._models: dict[str, tuple[float, dict[tuple[str, str], dict[str, Any]]]] = {}

    async def hours(self, project: str, path: str, start: int, end: int) -> dict[int, float]:
        """A property's hours by their beginning: `windows` of an hour."""
        return await self.windows(project, path, start, end, "1h")

    async def windows(self, project: str, path: str, start: int, end: int, every: str) -> dict[int, float]:
        """A property's windows by their beginning: sums of intervals, increases of counters, means of gauges.

        A window that is not covered whole is missing (§3).
        """
        return whole(await self.raw_windows(project, path, start, end, every))

    async def raw_windows(self, project: str, path: str, start: int, end: int, every: str) -> list[dict[str, Any]]:
        """A property's windows as the history has them."""
        owner, thing, name = split_path(project, path)
        parameters = {"thing": thing, "property": name, "start": start, "end": end, "every": every}
        body = await self._get(project, f"/api/v1/projects/{owner}/history", parameters)
        return [window_of(one, body.get("unit")) for one in body["windows"]]

    async def said(self, project: str, thing: str, owner: str = "") -> "Said":
        """What a thing, of this project or of one that grants it, says now. It is asked once in a moment."""
        owner = owner or project
        now = asyncio.get_running_loop().time()
        until, known = self._values.get((project, owner, thing), _NEVER)
        if now > until:
            await self._ask(project, owner, [thing], _FRESH_S)
            known = self._values[project, owner, thing][1]
        return known

    async def value(self, project: str, thing: str, name: str) -> float | None:
        """The number that a property holds; None when it is missing or stale."""
        return (await self.said(project, thing)).value(name)

    async def reading(self, project: str, thing: str, name: str) -> tuple[int, float] | None:
        """When it was observed, and the number; None when it is missing or stale."""
        return (await self.said(project, thing)).reading(name)

    async def holds(self, project: str, thing: str, name: str) -> Any:
        """The value that a property holds, of whatever type; None when it is missing or stale."""
        return (await self.said(project, thing)).holds(name)

    async def at(self, project: str, path: str) -> float | None:
        """The number that the property of a path holds; None when it is missing or stale."""
        owner, thing, name = split_path(project, path)
        return (await self.said(project, thing, owner)).value(name)

    async def unit(self, project: str, path: str) -> str | None:
        """The unit that the property of a path declares: empty where there is none, None where there is no such one."""
        owner, thing, name = split_path(project, path)
        now = asyncio.get_running_loop().time()
        asked, units = self._units.get((project, owner, thing), (0.0, {}))
        known = bool(units.get(name))
        if not asked or (now - asked > (_MODELS_FRESH_S if known else _UNKNOWN_FRESH_S) and now >= self._units_at):
            self._units_at = now + _UNITS_PACE_S if known else self._units_at
            described = await self._get(project, f"/api/v1/projects/{owner}/things/{thing}", {})
            units = {name: one.get("unit", "") for name, one in described.get("properties", {}).items()}
            self._units[project, owner, thing] = (now, units)
        return units.get(name)

    def forget(self) -> None:
        """The site is another now: units and who forecasts are asked again."""
        self._units.clear()
        self._models.clear()

    async def models(self, project: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Who forecasts which series of a project, by thing and property; asked now and then."""
        now = asyncio.get_running_loop().time()
        until, known = self._models.get(project, (0.0, {}))
        if now >= until:
            body = await self._get(project, f"/api/v1/projects/{project}/forecast/models", {})
            known = {(one["thing"], one["property"]): one for one in body["models"]}
            trained = all(one["trained_at"] for one in known.values())
            self._models[project] = (now + (_MODELS_FRESH_S if trained else _UNTRAINED_FRESH_S), known)
        return known

    async def forecast(self, project: str, thing: str, name: str, at: int | None = None) -> dict[str, Any]:
        """The forecast of a series as it is kept, or was at an instant: quantiles of each step from its issue on, and
        the unit.
        """
        asked: dict[str, Any] = {"thing": thing, "property": name} | ({} if at is None else {"at": at})
        found: dict[str, Any] = await self._get(project, f"/api/v1/projects/{project}/forecast", asked)
        return found

    async def post(self, project: str, what: str, body: dict[str, Any]) -> Any:
        """The answer to a POST.

        Raises:
            RefusedError: the node says no; TransientError: it does not answer now.
        """
        body = await self._in_its_unit(project, what, body)
        return await self._send("POST", project, f"/api/v1/projects/{project}/{what}", {}, msgspec.json.encode(body))

    async def give(self, project: str, commands: Sequence[dict[str, Any]]) -> list[str]:
        """Give many commands together: for each, in their order, why the node cannot take it; empty where it has.

        Raises:
            RefusedError: the node says no to all; TransientError: it does not answer now.
        """
        found: list[str] = []
        for some in self._parts(len(commands)):
            part = [await self._in_its_unit(project, "commands", one) for one in commands[some]]
            path = f"/api/v1/projects/{project}/commands/batch"
            body = await self._send("POST", project, path, {}, msgspec.json.encode({"commands": part}))
            found += map(_why_not, body["outcomes"])
        return found

    def _parts(self, count: int) -> list[slice]:
        """So many at once as the node takes in one request."""
        most = max(1, min(_BATCH_MAX, self._limits.commands_per_batch_max))
        return [slice(start, start + most) for start in range(0, count, most)]

    async def _in_its_unit(self, project: str, what: str, body: dict[str, Any]) -> dict[str, Any]:
        """A command, or the corridor of a permit, in the unit of the property that is written."""
        thing, name, numbers = {
            "commands": (body.get("thing"), body.get("property"), ("input",)),
            "standing": (body.get("things"), body.get("name"), ("low", "high", "rest")),
        }.get(what, (None, None, ()))
        if not thing or not name:
            return body
        unit = await self.unit(project, f"{thing}/{name}")
        return {key: theirs(value, unit) if key in numbers else value for key, value in body.items()}

    async def look(self, project: str, things: Sequence[str]) -> dict[str, "Said"]:
        """What many things say now, asked at once; whoever asks for one in this moment is told of these."""
        parts = [things[start : start + _LOOK_MAX] for start in range(0, len(things), _LOOK_MAX)]
        await asyncio.gather(*(self._ask(project, project, part, _LOOKED_S) for part in parts))
        return {thing: self._values[project, project, thing][1] for thing in things}

    async def observe(self, project: str, path: str) -> AsyncIterator[bytes]:
        """What a property of a path says from now on, as it comes, until the node ends it.

        Raises:
            RefusedError: it may not be observed; TransientError: the node is not there, or went.
        """
        owner, thing, name = split_path(project, path)
        url = f"/api/v1/projects/{owner}/things/{thing}/properties/{name}/observe"
        headers = {"Authorization": f"Bearer {self._tokens[project]}"}
        try:
            async with self._http.stream("GET", url, headers=headers, timeout=_SILENT_S) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                _accept(answer, url)
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        yield line[5:].encode()
        except httpx.HTTPError as error:
            raise TransientError(f"The node does not answer: {error!r}.", "It is tried again.") from None

    async def permit(self, project: str, wishes: Sequence[dict[str, Any]]) -> list[tuple[str, int] | str]:
        """Ask for many standing permits together: for each its id and end (UTC ns), or why there is none.

        Raises:
            RefusedError: the node says no to all; TransientError: it does not answer now.
        """
        found: list[tuple[str, int] | str] = []
        for some in self._parts(len(wishes)):
            part = [await self._in_its_unit(project, "standing", one) for one in wishes[some]]
            body = await self._send("POST", project, _standing(project), {}, msgspec.json.encode({"standing": part}))
            found += [
                one["problem"]["title"] if "problem" in one else (one["id"], one["expires_at"])
                for one in body["outcomes"]
            ]
        self._permitted[project].issued.update(one[0] for one in found if not isinstance(one, str))
        return found

    async def withdraw(self, project: str, standing: Sequence[str]) -> None:
        """End standing permits; one that there is no more is ended."""
        for some in self._parts(len(standing)):
            body = {"withdraw": list(standing[some])}
            await self._send("POST", project, _standing(project), {}, msgspec.json.encode(body))

    async def permits(self, project: str) -> Container[str]:
        """The ids of a project's standing permits; see `Permitted`."""
        path = f"/api/v1/projects/{project}/standing"
        return await self._permitted[project].ids(lambda tag: self._answer("GET", project, path, None, None, tag))

    async def _ask(self, project: str, owner: str, things: Sequence[str], fresh_s: float) -> None:
        body = await self._raw("GET", project, self._values_of(owner, tuple(things)), None, None)
        until, found = asyncio.get_running_loop().time() + fresh_s, {thing: Said() for thing in things}
        for one in _values(body).values:
            found[one.thing].properties[one.property] = one
        for thing, known in found.items():
            self._values[project, owner, thing] = (until, known)

    def _values_of(self, owner: str, things: tuple[str, ...]) -> httpx.URL:
        """Where the newest values of things are: of many the address takes longer to make than their values to read."""
        found = self._addresses.get((owner, things))
        if found is None:
            while len(self._addresses) >= _ADDRESSES_MAX:
                del self._addresses[next(iter(self._addresses))]
            query = urlencode([("thing", one) for one in things])
            found = self._addresses[owner, things] = httpx.URL(f"{self._url}/api/v1/projects/{owner}/values?{query}")
        return found

    async def breathe(self) -> None:
        """Let the other controllers have a turn."""
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _get(self, project: str, path: str, parameters: dict[str, Any]) -> Any:
        return await self._send("GET", project, path, parameters, None)

    async def _send(
        self, method: str, project: str, path: str, parameters: dict[str, Any], content: bytes | None
    ) -> Any:
        body = await self._raw(method, project, path, parameters, content)
        return msgspec.json.decode(body) if body else None

    async def _raw(
        self, method: str, project: str, path: str | httpx.URL, parameters: dict[str, Any] | None, content: bytes | None
    ) -> bytes:
        return (await self._answer(method, project, path, parameters, content)).content

    async def _answer(
        self, method: str, project: str, path: str | httpx.URL, parameters: dict[str, Any] | None,
        content: bytes | None, tag: str = "",
    ) -> httpx.Response:  # fmt: skip
        headers = {"Authorization": f"Bearer {self._tokens[project]}", "Content-Type": "application/json"}
        headers |= {"If-None-Match": tag} if tag else {}
        try:
            async with self._slots:
                answer = await self._http.request(method, path, params=parameters, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise TransientError(f"The node does not answer: {error!r}.", "It is tried again.") from None
        _accept(answer, str(path))
        return answer


class Newest(msgspec.Struct, gc=False):
    """The newest value of a property, in the unit that it declares."""

    thing: str
    property: str
    value: Any = None
    unit: str | None = None
    observed_at: int = 0
    stale: bool = False


class Said:
    """What a thing says now, in the pilot's units; a value that is missing or stale is None (§3)."""

    def __init__(self) -> None:
        self.properties: dict[str, Newest] = {}

    def holds(self, name: str) -> Any:
        """The value of a property, of whatever type."""
        one = self.properties.get(name)
        return None if one is None or one.stale else ours(one.value, one.unit)

    def reading(self, name: str) -> tuple[int, float] | None:
        """When a number was observed (UTC ns), and the number."""
        value = self.holds(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        return self.properties[name].observed_at, float(value)

    def value(self, name: str) -> float | None:
        """The number that a property holds."""
        found = self.reading(name)
        return None if found is None else found[1]


class _Answer(msgspec.Struct):
    values: list[Newest]


_NEVER = 0.0, Said()
_values = msgspec.json.Decoder(_Answer).decode


def _standing(project: str) -> str:
    return f"/api/v1/projects/{project}/standing/batch"


def whole(windows: list[dict[str, Any]]) -> dict[int, float]:
    """By their beginning what windows that are covered whole come to: a sum, an increase, or a mean over time."""
    found = {}
    for window in windows:
        value = next((window[key] for key in ("sum", "increase", "time_mean") if window.get(key) is not None), None)
        least = 0.99 if window.get("increase") is None else 1.0  # what rose in a gap may be in the window after it
        if value is not None and window["coverage"] >= least:
            found[window["start"]] = float(value)
    return found


def _why_not(outcome: dict[str, Any]) -> str:
    """Why a command is none, or is refused by a permit or an interlock; empty where it has been taken over."""
    if "problem" in outcome:
        return str(outcome["problem"]["title"])
    return str(outcome.get("detail") or "it is refused") if outcome.get("state") == "refused" else ""


def _accept(answer: httpx.Response, path: str) -> None:
    if answer.status_code == 429 or answer.status_code >= 500:
        raise TransientError(f"The node answered {answer.status_code} to {path}.", "It is tried again.")
    if answer.status_code >= 400:
        raise _refusal(answer, path)


def _refusal(answer: httpx.Response, path: str) -> RefusedError:
    """What the node says against it, in its own words."""
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.DecodeError:
        return RefusedError(f"The node refuses {path}: {answer.text[:200]}", "See docs/plan.md.")
    return RefusedError(problem.title, problem.detail or "See docs/plan.md.")


def split_path(project: str, path: str) -> tuple[str, str, str]:
    """Project, thing and property of a path that may leave out the project."""
    parts = path.split("/")
    owner, thing, name = parts if len(parts) == 3 else (project, *parts)
    return owner, thing, name
