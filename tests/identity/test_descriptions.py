"""Things registered by a description, changed and removed: what is kept, what is revoked, what is bounded."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taihu.identity.descriptions import Registered, Revision
from taihu.identity.directory import Directory
from taihu.identity.memory import ProjectMemory, Unknown
from taihu.identity.principal import Change, CredentialKind, Event, Project
from taihu.identity.registry import Exists
from taihu.kernel.clock import SimClock
from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits
from taihu.things.forms import thing_id
from taihu.things.property import Kind, Property, Swap, Thing

LIMITS = Limits(descriptions_bytes_per_project_max=100, properties_per_thing_max=3)
LAMP = Thing(name="lamp", registered_id="urn:x:lamp")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    made = Directory(tmp_path / "metadata.db", SimClock(), LIMITS)
    made.create_project(Project(name="house"))
    yield made
    made.close()


def test_what_is_registered_is_there_after_a_restart(directory: Directory, tmp_path: Path) -> None:
    directory.register("house", LAMP, Registered(document=b"{}", ttl_s=5.0))
    with pytest.raises(Exists):
        directory.register("house", msgspec.structs.replace(LAMP, name="other"), None)
    directory.close()
    again = Directory(tmp_path / "metadata.db", SimClock(), LIMITS)
    assert again.thing_of("house", "urn:x:lamp") == again.thing("house", "lamp")
    assert again.registered("house", ["lamp", "none"])["lamp"].ttl_s == 5.0
    again.close()


def test_a_revision_keeps_what_no_description_says(directory: Directory) -> None:
    """The meters a counter had, what traffic taught, and the thing's age."""
    energy = Property(name="energy", kind=Kind.COUNTER, swaps=(Swap(1, 5.0, 0.0),))
    directory.register("house", msgspec.structs.replace(LAMP, properties={"energy": energy}), Registered(document=b"1"))
    directory.infer_properties("house", "lamp", [Property(name="seen", inferred=True)])
    before = directory.registered("house", ["lamp"])["lamp"]

    def change(thing: Thing, registered: Registered | None) -> Revision:
        assert registered == before
        plain = Property(name="energy", kind=Kind.COUNTER, unit="kW.h")
        return msgspec.structs.replace(thing, title="Lamp", properties={"energy": plain}), Registered(document=b"22")

    revised = directory.revise("house", "lamp", change)
    assert (revised.title, set(revised.properties)) == ("Lamp", {"energy", "seen"})
    assert (revised.properties["energy"].unit, revised.properties["energy"].swaps) == ("kW.h", energy.swaps)
    after = directory.registered("house", ["lamp"])["lamp"]
    assert (after.document, after.created_at) == (b"22", before.created_at)
    with pytest.raises(Unknown):
        directory.revise("house", "none", change)


def test_descriptions_are_bounded_in_all(directory: Directory) -> None:
    """§6: what is removed makes room again."""
    directory.register("house", LAMP, Registered(document=b"x" * 90))
    other = Thing(name="other", registered_id="urn:x:other")
    with pytest.raises(LimitError, match="descriptions_bytes_per_project_max"):
        directory.register("house", other, Registered(document=b"x" * 11))
    directory.remove_thing("house", "lamp")
    directory.register("house", other, Registered(document=b"x" * 100))
    many = {name: Property(name=name) for name in "abcd"}
    with pytest.raises(LimitError, match="properties_per_thing_max"):
        directory.register("house", Thing(name="many", properties=many), None)


def test_a_removed_thing_has_no_credentials_and_comes_back_without_them(directory: Directory, tmp_path: Path) -> None:
    """§11"""
    changes: list[Change] = []
    directory.register("house", LAMP, Registered(document=b"{}"))
    number, token = directory.issue_token(CredentialKind.THING, "house", "lamp")
    assert directory.principal(token)
    directory.adopt_thing("house", "adopted")
    directory.on_change(changes.append)
    directory.remove_thing("house", "lamp", by="test")
    directory.remove_thing("house", "adopted", by="test")
    assert directory.principal(token) is None
    assert [(change.event, change.other or change.credential_id) for change in changes] == [
        (Event.THING_REMOVED, "urn:x:lamp"),
        (Event.TOKEN_REVOKED, number),
        (Event.THING_REMOVED, thing_id("house", "adopted")),
    ]
    assert directory.thing_of("house", "urn:x:lamp") is None
    with pytest.raises(Unknown):
        directory.remove_thing("house", "lamp")
    directory.close()
    again = Directory(tmp_path / "metadata.db", SimClock(), LIMITS)
    assert (again.things("house"), again.principal(token), again.registered("house", ["lamp"])) == ([], None, {})
    again.register("house", LAMP, None)
    assert again.principal(token) is None
    again.close()


def test_what_has_expired_is_named(directory: Directory) -> None:
    directory.register("house", LAMP, Registered(document=b"{}", expires_at=10))
    directory.register("house", Thing(name="b", registered_id="urn:x:b"), Registered(document=b"{}"))
    assert directory.expired(9) == []
    assert directory.expired(10) == [("house", "lamp")]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from("aBcé"), st.sampled_from(["", "urn:z:1", "tag:2"]), st.booleans())))
def test_identifiers_stay_in_order(steps: list[tuple[str, str, bool]]) -> None:
    """Whatever comes and goes, before the first look at them and after."""
    state = ProjectMemory(Project(name="house"), Limits())
    for name, identifier, look in steps:
        if name in state.things:
            state.drop_thing(name)
        elif identifier not in state.registered:
            state.put_thing(Thing(name=name, registered_id=identifier))
        if look:
            assert state.ids() == sorted(map(state.id_of, state.things.values()))
        assert [thing.name for thing in state.page("", 10)] == sorted(state.things)
    assert state.ids() == sorted(map(state.id_of, state.things.values()))
