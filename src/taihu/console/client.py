"""The console's only source: the node's public HTTP API."""

from typing import Any, TypeVar

import httpx
import msgspec

from taihu.console.answers import (
    CarbonAnswer,
    Newest,
    NodeStatus,
    Project,
    ProjectsAnswer,
    Series,
    Thing,
    ThingsAnswer,
    ValuesAnswer,
    Window,
    WindowsAnswer,
    windows_of,
)
from taihu.console.foretold import ModelsAnswer, Outlook
from taihu.console.planned import PlansAnswer
from taihu.kernel.errors import RefusedError, TransientError

TIMEOUT_S = 10.0
_LEDGER_TIMEOUT_S = 60.0  # many projects over many days on a machine that is busy
CONNECTIONS_MAX = 4
_IDLE_S = 2.0  # less than the node keeps a connection open: none is closed under a request

T = TypeVar("T")


class NodeAway(TransientError):
    """The node does not answer: it starts, or it is stopped."""

    code = "node-away"


class TokenRefused(RefusedError):
    """The node does not know the console's token, or the token may not read."""

    code = "token-refused"


class NodeClient:
    """Reads one node with one token.

    Every method raises NodeAway when there is no usable answer (try again), and TokenRefused.
    """

    def __init__(self, url: str, token: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"},  # the same machine, mostly
            timeout=TIMEOUT_S,
            limits=httpx.Limits(
                max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX, keepalive_expiry=_IDLE_S
            ),
            verify=url.startswith("https:"),
            trust_env=False,
            transport=transport,
        )

    async def status(self) -> NodeStatus:
        """Counters of the node."""
        found = await self._get("/api/v1/node", NodeStatus)
        if found is None:
            raise NodeAway("This address has no Taihu node.", "Give the console the address of the node's HTTP API.")
        return found

    async def projects(self) -> tuple[Project, ...]:
        """The projects this token may read."""
        found = await self._get("/api/v1/projects", ProjectsAnswer)
        return found.projects if found else ()

    async def things(self, project: str, after: str, limit: int) -> tuple[tuple[Thing, ...], bool]:
        """A project's things by name, from the first after `after`, and whether there may be more."""
        answer = await self._get(f"{_path(project)}/things", ThingsAnswer, limit=limit, after=after)
        return (answer.things, bool(answer.next)) if answer else ((), False)

    async def values(self, project: str, things: tuple[str, ...] = ()) -> tuple[Newest, ...]:
        """Newest values of the named things, or of all of a project."""
        found = await self._get(f"{_path(project)}/values", ValuesAnswer, thing=things)
        return found.values if found else ()

    async def hours(self, series: Series, hours: int, tz: str) -> tuple[Window, ...]:
        """Hourly windows from `hours` before now on; empty when there is no such property."""
        parameters: dict[str, Any] = {
            "thing": series.thing,
            "property": series.property,
            "start": f"-{hours}h",
            "every": "1h",
            "tz": tz,
        }
        found = await self._get(f"{_path(series.project)}/history", WindowsAnswer, **parameters)
        return windows_of(found, series.unit) if found else ()

    async def plans(self, projects: tuple[str, ...]) -> PlansAnswer:
        """The controllers of projects, and what they have saved together."""
        return await self._get("/api/v1/plans", PlansAnswer, project=projects) or PlansAnswer()

    async def plan(self, project: str) -> PlansAnswer:
        """The controllers of a project with their last decision whole."""
        return await self._get(f"{_path(project)}/plans", PlansAnswer, limit=1) or PlansAnswer()

    async def models(self, project: str) -> ModelsAnswer:
        """Who forecasts the series of a project that are kept forecast."""
        return await self._get(f"{_path(project)}/forecast/models", ModelsAnswer) or ModelsAnswer()

    async def outlook(self, project: str, thing: str, name: str) -> Outlook | None:
        """A series' day before and day ahead; None where there is no such property."""
        return await self._get(f"{_path(project)}/forecast/outlook", Outlook, thing=thing, property=name)

    async def carbon(self, projects: tuple[str, ...], days: int) -> CarbonAnswer:
        """What the ledger says of projects over the last days."""
        found = await self._get("/api/v1/carbon", CarbonAnswer, _LEDGER_TIMEOUT_S, project=projects, start=f"-{days}d")
        return found or CarbonAnswer()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _get(
        self, path: str, shape: type[T], timeout_s: float = TIMEOUT_S, **parameters: str | int | tuple[str, ...]
    ) -> T | None:
        """The answer read as `shape`; None where there is nothing."""
        try:
            answer = await self._http.get(path, params=parameters, timeout=timeout_s)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise NodeAway(f"The node does not answer to {path}: {why}.", "It is tried again.") from None
        if answer.status_code == 404:
            return None
        if answer.status_code in (401, 403):
            raise TokenRefused("The node refuses the console's token.", "Give the console a token of this site.")
        if answer.status_code != 200:
            raise NodeAway(f"The node answered {answer.status_code} to {path}.", "See its log.")
        try:
            return msgspec.json.decode(answer.content, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NodeAway(
                f"The answer to {path} is not understood: {error}.", "Is the node of another version?"
            ) from None


def _path(project: str) -> str:
    return f"/api/v1/projects/{project}"
