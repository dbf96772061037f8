"""The tables of the metadata store, and the migrations that bring every released version to the newest (§14)."""

from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    inspect,
    select,
)

from taihu.kernel.errors import RefusedError

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

projects = Table(
    "projects",
    metadata,
    Column("name", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("limits", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("project", Text, ForeignKey("projects.name"), nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("properties", LargeBinary, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("project", "name", "version"),
)

things = Table(
    "things",
    metadata,
    Column("project", Text, ForeignKey("projects.name"), nullable=False),
    Column("name", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("delta", LargeBinary, nullable=False),
    Column("site", Text, nullable=False),
    Column("building", Text, nullable=False),
    Column("parent", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("labels", LargeBinary, nullable=False),
    Column("inferred", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("commissioned_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("project", "name"),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("thing", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("label", Text, nullable=False),
    Column("issued_by", Text, nullable=False),
    Column("limits", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("first_used_at", BigInteger),
    Index("credentials_of_thing", "project", "thing"),
    Index("credentials_by_issuer", "issued_by"),
)

grants = Table(
    "grants",
    metadata,
    Column("from_project", Text, nullable=False),
    Column("to_project", Text, nullable=False),
    Column("rights", LargeBinary, nullable=False),
    Column("things", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("from_project", "to_project"),
    ForeignKeyConstraint(["from_project"], ["projects.name"]),
    ForeignKeyConstraint(["to_project"], ["projects.name"]),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),
)


class NewerStore(RefusedError):
    """The store was written by a newer release: upgrade this one, or restore the backup made before."""

    code = "newer-store"


def migrate(connection: Connection) -> None:
    """Bring the store of this connection's transaction to the newest version."""
    version = stored_version(connection)
    if version > len(MIGRATIONS):
        raise NewerStore(
            f"The metadata has version {version}; this release knows {len(MIGRATIONS)}.",
            "Upgrade Taihu, or restore the backup made before the upgrade.",
        )
    for step in MIGRATIONS[version:]:
        step(connection)
    if version == 0:
        connection.execute(schema_version.insert().values(version=len(MIGRATIONS)))
    elif version < len(MIGRATIONS):
        connection.execute(schema_version.update().values(version=len(MIGRATIONS)))


def stored_version(connection: Connection) -> int:
    """The version of the store; 0 when it is empty."""
    if not inspect(connection).has_table("schema_version"):
        return 0
    return int(connection.execute(select(schema_version.c.version)).scalar_one())


def _version_1(connection: Connection) -> None:
    for statement in _VERSION_1.split(";"):
        connection.exec_driver_sql(statement)


# A released version stays as it was, so its tables are written out and not made from those above.
_VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
CREATE TABLE projects (
    name TEXT NOT NULL PRIMARY KEY, title TEXT NOT NULL, timezone TEXT NOT NULL, limits BLOB NOT NULL,
    created_at BIGINT NOT NULL);
CREATE TABLE models (
    project TEXT NOT NULL REFERENCES projects (name), name TEXT NOT NULL, version TEXT NOT NULL, title TEXT NOT NULL,
    properties BLOB NOT NULL, document BLOB NOT NULL, created_at BIGINT NOT NULL,
    PRIMARY KEY (project, name, version));
CREATE TABLE things (
    project TEXT NOT NULL REFERENCES projects (name), name TEXT NOT NULL, model TEXT NOT NULL, title TEXT NOT NULL,
    delta BLOB NOT NULL, site TEXT NOT NULL, building TEXT NOT NULL, parent TEXT NOT NULL, role TEXT NOT NULL,
    labels BLOB NOT NULL, inferred BOOLEAN NOT NULL, created_at BIGINT NOT NULL, commissioned_at BIGINT NOT NULL,
    PRIMARY KEY (project, name));
CREATE TABLE credentials (
    id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, project TEXT NOT NULL, thing TEXT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE, label TEXT NOT NULL, issued_by TEXT NOT NULL, limits BLOB NOT NULL,
    created_at BIGINT NOT NULL, expires_at BIGINT, revoked_at BIGINT, first_used_at BIGINT);
CREATE INDEX credentials_of_thing ON credentials (project, thing);
CREATE INDEX credentials_by_issuer ON credentials (issued_by);
CREATE TABLE grants (
    from_project TEXT NOT NULL REFERENCES projects (name), to_project TEXT NOT NULL REFERENCES projects (name),
    rights BLOB NOT NULL, things BLOB NOT NULL, created_at BIGINT NOT NULL,
    PRIMARY KEY (from_project, to_project));
CREATE TABLE audit (
    number INTEGER NOT NULL PRIMARY KEY, at BIGINT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
    detail TEXT NOT NULL)
"""

MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_version_1,)
