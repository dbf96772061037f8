"""The quarantine is bounded per thing and in all, whoever fills it, and still counts everything (§6)."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.limits import Limits
from taihu.runtime.ingest.quarantine import Quarantine, Refused
from taihu.things.deletion import Deletion

LIMITS = Limits(quarantine_entries_per_thing_max=3, quarantine_entries_max=8, quarantine_payload_bytes_max=10)


def refused(project: str, thing: str, number: int) -> Refused:
    return Refused(project=project, thing=thing, reason=f"no {number}", payload=bytes(number % 40), received_at=number)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz") | st.text(max_size=3)), max_size=60))
def test_it_is_bounded_and_keeps_the_newest(sources: list[tuple[str, str]]) -> None:
    quarantine = Quarantine(LIMITS)
    for number, (project, thing) in enumerate(sources):
        quarantine.add(refused(project, thing, number))
        newest = quarantine.of_project(project, thing)
        assert newest[0].received_at == number
        assert len(newest) <= LIMITS.quarantine_entries_per_thing_max
    for project in "ab":
        kept = quarantine.of_project(project)
        assert len(kept) <= LIMITS.quarantine_entries_max
        assert all(len(each.payload) <= LIMITS.quarantine_payload_bytes_max for each in kept)
        assert quarantine.total(project) == sum(owner == project for owner, _ in sources)


def test_a_project_sees_its_own() -> None:
    """§11"""
    quarantine = Quarantine(LIMITS)
    quarantine.add(refused("a", "x", 1))
    assert quarantine.of_project("b") == []
    assert [each.reason for each in quarantine.of_project("a", "x")] == ["no 1"]
    assert quarantine.of_project("a", "y") == []


def test_the_newest_comes_first() -> None:
    quarantine = Quarantine(LIMITS)
    for number in range(5):
        quarantine.add(refused("a", "xy"[number % 2], number))
    assert [each.received_at for each in quarantine.of_project("a")] == [4, 3, 2, 1, 0]


def test_one_project_does_not_crowd_out_another() -> None:
    """§11: neither what is kept nor what is counted."""
    quarantine = Quarantine(LIMITS)
    quarantine.add(refused("quiet", "meter", 1))
    for number in range(100):
        quarantine.add(refused("loud", f"junk-{number}", number))
    quarantine.add(refused("quiet", "meter", 2))
    assert [each.received_at for each in quarantine.of_project("quiet")] == [2, 1]
    assert (quarantine.count("quiet", "meter"), quarantine.total("quiet"), quarantine.total("loud")) == (2, 2, 100)


def test_names_are_cut_as_payloads_are() -> None:
    """§6: a name is what a sender wrote, of any length."""
    quarantine = Quarantine(LIMITS)
    for number in range(20):
        entry = refused("a", f"{number}" + "x" * 1_000_000, number)
        quarantine.add(msgspec.structs.replace(entry, property="y" * 1_000_000))
    kept = quarantine.of_project("a")
    assert all(len(each.thing) == len(each.property) == 128 for each in kept)


def test_what_was_deleted_is_not_among_the_refusals() -> None:
    """A message that was refused whole may hold any property, and one without a thing may be of the one it names."""
    quarantine = Quarantine(Limits())
    told = [("x", "power", b"1"), ("x", "level", b"2"), ("x", "", b"3"), ("y", "power", b"4"), ("", "", b'{"x": 5}')]
    for at, (thing, name, payload) in enumerate(told):
        quarantine.add(Refused(project="p", thing=thing, property=name, reason="", payload=payload, received_at=at))
    quarantine.withdraw(Deletion(id="d", project="q"))
    quarantine.withdraw(Deletion(id="d", project="p", thing="x", start=99))
    assert len(quarantine.of_project("p")) == 5
    quarantine.withdraw(Deletion(id="d", project="p", thing="x", property="power"))
    assert [each.payload for each in quarantine.of_project("p")] == [b"4", b"2"]
    quarantine.withdraw(Deletion(id="d", project="p"))
    assert quarantine.of_project("p") == []
