"""Rows of people, their roles and sessions, and what they stand for."""

from collections.abc import Iterator, Mapping

import msgspec
from sqlalchemy import Connection, bindparam, select

from taihu.identity.person import Person, Session
from taihu.identity.principal import Role
from taihu.identity.schema import roles, sessions, users


def load_people(connection: Connection) -> list[Person]:
    """Everybody, with their roles."""
    by_user: dict[str, dict[str, Role]] = {}
    for user, project, role in connection.execute(select(roles)):
        by_user.setdefault(user, {})[project] = Role(role)
    return [
        Person(
            name=row.name,
            title=row.title,
            roles=by_user.get(row.name, {}),
            disabled=row.disabled,
            password=bool(row.password),
            issuer=row.issuer,
            subject=row.subject,
            created_at=row.created_at,
            changed_at=row.changed_at,
        )
        for row in connection.execute(select(users))
    ]


def add_person(connection: Connection, person: Person, password: str) -> None:
    """Insert somebody with their roles; `password` is its hash, empty for none."""
    row = _row(person) | {"name": person.name, "password": password, "created_at": person.created_at}
    connection.execute(users.insert().values(row))
    _put_roles(connection, person)


def put_person(connection: Connection, person: Person) -> None:
    """Replace somebody's title, roles and standing; their password stays."""
    connection.execute(users.update().where(users.c.name == person.name).values(_row(person)))
    connection.execute(roles.delete().where(roles.c.user == person.name))
    _put_roles(connection, person)


def put_password(connection: Connection, user: str, password: str) -> None:
    """Replace the hash of somebody's password."""
    connection.execute(users.update().where(users.c.name == user).values(password=password))


def password_of(connection: Connection, user: str) -> str:
    """The hash of somebody's password; empty when there is none, or nobody of that name."""
    found: str | None = connection.execute(select(users.c.password).where(users.c.name == user)).scalar_one_or_none()
    return found or ""


def remove_person(connection: Connection, user: str) -> None:
    """Delete somebody with their roles and sessions."""
    connection.execute(sessions.delete().where(sessions.c.user == user))
    connection.execute(roles.delete().where(roles.c.user == user))
    connection.execute(users.delete().where(users.c.name == user))


def load_sessions(connection: Connection) -> Iterator[tuple[bytes, Session]]:
    """All sessions, each with its secret's hash."""
    for row in connection.execute(select(sessions)).mappings():
        fields = {str(name): value for name, value in row.items()}
        yield fields["token_hash"], msgspec.convert(fields, Session)


def provider_of(connection: Connection, session: str) -> bytes:
    """What its provider keeps for a session; empty when there is nothing."""
    query = select(sessions.c.provider).where(sessions.c.id == session)
    found: bytes | None = connection.execute(query).scalar_one_or_none()
    return found or b""


def add_session(connection: Connection, session: Session, digest: bytes, provider: bytes) -> None:
    """Insert a session."""
    row = msgspec.structs.asdict(session) | {"token_hash": digest, "provider": provider}
    connection.execute(sessions.insert().values(row))


def put_provider(connection: Connection, session: str, provider: bytes) -> None:
    """Replace what its provider keeps for a session."""
    connection.execute(sessions.update().where(sessions.c.id == session).values(provider=provider))


def touch_sessions(connection: Connection, used: Mapping[str, int]) -> None:
    """Store when sessions were last used, by id."""
    if used:
        query = sessions.update().where(sessions.c.id == bindparam("it")).values(used_at=bindparam("at"))
        connection.execute(query, [{"it": number, "at": at} for number, at in used.items()])


def remove_sessions(connection: Connection, numbers: list[str]) -> None:
    """Delete sessions by id."""
    if numbers:
        connection.execute(sessions.delete().where(sessions.c.id == bindparam("it")), [{"it": one} for one in numbers])


def _row(person: Person) -> dict[str, object]:
    return {
        "title": person.title,
        "issuer": person.issuer,
        "subject": person.subject,
        "disabled": person.disabled,
        "changed_at": person.changed_at,
    }


def _put_roles(connection: Connection, person: Person) -> None:
    if person.roles:
        rows = [{"user": person.name, "project": project, "role": str(role)} for project, role in person.roles.items()]
        connection.execute(roles.insert(), rows)
