"""Sessions: a person signed in on one browser. The secret is told once; its SHA-256 is what is kept."""

from collections.abc import Iterable
from pathlib import Path
from sqlite3 import Connection

import msgspec

from taihu.identity import people_records
from taihu.identity.cookie import SECRET_MARK
from taihu.identity.memory import Unknown
from taihu.identity.person import Session
from taihu.identity.principal import Change, CredentialKind, Event, Principal, Reach
from taihu.identity.writer import Writer
from taihu.kernel.clock import MINUTE_NS, NS_PER_S, Clock
from taihu.kernel.ids import new_token, token_hash
from taihu.kernel.limits import Limits

_TOUCH_NS = MINUTE_NS
_AGENT_LENGTH_MAX = 200
_ADDRESS_LENGTH_MAX = 64


class Sessions(Writer):
    """The part of the directory that opens and ends sessions. They go by the machine's clock, never by a demo clock."""

    def __init__(self, path: Path, clock: Clock, limits: Limits, *, read_only: bool, machine: Clock) -> None:
        self._machine = machine
        super().__init__(path, clock, limits, read_only=read_only)

    def open_session(
        self,
        user: str,
        how: str,
        *,
        address: str = "",
        agent: str = "",
        password: str | None = None,
        provider: bytes = b"",
        replaces: str = "",
    ) -> tuple[Session, str]:
        """Sign somebody in; returns the session and its secret, always a new one; blocks.

        Args:
            how: password, link or oidc.
            password: the hash that was checked; when there is another meanwhile, nobody is signed in.
            provider: what the OpenID provider keeps for it.
            replaces: the secret of the session before, which ends.

        A person has at most `sessions_per_user_max`: the oldest gives way. Raises Unknown, for who is disabled too.
        """
        secret, now = SECRET_MARK + new_token(), self._machine.now_ns()
        limits = self._memory.default_limits
        session = Session(
            id=token_hash(secret)[:8].hex(),
            user=user,
            how=how,
            address=address[:_ADDRESS_LENGTH_MAX],
            agent=agent[:_AGENT_LENGTH_MAX],
            created_at=now,
            used_at=now,
            expires_at=now + limits.session_lifetime_s * NS_PER_S,
        )
        with self._writing:
            person = self._memory.people.get(user)
            if person is None or person.disabled:
                raise Unknown(f"There is no person {user[:80]!r}.", "List them with: taihu user list")
            ended = self._over(now) | self._beyond(user, limits.sessions_per_user_max - 1)
            ended |= {token_hash(replaces)} & self._memory.sessions.keys() if replaces else set()
            with self._transaction(quiet=True) as connection:
                if password is not None and people_records.password_of(connection, user) != password:
                    raise Unknown("The password has been changed meanwhile.", "Sign in again.")
                self._remove(connection, ended)
                people_records.add_session(connection, session, token_hash(secret), provider)
                self._note(connection, user, "signed in", f"{session.id} by {how} from {session.address or 'here'}")
            self._memory.sessions[token_hash(secret)] = session
        self._drop(ended)
        return session, secret

    def sessions(self, user: str | None = None) -> list[Session]:
        """The sessions that are open, of somebody or of all, the last used first."""
        now = self._machine.now_ns()
        open_now = (
            session
            for session in list(self._memory.sessions.values())
            if user in (None, session.user) and not self._is_over(session, now)
        )
        return sorted(open_now, key=lambda session: -session.used_at)

    def session(self, number: str) -> Session | None:
        """The open session of an id, or None."""
        return next((session for session in self.sessions() if session.id == number), None)

    def end_sessions(self, by: str, *, user: str = "", number: str = "", keep: str = "") -> list[Session]:
        """End sessions: of somebody, the one of an id (of theirs when both are given), except the id `keep`; blocks.

        Raises Unknown when a session is named and there is none.
        """
        with self._writing:
            chosen = {
                digest: session
                for digest, session in self._memory.sessions.items()
                if (not user or session.user == user) and (not number or session.id == number) and session.id != keep
            }
            if number and not chosen:
                raise Unknown(f"There is no session {number[:80]!r}.", "List them with: taihu sessions list")
            if chosen:
                with self._transaction(quiet=True) as connection:
                    self._remove(connection, chosen)
                    numbers = ", ".join(session.id for session in chosen.values())
                    self._note(connection, by, "signed out", f"{user} {numbers}".lstrip())
        self._drop(chosen)
        return list(chosen.values())

    def provider_of(self, number: str) -> bytes:
        """What the OpenID provider keeps for a session; blocks."""
        with self._writing, self._store.transaction() as connection:
            return people_records.provider_of(connection, number)

    def keep_provider(self, number: str, provider: bytes) -> None:
        """Replace what the OpenID provider keeps for a session; blocks."""
        with self._writing, self._transaction() as connection:
            people_records.put_provider(connection, number, provider)

    def purge_sessions(self) -> int:
        """Forget the sessions whose time is over; returns how many; blocks."""
        with self._writing:
            ended = self._over(self._machine.now_ns())
            if ended:
                with self._transaction(quiet=True) as connection:
                    self._remove(connection, ended)
        self._drop(ended)
        return len(ended)

    def _signed_in(self, digest: bytes) -> Principal | None:
        """Whom a session's secret stands for; notes its use, to the minute."""
        session = self._memory.sessions.get(digest)
        if session is None:
            return None
        now = self._machine.now_ns()
        if self._is_over(session, now):
            return None
        if now - session.used_at > _TOUCH_NS and not self._read_only:
            with self._changing:
                if digest in self._memory.sessions:
                    self._memory.sessions[digest] = msgspec.structs.replace(session, used_at=now)
                    self._session_uses[session.id] = now
        return Principal("", CredentialKind.PERSON, "", session.id, None, Reach(session.user))

    def _is_over(self, session: Session, now_ns: int) -> bool:
        idle_ns = self._memory.default_limits.session_idle_s * NS_PER_S
        return session.expires_at <= now_ns or now_ns - session.used_at > idle_ns

    def _over(self, now_ns: int) -> set[bytes]:
        sessions = list(self._memory.sessions.items())
        return {digest for digest, session in sessions if self._is_over(session, now_ns)}

    def _beyond(self, user: str, count: int) -> set[bytes]:
        """The oldest sessions of somebody, all but `count`."""
        own = [(session.used_at, digest) for digest, session in self._memory.sessions.items() if session.user == user]
        return {digest for _, digest in sorted(own)[: max(0, len(own) - max(0, count))]}

    def _remove(self, connection: Connection, digests: Iterable[bytes]) -> None:
        people_records.remove_sessions(connection, [self._memory.sessions[digest].id for digest in digests])

    def _drop(self, digests: Iterable[bytes]) -> None:
        ended = [session for digest in digests if (session := self._memory.sessions.pop(digest, None))]
        self._tell(*(Change(Event.SESSION_ENDED, credential_id=one.id, user=one.user) for one in ended))
