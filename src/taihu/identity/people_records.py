"""Rows of people, their roles and sessions, and what they stand for."""

from collections.abc import Iterator, Mapping
from sqlite3 import Connection

import msgspec

from taihu.identity.person import Person, Session
from taihu.identity.principal import Role
from taihu.identity.rows import as_dicts, delete, insert, select, update, value


def load_people(connection: Connection) -> list[Person]:
    """Everybody, with their roles."""
    by_user: dict[str, dict[str, Role]] = {}
    for user, project, role in connection.execute("SELECT user, project, role FROM roles"):
        by_user.setdefault(user, {})[project] = Role(role)
    found = as_dicts(connection.execute("SELECT * FROM users"))
    flags = ("disabled", "password")
    return [
        Person(**row | {name: bool(row[name]) for name in flags} | {"roles": by_user.get(row["name"], {})})
        for row in found
    ]


def add_person(connection: Connection, person: Person, password: str) -> None:
    """Insert somebody with their roles; `password` is its hash, empty for none."""
    row = _row(person) | {"name": person.name, "password": password, "created_at": person.created_at}
    insert(connection, "users", [row])
    _put_roles(connection, person)


def put_person(connection: Connection, person: Person) -> None:
    """Replace somebody's title, roles and standing; their password stays."""
    update(connection, "users", {"name": person.name}, _row(person))
    delete(connection, "roles", {"user": person.name})
    _put_roles(connection, person)


def put_password(connection: Connection, user: str, password: str) -> None:
    """Replace the hash of somebody's password."""
    update(connection, "users", {"name": user}, {"password": password})


def password_of(connection: Connection, user: str) -> str:
    """The hash of somebody's password; empty when there is none, or nobody of that name."""
    return value(select(connection, "password FROM users", {"name": user})) or ""


def remove_person(connection: Connection, user: str) -> None:
    """Delete somebody with their roles and sessions."""
    delete(connection, "sessions", {"user": user})
    delete(connection, "roles", {"user": user})
    delete(connection, "users", {"name": user})


def load_sessions(connection: Connection) -> Iterator[tuple[bytes, Session]]:
    """All sessions, each with its secret's hash."""
    for fields in as_dicts(connection.execute("SELECT * FROM sessions")):
        yield fields["token_hash"], msgspec.convert(fields, Session)


def provider_of(connection: Connection, session: str) -> bytes:
    """What its provider keeps for a session; empty when there is nothing."""
    return value(select(connection, "provider FROM sessions", {"id": session})) or b""


def add_session(connection: Connection, session: Session, digest: bytes, provider: bytes) -> None:
    """Insert a session."""
    row = msgspec.structs.asdict(session) | {"token_hash": digest, "provider": provider}
    insert(connection, "sessions", [row])


def put_provider(connection: Connection, session: str, provider: bytes) -> None:
    """Replace what its provider keeps for a session."""
    update(connection, "sessions", {"id": session}, {"provider": provider})


def touch_sessions(connection: Connection, used: Mapping[str, int]) -> None:
    """Store when sessions were last used, by id."""
    connection.executemany("UPDATE sessions SET used_at = ? WHERE id = ?", [(at, one) for one, at in used.items()])


def remove_sessions(connection: Connection, numbers: list[str]) -> None:
    """Delete sessions by id."""
    connection.executemany("DELETE FROM sessions WHERE id = ?", [(one,) for one in numbers])


def _row(person: Person) -> dict[str, object]:
    return {
        "title": person.title,
        "issuer": person.issuer,
        "subject": person.subject,
        "disabled": person.disabled,
        "changed_at": person.changed_at,
    }


def _put_roles(connection: Connection, person: Person) -> None:
    rows = [{"user": person.name, "project": project, "role": str(role)} for project, role in person.roles.items()]
    insert(connection, "roles", rows)
