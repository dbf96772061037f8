"""The directory: answers from memory, writes through, and nothing crosses a project's border (§4, §6, §11)."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from taihu.identity.directory import Directory
from taihu.identity.memory import Unknown
from taihu.identity.principal import Change, CredentialKind, Event, Project
from taihu.identity.registry import Exists
from taihu.identity.store import StoreBusy, StoreUnavailable
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.errors import DamagedError, LimitError, LocalError, RefusedError
from taihu.kernel.ids import NameRefused
from taihu.kernel.limits import Limits
from taihu.things.property import DataType, Property, Thing, ThingModel

POWER = Property(name="power", unit="kW")
METER = ThingModel(name="meter", version="1", properties={"power": POWER}, document=b"{}")


@pytest.fixture
def clock() -> SimClock:
    return SimClock()


@pytest.fixture
def directory(tmp_path: Path, clock: SimClock) -> Iterator[Directory]:
    with_two = Directory(tmp_path / "metadata.db", clock)
    with_two.create_project(Project(name="house", title="House", timezone="Asia/Shanghai"))
    with_two.create_project(Project(name="district"))
    yield with_two
    with_two.close()


def reopened(directory: Directory, clock: SimClock) -> Directory:
    directory.close()
    return Directory(path_of(directory), clock)


def path_of(directory: Directory) -> Path:
    return directory._path


def test_all_that_is_written_is_there_after_a_restart(directory: Directory, clock: SimClock) -> None:
    directory.put_model("house", METER)
    directory.create_thing("house", Thing(name="m1", model="meter", building="A", tags=("x",), groups=("g",)))
    directory.declare_property("house", "m1", Property(name="energy", unit="kW.h"))
    number, token = directory.issue_token(CredentialKind.THING, "house", "m1", label="roof")
    directory.grant("house", "district", things=["m*"])
    before = (directory.projects(), directory.things("house"), directory.models("house"), directory.grants())
    again = reopened(directory, clock)
    assert before == (again.projects(), again.things("house"), again.models("house"), again.grants())
    principal = again.principal(token)
    assert principal and (principal.project, principal.thing) == ("house", "m1")
    assert principal.credential_id == number
    definitions = again.definitions("house", "m1")
    assert definitions is not None and set(definitions) == {"power", "energy"}
    assert again.credentials("house")[0].label == "roof"
    again.close()


def test_things_alike_share_their_definitions(directory: Directory, clock: SimClock) -> None:
    directory.put_model("house", METER)
    directory.create_things("house", [Thing(name=f"m{number}", model="meter") for number in range(3)])
    assert directory.definitions("house", "m1") is directory.definitions("house", "m2")
    directory.infer_properties("house", "m1", [Property(name="volt", inferred=True)])
    directory.infer_properties("house", "m2", [Property(name="volt", inferred=True)])
    assert directory.definitions("house", "m1") is directory.definitions("house", "m2")
    assert directory.definitions("house", "m0") is METER.properties
    assert directory.definitions("house", "none") is None
    again = reopened(directory, clock)
    assert again.definitions("house", "m1") is again.definitions("house", "m2")
    again.close()


def test_a_new_version_of_a_model_counts_for_its_things(directory: Directory, clock: SimClock) -> None:
    directory.put_model("house", METER)
    directory.create_things("house", [Thing(name="plain", model="meter"), Thing(name="own", model="meter")])
    directory.declare_property("house", "own", Property(name="volt"))
    clock.advance(1)
    newer = msgspec.structs.replace(METER, version="2", properties={"current": Property(name="current")})
    directory.put_model("house", newer)
    for one in (directory, reopened(directory, clock)):
        assert set(one.definitions("house", "plain") or ()) == {"current"}
        assert set(one.definitions("house", "own") or ()) == {"current", "volt"}
    one.close()


def test_a_page_of_things_follows_the_last(directory: Directory) -> None:
    directory.create_things("house", [Thing(name=f"t{number:02d}") for number in range(25)])
    seen: list[str] = []
    cursor = ""
    while page := directory.things("house", cursor, 10):
        seen += [thing.name for thing in page]
        cursor = seen[-1]
    assert seen == [f"t{number:02d}" for number in range(25)]
    with pytest.raises(Unknown):
        directory.things("nowhere")


def test_putting_a_thing_again_keeps_what_was_learned(directory: Directory) -> None:
    first = directory.put_things("house", [Thing(name="m1", building="A")])[0]
    directory.infer_properties("house", "m1", [Property(name="volt", inferred=True)])
    entries = len(directory.audit())
    directory.put_things("house", [Thing(name="m1", building="A")])
    assert len(directory.audit()) == entries
    moved = directory.put_things("house", [Thing(name="m1", building="B")])[0]
    assert (moved.building, moved.created_at) == ("B", first.created_at)
    assert set(moved.properties) == {"volt"}


def test_a_declaration_takes_the_place_of_a_guess_and_a_guess_never_that_of_a_declaration(directory: Directory) -> None:
    directory.adopt_thing("house", "m1")
    guess = Property(name="power", inferred=True)
    assert directory.infer_properties("house", "m1", [guess])["power"].inferred
    directory.declare_property("house", "m1", Property(name="power", unit="kW", inferred=True))
    after = directory.infer_properties("house", "m1", [guess])
    assert after["power"].unit == "kW" and not after["power"].inferred
    thing = directory.thing("house", "m1")
    assert thing and not thing.inferred


def test_what_is_written_behind_is_stored_by_one_flush(directory: Directory, clock: SimClock) -> None:
    directory.create_things("house", [Thing(name=f"t{number}") for number in range(50)])
    for number in range(50):
        directory.infer_properties("house", f"t{number}", [Property(name="x", inferred=True)])
    directory.adopt_thing("house", "child")
    assert directory.pending == 51
    assert directory.flush() == 51 and directory.pending == 0 and directory.flush() == 0
    again = reopened(directory, clock)
    assert set(again.definitions("house", "t49") or ()) == {"x"}
    assert again.thing("house", "child")
    again.close()


def test_a_flush_that_fails_is_pending_again(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """§4: what the disk refuses is neither lost nor taken for stored."""
    directory.adopt_thing("house", "a")
    _, token = directory.issue_token(CredentialKind.OPERATOR, "house")
    assert directory.principal(token)
    with sqlite3.connect(path_of(directory)) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON things BEGIN SELECT RAISE(FAIL, 'disk full'); END")
    other.close()
    with pytest.raises(Exception, match="disk full"):
        directory.flush()
    assert directory.pending == 2
    with pytest.raises(Exception, match="disk full"):
        directory.create_thing("house", Thing(name="b"))
    assert directory.thing("house", "b") is None
    with sqlite3.connect(path_of(directory)) as other:
        other.execute("DROP TRIGGER full")
    other.close()
    assert directory.flush() == 2


def test_a_full_disk_is_a_transient_error_and_changes_nothing(directory: Directory) -> None:
    """§4, §6: memory changes only after the store has."""
    with directory._store.transaction() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="full"):
        directory.create_things("house", [Thing(name=f"t{number}", title="x" * 100) for number in range(500)])
    assert directory.thing_count("house") == 0
    with directory._store.transaction() as connection:
        connection.execute("PRAGMA max_page_count = 100000")
    directory.create_thing("house", Thing(name="t1"))


def test_limits_and_names_are_kept(tmp_path: Path, clock: SimClock) -> None:
    limits = Limits(things_per_project_max=2, properties_per_thing_max=2)
    directory = Directory(tmp_path / "metadata.db", clock, limits)
    directory.create_project(Project(name="house"))
    directory.create_project(Project(name="big", limits={"things_per_project_max": 3}))
    with pytest.raises(LimitError):
        directory.create_things("house", [Thing(name="a"), Thing(name="b"), Thing(name="c")])
    assert directory.thing_count("house") == 0
    directory.create_things("big", [Thing(name="a"), Thing(name="b"), Thing(name="c")])
    directory.create_things("house", [Thing(name="a"), Thing(name="b")])
    with pytest.raises(LimitError):
        directory.adopt_thing("house", "c")
    directory.infer_properties("house", "a", [Property(name="x"), Property(name="y")])
    with pytest.raises(LimitError):
        directory.infer_properties("house", "a", [Property(name="z")])
    with pytest.raises(LimitError):
        directory.declare_property("house", "a", Property(name="z"))
    with pytest.raises(NameRefused):
        directory.put_things("house", [Thing(name="a/b")])
    with pytest.raises(NameRefused):
        directory.create_project(Project(name="No"))
    wrong = ({"limits": {"no_such": 1}}, {"limits": {"flush_rows": -1}}, {"limits": {"flush_rows": float("nan")}})
    for fields in (*wrong, {"timezone": "Asia/Wuxi"}, {"timezone": "/etc"}):
        with pytest.raises(RefusedError):
            directory.create_project(msgspec.convert({"name": "other"} | fields, Project))
    assert directory.project("other") is None
    with pytest.raises(Exists):
        directory.create_project(Project(name="house"))
    with pytest.raises(Exists):
        directory.create_thing("big", Thing(name="a"))
    directory.close()


def test_unknown_names_are_told(directory: Directory) -> None:
    for call in (
        lambda: directory.create_thing("no", Thing(name="a")),
        lambda: directory.infer_properties("house", "no", [POWER]),
        lambda: directory.declare_property("house", "no", POWER),
        lambda: directory.issue_token(CredentialKind.THING, "house", "no"),
        lambda: directory.issue_token(CredentialKind.OPERATOR, "no"),
        lambda: directory.grant("house", "no"),
        lambda: directory.revoke_grant("house", "district"),
        lambda: directory.revoke("0123"),
        lambda: directory.limits("no"),
    ):
        with pytest.raises(Unknown):
            call()
    assert directory.thing("no", "no") is None and directory.model("no", "no") is None


def test_every_change_is_told_and_audited(directory: Directory) -> None:
    changes: list[Change] = []
    directory.on_change(changes.append)
    directory.create_thing("house", Thing(name="m1"), by="anna")
    number, _ = directory.issue_token(CredentialKind.VIEWER, "house", by="anna")
    directory.revoke(number, by="anna")
    directory.grant("house", "district", by="anna")
    directory.revoke_grant("house", "district", by="anna")
    assert changes == [
        Change(Event.THING, "house", "m1"),
        Change(Event.TOKEN_ISSUED, "house", "", number),
        Change(Event.TOKEN_REVOKED, "house", "", number),
        Change(Event.GRANTED, "house", other="district"),
        Change(Event.GRANT_REVOKED, "house", other="district"),
    ]
    entries = directory.audit(7)
    assert [(entry.what, entry.project) for entry in reversed(entries)] == [
        ("things", "house"),
        ("token issued", "house"),
        ("token revoked", "house"),
        ("granted", "house"),
        ("granted", "district"),
        ("grant revoked", "house"),
        ("grant revoked", "district"),
    ]
    assert {entry.who for entry in entries} == {"anna"}


def test_one_process_writes_and_others_read(directory: Directory, clock: SimClock) -> None:
    with pytest.raises(StoreBusy):
        Directory(path_of(directory), clock)
    reader = Directory(path_of(directory), clock, read_only=True)
    assert not reader.refresh()
    directory.create_thing("house", Thing(name="m1"))
    assert reader.thing("house", "m1") is None
    assert reader.refresh()
    assert reader.thing("house", "m1")
    with pytest.raises(LocalError):
        reader.create_thing("house", Thing(name="m2"))
    reader.close()


def test_reading_while_threads_write_sees_whole_changes(directory: Directory) -> None:
    stop = threading.Event()

    def write(prefix: str) -> None:
        try:
            for number in range(30):
                directory.create_things("house", [Thing(name=f"{prefix}{number}-{part}") for part in range(20)])
        finally:
            stop.set()

    writers = [threading.Thread(target=write, args=(prefix,)) for prefix in "ab"]
    for writer in writers:
        writer.start()
    while not stop.is_set():
        names = [thing.name for thing in directory.things("house", "", 1_000_000)]
        assert names == sorted(names)
        directory.adopt_thing("house", f"c{len(names)}")
        directory.infer_properties("house", f"c{len(names)}", [POWER])
    for writer in writers:
        writer.join()
    assert len(directory.things("house", "", 1_000_000)) == directory.thing_count("house") >= 1200


def test_bytes_that_are_no_store_are_damage(tmp_path: Path, clock: SimClock) -> None:
    path = tmp_path / "metadata.db"
    path.write_bytes(b"not a database at all, but long enough to be read as one" * 100)
    with pytest.raises(DamagedError):
        Directory(path, clock)
    path.unlink()
    Directory(path, clock).close()  # the lock was let go


def test_every_field_of_a_thing_is_kept(directory: Directory, clock: SimClock) -> None:
    mode = Property(name="mode", data_type=DataType.STRING, enum=("on", "off"), max_age_s=5.0)
    full = Thing(
        name="full",
        model="meter",
        title="Full",
        properties={"mode": mode},
        site="s",
        building="b",
        parent="p",
        role="r",
        tags=("t",),
        groups=("g",),
        inferred=True,
        created_at=1,
        commissioned_at=2,
        registered_id="urn:example:full",
    )
    assert all(getattr(full, field.name) != field.default for field in msgspec.structs.fields(Thing))
    directory.create_thing("house", full)
    again = reopened(directory, clock)
    assert again.thing("house", "full") == full
    again.close()


def test_an_expired_token_opens_nothing(directory: Directory, clock: SimClock) -> None:
    _, token = directory.issue_token(CredentialKind.VIEWER, "house", expires_at=clock.now_ns() + NS_PER_S)
    assert directory.principal(token)
    clock.advance(1)
    assert directory.principal(token) is None


def test_kinds_fit_their_owners(directory: Directory) -> None:
    directory.create_thing("house", Thing(name="m1"))
    for kind, project, thing in (("thing", "house", ""), ("viewer", "house", "m1"), ("admin", "house", "")):
        with pytest.raises(RefusedError):
            directory.issue_token(CredentialKind(kind), project, thing)
    with pytest.raises(RefusedError):
        directory.issue_token(CredentialKind.VIEWER, "house", limits={"join_things_max": 3})
    with pytest.raises(RefusedError):
        directory.grant("house", "house")
    with pytest.raises(RefusedError):
        directory.grant("house", "district", ["own"])


def test_no_secret_shows_in_any_text_or_in_the_store(directory: Directory, clock: SimClock) -> None:
    _, join_token = directory.issue_token(CredentialKind.JOIN, "house")
    joined = directory.join(join_token, "m1", clock.now_ns())
    principal = directory.principal(joined.token)
    shown = f"{joined!r} {joined} {principal!r} {directory.credentials()!r} {directory.audit()!r} {vars(directory)!r}"
    directory.close()
    stored = b"".join(path.read_bytes() for path in path_of(directory).parent.iterdir())
    for secret in (join_token, joined.token):
        assert secret not in shown
        assert secret.encode() not in stored
    assert path_of(directory).stat().st_mode & 0o077 == 0
