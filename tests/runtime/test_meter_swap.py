"""A meter swap keeps one history, from the API to the windows."""

from pathlib import Path

import pytest

from taihu.identity.directory import Directory
from taihu.identity.principal import CredentialKind, Principal, Project
from taihu.kernel.clock import SimClock
from taihu.kernel.errors import RefusedError
from taihu.runtime.admin.projects import administer
from taihu.things.property import Kind, Property, Swap, Thing

OPERATOR = Principal("plant", CredentialKind.OPERATOR, credential_id="op")
SWAP = {"project": "plant", "thing": "meter", "property": "register", "at": 5, "old_final": 100.0, "new_initial": 7.0}


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    directory = Directory(tmp_path / "metadata.db", SimClock())
    directory.create_project(Project(name="plant"))
    register = Property(name="register", kind=Kind.COUNTER, unit="kW.h")
    power = Property(name="power", unit="kW")
    directory.create_thing("plant", Thing(name="meter", properties={"register": register, "power": power}))
    return directory


def test_swap_is_kept_once_and_in_order(directory: Directory) -> None:
    administer(directory, OPERATOR, "meter-swap", SWAP | {"at": 9, "old_final": 300.0})
    for _ in range(2):
        assert administer(directory, OPERATOR, "meter-swap", SWAP) == {"swaps": 2}
    definitions = directory.definitions("plant", "meter") or {}
    assert definitions["register"].swaps == (Swap(5, 100.0, 7.0), Swap(9, 300.0, 7.0))
    assert definitions["register"].unit == "kW.h"
    directory.close()


def test_only_counters_have_meters(directory: Directory) -> None:
    with pytest.raises(RefusedError, match="no counter"):
        administer(directory, OPERATOR, "meter-swap", SWAP | {"property": "power"})
    with pytest.raises(RefusedError, match="may not administer"):
        administer(directory, Principal("other", CredentialKind.OPERATOR), "meter-swap", SWAP)
    with pytest.raises(RefusedError, match="needs 'at'"):
        administer(directory, OPERATOR, "meter-swap", {name: SWAP[name] for name in SWAP if name != "at"})
    directory.close()
