"""Tokens: who may come in, what for, and for how long."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from taihu.identity import records
from taihu.identity.audit import AuditEntry
from taihu.identity.join import Joined, JoinRefused, Joins, credential_id
from taihu.identity.memory import Unknown
from taihu.identity.presented import Presented, digest_of
from taihu.identity.principal import (
    ALL_SCOPES,
    Change,
    Credential,
    CredentialKind,
    Event,
    Principal,
    Reach,
    Scope,
)
from taihu.identity.sessions import Sessions
from taihu.kernel.clock import Clock
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.ids import NAME_LENGTH_MAX, token_hash
from taihu.kernel.limits import Limits

_SCOPED = {CredentialKind.OPERATOR, CredentialKind.PERSON, CredentialKind.ADMIN}
_PATTERNED = {CredentialKind.OPERATOR, CredentialKind.VIEWER, CredentialKind.PERSON}


class Tokens(Sessions):
    """The part of the directory that changes credentials. `by` is who, for the audit."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        limits: Limits,
        *,
        read_only: bool,
        machine: Clock,
        make_token: Callable[[], str],
    ) -> None:
        super().__init__(path, clock, limits, read_only=read_only, machine=machine)
        self._make_token = make_token
        self._joins = Joins(make_token)
        self._other: Callable[[bytes], Principal | None] = lambda der: None

    def principal(self, token: str) -> Principal | None:
        """Whom a token, a session's secret or a certificate stands for; None when it is unknown, ended or expired.

        Notes its use.

        The token is found by its SHA-256, so that the time taken tells nothing about the tokens there are.
        """
        digest = digest_of(token)
        principal = self._memory.principals.get(digest)
        if principal is None:
            return self._foreign(token) if isinstance(token, Presented) else self._signed_in(digest)
        if principal.expires_at is not None and principal.expires_at <= self._clock.now_ns():
            return None
        if digest in self._memory.unused and not self._read_only:
            with self._changing:
                self._memory.unused.discard(digest)
                self._first_uses.setdefault(principal.credential_id, self._clock.now_ns())
        return principal

    def believe(self, other: Callable[[bytes], Principal | None]) -> None:
        """Ask `other` whom a certificate stands for that is not one of ours; its things must be known here."""
        self._other = other

    def _foreign(self, certificate: Presented) -> Principal | None:
        found = self._other(certificate.der)
        if found is None or self.thing(found.project, found.thing) is None:
            return None
        return found if found.expires_at is None or found.expires_at > self._clock.now_ns() else None

    def issue_token(
        self,
        kind: CredentialKind,
        project: str,
        thing: str = "",
        *,
        user: str = "",
        scopes: Collection[Scope] = (),
        things: Sequence[str] = (),
        label: str = "",
        expires_at: int | None = None,
        limits: Mapping[str, int] | None = None,
        by: str = "",
    ) -> tuple[str, str]:
        """Make a credential; returns its id and its token, which is not to be had again.

        Args:
            kind: an admin has no project; only a thing's credential has a thing, only a person's or invite a user.
            scopes: what it may be used for; none stand for all its kind may.
            things: patterns of the things it is for; none stand for all. Such a token administers nothing.
            expires_at: UTC nanoseconds.
            limits: a join token's own `join_things_max` and `join_things_per_minute_max`.

        Raises Unknown for a project, thing or person there is not, RefusedError for a kind that does not fit them.
        """
        kind = CredentialKind(kind)
        self._check_owner(kind, project, thing, user)
        reach = self._reach(kind, user, scopes, things)
        if limits and (
            kind is not CredentialKind.JOIN or not limits.keys() <= {"join_things_max", "join_things_per_minute_max"}
        ):
            raise RefusedError("Only a join token has limits:", "join_things_max and join_things_per_minute_max.")
        token = self._make_token()
        principal = Principal(project, kind, thing, credential_id(token), expires_at, reach)
        with self._writing:
            with self._transaction() as connection:
                now = self._clock.now_ns()
                records.add_credential(connection, principal, token_hash(token), now, label, limits or {})
                self._note(connection, by, "token issued", _shown(principal), project)
            self._memory.put_principal(token_hash(token), principal)
        self._tell(Change(Event.TOKEN_ISSUED, project, thing, principal.credential_id, user=user))
        return principal.credential_id, token

    def revoke(self, credential: str, by: str = "", project: str | None = None, user: str | None = None) -> None:
        """Make a token useless from now on.

        Raises Unknown when there is no such live credential (of `project`, of `user`).
        """
        with self._writing:
            with self._transaction() as connection:
                digest = records.revoke(connection, credential, project, user, self._clock.now_ns())
                if digest is None:
                    raise Unknown(f"There is no live credential {credential!r}.", "List them with: taihu token list")
                self._note(connection, by, "token revoked", credential, self._memory.principals[digest].project)
            principal = self._memory.drop_principal(digest)
        self._tell(Change(Event.TOKEN_REVOKED, principal.project, principal.thing, credential, user=principal.user))

    def credentials(self, project: str | None = None, limit: int = 10_000, user: str | None = None) -> list[Credential]:
        """At most `limit` credentials, newest first, of a project, a person or all; blocks. None holds a secret."""
        with self._writing, self._store.transaction() as connection:
            return records.load_credentials(connection, project, user, limit)

    def join(self, token: str, thing: str, now_ns: int) -> Joined:
        """Register a device by a join token and give it a token of its own. Raises JoinRefused."""
        answer = self.join_all([(token, thing)], now_ns)[0]
        if isinstance(answer, JoinRefused):
            raise answer
        return answer

    def join_all(self, requests: Sequence[tuple[str, str]], now_ns: int) -> list[Joined | JoinRefused]:
        """The answers to many (join token, thing name), made durable by one sync."""
        with self._writing:
            try:
                with self._transaction() as connection:
                    answers = self._joins.decide(connection, self._memory, requests, now_ns)
                    joined = list({id(one): one for one in answers if isinstance(one, Joined)}.values())
                    records.add_joined(connection, joined, now_ns)
                    entries = [_entry(one, now_ns) for one in joined if one.new]
                    self._note_all(connection, entries)
            except BaseException:
                self._joins.forget()
                raise
            with self._changing:
                for one in joined:
                    if not self.thing(one.project, one.thing.name):
                        self._memory.projects[one.project].put_thing(one.thing)
                    principal = Principal(one.project, CredentialKind.THING, one.thing.name, one.credential_id)
                    self._memory.put_principal(token_hash(one.token), principal)
                    if one.replaces:
                        self._memory.drop_principal(one.replaces)
        self._tell(*(Change(Event.THING, one.project, one.thing.name, one.credential_id) for one in joined if one.new))
        return answers

    def renew_limits(self) -> None:
        super().renew_limits()
        with self._writing:
            self._joins.forget()

    @property
    def joins_refused(self) -> Mapping[tuple[str, str], int]:
        """How many joins were refused, by (project, reason); the project is empty where the token was unknown."""
        return self._joins.refused

    def _check_owner(self, kind: CredentialKind, project: str, thing: str, user: str) -> None:
        if kind in (CredentialKind.PERSON, CredentialKind.INVITE):
            if user not in self._memory.people:
                raise Unknown(f"There is no person {user[:80]!r}.", "List them with: taihu user list")
        elif user:
            raise RefusedError("Only a person's own token names a person:", "leave user out.")
        if kind in (CredentialKind.ADMIN, CredentialKind.CONSOLE, CredentialKind.INVITE):
            if project or thing:
                raise RefusedError("This token belongs to no project:", "leave project and thing out.")
            return
        if kind is CredentialKind.PERSON and not project:
            return
        state = self._memory.project(project)
        if (kind is CredentialKind.THING) != bool(thing):
            raise RefusedError("A thing's token names its thing, and no other token does:", "correct kind or thing.")
        if thing and thing not in state.things:
            raise Unknown(
                f"There is no thing {project}/{thing}.", "Create it (taihu token issue --create), or let it join."
            )

    def _reach(self, kind: CredentialKind, user: str, scopes: Collection[Scope], things: Sequence[str]) -> Reach | None:
        if scopes and kind not in _SCOPED:
            raise RefusedError(f"A token of kind {kind} has no scopes:", "leave them out, or issue an operator's.")
        if things and kind not in _PATTERNED:
            raise RefusedError(f"A token of kind {kind} has no patterns:", "leave them out, or issue an operator's.")
        check_patterns(things, self._memory.default_limits)
        if things and Scope.ADMIN in scopes:
            raise RefusedError("A token of some things administers nothing:", "leave out the scope admin, or things.")
        if not (user or scopes or things):
            return None
        wanted = frozenset(Scope(scope) for scope in scopes) or (ALL_SCOPES - {Scope.ADMIN} if things else ALL_SCOPES)
        return Reach(user, wanted, tuple(things))


def check_patterns(patterns: Sequence[str], limits: Limits) -> None:
    """Raise LimitError for more patterns than may be, RefusedError for one that matches no name."""
    if len(patterns) > limits.grant_patterns_max:
        raise LimitError(
            f"{len(patterns)} patterns are more than {limits.grant_patterns_max}.",
            "Use fewer, with * and ?, or raise [limits] grant_patterns_max.",
        )
    for pattern in patterns:
        if not 0 < len(pattern) <= NAME_LENGTH_MAX:
            raise RefusedError(f"{pattern[:80]!r} is no pattern:", "write 1-128 characters such as meter*.")


def _shown(principal: Principal) -> str:
    """A credential as the audit tells of it."""
    owner = principal.user or f"{principal.project}/{principal.thing}".strip("/")
    words = [str(principal.kind), principal.credential_id, owner]
    if principal.reach is not None and principal.reach.scopes != ALL_SCOPES:
        words.append("for " + ", ".join(scope for scope in Scope if scope in principal.reach.scopes))
    if principal.reach is not None and principal.reach.things:
        words.append("of " + ", ".join(principal.reach.things))
    return " ".join(word for word in words if word)


def _entry(joined: Joined, now_ns: int) -> AuditEntry:
    return AuditEntry(now_ns, joined.issued_by, "joined", f"{joined.project}/{joined.thing.name}", joined.project)
