"""The tables of the ledger's file, and how each released version becomes the next (§14)."""

import sqlite3

from taihu.kernel.errors import RefusedError

_VERSION_1 = """
CREATE TABLE rows (
    project TEXT NOT NULL, meter TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, role TEXT NOT NULL,
    import_kwh REAL, export_kwh REAL, generation_kwh REAL, fuel_kwh REAL,
    scope1_kg REAL, location_kg REAL, market_kg REAL, upstream_kg REAL,
    coverage REAL NOT NULL, quality TEXT NOT NULL, factors TEXT NOT NULL, inputs TEXT NOT NULL,
    version INTEGER NOT NULL, reason TEXT NOT NULL, written_at INTEGER NOT NULL,
    PRIMARY KEY (project, meter, start, version)) WITHOUT ROWID;
CREATE TABLE certificates (
    number INTEGER PRIMARY KEY, project TEXT NOT NULL, event TEXT NOT NULL, written_at INTEGER NOT NULL);
CREATE INDEX certificates_of_project ON certificates (project, number);
CREATE TABLE pending (
    project TEXT NOT NULL, meter TEXT NOT NULL, start INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (project, meter)) WITHOUT ROWID;
CREATE TRIGGER rows_stay BEFORE UPDATE ON rows BEGIN SELECT RAISE(ABORT, 'a ledger row is never changed'); END;
CREATE TRIGGER certificates_stay BEFORE UPDATE ON certificates
    BEGIN SELECT RAISE(ABORT, 'a certificate''s event is never changed'); END;
"""
# What a meter is behind, what certificates cover, the grid's carbon-free share; each factor as it was known over time;
# a mark for each cause. Few rows have versions: an index of those alone finds what is newest.
_VERSION_2 = """
ALTER TABLE rows ADD COLUMN behind TEXT NOT NULL DEFAULT '';
ALTER TABLE rows ADD COLUMN certified_kwh REAL;
ALTER TABLE rows ADD COLUMN carbon_free REAL;
CREATE INDEX restated ON rows (project, meter, start, version, written_at) WHERE version > 1;
CREATE TABLE factors (
    id TEXT NOT NULL, seen_at INTEGER NOT NULL, factor TEXT NOT NULL, PRIMARY KEY (id, seen_at)) WITHOUT ROWID;
CREATE TRIGGER factors_stay BEFORE UPDATE ON factors BEGIN SELECT RAISE(ABORT, 'a factor is never changed'); END;
CREATE TABLE marks (
    project TEXT NOT NULL, meter TEXT NOT NULL, cause TEXT NOT NULL, start INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (project, meter, cause)) WITHOUT ROWID;
INSERT INTO marks SELECT project, meter, 'readings', start, reason FROM pending;
DROP TABLE pending;
"""
# What was metered where it is no energy, and the gases of scope 1.
_VERSION_3 = """
ALTER TABLE rows ADD COLUMN amount REAL;
ALTER TABLE rows ADD COLUMN unit TEXT NOT NULL DEFAULT '';
ALTER TABLE rows ADD COLUMN co2_kg REAL;
ALTER TABLE rows ADD COLUMN ch4_kg REAL;
ALTER TABLE rows ADD COLUMN n2o_kg REAL;
ALTER TABLE rows ADD COLUMN gases_kg REAL;
"""
# Which accounts a meter had, from when until when, as it was known over time.
_VERSION_4 = """
CREATE TABLE accounts (
    project TEXT NOT NULL, meter TEXT NOT NULL, seen_at INTEGER NOT NULL, parts TEXT NOT NULL,
    PRIMARY KEY (project, meter, seen_at)) WITHOUT ROWID;
CREATE TRIGGER accounts_stay BEFORE UPDATE ON accounts BEGIN SELECT RAISE(ABORT, 'an account is never changed'); END;
"""
# What a controller changed at its meter, and what that avoided.
_VERSION_5 = """
ALTER TABLE rows ADD COLUMN with_kwh REAL;
ALTER TABLE rows ADD COLUMN without_kwh REAL;
ALTER TABLE rows ADD COLUMN avoided_kg REAL;
"""
MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5)
VERSION = len(MIGRATIONS)


def prepare(connection: sqlite3.Connection) -> None:
    """Bring a file to this release's version; each step is whole or not done."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise RefusedError(f"The ledger has version {version}, this release knows {VERSION}.", "Upgrade Taihu.")
    for number in range(version, VERSION):
        connection.executescript(f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
