"""Self-registration: bounded in all and by the minute, counted, and over once the thing has used its own token (§6)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taihu.identity.directory import Directory
from taihu.identity.join import Joined, JoinRefused
from taihu.identity.principal import CredentialKind, Project
from taihu.kernel.clock import SimClock
from taihu.kernel.limits import Limits
from taihu.things.property import Property, Thing


@pytest.fixture
def clock() -> SimClock:
    return SimClock()


@pytest.fixture
def directory(tmp_path: Path, clock: SimClock) -> Iterator[Directory]:
    limits = Limits(join_things_max=10, join_things_per_minute_max=4, things_per_project_max=20)
    made = Directory(tmp_path / "metadata.db", clock, limits)
    made.create_project(Project(name="house"))
    yield made
    made.close()


@pytest.fixture
def token(directory: Directory) -> str:
    return directory.issue_token(CredentialKind.JOIN, "house")[1]


def refusal(directory: Directory, token: str, thing: str, clock: SimClock) -> str:
    with pytest.raises(JoinRefused) as caught:
        directory.join(token, thing, clock.now_ns())
    assert caught.value.remedy
    return caught.value.reason


def test_a_device_joins_and_has_its_own_token(directory: Directory, token: str, clock: SimClock) -> None:
    joined = directory.join(token, "m1", clock.now_ns())
    assert joined.new and joined.thing.inferred and joined.thing.created_at == clock.now_ns()
    principal = directory.principal(joined.token)
    assert principal and (principal.kind, principal.thing) == (CredentialKind.THING, "m1")
    assert directory.thing("house", "m1") == joined.thing


def test_so_many_a_minute_and_so_many_in_all(directory: Directory, token: str, clock: SimClock) -> None:
    made = 0
    for _ in range(3):
        while True:
            try:
                directory.join(token, f"m{made}", clock.now_ns())
            except JoinRefused as error:
                reason = error.reason
                break
            made += 1
        clock.advance(60)
    assert made == 10 and reason == "total"
    assert dict(directory.joins_refused) == {("house", "rate"): 2, ("house", "total"): 1}
    clock.jump(-10_000)
    assert refusal(directory, token, "more", clock) == "total"


def test_the_count_survives_a_restart(directory: Directory, token: str, clock: SimClock, tmp_path: Path) -> None:
    for number in range(8):
        directory.join(token, f"m{number}", clock.now_ns())
        clock.advance(20)
    directory.close()
    again = Directory(tmp_path / "metadata.db", clock, Limits(join_things_max=9))
    again.join(token, "m8", clock.now_ns())
    assert refusal(again, token, "m9", clock) == "total"
    again.close()


def test_the_rate_holds_in_every_minute_and_a_clock_set_back_locks_nobody_out(
    directory: Directory, token: str, clock: SimClock
) -> None:
    for number in range(4):
        directory.join(token, f"m{number}", clock.now_ns())
        clock.advance(15)
    directory.join(token, "m4", clock.now_ns())
    assert refusal(directory, token, "m5", clock) == "rate"
    clock.jump(-3600)
    directory.join(token, "m5", clock.now_ns())


def test_a_token_may_have_limits_of_its_own(directory: Directory, clock: SimClock) -> None:
    _, one = directory.issue_token(CredentialKind.JOIN, "house", limits={"join_things_max": 1})
    directory.join(one, "a", clock.now_ns())
    assert refusal(directory, one, "b", clock) == "total"


def test_until_its_first_use_a_token_is_replaced_and_after_it_the_join_token_is_refused(
    directory: Directory, token: str, clock: SimClock
) -> None:
    first = directory.join(token, "m1", clock.now_ns())
    directory.infer_properties("house", "m1", [Property(name="x", inferred=True)])
    second = directory.join(token, "m1", clock.now_ns())
    assert not second.new and second.credential_id == first.credential_id
    assert directory.principal(first.token) is None
    assert directory.principal(second.token)
    assert refusal(directory, token, "m1", clock) == "taken"
    assert set(directory.definitions("house", "m1") or ()) == {"x"}
    directory.revoke(second.credential_id)
    assert directory.principal(second.token) is None
    assert directory.join(token, "m1", clock.now_ns()).token


def test_the_first_use_survives_a_restart(directory: Directory, token: str, clock: SimClock, tmp_path: Path) -> None:
    used = directory.join(token, "used", clock.now_ns())
    directory.join(token, "unused", clock.now_ns())
    assert directory.principal(used.token)
    directory.close()
    again = Directory(tmp_path / "metadata.db", clock)
    assert refusal(again, token, "used", clock) == "taken"
    assert again.join(token, "unused", clock.now_ns())
    assert {one.thing for one in again.credentials("house") if one.first_used_at} == {"used"}
    again.close()


def test_a_thing_with_an_issued_token_cannot_be_taken_over(directory: Directory, token: str, clock: SimClock) -> None:
    directory.create_things("house", [Thing(name="issued"), Thing(name="declared")])
    directory.issue_token(CredentialKind.THING, "house", "issued")
    assert refusal(directory, token, "issued", clock) == "taken"
    assert not directory.join(token, "declared", clock.now_ns()).new


def test_what_is_no_join_token_joins_nothing(directory: Directory, token: str, clock: SimClock) -> None:
    _, operator = directory.issue_token(CredentialKind.OPERATOR, "house")
    number, revoked = directory.issue_token(CredentialKind.JOIN, "house")
    directory.revoke(number)
    _, expired = directory.issue_token(CredentialKind.JOIN, "house", expires_at=clock.now_ns())
    for wrong in (operator, revoked, expired, "", "\ud800", token + "x"):
        assert refusal(directory, wrong, "m1", clock) == "token"
    assert refusal(directory, token, "a/b", clock) == "name"
    assert directory.thing_count("house") == 0


def test_a_full_project_takes_no_more(directory: Directory, token: str, clock: SimClock) -> None:
    directory.create_things("house", [Thing(name=f"t{number}") for number in range(19)])
    directory.join(token, "last", clock.now_ns())
    assert refusal(directory, token, "more", clock) == "project"


def test_many_join_by_one_sync(tmp_path: Path, clock: SimClock) -> None:
    limits = Limits(join_things_max=5_000, join_things_per_minute_max=5_000)
    directory = Directory(tmp_path / "many.db", clock, limits)
    directory.create_project(Project(name="fleet"))
    _, token = directory.issue_token(CredentialKind.JOIN, "fleet")
    requests = [(token, f"car-{number}") for number in range(5_000)]
    answers = directory.join_all([*requests, requests[0], (token, "car-one-too-many")], clock.now_ns())
    joined = [answer for answer in answers if isinstance(answer, Joined)]
    assert len(joined) == 5_001 and joined[0] is joined[-1]
    refused = answers[-1]
    assert isinstance(refused, JoinRefused) and refused.reason == "total"
    assert all(directory.principal(answer.token) for answer in joined)
    assert directory.flush() == 5_000
    directory.close()
