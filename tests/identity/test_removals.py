"""Things and projects go with their credentials, and every deletion keeps a receipt."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taihu.identity.auditing import verify_audit
from taihu.identity.directory import Directory
from taihu.identity.memory import Unknown
from taihu.identity.principal import Change, CredentialKind, Event, Project
from taihu.kernel.clock import SimClock
from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits
from taihu.things.deletion import Deletion
from taihu.things.property import Property, Thing, ThingModel


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    found = Directory(tmp_path / "metadata.db", SimClock(), Limits(deletions_pending_max=3))
    for name in ("plant", "other"):
        found.create_project(Project(name=name))
        found.put_model(name, ThingModel(name="meter", properties={"power": Property(name="power")}))
        found.create_things(name, [Thing(name="Annas-flat", model="meter"), Thing(name="b")])
    with closing(found):
        yield found


def ask(number: str = "d1", **fields: object) -> Deletion:
    return Deletion(**{"id": number, "project": "plant", "at": 5, "by": "mei", **fields})  # type: ignore[arg-type]


def test_a_removed_thing_is_gone_with_its_credentials(directory: Directory, tmp_path: Path) -> None:
    number, token = directory.issue_token(CredentialKind.THING, "plant", "Annas-flat")
    _, other = directory.issue_token(CredentialKind.THING, "other", "Annas-flat")
    assert directory.principal(token)
    changes: list[Change] = []
    directory.on_change(changes.append)
    receipt = directory.accept(ask(thing="Annas-flat", removes=True))
    assert receipt.state == "accepted"
    assert directory.thing("plant", "Annas-flat") is None and directory.principal(token) is None
    assert [thing.name for thing in directory.things("plant")] == ["b"]
    assert directory.definitions("plant", "Annas-flat") is None
    assert directory.thing("other", "Annas-flat") and directory.principal(other)
    assert [(change.event, change.credential_id) for change in changes] == [
        (Event.THING_REMOVED, ""),
        (Event.TOKEN_REVOKED, number),
    ]
    assert [entry.what for entry in directory.audit(1)] == ["deleted"]
    directory.create_thing("plant", Thing(name="Annas-flat", title="new"))
    assert [thing.name for thing in directory.things("plant")] == ["Annas-flat", "b"]
    directory.close()
    again = Directory(tmp_path / "metadata.db", SimClock())
    assert again.principal(token) is None
    found = again.thing("plant", "Annas-flat")
    assert found and found.title == "new"
    again.close()


def test_a_removed_project_is_gone_with_all_that_is_its_own(directory: Directory, tmp_path: Path) -> None:
    _, token = directory.issue_token(CredentialKind.OPERATOR, "plant")
    directory.accept(ask(removes=True))
    assert directory.project("plant") is None and directory.principal(token) is None
    with pytest.raises(Unknown):
        directory.things("plant")
    directory.close()
    again = Directory(tmp_path / "metadata.db", SimClock())
    assert [project.name for project in again.projects()] == ["other"]
    assert [one.deletion.project for one in again.receipts()] == ["plant"]
    again.close()
    assert verify_audit(tmp_path / "metadata.db").faults == []


def test_a_receipt_tells_how_far_it_is(directory: Directory) -> None:
    directory.accept(ask())
    assert [one.deletion.id for one in directory.unfinished()] == ["d1"]
    assert directory.progress("d1", position=9).state == "accepted"
    assert directory.progress("d1", hidden_at=10).state == "hidden"
    assert directory.progress("d1", erased_at=11).state == "erased"
    assert [one.position for one in directory.receipts("plant")] == [9]
    assert directory.receipts("other") == []
    assert directory.unfinished() == [] and directory.last_deletion_position() == 9
    with pytest.raises(Unknown):
        directory.progress("d2", hidden_at=1)


def test_a_project_that_is_not_there_cannot_be_deleted(directory: Directory) -> None:
    with pytest.raises(Unknown):
        directory.accept(ask(project="none", removes=True))
    assert directory.receipts() == []


def test_a_thing_that_was_taken_out_before_may_leave_readings(directory: Directory) -> None:
    directory.remove_thing("plant", "b")
    assert directory.accept(ask(thing="b", removes=True)).state == "accepted"


def test_pending_deletions_are_bounded(directory: Directory) -> None:
    """§6: each costs every query a look until it is erased."""
    for number in range(3):
        directory.accept(ask(str(number)))
    with pytest.raises(LimitError, match="deletions_pending_max"):
        directory.accept(ask("3"))
    directory.accept(ask("4", project="other"))
    directory.progress("0", erased_at=7)
    directory.accept(ask("3"))


def test_the_name_of_what_was_removed_is_in_no_file_but_the_audits(directory: Directory, tmp_path: Path) -> None:
    """The audit and the receipt keep it, so the test removes a title."""
    directory.put_things("plant", [Thing(name="b", title="Annas-balcony")])
    directory.issue_token(CredentialKind.THING, "plant", "b", label="Annas-balcony")
    directory.accept(ask(thing="b", removes=True))
    directory.progress("d1", erased_at=1)
    assert not [path.name for path in tmp_path.iterdir() if b"Annas-balcony" in path.read_bytes()]
