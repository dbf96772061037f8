"""§11: nothing crosses a project's border without a grant that names both sides."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.identity.directory import Directory
from taihu.identity.grant import Grant
from taihu.identity.memory import Memory
from taihu.identity.principal import CredentialKind, Principal, Project, Scope
from taihu.identity.rights import may
from taihu.kernel.clock import SimClock
from taihu.kernel.limits import DEFAULT
from taihu.things.property import Thing

PROJECTS = ("a", "b", "c", "d")
pairs = st.tuples(st.sampled_from(PROJECTS), st.sampled_from(PROJECTS)).filter(lambda pair: pair[0] != pair[1])
steps = st.lists(st.tuples(st.booleans(), pairs), max_size=12)


@settings(max_examples=30, deadline=None)
@given(steps)
def test_a_project_is_read_by_its_own_and_by_whom_it_granted(changes: list[tuple[bool, tuple[str, str]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = SimClock()
        directory = Directory(Path(folder) / "metadata.db", clock)
        tokens: dict[tuple[str, CredentialKind], str] = {}
        for project in PROJECTS:
            directory.create_project(Project(name=project))
            directory.create_thing(project, Thing(name="meter"))
            for kind in (CredentialKind.OPERATOR, CredentialKind.VIEWER, CredentialKind.JOIN):
                tokens[project, kind] = directory.issue_token(kind, project)[1]
            tokens[project, CredentialKind.THING] = directory.issue_token(CredentialKind.THING, project, "meter")[1]
        granted: set[tuple[str, str]] = set()
        for give, (source, target) in changes:
            if give:
                directory.grant(source, target)
                granted.add((source, target))
            elif (source, target) in granted:
                directory.revoke_grant(source, target)
                granted.remove((source, target))
        check_border(directory, tokens, granted)
        directory.close()
        again = Directory(Path(folder) / "metadata.db", clock)
        check_border(again, tokens, granted)
        again.close()


def check_border(
    directory: Directory, tokens: dict[tuple[str, CredentialKind], str], granted: set[tuple[str, str]]
) -> None:
    for (own, kind), token in tokens.items():
        principal = directory.principal(token)
        assert principal and (principal.project, principal.kind) == (own, kind)
        for project in PROJECTS:
            person = kind in (CredentialKind.OPERATOR, CredentialKind.VIEWER)
            allowed = person and (project == own or (project, own) in granted)
            assert directory.may_read(principal, project) is allowed
            itself = kind is CredentialKind.THING and project == own
            assert directory.may_read(principal, project, "meter") is (allowed or itself)
            writes = project == own and kind in (CredentialKind.OPERATOR, CredentialKind.THING)
            assert directory.may_write(principal, project, "meter") is writes
            assert not directory.may_write(principal, project, "other") or kind is CredentialKind.OPERATOR
            assert directory.may_administer(principal, project) is (project == own and kind is CredentialKind.OPERATOR)
    for project in PROJECTS:
        assert {(grant.from_project, project) for grant in directory.grants_to(project)} == {
            pair for pair in granted if pair[1] == project
        }


def test_a_grant_of_some_things_does_not_open_the_project() -> None:
    grant = Grant(from_project="a", to_project="b", things=("meter*", "pv"))
    assert grant.covers("meter-1") and grant.covers("pv")
    assert not grant.covers("battery") and not grant.covers("")


@given(st.sampled_from(PROJECTS), st.sampled_from(list(CredentialKind)), st.text(max_size=3))
def test_a_thing_is_nobody_but_itself(project: str, kind: CredentialKind, name: str) -> None:
    principal = Principal(project, kind, name if kind is CredentialKind.THING else "")

    def can(scope: Scope, other: str, thing: str) -> bool:
        return may(principal, scope, other, thing, "", Memory(DEFAULT), 0)

    for other in PROJECTS:
        if kind is CredentialKind.ADMIN:
            assert can(Scope.READ, other, "x")
            continue
        if other != project:
            assert not any(can(scope, other, thing) for scope in Scope for thing in ("x", ""))
        elif kind is CredentialKind.THING:
            assert can(Scope.READ, other, "x") is (name == "x")
            assert not can(Scope.READ, other, "") and not can(Scope.ADMIN, other, "x")
