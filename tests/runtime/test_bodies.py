"""The claims of HTTP bodies: what one of a kind took to find out is known of the next, until definitions change."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.support import NOW_NS, Bench, Things, properties_of, property_of

from taihu.identity.directory import Directory
from taihu.identity.principal import CredentialKind, Principal
from taihu.kernel.clock import SimClock
from taihu.kernel.config import parse_site
from taihu.kernel.errors import RefusedError
from taihu.kernel.limits import DEFAULT
from taihu.runtime.ingest import bodies as module
from taihu.runtime.ingest.access import Access
from taihu.runtime.ingest.bodies import Bodies, Unreadable
from taihu.twin.twin import Twin

PLANT = Principal("plant", CredentialKind.OPERATOR)
PUMP = Principal("plant", CredentialKind.THING, "pump")
BODY = b'{"a": 900}'
JSON = "application/json"


@pytest.fixture
def bench() -> Bench:
    return Bench(Things(pump=properties_of(property_of("a")), fan=properties_of(property_of("a"))))


@pytest.fixture
def bodies(bench: Bench, tmp_path: Path) -> Iterator[Bodies]:
    clock = SimClock(NOW_NS)
    site = parse_site('[[project]]\nname = "plant"\n', tmp_path)
    directory = Directory(tmp_path / "metadata.db", clock)
    yield Bodies(Access(site, directory, Twin(), clock, DEFAULT), bench.intake)
    directory.close()


def test_changed_definitions_hold_for_the_next_body(bodies: Bodies, bench: Bench) -> None:
    assert bench.cells((bodies.claim(PLANT, "pump", JSON, 1), BODY))
    bench.things.things["pump"]["a"] = property_of("a", maximum=100.0)
    bench.intake.forget_plans()
    claim = bodies.claim(PLANT, "pump", JSON, 1)
    assert bench.cells((claim, BODY)) == [] and claim.refusals == 1


def test_a_body_is_of_its_own_thing(bodies: Bodies, bench: Bench) -> None:
    """§11: what is known of one sender's bodies is no other's."""
    for caller, thing in ((PLANT, "pump"), (PLANT, "fan"), (PUMP, "pump"), (PLANT, "pump")):
        claim = bodies.claim(caller, thing, JSON, 1)
        assert [cell.thing for cell in bench.cells((claim, BODY))] == [thing]
        assert claim.may_create is (caller is PLANT)
    bodies.claim(PLANT, "fan", JSON, 1)
    with pytest.raises(RefusedError):
        bodies.claim(PUMP, "fan", JSON, 1)


def test_what_nobody_reads_is_refused_each_time(bodies: Bodies) -> None:
    for _ in range(2):
        with pytest.raises(Unreadable):
            bodies.claim(PLANT, "pump", "text/html", 1)


def test_what_is_known_is_bounded(bodies: Bodies, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """§6"""
    monkeypatch.setattr(module, "_ALIKE_MAX", 3)
    for number in range(9):
        bodies.claim(PLANT, f"thing-{number}", JSON, 1)
        assert len(bodies._alike) <= 3
