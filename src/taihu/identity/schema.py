"""The tables of the metadata store, and the migrations that bring every released version to the newest (§14)."""

import hashlib
from collections.abc import Callable

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
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

CHAINED = 2  # the first version whose audit is a chain

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
    Column("registered_id", Text, nullable=False),
    Column("actions", LargeBinary, nullable=False),
    PrimaryKeyConstraint("project", "name"),
)

descriptions = Table(
    "descriptions",
    metadata,
    Column("project", Text, nullable=False),
    Column("thing", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("ttl_s", Float),
    PrimaryKeyConstraint("project", "thing"),
    Index("descriptions_by_expiry", "expires_at"),
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
    Column("user", Text, nullable=False),
    Column("reach", LargeBinary, nullable=False),
    Index("credentials_of_thing", "project", "thing"),
    Index("credentials_by_issuer", "issued_by"),
    Index("credentials_of_user", "user"),
)

grants = Table(
    "grants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("from_project", Text, nullable=False),
    Column("to_project", Text, nullable=False),
    Column("rights", LargeBinary, nullable=False),
    Column("things", LargeBinary, nullable=False),
    Column("properties", LargeBinary, nullable=False),
    Column("begins_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("given_by", Text, nullable=False),
    Column("given_at", BigInteger, nullable=False),
    Column("taken_by", Text, nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    ForeignKeyConstraint(["from_project"], ["projects.name"]),
    ForeignKeyConstraint(["to_project"], ["projects.name"]),
)

users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("password", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

roles = Table(
    "roles",
    metadata,
    Column("user", Text, ForeignKey("users.name"), nullable=False),
    Column("project", Text, nullable=False),
    Column("role", Text, nullable=False),
    PrimaryKeyConstraint("user", "project"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user", Text, ForeignKey("users.name"), nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("how", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("provider", LargeBinary, nullable=False),
    Index("sessions_of_user", "user"),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

audit_segments = Table(
    "audit_segments",
    metadata,
    Column("first", Integer, primary_key=True),
    Column("last", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("newest_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
)


certificates = Table(
    "certificates",
    metadata,
    Column("credential", Text, ForeignKey("credentials.id"), primary_key=True),
    Column("serial", Text, nullable=False, unique=True),
    Column("key_hash", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Index("certificates_by_key", "key_hash"),
)

codes = Table(
    "codes",
    metadata,
    Column("code_hash", LargeBinary, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("thing", Text, nullable=False),
    Column("issued_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("codes_of_thing", "project", "thing"),
)

deletions = Table(
    "deletions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("position", BigInteger),
    Column("hidden_at", BigInteger),
    Column("erased_at", BigInteger),
    Index("deletions_of_project", "project"),
)


class NewerStore(RefusedError):
    """The store was written by a newer release: upgrade this one, or restore the backup made before."""

    code = "newer-store"


def migrate(connection: Connection) -> int:
    """Bring the store of this connection's transaction to the newest version; returns the version it had."""
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
    return version


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


def _version_2(connection: Connection) -> None:
    """People, sessions, reach, certificates; grants both sides agree to; a chained audit; descriptions; deletions."""
    for statement in _VERSION_2.split(";"):
        connection.exec_driver_sql(statement)
    _chain_audit(connection)


_VERSION_2 = """
CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY, title TEXT NOT NULL, password TEXT NOT NULL, issuer TEXT NOT NULL,
    subject TEXT NOT NULL, disabled BOOLEAN NOT NULL, created_at BIGINT NOT NULL, changed_at BIGINT NOT NULL);
CREATE TABLE roles (
    user TEXT NOT NULL REFERENCES users (name), project TEXT NOT NULL, role TEXT NOT NULL,
    PRIMARY KEY (user, project));
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY, user TEXT NOT NULL REFERENCES users (name), token_hash BLOB NOT NULL UNIQUE,
    how TEXT NOT NULL, address TEXT NOT NULL, agent TEXT NOT NULL, created_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, provider BLOB NOT NULL);
CREATE INDEX sessions_of_user ON sessions (user);
ALTER TABLE credentials ADD COLUMN user TEXT NOT NULL DEFAULT '';
ALTER TABLE credentials ADD COLUMN reach BLOB NOT NULL DEFAULT x'';
CREATE INDEX credentials_of_user ON credentials (user);
CREATE TABLE agreed_grants (
    id TEXT NOT NULL PRIMARY KEY, from_project TEXT NOT NULL REFERENCES projects (name),
    to_project TEXT NOT NULL REFERENCES projects (name), rights BLOB NOT NULL, things BLOB NOT NULL,
    properties BLOB NOT NULL, begins_at BIGINT NOT NULL, ends_at BIGINT, created_at BIGINT NOT NULL,
    given_by TEXT NOT NULL, given_at BIGINT NOT NULL, taken_by TEXT NOT NULL, taken_at BIGINT NOT NULL);
INSERT INTO agreed_grants
    SELECT printf('%016x', row_number() OVER (ORDER BY from_project, to_project)), from_project, to_project, rights,
        things, x'5b5d', 0, NULL, created_at, 'version 1', created_at, 'version 1', created_at FROM grants;
DROP TABLE grants;
ALTER TABLE agreed_grants RENAME TO grants;
ALTER TABLE audit ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN hash BLOB NOT NULL DEFAULT x'';
CREATE TABLE audit_segments (
    first INTEGER NOT NULL PRIMARY KEY, last INTEGER NOT NULL, digest BLOB NOT NULL, hash BLOB NOT NULL,
    newest_at BIGINT NOT NULL, removed_at BIGINT);
CREATE TABLE certificates (
    credential TEXT NOT NULL PRIMARY KEY REFERENCES credentials (id), serial TEXT NOT NULL UNIQUE,
    key_hash BLOB NOT NULL, reason TEXT NOT NULL, der BLOB NOT NULL);
CREATE INDEX certificates_by_key ON certificates (key_hash);
CREATE TABLE codes (
    code_hash BLOB NOT NULL PRIMARY KEY, purpose TEXT NOT NULL, project TEXT NOT NULL, thing TEXT NOT NULL,
    issued_by TEXT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL);
CREATE INDEX codes_of_thing ON codes (project, thing);
ALTER TABLE things ADD COLUMN registered_id TEXT NOT NULL DEFAULT '';
ALTER TABLE things ADD COLUMN actions BLOB NOT NULL DEFAULT x'7b7d';
CREATE TABLE descriptions (
    project TEXT NOT NULL, thing TEXT NOT NULL, document BLOB NOT NULL, created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL, expires_at BIGINT, ttl_s FLOAT, PRIMARY KEY (project, thing));
CREATE INDEX descriptions_by_expiry ON descriptions (expires_at);
CREATE TABLE deletions (
    id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, document BLOB NOT NULL, position BIGINT, hidden_at BIGINT,
    erased_at BIGINT);
CREATE INDEX deletions_of_project ON deletions (project)
"""


def _chain_audit(connection: Connection) -> None:
    """Number the entries there are without a gap, and chain them as they stand now."""
    entries = connection.exec_driver_sql("SELECT number, at, who, what, detail FROM audit ORDER BY number").all()
    digest = bytes(32)
    for number, (known, *entry) in enumerate(entries, 1):
        digest = hashlib.sha256(digest + msgspec.json.encode((number, *entry, ""))).digest()
        connection.exec_driver_sql("UPDATE audit SET number = ?, hash = ? WHERE number = ?", (number, digest, known))


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_version_1, _version_2)
