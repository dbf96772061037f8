"""Certificates in the directory: whom they stand for, how often, and for how long."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taihu.identity.certificates import EnrolmentRefused, Sign, Signed
from taihu.identity.directory import Directory
from taihu.identity.memory import Unknown
from taihu.identity.presented import Presented, certificate_digest, digest_of
from taihu.identity.principal import CredentialKind, Principal, Project
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.ids import token_hash
from taihu.kernel.limits import Limits
from taihu.things.property import Thing

LIMITS = Limits(certificates_per_thing_max=3, certificate_overlap_s=100)
YEAR_S = 365 * 86_400


class Bench:
    """A directory with things, and an authority that signs anything."""

    def __init__(self, folder: Path) -> None:
        self.clock = SimClock()
        self.path = folder / "metadata.db"
        self.directory = Directory(self.path, self.clock, LIMITS)
        for project in ("home", "other"):
            self.directory.create_project(Project(name=project))
            self.directory.create_thing(project, Thing(name="meter"))
        self.count = 0

    def signs(self, key: bytes = b"key", seconds: float = YEAR_S) -> Sign:
        def sign(project: str, thing: str) -> Signed:
            self.count += 1
            name = f"{project}/{thing} {self.count}".encode()
            ends = self.clock.now_ns() + int(seconds * NS_PER_S)
            return Signed(der=name, serial=f"{self.count:x}", key_hash=key, expires_at=ends)

        return sign

    def issue(self, key: bytes = b"key", seconds: float = YEAR_S) -> Presented:
        return Presented.of(self.directory.certify("home", "meter", key, self.signs(key, seconds), by="test").der)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    yield found
    found.directory.close()


def test_a_certificate_stands_for_its_thing_until_its_end(bench: Bench) -> None:
    presented = bench.issue(seconds=1000)
    principal = bench.directory.principal(presented)
    assert principal and (principal.project, principal.thing, principal.kind) == ("home", "meter", CredentialKind.THING)
    assert bench.directory.may_read(principal, "home", "meter") and not bench.directory.may_read(principal, "other")
    bench.clock.advance(1001)
    assert bench.directory.principal(presented) is None


def test_no_text_is_a_certificate() -> None:
    """What a client sends is hashed as UTF-8, which no certificate's digest begins as."""
    der = b"any bytes"
    assert digest_of(Presented.of(der)) == certificate_digest(der) != token_hash(der.decode())
    assert digest_of(der.decode()) == token_hash(der.decode())
    assert Presented.of(bytes(range(256))).der == bytes(range(256))


def test_a_key_has_one_certificate_and_a_thing_so_many(bench: Bench) -> None:
    assert bench.issue(b"a") == bench.issue(b"a")
    bench.issue(b"b"), bench.issue(b"c")
    with pytest.raises(LimitError, match="certificates_per_thing_max"):
        bench.issue(b"d")
    assert len(bench.directory.certificates("home")) == 3
    with pytest.raises(Unknown):
        bench.directory.certify("home", "nothing", b"x", bench.signs())


def test_an_enrolment_token_is_good_once_and_for_a_time(bench: Bench) -> None:
    directory, now = bench.directory, bench.clock.now_ns()
    token = directory.issue_enrolment("home", "meter", now + 60 * NS_PER_S, "test")
    assert directory.principal(token) is None, "it is no credential"
    newer = directory.issue_enrolment("home", "meter", now + 60 * NS_PER_S, "test")
    with pytest.raises(EnrolmentRefused):
        directory.enrol(token, bench.signs())
    signed = directory.enrol(newer, bench.signs())
    assert directory.principal(Presented.of(signed.der))
    for used in (newer, "", "nonsense"):
        with pytest.raises(EnrolmentRefused):
            directory.enrol(used, bench.signs())
    late = directory.issue_enrolment("home", "meter", now + 60 * NS_PER_S, "test")
    bench.clock.advance(61)
    with pytest.raises(EnrolmentRefused):
        directory.enrol(late, bench.signs())


def test_a_failed_signature_uses_no_token_up(bench: Bench) -> None:
    def fail(project: str, thing: str) -> Signed:
        raise RefusedError("The authority's own certificate has expired.")

    token = bench.directory.issue_enrolment("home", "meter", bench.clock.now_ns() + NS_PER_S, "test")
    with pytest.raises(RefusedError, match="expired"):
        bench.directory.enrol(token, fail)
    assert bench.directory.enrol(token, bench.signs())


def test_a_renewed_certificate_ends_after_the_overlap(bench: Bench) -> None:
    old = bench.issue(b"a")
    new = Presented.of(bench.directory.renew(old, bench.signs(b"a")).der)
    assert new != old and bench.directory.principal(old) and bench.directory.principal(new)
    bench.clock.advance(101)
    assert bench.directory.principal(old) is None and bench.directory.principal(new)
    with pytest.raises(EnrolmentRefused):
        bench.directory.renew(old, bench.signs(b"a"))
    with pytest.raises(EnrolmentRefused):
        bench.directory.renew(Presented.of(b"none of ours"), bench.signs(b"a"))


def test_a_revoked_certificate_is_listed_until_it_would_have_ended(bench: Bench) -> None:
    presented = bench.issue(seconds=1000)
    (entry,) = bench.directory.certificates("home")
    with pytest.raises(Unknown):
        bench.directory.revoke_certificate("other", entry.serial, "")
    with pytest.raises(RefusedError, match="is no reason"):
        bench.directory.revoke_certificate("home", entry.serial, "because")
    assert bench.directory.revoke_certificate("home", f"0{entry.serial.upper()}", "superseded", "test") == entry.id
    assert bench.directory.principal(presented) is None
    assert [(one.serial, one.reason) for one in bench.directory.ended_certificates()] == [(entry.serial, "superseded")]
    bench.clock.advance(1001)
    assert bench.directory.ended_certificates() == []


def test_they_are_there_after_a_restart_and_seen_by_readers(bench: Bench) -> None:
    reader = Directory(bench.path, bench.clock, LIMITS, read_only=True)
    presented = bench.issue()
    assert reader.refresh() and reader.principal(presented)
    reader.close()
    bench.directory.close()
    again = Directory(bench.path, bench.clock, LIMITS)
    assert again.principal(presented)
    again.revoke(again.certificates("home")[0].id)
    assert again.principal(presented) is None and len(again.ended_certificates()) == 1
    again.close()
    bench.directory = Directory(bench.path, bench.clock, LIMITS)


def test_another_authoritys_certificate_counts_for_things_there_are(bench: Bench) -> None:
    ends = bench.clock.now_ns() + NS_PER_S
    known = {
        b"meter": Principal("home", CredentialKind.THING, "meter", "x509-1", ends),
        b"nothing": Principal("home", CredentialKind.THING, "nothing", "x509-2", ends),
        b"nowhere": Principal("nowhere", CredentialKind.THING, "meter", "x509-3", ends),
    }
    bench.directory.believe(known.get)
    assert bench.directory.principal(Presented.of(b"meter")) == known[b"meter"]
    for name in (b"nothing", b"nowhere", b"unknown"):
        assert bench.directory.principal(Presented.of(name)) is None
    assert bench.directory.principal("meter") is None, "a word is no certificate"
    bench.clock.advance(2)
    assert bench.directory.principal(Presented.of(b"meter")) is None
