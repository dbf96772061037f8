"""Self-registration: a join token makes things, at most so many in all and so many a minute.

Until a thing has used its own token the join token stands in for it: each join gives it a new token in place of the
last. From the first use on the join token opens that thing no more.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from sqlite3 import Connection

import msgspec

from taihu.identity.memory import Memory
from taihu.identity.principal import CredentialKind, Principal
from taihu.identity.rows import among, select, value
from taihu.kernel.clock import MINUTE_NS
from taihu.kernel.errors import RefusedError
from taihu.kernel.ids import NameRefused, check_name, token_hash
from taihu.kernel.limits import Limits
from taihu.things.property import Thing

_NAMES_MAX = 500  # in one SQL statement


class JoinRefused(RefusedError):
    """A device may not register itself: `reason` is token, name, taken, total, rate or project."""

    code = "join-refused"

    def __init__(self, reason: str, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.reason = reason


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A registered thing and its own token, which is told this once.

    `new` says that the thing did not exist before; `replaces` is the hash of the never used token it had, if any.
    """

    project: str
    thing: Thing
    token: str
    credential_id: str
    issued_by: str
    new: bool
    replaces: bytes = b""

    def __repr__(self) -> str:
        return f"Joined(project={self.project!r}, thing={self.thing.name!r}, new={self.new})"


class Joins:
    """Decides who may join, and counts refusals by (project, reason)."""

    def __init__(self, new_token: Callable[[], str]) -> None:
        self.refused: Counter[tuple[str, str]] = Counter()
        self._new_token = new_token
        self._counts: dict[str, _Count] = {}

    def decide(
        self, connection: Connection, memory: Memory, requests: Sequence[tuple[str, str]], now_ns: int
    ) -> list[Joined | JoinRefused]:
        """The answer to each (join token, thing name); call `forget` when they could not be stored."""
        callers = [(memory.principals.get(token_hash(token)), name) for token, name in requests]
        owned = _owned_credentials(connection, callers)
        decided: dict[tuple[str, str], Joined] = {}
        fresh: Counter[str] = Counter()
        answers: list[Joined | JoinRefused] = []
        for principal, name in callers:
            try:
                principal = _check(principal, name, now_ns)
                key = (principal.project, name)
                if key not in decided:
                    thing = memory.project(principal.project).things.get(name)
                    if thing is None:
                        self._take(connection, memory, principal, now_ns, fresh[principal.project])
                        fresh[principal.project] += 1
                    decided[key] = self._join(principal, name, thing, owned.get(key, []), memory.unused, now_ns)
                answers.append(decided[key])
            except JoinRefused as error:
                self.refused[principal.project if principal else "", error.reason] += 1
                answers.append(error)
        return answers

    def forget(self) -> None:
        """Count again from the store, since the last answers were not kept."""
        self._counts.clear()

    def _take(self, connection: Connection, memory: Memory, principal: Principal, now_ns: int, fresh: int) -> None:
        state = memory.project(principal.project)
        if len(state.things) + fresh >= state.limits.things_per_project_max:
            raise JoinRefused("project", f"{principal.project} is full.", "Raise [limits] things_per_project_max.")
        count = self._counts.get(principal.credential_id)
        if count is None:
            count = self._counts[principal.credential_id] = _Count(connection, principal.credential_id, state.limits)
        count.take(now_ns)

    def _join(
        self,
        principal: Principal,
        name: str,
        thing: Thing | None,
        owned: "list[_Owned]",
        unused: set[bytes],
        now_ns: int,
    ) -> Joined:
        for own in owned:
            if not own.issued_by or own.token_hash not in unused:
                raise JoinRefused("taken", f"{name} has a token of its own.", "Use it, or revoke it to join again.")
        token = self._new_token()
        return Joined(
            project=principal.project,
            thing=thing or Thing(name=name, inferred=True, created_at=now_ns),
            token=token,
            credential_id=owned[0].id if owned else credential_id(token),
            issued_by=principal.credential_id,
            new=thing is None,
            replaces=owned[0].token_hash if owned else b"",
        )


def credential_id(token: str) -> str:
    """A credential's public name: 16 hexadecimal digits of its token's hash, which tell nothing of the token."""
    return token_hash(token)[:8].hex()


class _Owned(msgspec.Struct, frozen=True):
    id: str
    token_hash: bytes
    issued_by: str


class _Count:
    """What one join token has made, in all and in the last minute."""

    def __init__(self, connection: Connection, credential: str, limits: Limits) -> None:
        own = value(select(connection, "limits FROM credentials", {"id": credential}))
        limits = msgspec.structs.replace(limits, **msgspec.json.decode(own))
        made = select(connection, "count(DISTINCT thing) FROM credentials", {"issued_by": credential})
        self._made = int(value(made))
        self._made_max = limits.join_things_max
        self._times: deque[int] = deque()  # at most `_rate_max` of them
        self._rate_max = limits.join_things_per_minute_max

    def take(self, now_ns: int) -> None:
        if self._made >= self._made_max:
            raise JoinRefused(
                "total",
                f"This join token has made {self._made} things, as many as it may.",
                "Issue another, or raise [limits] join_things_max.",
            )
        while self._times and not 0 <= now_ns - self._times[0] < MINUTE_NS:
            self._times.popleft()
        if len(self._times) >= self._rate_max:
            raise JoinRefused(
                "rate",
                f"This join token makes at most {self._rate_max} things a minute.",
                "Try again in a minute, or raise [limits] join_things_per_minute_max.",
            )
        self._times.append(now_ns)
        self._made += 1


def _check(principal: Principal | None, name: str, now_ns: int) -> Principal:
    expired = principal is not None and principal.expires_at is not None and principal.expires_at <= now_ns
    if principal is None or principal.kind is not CredentialKind.JOIN or expired:
        raise JoinRefused("token", "This is no valid join token.", "Issue one: taihu token issue PROJECT --kind join")
    try:
        check_name(name)
    except NameRefused as error:
        raise JoinRefused("name", error.message, error.remedy) from None
    return principal


def _owned_credentials(
    connection: Connection, callers: list[tuple[Principal | None, str]]
) -> dict[tuple[str, str], list[_Owned]]:
    """The live credentials of the things named, by (project, thing)."""
    names: dict[str, set[str]] = {}
    for principal, name in callers:
        if principal is not None:
            names.setdefault(principal.project, set()).add(name)
    owned: dict[tuple[str, str], list[_Owned]] = {}
    for project, wanted in names.items():
        rest = sorted(wanted)
        for start in range(0, len(rest), _NAMES_MAX):
            chunk = rest[start : start + _NAMES_MAX]
            live = {"project": project, "kind": CredentialKind.THING, "revoked_at": None}
            what, these = "thing, id, token_hash, issued_by FROM credentials", f"AND thing {among(chunk)}"
            for thing, number, digest, issued_by in select(connection, what, live, these, *chunk):
                owned.setdefault((project, thing), []).append(_Owned(number, digest, issued_by))
    return owned
