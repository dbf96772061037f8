"""A thing is created with definitions that can be used, or not at all (§2)."""

from pathlib import Path
from typing import Any

import pytest

from taihu.identity.directory import Directory
from taihu.identity.principal import CredentialKind, Principal, Project
from taihu.kernel.clock import SimClock
from taihu.kernel.errors import TaihuError
from taihu.runtime.admin.projects import administer

OPERATOR = Principal("plant", CredentialKind.OPERATOR, credential_id="op")
ENERGY = {"name": "energy", "kind": "interval", "unit": "kW.h"}


@pytest.mark.parametrize(
    ("definition", "code", "says"),
    [
        (ENERGY, "definition", "energy: an interval has no length"),
        (ENERGY | {"interval_s": -900.0}, "definition", "interval_s is not above 0"),
        (ENERGY | {"interval_s": 900.0, "unit": "kWx"}, "unit", "is not a UCUM code"),
        (ENERGY | {"interval_s": 900.0, "name": "power"}, "admin", "calls itself 'power'"),
    ],
)
def test_a_definition_that_cannot_be_used_is_refused(
    tmp_path: Path, definition: dict[str, Any], code: str, says: str
) -> None:
    directory = Directory(tmp_path / "metadata.db", SimClock())
    directory.create_project(Project(name="plant"))
    body = {"project": "plant", "name": "meter", "properties": {"energy": definition}}
    with pytest.raises(TaihuError, match=says) as told:
        administer(directory, OPERATOR, "thing-create", body)
    assert told.value.code == code and told.value.remedy
    assert directory.definitions("plant", "meter") is None
    good = body | {"properties": {"energy": ENERGY | {"interval_s": 900.0}}}
    administer(directory, OPERATOR, "thing-create", good)
    assert (directory.definitions("plant", "meter") or {})["energy"].interval_s == 900.0
    directory.close()
