"""People, their roles, sessions and own tokens in the directory: durable, bounded, and over at once when they end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taihu.identity.cookie import SECRET_MARK
from taihu.identity.directory import Directory
from taihu.identity.memory import Unknown
from taihu.identity.person import Person
from taihu.identity.principal import Change, CredentialKind, Event, Project, Role, Scope
from taihu.identity.registry import Exists
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.ids import NameRefused
from taihu.kernel.limits import Limits

LIMITS = Limits(sessions_per_user_max=3, users_max=4)


@pytest.fixture
def clock() -> SimClock:
    return SimClock()


@pytest.fixture
def directory(tmp_path: Path, clock: SimClock) -> Iterator[Directory]:
    """`mei` operates the house, `ben` owns the node."""
    found = Directory(tmp_path / "metadata.db", clock, LIMITS)
    found.create_project(Project(name="house"))
    found.create_project(Project(name="district"))
    found.add_person(Person(name="mei", title="Mei Lin", roles={"house": Role.OPERATOR}), "test", "hash")
    found.add_person(Person(name="ben", roles={"": Role.OWNER}), "test")
    yield found
    found.close()


def scopes(directory: Directory, secret: str, project: str) -> set[Scope]:
    principal = directory.principal(secret)
    return set(directory.scopes_in(principal, project)) if principal else set()


def test_all_of_it_is_there_after_a_restart(directory: Directory, clock: SimClock, tmp_path: Path) -> None:
    session, secret = directory.open_session("mei", "password", address="192.0.2.7", agent="a browser")
    _, token = directory.issue_token(CredentialKind.PERSON, "", user="mei", scopes=[Scope.READ], things=["m*"])
    people = directory.people()
    directory.close()
    again = Directory(tmp_path / "metadata.db", clock, LIMITS)
    assert again.people() == people and again.sessions() == [session]
    assert scopes(again, secret, "house") == set(Scope) - {Scope.ADMIN}
    assert scopes(again, token, "house") == {Scope.READ}
    assert again.credentials(user="mei")[0].things == ("m*",)
    assert again.password_of("mei") == "hash" and again.password_of("nobody") == ""
    again.close()


def test_roles_hold_at_once(directory: Directory) -> None:
    _, secret = directory.open_session("mei", "password")
    _, token = directory.issue_token(CredentialKind.PERSON, "", user="mei")
    _, only = directory.issue_token(CredentialKind.PERSON, "district", user="mei")
    for role in (Role.VIEWER, Role.OWNER, None):
        directory.change_person("mei", "ben", roles={"house": role})
        wanted = {Role.VIEWER: {Scope.READ}, Role.OWNER: set(Scope), None: set()}[role]
        assert scopes(directory, secret, "house") == scopes(directory, token, "house") == wanted
        assert scopes(directory, only, "house") == set()
    directory.change_person("mei", "ben", roles={"": Role.OWNER})
    assert scopes(directory, secret, "district") == scopes(directory, only, "district") == set(Scope)


def test_who_is_disabled_or_removed_is_out_at_once(directory: Directory) -> None:
    _, token = directory.issue_token(CredentialKind.PERSON, "", user="mei")
    _, secret = directory.open_session("mei", "password")
    changes: list[Change] = []
    directory.on_change(changes.append)
    directory.change_person("mei", "ben", disabled=True)
    assert directory.principal(secret) is None and scopes(directory, token, "house") == set()
    with pytest.raises(Unknown):
        directory.open_session("mei", "password")
    directory.change_person("mei", "ben", disabled=False)
    assert scopes(directory, token, "house") and directory.principal(secret) is None
    _, secret = directory.open_session("mei", "password")
    directory.remove_person("mei", "ben")
    assert directory.principal(secret) is None and directory.principal(token) is None
    assert directory.credentials(user="mei")[0].revoked_at
    assert {change.event for change in changes} == {Event.PERSON, Event.SESSION_ENDED, Event.TOKEN_REVOKED}
    told = [entry.what for entry in directory.audit(6)]
    assert told[0] == "person removed" and "person disabled" in told and "signed in" in told
    directory.add_person(Person(name="mei"), "ben")  # somebody else of that name has nothing of hers
    assert directory.principal(token) is None and directory.sessions("mei") == []


def test_a_session_ends_when_it_is_idle_and_in_the_end_anyhow(directory: Directory, clock: SimClock) -> None:
    _, idle = directory.open_session("mei", "password")
    session, busy = directory.open_session("mei", "password")
    for _ in range(7 * 24 * 2 - 1):
        clock.advance(1_800)
        assert directory.principal(busy)
    assert directory.principal(idle) is None
    assert directory.session(session.id) is not None
    clock.advance(1_800)
    assert directory.principal(busy) is None and directory.sessions() == []
    assert directory.purge_sessions() == 2 and directory.purge_sessions() == 0


def test_its_use_is_stored_to_the_minute(directory: Directory, clock: SimClock, tmp_path: Path) -> None:
    session, secret = directory.open_session("mei", "password")
    assert directory.principal(secret) and directory.pending == 0
    clock.advance(3_600)
    assert directory.principal(secret) and directory.principal(secret) and directory.pending == 1
    directory.close()
    again = Directory(tmp_path / "metadata.db", clock, LIMITS)
    (found,) = again.sessions()
    assert (found.id, found.used_at) == (session.id, session.used_at + 3_600 * NS_PER_S)
    again.close()


def test_each_sign_in_has_a_new_secret_and_ends_the_one_before(directory: Directory) -> None:
    """What somebody planted in a browser before its owner signed in opens nothing (session fixation)."""
    first, planted = directory.open_session("ben", "password")
    second, secret = directory.open_session("mei", "password", replaces=planted)
    assert secret != planted and secret.startswith(SECRET_MARK)
    assert directory.principal(planted) is None and directory.session(first.id) is None
    _, third = directory.open_session("mei", "password", replaces="session.nobody-has-this")
    assert directory.principal(third) and directory.session(second.id)


def test_somebody_has_so_many_sessions_the_oldest_gives_way(directory: Directory, clock: SimClock) -> None:
    """§6"""
    secrets = []
    for _ in range(5):
        clock.advance(1)
        secrets.append(directory.open_session("mei", "password")[1])
    assert [directory.principal(secret) is not None for secret in secrets] == [False, False, True, True, True]
    assert len(directory.sessions("mei")) == 3


def test_a_changed_password_ends_the_other_sessions(directory: Directory) -> None:
    here, kept = directory.open_session("mei", "password", password="hash")
    _, elsewhere = directory.open_session("mei", "password")
    directory.set_password("mei", "other", "mei", keep=here.id)
    assert directory.principal(kept) and directory.principal(elsewhere) is None
    with pytest.raises(Unknown, match="meanwhile"):  # who was checked against the old one comes too late
        directory.open_session("mei", "password", password="hash")


def test_a_code_sets_one_password(directory: Directory, clock: SimClock) -> None:
    ends = clock.now_ns() + 60 * NS_PER_S
    codes = [directory.issue_token(CredentialKind.INVITE, "", user="ben", expires_at=ends)[1] for _ in range(2)]
    _, secret = directory.open_session("ben", "link")
    assert directory.redeem(codes[0], "fresh").name == "ben"
    assert directory.password_of("ben") == "fresh" and directory.principal(secret) is None
    clock.advance(61)
    for code in (*codes, "nothing"):
        with pytest.raises(Unknown):
            directory.redeem(code, "again")


def test_one_ends_sessions_by_id_and_by_person(directory: Directory) -> None:
    one, secret = directory.open_session("mei", "password")
    _, other = directory.open_session("mei", "password")
    with pytest.raises(Unknown):
        directory.end_sessions("ben", user="ben", number=one.id)  # it is not his
    directory.end_sessions("mei", user="mei", number=one.id)
    assert directory.principal(secret) is None and directory.principal(other)
    directory.end_sessions("ben", user="mei")
    assert directory.principal(other) is None and directory.sessions() == []


@pytest.mark.parametrize("name", ["", "Mei", "a b", "-x", "x" * 65, "a/b", "m\u00e9i"])
def test_names_are_plain(directory: Directory, name: str) -> None:
    with pytest.raises(NameRefused):
        directory.add_person(Person(name=name))


def test_what_makes_no_sense_is_refused(directory: Directory) -> None:
    with pytest.raises(Exists):
        directory.add_person(Person(name="mei"))
    with pytest.raises(Unknown):
        directory.add_person(Person(name="ada", roles={"nowhere": Role.VIEWER}))
    with pytest.raises(RefusedError, match="only be owner"):
        directory.change_person("mei", roles={"": Role.VIEWER})
    for kind, fields in (
        (CredentialKind.PERSON, {"user": "nobody"}),
        (CredentialKind.OPERATOR, {"project": "house", "user": "mei"}),
        (CredentialKind.INVITE, {"project": "house", "user": "mei"}),
        (CredentialKind.INVITE, {"user": "mei", "scopes": [Scope.READ]}),
        (CredentialKind.CONSOLE, {"things": ["x"]}),
        (CredentialKind.OPERATOR, {"project": "house", "things": ["x"], "scopes": [Scope.ADMIN]}),
    ):
        with pytest.raises(RefusedError):
            directory.issue_token(kind, **{"project": "", **fields})  # type: ignore[arg-type]
    directory.add_person(Person(name="ada"))
    directory.add_person(Person(name="eve"))
    with pytest.raises(LimitError, match="users_max"):
        directory.add_person(Person(name="one-more"))


def test_what_nobody_else_reads_makes_no_reader_load_again(
    directory: Directory, tmp_path: Path, clock: SimClock
) -> None:
    """The worker reads the directory beside the node: a sign-in among 100,000 things costs it nothing."""
    reader = Directory(tmp_path / "metadata.db", clock, read_only=True)
    directory.open_session("mei", "password")
    directory.record("mei", "exported", "a file", "house")
    directory.end_sessions("ben", user="mei")
    assert not reader.refresh()
    directory.create_project(Project(name="third"))
    assert reader.refresh() and reader.project("third")
    reader.close()
