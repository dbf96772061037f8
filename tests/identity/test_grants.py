"""§11: a grant holds once both sides have agreed, in its time, and until either side ends it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taihu.identity.directory import Directory
from taihu.identity.grant import Grant, Right
from taihu.identity.memory import Unknown
from taihu.identity.principal import CredentialKind, Principal, Project
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.limits import Limits
from taihu.things.property import Thing

READER = Principal("district", CredentialKind.VIEWER)
WRITER = Principal("district", CredentialKind.OPERATOR)
HOUR_NS = 3_600 * NS_PER_S


@pytest.fixture
def clock() -> SimClock:
    return SimClock()


@pytest.fixture
def directory(tmp_path: Path, clock: SimClock) -> Iterator[Directory]:
    found = Directory(tmp_path / "metadata.db", clock, Limits(grants_per_project_max=5))
    for name in ("house", "district", "city"):
        found.create_project(Project(name=name))
    found.create_thing("house", Thing(name="meter"))
    yield found
    found.close()


def wanted(**terms: object) -> Grant:
    return Grant(from_project="house", to_project="district", **terms)  # type: ignore[arg-type]


def test_an_offer_opens_nothing_until_it_is_accepted(directory: Directory) -> None:
    offer = directory.propose(wanted(), "anna", gives=True, takes=False)
    assert offer.state(directory.now_ns()) == "offered" and not directory.may_read(READER, "house", "meter")
    with pytest.raises(RefusedError, match="nothing for you to accept"):
        directory.accept_grant(offer.id, "anna", gives=True, takes=False)
    grant = directory.accept_grant(offer.id, "ben", gives=False, takes=True)
    assert (grant.given_by, grant.taken_by) == ("anna", "ben")
    assert directory.may_read(READER, "house", "meter")
    with pytest.raises(RefusedError, match="nothing for you to accept"):
        directory.accept_grant(offer.id, "ben", gives=True, takes=True)


def test_a_request_opens_nothing_until_it_is_accepted(directory: Directory) -> None:
    request = directory.propose(wanted(), "ben", gives=False, takes=True)
    assert request.state(directory.now_ns()) == "requested" and not directory.may_read(READER, "house", "meter")
    directory.accept_grant(request.id, "anna", gives=True, takes=False)
    assert directory.may_read(READER, "house", "meter")


def test_it_holds_in_its_time(directory: Directory, clock: SimClock) -> None:
    now = clock.now_ns()
    terms = wanted(begins_at=now + HOUR_NS, ends_at=now + 2 * HOUR_NS)
    grant = directory.propose(terms, "anna", gives=True, takes=True)
    seen = []
    for _ in range(3):
        seen.append((grant.state(clock.now_ns()), directory.may_read(READER, "house", "meter")))
        clock.advance(3_600)
    assert seen == [("waiting", False), ("active", True), ("ended", False)]


def test_a_right_for_a_property_is_for_that_one(directory: Directory) -> None:
    terms = wanted(rights=(Right.WRITE, Right.READ), things=("met*",), properties=("set*",))
    directory.propose(terms, "anna", gives=True, takes=True)
    assert directory.may_want(WRITER, "house", "meter", "setpoint") and directory.may_see(READER, "house", "meter")
    assert not directory.may_want(READER, "house", "meter", "setpoint")  # a viewer has nothing to write with
    assert not directory.may_want(WRITER, "house", "meter", "mode") and not directory.may_want(WRITER, "house", "meter")
    assert not directory.may_read(READER, "house", "meter") and directory.may_read(READER, "house", "meter", "setpoint")
    assert not directory.may_command(WRITER, "house", "meter", "setpoint")
    assert not directory.may_write(WRITER, "house", "meter")


def test_several_grants_between_two_add_up_and_end_one_by_one(directory: Directory) -> None:
    one = directory.propose(wanted(things=("meter",)), "anna", gives=True, takes=True)
    directory.propose(wanted(things=("pv",)), "anna", gives=True, takes=True)
    assert directory.may_read(READER, "house", "meter") and directory.may_read(READER, "house", "pv")
    directory.end_grant(one.id, "ben")
    assert not directory.may_read(READER, "house", "meter") and directory.may_read(READER, "house", "pv")
    directory.revoke_grant("house", "district", "anna")
    assert directory.grants() == [] and not directory.may_read(READER, "house", "pv")


def test_both_sides_read_of_it_in_the_audit(directory: Directory) -> None:
    offer = directory.propose(wanted(), "anna", gives=True, takes=False)
    directory.accept_grant(offer.id, "ben", gives=False, takes=True)
    directory.end_grant(offer.id, "ben")
    for project in ("house", "district"):
        links = directory.audit_links(10, projects=[project])
        told = [(link.entry.who, link.entry.what) for link in links if offer.id in link.entry.detail]
        assert told == [("ben", "grant revoked"), ("ben", "grant accepted"), ("anna", "grant offered")]
    assert not any(offer.id in link.entry.detail for link in directory.audit_links(10, projects=["city"]))


def test_all_of_it_is_there_after_a_restart(directory: Directory, clock: SimClock, tmp_path: Path) -> None:
    terms = wanted(rights=(Right.READ, Right.COMMAND), things=("m*",), properties=("p*",), ends_at=2**62)
    grant = directory.propose(terms, "anna", gives=True, takes=False)
    directory.close()
    again = Directory(tmp_path / "metadata.db", clock)
    assert again.grants() == [grant]
    again.close()


def test_what_the_file_declares_is_what_there_is(directory: Directory) -> None:
    """A grant that is narrower in the file is narrower from then on; what people agreed on stays."""
    agreed = directory.propose(wanted(things=("pv",)), "anna", gives=True, takes=True)
    for things, state in ((("*",), True), (("none",), False), (("meter",), True)):
        directory.declare_grants([wanted(things=things)], "site.toml")
        assert directory.may_read(READER, "house", "meter") is state
        assert len(directory.grants()) == 2
    numbers = [grant.id for grant in directory.grants()]
    directory.declare_grants([wanted(things=("meter",))], "site.toml")
    assert [grant.id for grant in directory.grants()] == numbers
    directory.declare_grants([wanted(ends_at=directory.now_ns())], "site.toml")  # its time is over
    assert directory.grants() == [agreed]


@pytest.mark.parametrize(
    "terms",
    [
        {"rights": ()},
        {"things": ("",)},
        {"things": ("x" * 200,)},
        {"ends_at": 1},
        {"begins_at": 9, "ends_at": 9},
        {"begins_at": -1},
    ],
)
def test_terms_that_make_no_sense_are_refused(directory: Directory, terms: dict[str, object]) -> None:
    with pytest.raises(RefusedError):
        directory.propose(wanted(**terms), "anna", gives=True, takes=True)
    assert directory.grants() == []


def test_both_sides_exist_and_differ(directory: Directory) -> None:
    for source, target, error in (("house", "house", RefusedError), ("house", "no", Unknown), ("no", "house", Unknown)):
        with pytest.raises(error):
            directory.propose(Grant(from_project=source, to_project=target), "anna", gives=True, takes=True)


def test_they_are_bounded(directory: Directory) -> None:
    """§6"""
    with pytest.raises(LimitError, match="grant_patterns_max"):
        directory.propose(wanted(things=("x",) * 101), "anna", gives=True, takes=True)
    for number in range(5):
        directory.propose(wanted(things=(f"t{number}",)), "anna", gives=False, takes=True)
    with pytest.raises(LimitError, match="grants_per_project_max"):
        directory.propose(wanted(things=("more",)), "anna", gives=False, takes=True)
