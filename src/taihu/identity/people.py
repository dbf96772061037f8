"""People: who there is, what they are to each project, and their passwords. `by` is who, for the audit."""

from collections.abc import Mapping
from sqlite3 import Connection

import msgspec

from taihu.identity import people_records, records
from taihu.identity.memory import Unknown
from taihu.identity.person import Person, check_user
from taihu.identity.principal import Change, CredentialKind, Event, Role
from taihu.identity.registry import Exists
from taihu.identity.tokens import Tokens
from taihu.kernel.errors import LimitError, RefusedError


class People(Tokens):
    """The part of the directory that changes people."""

    def add_person(self, person: Person, by: str = "", password: str = "") -> Person:
        """Add somebody with their roles; `password` is its hash, empty for none yet.

        Raises NameRefused, Exists, Unknown for a project there is not, and LimitError.
        """
        now = self._clock.now_ns()
        fresh = msgspec.structs.replace(person, created_at=now, changed_at=now, password=bool(password))
        check_user(fresh.name)
        with self._writing:
            people = self._memory.people
            self._check_roles(fresh.roles)
            if fresh.name in people:
                raise Exists(f"There is a person {fresh.name} already.", "Take another name.")
            if fresh.issuer and self.person_of(fresh.issuer, fresh.subject):
                raise Exists("Somebody signs in as that already.", "Change that person.")
            highest = self._memory.default_limits.users_max
            if len(people) >= highest:
                raise LimitError(f"There are {highest} people, as many as may be.", "Raise [limits] users_max.")
            with self._transaction() as connection:
                people_records.add_person(connection, fresh, password)
                self._note(connection, by, "person added", fresh.name)
                self._note_roles(connection, by, fresh.name, {}, fresh.roles)
            people[fresh.name] = fresh
        self._tell(Change(Event.PERSON, user=fresh.name))
        return fresh

    def change_person(
        self,
        name: str,
        by: str = "",
        *,
        title: str | None = None,
        disabled: bool | None = None,
        roles: Mapping[str, Role | None] | None = None,
    ) -> Person:
        """Change what is given; a role of None is taken away. Holds at once. Raises Unknown and RefusedError."""
        with self._writing:
            known = self._known(name)
            wanted = dict(known.roles)
            for project, role in (roles or {}).items():
                if role is None:
                    wanted.pop(project, None)
                else:
                    wanted[project] = role
            self._check_roles(wanted)
            fresh = msgspec.structs.replace(
                known,
                title=known.title if title is None else title,
                disabled=known.disabled if disabled is None else disabled,
                roles=wanted,
                changed_at=self._clock.now_ns(),
            )
            if msgspec.structs.replace(fresh, changed_at=known.changed_at) == known:
                return known
            with self._transaction() as connection:
                people_records.put_person(connection, fresh)
                if fresh.disabled != known.disabled:
                    self._note(connection, by, "person disabled" if fresh.disabled else "person enabled", name)
                if fresh.title != known.title:
                    self._note(connection, by, "person changed", name)
                self._note_roles(connection, by, name, known.roles, fresh.roles)
            self._memory.people[name] = fresh
        if fresh.disabled:
            self.end_sessions(by, user=name)
        self._tell(Change(Event.PERSON, user=name))
        return fresh

    def remove_person(self, name: str, by: str = "") -> None:
        """Remove somebody with their roles, sessions and tokens. Raises Unknown."""
        with self._writing:
            self._known(name)
            tokens = {
                digest: principal for digest, principal in self._memory.principals.items() if principal.user == name
            }
            sessions = [digest for digest, session in self._memory.sessions.items() if session.user == name]
            with self._transaction() as connection:
                now = self._clock.now_ns()
                for principal in tokens.values():
                    records.revoke(connection, principal.credential_id, None, name, now)
                people_records.remove_person(connection, name)
                self._note(connection, by, "person removed", name)
            del self._memory.people[name]
            for digest in tokens:
                self._memory.drop_principal(digest)
        self._drop(sessions)
        self._tell(
            *(Change(Event.TOKEN_REVOKED, one.project, "", one.credential_id, user=name) for one in tokens.values()),
            Change(Event.PERSON, user=name),
        )

    def set_password(self, name: str, password: str, by: str = "", keep: str = "") -> None:
        """Store the hash of a new password and end the person's sessions, except the one of the id `keep`."""
        with self._writing:
            known = self._known(name)
            if known.issuer:
                raise RefusedError(f"{name} signs in at {known.issuer}:", "change the password there.")
            with self._transaction() as connection:
                people_records.put_password(connection, name, password)
                self._note(connection, by, "password changed", name)
            self._memory.people[name] = msgspec.structs.replace(known, password=bool(password))
        self.end_sessions(by, user=name, keep=keep)

    def redeem(self, code: str, password: str) -> Person:
        """Set the password of whom a one-time code is for; the code and all their sessions end.

        Raises Unknown when the code was used meanwhile.
        """
        principal = self.principal(code)
        if principal is None or principal.kind is not CredentialKind.INVITE:
            raise Unknown("The code is not valid any more.", "Ask for another.")
        self.revoke(principal.credential_id, principal.user, user=principal.user)
        self.set_password(principal.user, password, principal.user)
        return self._known(principal.user)

    def renew_password(self, name: str, password: str) -> None:
        """Store a stronger hash of the same password."""
        with self._writing, self._transaction() as connection:
            people_records.put_password(connection, name, password)

    def password_of(self, name: str) -> str:
        """The hash of somebody's password; empty when there is none, or nobody of that name; blocks."""
        with self._writing, self._store.transaction() as connection:
            return people_records.password_of(connection, name)

    def person_of(self, issuer: str, subject: str) -> Person | None:
        """Who signs in at an OpenID provider as `subject`."""
        people = list(self._memory.people.values())
        return next((one for one in people if issuer and (one.issuer, one.subject) == (issuer, subject)), None)

    def _known(self, name: str) -> Person:
        person = self._memory.people.get(name)
        if person is None:
            raise Unknown(f"There is no person {name[:80]!r}.", "List them with: taihu user list")
        return person

    def _check_roles(self, roles: Mapping[str, Role]) -> None:
        for project, role in roles.items():
            if project:
                self._memory.project(project)
            elif role is not Role.OWNER:
                raise RefusedError("To the whole node one can only be owner:", "name a project, or the role owner.")

    def _note_roles(
        self,
        connection: Connection,
        by: str,
        name: str,
        before: Mapping[str, Role],
        after: Mapping[str, Role],
    ) -> None:
        for project in sorted(before.keys() | after.keys()):
            role, place = after.get(project), project or "the node"
            if before.get(project) is not role:
                words = f"is {role} of {place}" if role else f"is nothing of {place} any more"
                self._note(connection, by, "role", f"{name} {words}", project)
