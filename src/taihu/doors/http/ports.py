"""What the HTTP door asks of the node behind it."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from taihu.control.book import Book
from taihu.control.command import Command
from taihu.control.permit import Standing
from taihu.control.request import Wanted, Who
from taihu.doors.http.wot_ports import Catalogue, Observer
from taihu.identity.person import Origin, Session
from taihu.identity.presented import Presented
from taihu.identity.principal import Principal
from taihu.kernel.clock import Clock
from taihu.kernel.errors import TaihuError
from taihu.kernel.limits import Limits
from taihu.things.ports import Reading
from taihu.things.property import Property
from taihu.twin.twin import Cell

LINES = "text/x-line-protocol"
"""The content type of InfluxDB line protocol, which has none of its own."""


Caller = Principal  # who asks: a thing (`thing` set), a program of `project`, a person, or the owner of the node


class IngestReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a batch: rows made durable, the first reasons why others were not, and how many those are."""

    accepted: int
    refused: list[str]
    refusals: int = 0


class HistoryPage(NamedTuple):
    """A page of a long answer: its bytes, where the next begins, None after the last, and where a limit ended it."""

    data: bytes
    place: tuple[int, int | None, int] | None
    last: int | None


class ThingSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing in a listing. `state` is never, online, late or silent; times are UTC nanoseconds."""

    name: str
    title: str = ""
    model: str = ""
    site: str = ""
    building: str = ""
    parent: str = ""
    role: str = ""
    tags: tuple[str, ...] = ()
    inferred: bool = False
    state: str = "never"
    connected: bool = False
    heard_at: int = 0
    refused: int = 0


class Commands(Protocol):
    """The node's commands; every call returns after the sync (§4)."""

    async def submit(self, wanted: Wanted, who: Who, wait_s: float = 0.0) -> Command:
        """Take a command over; within `wait_s` it may have ended. Raises CommandRefused and LimitError."""
        ...

    async def submit_all(
        self, all_wanted: Sequence[Wanted], who: Who, wait_s: float = 0.0
    ) -> list[Command | TaihuError]:
        """Take many commands over at once: each a command, or why it cannot be taken, in their order."""
        ...

    async def approve(self, number: str, who: Who) -> Command:
        """A second person agrees; raises CommandRefused."""
        ...

    async def cancel(self, number: str, who: Who) -> Command:
        """Take a command back that has not been sent; raises CommandRefused."""
        ...

    async def permit(
        self, project: str, issued: Sequence[Standing], ended: Sequence[str], by: str
    ) -> tuple[list[TaihuError | None], int]:
        """Issue and end standing permits at once: why not, for each that is not issued; and how many have ended.

        `by` is who ends them: what they drove is let go, unless he is their holder.
        """
        ...

    def follow(self, project: str) -> AsyncGenerator[Command]:
        """Each step of a project's commands as it is taken. Raises LimitError."""
        ...

    def takes(self, project: str, thing: str) -> bool:
        """Whether a thing is acted on by commands: somebody listens for them on its own topic, or has before."""
        ...

    def reachable(self, project: str, thing: str) -> bool:
        """Whether somebody listens for the thing's commands now."""
        ...

    @property
    def book(self) -> Book:
        """What is known of commands."""
        ...


class SignIn(Protocol):
    """How people sign in and out."""

    async def by_password(self, name: str, password: str, origin: Origin) -> tuple[Session, str]:
        """A session and its secret."""
        ...

    async def by_code(self, code: str, password: str, origin: Origin) -> tuple[Session, str]:
        """Set a password with a one-time code, and sign in."""
        ...

    async def begin(self) -> dict[str, Any]:
        """Begin to sign in at the OpenID provider: where to send a browser, and what it has to bring back."""
        ...

    async def by_provider(self, flow: str, state: str, code: str, issuer: str, origin: Origin) -> tuple[Session, str]:
        """A session for who comes back from the OpenID provider."""
        ...

    async def change_password(self, principal: Caller, old: str, new: str, origin: Origin) -> None:
        """Change one's own password; every other session of the person ends."""
        ...

    async def sign_out(self, principal: Caller) -> str:
        """End the session that is asked with; returns where to sign out at the OpenID provider too, if anywhere."""
        ...

    def ways(self) -> dict[str, Any]:
        """How people can sign in here; whether there are any."""
        ...


class Worker(Protocol):
    """The process that answers what takes long."""

    async def ask(self, question: str, arguments: dict[str, Any], timeout_s: float | None = None) -> Any:
        """Its answer; raises TransientError when it is away or late."""
        ...


class Node(Protocol):
    """The node, as its HTTP door sees it."""

    clock: Clock
    limits: Limits

    @property
    def commands(self) -> Commands:
        """The node's commands."""
        ...

    def who(self, caller: Caller) -> Who:
        """As whom the caller gives commands."""
        ...

    def may_command(self, caller: Caller, project: str, thing: str) -> bool:
        """Whether the caller may give commands to a thing; to another project's, nobody may (§11)."""
        ...

    @property
    def sign_in(self) -> SignIn:
        """How people sign in and out."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """Its directories of things."""
        ...

    def may_administer(self, caller: Caller, project: str) -> bool:
        """Whether the caller may register things in the project and take them out (§11)."""
        ...

    def caller(self, token: str) -> Caller | None:
        """Who a bearer token speaks for."""
        ...

    def relays(self, token: str) -> bool:
        """Whether a token is the console's, which may say for which address a person signs in."""
        ...

    def whoami(self, caller: Caller) -> dict[str, Any]:
        """What a caller is, and may do."""
        ...

    def home_of(self, caller: Caller, project: str) -> Caller:
        """A person with a role in the project as one of that project; any other caller as it is."""
        ...

    def may_see(self, caller: Caller, project: str, thing: str = "") -> bool:
        """Whether the caller may read anything of the thing, or of the project when none is named (§11)."""
        ...

    def may_read(self, caller: Caller, project: str, thing: str = "", name: str = "") -> bool:
        """Whether the caller may read the property, or all of the thing or project when none is named (§11)."""
        ...

    def may_write(self, caller: Caller, project: str, thing: str) -> bool:
        """Whether the caller may send readings of the thing, or of any thing when none is named (§11)."""
        ...

    def may_want(self, caller: Caller, project: str, thing: str, name: str = "") -> bool:
        """Whether the caller may say what is wanted of the property, or of all of the thing (§11)."""
        ...

    def projects(self, caller: Caller) -> list[dict[str, Any]]:
        """The projects the caller may read."""
        ...

    def things(self, project: str, after: str, limit: int) -> list[ThingSummary]:
        """Things by name, from the first after `after`."""
        ...

    def thing_names(self, project: str, after: str, limit: int) -> list[str]:
        """The names of things by name, from the first after `after`."""
        ...

    def topology(self, project: str, criteria: Mapping[str, str], shown: Callable[[str], bool]) -> dict[str, Any]:
        """The things that meet the criteria, and each site's main meter with its submeters, of those shown."""
        ...

    def description(self, project: str, thing: str, base: str) -> dict[str, Any] | None:
        """The thing's W3C Thing Description."""
        ...

    def definitions(self, project: str, thing: str) -> Mapping[str, Property] | None:
        """The thing's properties; None when there is no such thing."""
        ...

    def newest(self, project: str, thing: str) -> dict[str, Reading]:
        """The newest reading of each property of a thing."""
        ...

    def cells(self, project: str, thing: str, definitions: Mapping[str, Property]) -> list[Cell]:
        """As `newest`, without an object for each; `definitions` are the thing's own."""
        ...

    def exported(self, caller: Caller, project: str, form: str) -> None:
        """Note for the audit that the caller takes readings away in a file."""
        ...

    def explain(self, caller: Caller, project: str, thing: str, name: str) -> dict[str, Any] | None:
        """What a calculated property is worked out of, as far as the caller may read it; None when it is none."""
        ...

    def inputs_seen(self, caller: Caller, project: str, thing: str, name: str) -> dict[str, Any]:
        """A calculated property's formula and the names of its inputs; nothing for another property."""
        ...

    async def ingest(
        self, caller: Caller, thing: str, content_type: str, body: bytes, unit_ns: int = 1
    ) -> IngestReport:
        """Make the readings of a body durable; returns after the sync (§4). Times of line protocol count `unit_ns`."""
        ...

    async def ask_history(self, question: str, arguments: dict[str, Any]) -> Any:
        """Put a question to the worker: asof or stats."""
        ...

    @property
    def worker(self) -> "Worker":
        """Who answers what takes long."""
        ...

    async def ask_carbon(self, question: str, arguments: dict[str, Any]) -> tuple[str, bytes]:
        """Put a question to the worker's carbon ledger; the answer is a media type and a body."""
        ...

    async def storage(self, caller: Caller, project: str, things: int) -> dict[str, Any]:
        """What the projects store that the caller may read, or the one named, with so many of its biggest things."""
        ...

    async def ask_forecast(self, question: str, arguments: dict[str, Any]) -> Any:
        """Put a question to the forecasts."""
        ...

    async def ask_sql(self, caller: Caller, project: str, question: str, arguments: dict[str, Any]) -> Any:
        """Put a question in SQL to the worker, of what the caller may read: sql or sql_views."""
        ...

    async def ask_promql(self, arguments: dict[str, Any]) -> Any:
        """The result of a PromQL query and its warnings: `data` and `warnings`."""
        ...

    def place_of(self, project: str, thing: str) -> dict[str, str]:
        """Where a thing belongs: site, building, role and model, as far as known."""
        ...

    async def ask_page(self, arguments: dict[str, Any]) -> HistoryPage:
        """A page of a long answer of the history."""
        ...

    async def want(self, caller: Caller, project: str, thing: str, values: dict[str, Any]) -> None:
        """Make desired values durable and tell the device."""
        ...

    def desired(self, project: str, thing: str) -> Mapping[str, Any]:
        """What is wanted of a thing."""
        ...

    async def join(self, token: str, thing: str) -> Any:
        """Register a thing with a join token."""
        ...

    def observe(self, project: str, thing: str, permitted: Callable[[], str]) -> Observer:
        """An observer of a thing who wants nothing yet; LimitError when as many observe as may.

        `permitted` says why he may observe no longer, or nothing; it is asked before anything is told.
        """
        ...

    def end_observers(self, reason: str) -> None:
        """End every observation."""
        ...

    @property
    def observers_count(self) -> int:
        """How many observe now."""
        ...

    def authority_chain(self) -> bytes:
        """The authority's certificate as PKCS #7; blocks."""
        ...

    def enrol(self, token: str, request: bytes) -> bytes:
        """A thing's first certificate for a PKCS #10 request and an enrolment token, as PKCS #7; blocks."""
        ...

    def renew_certificate(self, present: Presented, request: bytes) -> bytes:
        """A new certificate in the place of the present one, as PKCS #7; blocks."""
        ...

    def revocation_list(self) -> bytes:
        """The revoked certificates, as DER; blocks."""
        ...

    def tail(self, project: str) -> AsyncGenerator[dict[str, Any]]:
        """Accepted and refused messages of a project as they come; LimitError when too many follow it."""
        ...

    def quarantine(self, project: str, thing: str | None) -> list[Any]:
        """What was refused, newest first."""
        ...

    def status(self, caller: Caller) -> dict[str, Any]:
        """Counters of what the caller may read, and states of the node."""
        ...

    def metrics(self) -> str:
        """Counters of all the node for Prometheus."""
        ...

    def may_see_metrics(self, caller: Caller | None) -> bool:
        """Whether `metrics` is for the caller, None for one without a token."""
        ...

    async def delete(self, caller: Caller, project: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Delete what is `wanted` of a project; no query answers it any more. Gives the receipt."""
        ...

    async def receipts(self, caller: Caller, project: str = "") -> list[dict[str, Any]]:
        """The deletions of a project, or of all that the caller administers, the newest first."""
        ...

    async def administer(self, caller: Caller, action: str, arguments: dict[str, Any]) -> Any:
        """Create projects, things, tokens and grants; RefusedError unless the caller may."""
        ...
