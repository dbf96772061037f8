"""The migrations that make the tables of the metadata store and bring every released version to the newest (§14)."""

import hashlib
from collections.abc import Callable
from sqlite3 import Connection

import msgspec

from taihu.identity.rows import value
from taihu.kernel.errors import RefusedError

CHAINED = 2  # the first version whose audit is a chain


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
        connection.execute("INSERT INTO schema_version VALUES (?)", (len(MIGRATIONS),))
    elif version < len(MIGRATIONS):
        connection.execute("UPDATE schema_version SET version = ?", (len(MIGRATIONS),))
    return version


def stored_version(connection: Connection) -> int:
    """The version of the store; 0 when it is empty."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone() is None:
        return 0
    return int(value(connection.execute("SELECT version FROM schema_version")))


def _version_1(connection: Connection) -> None:
    for statement in _VERSION_1.split(";"):
        connection.execute(statement)


# A released version stays as it was.
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
        connection.execute(statement)
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
    entries = connection.execute("SELECT number, at, who, what, detail FROM audit ORDER BY number").fetchall()
    digest = bytes(32)
    for number, (known, *entry) in enumerate(entries, 1):
        digest = hashlib.sha256(digest + msgspec.json.encode((number, *entry, ""))).digest()
        connection.execute("UPDATE audit SET number = ?, hash = ? WHERE number = ?", (number, digest, known))


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_version_1, _version_2)
