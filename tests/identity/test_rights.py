"""§11 as properties of who may do what: of any roles, tokens and grants, at any time, by every kind of credential."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.identity.grant import Grant, Right
from taihu.identity.memory import Memory
from taihu.identity.person import Person
from taihu.identity.principal import ALL_SCOPES, CredentialKind, Principal, Reach, Role, Scope
from taihu.identity.rights import home_of, may, may_see, scopes_in
from taihu.kernel.limits import DEFAULT

PROJECTS = ("a", "b", "c")
THINGS = ("meter-1", "meter-2", "pv")
NAMES = ("power", "energy", "mode")
NOW = 1_000
PATTERNS = st.lists(st.sampled_from(["meter*", "meter-1", "pv", "*", "p*", "nothing"]), max_size=2).map(tuple)

grants = st.builds(
    Grant,
    id=st.uuids().map(str),
    from_project=st.sampled_from(PROJECTS),
    to_project=st.sampled_from(PROJECTS),
    rights=st.sets(st.sampled_from(Right), min_size=1).map(tuple),
    things=PATTERNS,
    properties=PATTERNS.map(lambda names: tuple(name.replace("meter", "en").replace("pv", "mode") for name in names)),
    begins_at=st.sampled_from([0, NOW, NOW + 1]),
    ends_at=st.sampled_from([None, NOW, NOW + 1]),
    given_at=st.sampled_from([0, 1, 1, 1]),
    taken_at=st.sampled_from([0, 1, 1, 1]),
).filter(lambda grant: grant.from_project != grant.to_project)
people = st.builds(
    Person,
    name=st.just("mei"),
    roles=st.dictionaries(st.sampled_from(PROJECTS), st.sampled_from(Role), max_size=3),
    disabled=st.booleans(),
)
reaches = st.builds(Reach, st.just("mei"), st.frozensets(st.sampled_from(Scope)), PATTERNS)


@st.composite
def principals(draw: st.DrawFn) -> Principal:
    kind = draw(st.sampled_from(CredentialKind))
    project = draw(st.sampled_from(PROJECTS))
    if kind is CredentialKind.PERSON:
        return Principal(draw(st.sampled_from(["", project])), kind, reach=draw(reaches))
    if kind in (CredentialKind.ADMIN, CredentialKind.INVITE, CredentialKind.CONSOLE):
        return Principal("", kind)
    thing = draw(st.sampled_from(THINGS)) if kind is CredentialKind.THING else ""
    limited = kind in (CredentialKind.OPERATOR, CredentialKind.VIEWER)
    return Principal(project, kind, thing, reach=draw(st.none() | reaches) if limited else None)


def memory_of(found: list[Grant], person: Person | None = None) -> Memory:
    memory = Memory(DEFAULT)
    for grant in found:
        memory.put_grant(grant)
    if person is not None:
        memory.people[person.name] = person
    return memory


def allowed(principal: Principal, memory: Memory, now: int = NOW) -> set[tuple[Scope, str, str, str]]:
    """All that a principal may do, whole things and projects included."""
    asked = product(Scope, PROJECTS, (*THINGS, ""), (*NAMES, ""))
    return {each for each in asked if (each[2] or not each[3]) and may(principal, *each, memory, now)}


@given(principals(), st.lists(grants, max_size=4), people)
def test_without_a_grant_nothing_crosses(principal: Principal, found: list[Grant], person: Person) -> None:
    with_grants, without = memory_of(found, person), memory_of([], person)
    own = allowed(principal, without)
    for scope, project, _, _ in own:
        assert principal.kind is CredentialKind.THING or scope in scopes_in(principal, project, without)
    for scope, project, thing, name in allowed(principal, with_grants) - own:
        assert scope in (Scope.READ, Scope.WRITE, Scope.COMMAND)
        homes = {principal.project} if principal.project else set(person.roles)
        assert any(
            grant.from_project == project
            and grant.to_project in homes
            and scope in scopes_in(principal, grant.to_project, with_grants)
            and grant.holds(Right(scope), NOW)
            and grant.covers(thing, name)
            for grant in found
        )


@given(principals(), st.lists(grants, max_size=4), people)
def test_what_is_not_agreed_or_not_in_its_time_is_no_grant(
    principal: Principal, found: list[Grant], person: Person
) -> None:
    active = [grant for grant in found if grant.state(NOW) == "active"]
    assert allowed(principal, memory_of(found, person)) == allowed(principal, memory_of(active, person))
    ended = max((grant.ends_at or 0 for grant in found), default=0)
    forever = [grant for grant in found if grant.ends_at is None]
    later = max(ended, NOW + 1)
    assert allowed(principal, memory_of(found, person), later) == allowed(principal, memory_of(forever, person), later)


@given(principals(), st.lists(grants, max_size=4), people, reaches)
def test_a_shorter_reach_opens_nothing_more(
    principal: Principal, found: list[Grant], person: Person, shorter: Reach
) -> None:
    if principal.kind not in (CredentialKind.OPERATOR, CredentialKind.VIEWER, CredentialKind.PERSON):
        return
    memory = memory_of(found, person)
    before = principal.reach or Reach()
    cut = msgspec.structs.replace(before, scopes=before.scopes & shorter.scopes, things=before.things or shorter.things)
    less = allowed(msgspec.structs.replace(principal, reach=cut), memory)
    assert less <= allowed(principal, memory)
    assert {scope for scope, *_ in less} <= cut.scopes


@given(principals(), st.lists(grants, max_size=4), people)
def test_all_of_something_holds_for_each_part_of_it(principal: Principal, found: list[Grant], person: Person) -> None:
    memory = memory_of(found, person)
    can = allowed(principal, memory)
    for scope, project, thing, name in can:
        if not thing and scope is not Scope.ADMIN:
            assert all((scope, project, each, "") in can for each in THINGS)
        if thing and not name:
            assert all((scope, project, thing, each) in can for each in NAMES)
    for project in PROJECTS:
        for thing in THINGS:
            reads = any((Scope.READ, project, thing, name) in can for name in NAMES)
            assert not reads or may_see(principal, project, thing, memory, NOW)
            assert not may_see(principal, project, thing, memory, NOW) or may_see(principal, project, "", memory, NOW)


@given(st.lists(grants, max_size=4), people, reaches, st.sampled_from(PROJECTS))
def test_a_person_at_home_may_what_the_person_may_there(
    found: list[Grant], person: Person, reach: Reach, project: str
) -> None:
    """Within a project a person is answered as one of its own: no more and no less there, and no more elsewhere."""
    memory = memory_of(found, person)
    whole = Principal("", CredentialKind.PERSON, reach=reach)
    home = home_of(whole, project, memory)
    can, there = allowed(whole, memory), allowed(home, memory)
    assert there <= can
    if home is not whole:
        own = {each for each in can if each[1] == project and each[0] in scopes_in(whole, project, memory)}
        assert own <= there
        assert home.kind is not CredentialKind.VIEWER or {scope for scope, at, *_ in there if at == project} <= {
            Scope.READ
        }


@given(people, st.sampled_from(PROJECTS))
def test_an_owner_of_the_node_owns_every_project(person: Person, project: str) -> None:
    owner = msgspec.structs.replace(person, roles={**person.roles, "": Role.OWNER}, disabled=False)
    principal = Principal("", CredentialKind.PERSON, reach=Reach("mei"))
    assert scopes_in(principal, project, memory_of([], owner)) == ALL_SCOPES
    out = msgspec.structs.replace(owner, disabled=True)
    assert allowed(principal, memory_of([], out)) == set()


@pytest.mark.parametrize("kind", [CredentialKind.JOIN, CredentialKind.INVITE, CredentialKind.CONSOLE])
def test_what_only_registers_sets_a_password_or_relays_may_nothing_else(kind: CredentialKind) -> None:
    every = [
        Grant(
            id=f"{source}{target}", from_project=source, to_project=target, rights=tuple(Right), given_at=1, taken_at=1
        )
        for source, target in product(PROJECTS, repeat=2)
        if source != target
    ]
    for project in ("", *PROJECTS):
        assert allowed(Principal(project, kind), memory_of(every)) == set()
