"""The endpoints of storage: what projects take on the disk, how they grow, and what they may."""

from typing import TypedDict

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http.answers import answer
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.requests import caller_of, node_of, own_project, whole

_THINGS_MAX = 1_000


class StoredProject(TypedDict):
    """What one project takes on the disk, in bytes; growth is of its files in a day."""

    project: str
    readings_bytes: int
    rollups_bytes: int
    journal_bytes: int
    metadata_bytes: int
    files: int
    rows: int
    growth_bytes: float | None
    bytes_max: int
    full: bool


class StoredThing(TypedDict):
    """About what one thing's readings take."""

    thing: str
    rows: int
    bytes: int


class Disk(TypedDict):
    """The disk that the data lies on."""

    bytes: int
    free_bytes: int


class Storage(TypedDict):
    """What projects store; what is of the whole node is null for who may not read all of it."""

    projects: list[StoredProject]
    things: list[StoredThing]
    disk: Disk | None
    growth_bytes: float | None
    full_at: int | None


async def of_all(request: Request) -> Response:
    """What the projects that the token may read store, and when the disk is full."""
    return answer(await node_of(request).storage(caller_of(request), "", 0))


async def of_one(request: Request) -> Response:
    """What one project stores, and which of its things most."""
    caller, project = own_project(request)
    return answer(await node_of(request).storage(caller, project, whole(request, "things", 10, _THINGS_MAX)))


ROUTES = [
    Endpoint("/api/v1/storage", of_all, get=Operation(answer={JSON: Storage}, refuses=(503,))),
    Endpoint(
        "/api/v1/projects/{project}/storage",
        of_one,
        get=Operation(
            query=(Parameter("things", f"How many of the biggest things: 0 to {_THINGS_MAX}; 10.", int),),
            answer={JSON: Storage},
            refuses=(404, 503),
        ),
    ),
]
