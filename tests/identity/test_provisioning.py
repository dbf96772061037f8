"""Many things at once, and things that change hands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taihu.identity.directory import Directory
from taihu.identity.memory import Unknown
from taihu.identity.principal import Change, CredentialKind, Event, Project
from taihu.identity.provisioning import ClaimRefused, Wanted, claim_hash
from taihu.identity.registry import Exists
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.ids import token_hash
from taihu.kernel.limits import Limits
from taihu.things.property import Property, Thing

CODE = "7KQ4-9XWM-2PDC-0001"


class Bench:
    """A directory with a stock of devices and two homes."""

    def __init__(self, folder: Path) -> None:
        self.clock = SimClock()
        self.path = folder / "metadata.db"
        self.limits = Limits(claim_attempts_per_minute_max=3, claims_open_max=2)
        self.directory = Directory(self.path, self.clock, self.limits)
        for project in ("stock", "home", "other"):
            self.directory.create_project(Project(name=project))
        self.changes: list[Change] = []
        self.directory.on_change(self.changes.append)

    @property
    def in_an_hour(self) -> int:
        return self.clock.now_ns() + 3600 * NS_PER_S

    def put(self, *names: str) -> tuple[int, int]:
        wanted = [
            Wanted(
                thing=Thing(name=name),
                token_hash=token_hash(f"token of {name}"),
                claim_hash=claim_hash(f"{CODE}{name}"),
            )
            for name in names
        ]
        return self.directory.provision("stock", wanted, self.in_an_hour, "test")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    yield found
    found.directory.close()


def test_provisioning_again_changes_nothing(bench: Bench) -> None:
    assert bench.put("a", "b") == (2, 2)
    assert bench.put("a", "b", "c") == (1, 1)
    assert bench.put("a", "b", "c") == (0, 0)
    principal = bench.directory.principal("token of b")
    assert principal and (principal.project, principal.thing, principal.kind) == ("stock", "b", CredentialKind.THING)
    bench.directory.close()
    bench.directory = Directory(bench.path, bench.clock, bench.limits)
    assert bench.directory.principal("token of b") == principal


def test_a_secret_opens_one_thing(bench: Bench) -> None:
    bench.put("a")
    stolen = Wanted(thing=Thing(name="x"), token_hash=token_hash("token of a"))
    for project in ("stock", "home"):
        with pytest.raises(Exists):
            bench.directory.provision(project, [stolen], bench.in_an_hour)
    with pytest.raises(RefusedError, match="32 bytes"):
        bench.directory.provision("stock", [Wanted(thing=Thing(name="x"), token_hash=b"short")], bench.in_an_hour)
    with pytest.raises(Unknown):
        bench.directory.provision("nowhere", [], bench.in_an_hour)


def test_a_claimed_thing_is_another_projects(bench: Bench) -> None:
    """§11: the code is the stock's consent, the claim the home's; both audits say so."""
    bench.put("a", "b")
    bench.directory.infer_properties("stock", "a", [Property(name="power", inferred=True)])
    bench.changes.clear()
    moved = bench.directory.claim("home", f" 7kq4 9xwm2pdc-OOO1{'a'}", by="mei")
    assert moved.name == "a" and set(bench.directory.definitions("home", "a") or {}) == {"power"}
    principal = bench.directory.principal("token of a")
    assert principal and (principal.project, principal.thing) == ("home", "a")
    assert not bench.directory.may_read(principal, "stock", "a") and bench.directory.may_read(principal, "home", "a")
    assert bench.directory.thing("stock", "a") is not None, "its history stays"
    revoked = [change for change in bench.changes if change.event is Event.TOKEN_REVOKED]
    assert [change.credential_id for change in revoked] == [principal.credential_id], (
        "who is connected has to come again"
    )
    told = [entry.project for entry in bench.directory.audit() if entry.what == "claimed"]
    assert sorted(told) == ["home", "stock"]
    with pytest.raises(ClaimRefused):
        bench.directory.claim("other", f"{CODE}a")  # it is used up
    bench.directory.close()
    bench.directory = Directory(bench.path, bench.clock, bench.limits)
    assert bench.directory.principal("token of a") == principal


def test_what_cannot_be_claimed(bench: Bench) -> None:
    bench.put("a", "b")
    bench.directory.create_thing("home", Thing(name="a"))
    with pytest.raises(ClaimRefused, match="has a thing a"):
        bench.directory.claim("home", f"{CODE}a", by="one")
    assert bench.directory.claim("home", f"{CODE}a", name="a-2", by="one").name == "a-2", "a refusal uses nothing up"
    with pytest.raises(ClaimRefused):
        bench.directory.claim("stock", f"{CODE}b", by="two")
    with pytest.raises(Unknown):
        bench.directory.claim("nowhere", f"{CODE}b", by="two")
    bench.clock.advance(3601)
    with pytest.raises(ClaimRefused):
        bench.directory.claim("home", f"{CODE}b", by="three")


def test_codes_are_not_guessed(bench: Bench) -> None:
    bench.put("a")
    for _ in range(3):
        with pytest.raises(ClaimRefused):
            bench.directory.claim("home", "0000", by="mallory")
    with pytest.raises(LimitError, match="in a minute"):
        bench.directory.claim("home", f"{CODE}a", by="mallory")
    assert bench.directory.claim("other", f"{CODE}a", by="mei")
    bench.clock.advance(61)
    with pytest.raises(ClaimRefused):
        bench.directory.claim("home", "0000", by="mallory")


def test_a_device_that_says_itself_that_it_may_be_claimed(bench: Bench) -> None:
    bench.put("a", "b", "c")
    bench.directory.open_claim("stock", "a", "blue door", bench.clock.now_ns() + 60 * NS_PER_S)
    for secret, thing in (("blue door", ""), ("blue door", "b"), ("Blue Door", "a")):
        with pytest.raises(ClaimRefused):
            bench.directory.claim("home", secret, thing, by=f"{secret} {thing}")
    assert bench.directory.claim("home", "blue door", "a").name == "a"
    bench.directory.open_claim("stock", "b", "x", bench.clock.now_ns() + 60 * NS_PER_S)
    bench.directory.open_claim("stock", "c", "x", bench.clock.now_ns() + 60 * NS_PER_S)
    with pytest.raises(LimitError, match="claims_open_max"):
        bench.directory.open_claim("stock", "c", "y", bench.clock.now_ns() + 60 * NS_PER_S)
    bench.clock.advance(61)
    with pytest.raises(ClaimRefused):
        bench.directory.claim("home", "x", "b")
    bench.directory.open_claim("stock", "b", "x", bench.clock.now_ns() + 60 * NS_PER_S)
