"""§14: every released version of the metadata opens in this one, and a newer one is refused."""

import sqlite3
from pathlib import Path

import pytest

from taihu.identity.auditing import verify_audit
from taihu.identity.certificates import Signed
from taihu.identity.directory import Directory
from taihu.identity.presented import Presented
from taihu.identity.principal import CredentialKind, Reach, Role, Scope
from taihu.identity.schema import MIGRATIONS, NewerStore
from taihu.identity.store import Store
from taihu.kernel.clock import SimClock
from taihu.kernel.errors import RefusedError
from taihu.things.property import Kind

DATA = Path(__file__).parent.parent / "data"


def load(sample: Path, path: Path) -> Path:
    connection = sqlite3.connect(path)
    connection.executescript(sample.read_text())
    connection.close()
    return path


def test_every_version_has_a_sample() -> None:
    versions = range(1, len(MIGRATIONS) + 1)
    assert [(DATA / f"metadata_v{version}" / "metadata.sql").is_file() for version in versions] == [
        True for _ in versions
    ]


def test_version_1_opens(tmp_path: Path) -> None:
    path = load(DATA / "metadata_v1" / "metadata.sql", tmp_path / "metadata.db")
    clock = SimClock()
    directory = Directory(path, clock)
    house = directory.project("house-01")
    assert house and (house.title, house.timezone) == ("House 1", "Asia/Shanghai")
    assert directory.limits("house-01").join_things_max == 5
    assert [thing.name for thing in directory.things("house-01")] == ["main", "newcomer", "sub"]
    main = directory.thing("house-01", "main")
    assert main and (main.role, main.tags, main.groups) == ("main_meter", ("electricity",), ("g1",))
    definitions = directory.definitions("house-01", "sub") or {}
    assert set(definitions) == {"power", "energy", "mode"}
    assert (definitions["energy"].kind, definitions["energy"].ratio) == (Kind.COUNTER, 40.0)
    newcomer = directory.thing("house-01", "newcomer")
    assert newcomer and newcomer.inferred and newcomer.properties["volt"].inferred
    kinds = {number: directory.principal(f"sample-token-{number}") for number in range(1, 7)}
    assert {number: principal.kind for number, principal in kinds.items() if principal} == {
        1: CredentialKind.THING,
        2: CredentialKind.JOIN,
        3: CredentialKind.OPERATOR,
        5: CredentialKind.ADMIN,
        6: CredentialKind.THING,
    }
    grant = directory.grants_to("district")[0]
    assert (grant.from_project, grant.things, grant.rights) == ("house-01", ("ma*",), ("read",)) and grant.agreed
    assert len(directory.audit()) == 15
    directory.join("sample-token-2", "second", clock.now_ns())
    directory.close()


def test_version_2_opens(tmp_path: Path) -> None:
    """With people, sessions, tokens for less than all, and an audit that is a chain already."""
    path = load(DATA / "metadata_v2" / "metadata.sql", tmp_path / "metadata.db")
    (tmp_path / "audit.head").write_text((DATA / "metadata_v2" / "audit.head").read_text())
    directory = Directory(path, SimClock())
    mei = directory.person("mei")
    assert mei and (mei.title, dict(mei.roles), mei.password) == ("Mei Lin", {"house-01": Role.OPERATOR}, True)
    limited = directory.principal("sample-token-3")
    assert limited and limited.reach == Reach("", frozenset({Scope.READ}), ("ma*",))
    assert [grant.agreed for grant in directory.grants()] == [True]
    certificate = directory.principal(Presented.of(b"a sample certificate"))
    assert certificate and (certificate.project, certificate.thing) == ("house-01", "main")
    assert directory.principal(Presented.of(b"another certificate")) is None
    assert [(one.serial, one.reason) for one in directory.ended_certificates()] == [("20", "keyCompromise")]
    assert (
        directory.enrol("sample-token-7", lambda project, thing: _signed(f"{project}/{thing}")).serial == "house-01/sub"
    )
    lamp = directory.thing("house-01", "lamp")
    assert lamp and lamp.registered_id == "urn:dev:ops:32473-lamp"
    main = directory.thing("house-01", "main")
    assert main and main.actions == {"reset": {"title": "Reset"}}
    described = directory.registered("house-01", ["lamp", "main"])
    assert {name: (one.ttl_s, b"32473-lamp" in one.document) for name, one in described.items()} == {
        "lamp": (86400.5, True)
    }
    directory.close()
    assert verify_audit(path).faults == []


def _signed(name: str) -> Signed:
    return Signed(der=name.encode(), serial=name, key_hash=b"", expires_at=2**62)


def shape(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The columns of each table, and what each index is of."""
    connection = sqlite3.connect(path)
    found = {}
    for kind, name in connection.execute("SELECT type, name FROM sqlite_master").fetchall():
        found[name] = connection.execute(f"PRAGMA {kind}_info({name})").fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_a_migrated_store_has_the_tables_of_a_new_one(tmp_path: Path, version: int) -> None:
    Store(tmp_path / "new.db").close()
    path = load(DATA / f"metadata_v{version}" / "metadata.sql", tmp_path / "metadata.db")
    Store(path).close()
    assert shape(path) == shape(tmp_path / "new.db")
    assert len(shape(path)) > 20


def test_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    Directory(path, SimClock()).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE schema_version SET version = 99")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NewerStore, match="version 99"):
        Directory(path, SimClock())
    assert path.read_bytes() == before


def test_a_reader_does_not_make_a_store(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="no metadata"):
        Directory(tmp_path / "metadata.db", SimClock(), read_only=True)
    assert list(tmp_path.iterdir()) == []
