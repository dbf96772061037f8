"""Tokens and grants: who may come in, and what one project lets another do."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from taihu.identity import records
from taihu.identity.join import Joined, JoinRefused, Joins, credential_id
from taihu.identity.memory import Unknown
from taihu.identity.principal import AuditEntry, Change, Credential, CredentialKind, Event, Grant, Principal
from taihu.identity.writer import Writer
from taihu.kernel.clock import Clock
from taihu.kernel.errors import RefusedError
from taihu.kernel.ids import token_hash
from taihu.kernel.limits import Limits

RIGHTS = ("read",)


class Tokens(Writer):
    """The part of the directory that changes credentials and grants. `by` is who, for the audit."""

    def __init__(
        self, path: Path, clock: Clock, limits: Limits, *, read_only: bool, make_token: Callable[[], str]
    ) -> None:
        super().__init__(path, clock, limits, read_only=read_only)
        self._make_token = make_token
        self._joins = Joins(make_token)

    def principal(self, token: str) -> Principal | None:
        """Whom a token stands for; None when it is unknown, revoked or expired. Notes its first use.

        The token is found by its SHA-256, so that the time taken tells nothing about the tokens there are.
        """
        digest = token_hash(token)
        principal = self._memory.principals.get(digest)
        if principal is None:
            return None
        if principal.expires_at is not None and principal.expires_at <= self._clock.now_ns():
            return None
        if digest in self._memory.unused and not self._read_only:
            with self._changing:
                self._memory.unused.discard(digest)
                self._first_uses.setdefault(principal.credential_id, self._clock.now_ns())
        return principal

    def issue_token(
        self,
        kind: CredentialKind,
        project: str,
        thing: str = "",
        *,
        label: str = "",
        expires_at: int | None = None,
        limits: Mapping[str, int] | None = None,
        by: str = "",
    ) -> tuple[str, str]:
        """Make a credential; returns its id and its token, which is not to be had again.

        Args:
            kind: an admin has no project; only a thing's credential has a thing.
            expires_at: UTC nanoseconds.
            limits: a join token's own `join_things_max` and `join_things_per_minute_max`.

        Raises Unknown for a project or thing there is not, RefusedError for a kind that does not fit them.
        """
        kind = CredentialKind(kind)
        self._check_owner(kind, project, thing)
        if limits and (
            kind is not CredentialKind.JOIN or not limits.keys() <= {"join_things_max", "join_things_per_minute_max"}
        ):
            raise RefusedError("Only a join token has limits:", "join_things_max and join_things_per_minute_max.")
        token = self._make_token()
        principal = Principal(project, kind, thing, credential_id(token), expires_at)
        with self._writing:
            with self._transaction() as connection:
                now = self._clock.now_ns()
                records.add_credential(connection, principal, token_hash(token), now, label, limits or {})
                owner = f"{project}/{thing}".strip("/")
                self._note(connection, by, "token issued", f"{kind} {principal.credential_id} {owner}".rstrip())
            self._memory.put_principal(token_hash(token), principal)
        self._tell(Change(Event.TOKEN_ISSUED, project, thing, principal.credential_id))
        return principal.credential_id, token

    def revoke(self, credential: str, by: str = "", project: str | None = None) -> None:
        """Make a token useless from now on. Raises Unknown when there is no such live credential (of `project`)."""
        with self._writing:
            with self._transaction() as connection:
                digest = records.revoke(connection, credential, project, self._clock.now_ns())
                if digest is None:
                    raise Unknown(f"There is no live credential {credential!r}.", "List them with: taihu token list")
                self._note(connection, by, "token revoked", credential)
            principal = self._memory.drop_principal(digest)
        self._tell(Change(Event.TOKEN_REVOKED, principal.project, principal.thing, credential))

    def credentials(self, project: str | None = None, limit: int = 10_000) -> list[Credential]:
        """At most `limit` credentials, newest first, of a project or of all; blocks. None holds a secret."""
        with self._writing, self._store.transaction() as connection:
            return records.load_credentials(connection, project, limit)

    def grant(
        self,
        from_project: str,
        to_project: str,
        rights: Sequence[str] = RIGHTS,
        things: Sequence[str] = (),
        by: str = "",
    ) -> Grant:
        """Let `to_project` do `rights` to the things of `from_project` that match a pattern of `things` (§11).

        A second grant between the same two replaces the first. Raises Unknown and RefusedError.
        """
        self._memory.project(from_project)
        self._memory.project(to_project)
        if from_project == to_project:
            raise RefusedError("A project needs no grant from itself.", "Name two projects.")
        if not rights or not set(rights) <= set(RIGHTS):
            raise RefusedError(f"There is no right {', '.join(rights)!r}.", f"Write one of: {', '.join(RIGHTS)}.")
        grant = Grant(
            from_project=from_project,
            to_project=to_project,
            rights=tuple(rights),
            things=tuple(things),
            created_at=self._clock.now_ns(),
        )
        with self._writing:
            known = self._memory.grants.get(to_project, {}).get(from_project)
            if known and (known.rights, known.things) == (grant.rights, grant.things):
                return known
            with self._transaction() as connection:
                records.put_grant(connection, grant)
                self._note(connection, by, "granted", f"{from_project} -> {to_project}: {', '.join(rights)}")
            self._memory.put_grant(grant)
        self._tell(Change(Event.GRANTED, from_project, other=to_project))
        return grant

    def revoke_grant(self, from_project: str, to_project: str, by: str = "") -> None:
        """End a grant. Raises Unknown when there is none."""
        with self._writing:
            if from_project not in self._memory.grants.get(to_project, {}):
                raise Unknown(f"There is no grant {from_project} -> {to_project}.", "List them with: taihu grant list")
            with self._transaction() as connection:
                records.remove_grant(connection, from_project, to_project)
                self._note(connection, by, "grant revoked", f"{from_project} -> {to_project}")
            self._memory.drop_grant(from_project, to_project)
        self._tell(Change(Event.GRANT_REVOKED, from_project, other=to_project))

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
                    records.add_audit(connection, entries)
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

    def _check_owner(self, kind: CredentialKind, project: str, thing: str) -> None:
        if kind is CredentialKind.ADMIN:
            if project or thing:
                raise RefusedError("An admin token belongs to no project:", "leave project and thing out.")
            return
        state = self._memory.project(project)
        if (kind is CredentialKind.THING) != bool(thing):
            raise RefusedError("A thing's token names its thing, and no other token does:", "correct kind or thing.")
        if thing and thing not in state.things:
            raise Unknown(
                f"There is no thing {project}/{thing}.", "Create it (taihu token issue --create), or let it join."
            )


def _entry(joined: Joined, now_ns: int) -> AuditEntry:
    return AuditEntry(now_ns, joined.issued_by, "joined", f"{joined.project}/{joined.thing.name}")
