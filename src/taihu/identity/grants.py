"""Grants: what one project lets another do, once both sides have agreed (§11). `by` is who, for the audit."""

from collections.abc import Sequence

import msgspec

from taihu.identity import records
from taihu.identity.grant import Grant, Right
from taihu.identity.join import credential_id
from taihu.identity.memory import Unknown
from taihu.identity.principal import Change, Event
from taihu.identity.tokens import Tokens, check_patterns
from taihu.kernel.clock import format_iso
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.ids import new_token


class Grants(Tokens):
    """The part of the directory that changes grants."""

    def grant(
        self,
        from_project: str,
        to_project: str,
        rights: Sequence[str] = (Right.READ,),
        things: Sequence[str] = (),
        by: str = "",
    ) -> Grant:
        """Let `to_project` do `rights` to the things of `from_project` that match: for one who speaks for both sides.

        What is granted already is returned as it is. Raises as `propose`.
        """
        wanted = self._checked(
            Grant(
                from_project=from_project,
                to_project=to_project,
                rights=tuple(map(_right, rights)),
                things=tuple(things),
            )
        )
        for known in self._memory.grants.get(to_project, {}).get(from_project, ()):
            if known.agreed and known.terms == wanted.terms:
                return known
        return self.propose(wanted, by, gives=True, takes=True)

    def declare_grants(self, wanted: Sequence[Grant], by: str) -> None:
        """Make the grants that `by` gave exactly those wanted that have not ended; others stay as they are."""
        now = self._clock.now_ns()
        current = (grant for grant in map(self._checked, wanted) if grant.ends_at is None or grant.ends_at > now)
        missing = {(grant.from_project, grant.to_project, grant.terms): grant for grant in current}
        for known in self.grants():
            if known.given_by == by and not missing.pop((known.from_project, known.to_project, known.terms), None):
                self.end_grant(known.id, by)
        for grant in missing.values():
            self.propose(grant, by, gives=True, takes=True)

    def propose(self, wanted: Grant, by: str, *, gives: bool, takes: bool) -> Grant:
        """Make a grant of the terms and projects of `wanted`, agreed to by the sides for which `by` speaks.

        Raises Unknown, RefusedError, and LimitError when a side has as many as it may.
        """
        now = self._clock.now_ns()
        fresh = msgspec.structs.replace(
            self._checked(wanted), id=credential_id(new_token()), created_at=now, given_by="", given_at=0, taken_by="",
            taken_at=0,
        )  # fmt: skip
        if fresh.ends_at is not None and fresh.ends_at <= now:
            raise RefusedError("The grant would have ended already:", "give it a later end, or none.")
        grant = _agreed(fresh, by, now, gives=gives, takes=takes)
        what = "granted" if grant.agreed else "grant offered" if gives else "grant requested"
        with self._writing:
            for project in (grant.from_project, grant.to_project):
                self._check_room(project)
            self._put(grant, by, what)
        self._tell(Change(Event.GRANTED, grant.from_project, other=grant.to_project))
        return grant

    def accept_grant(self, number: str, by: str, *, gives: bool, takes: bool) -> Grant:
        """Agree to a grant for the sides that `by` speaks for. Raises Unknown, and RefusedError without such a side."""
        with self._writing:
            known = self.grant_of(number)
            gives, takes = gives and not known.given_at, takes and not known.taken_at
            if not (gives or takes):
                raise RefusedError("There is nothing for you to accept in it:", "the other side has to.")
            grant = _agreed(known, by, self._clock.now_ns(), gives=gives, takes=takes)
            self._put(grant, by, "grant accepted")
        self._tell(Change(Event.GRANTED, grant.from_project, other=grant.to_project))
        return grant

    def end_grant(self, number: str, by: str = "") -> Grant:
        """End a grant, an offer or a request; either side may. Raises Unknown when there is none."""
        with self._writing:
            grant = self.grant_of(number)
            with self._transaction() as connection:
                records.remove_grant(connection, grant.id)
                for project in (grant.from_project, grant.to_project):
                    self._note(connection, by, "grant revoked", _shown(grant), project)
            self._memory.drop_grant(grant)
        self._tell(Change(Event.GRANT_REVOKED, grant.from_project, other=grant.to_project))
        return grant

    def revoke_grant(self, from_project: str, to_project: str, by: str = "") -> None:
        """End every grant from the one project to the other. Raises Unknown when there is none."""
        found = self._memory.grants.get(to_project, {}).get(from_project, ())
        if not found:
            raise Unknown(f"There is no grant {from_project} -> {to_project}.", "List them with: taihu grant list")
        for grant in found:
            self.end_grant(grant.id, by)

    def grant_of(self, number: str) -> Grant:
        """The grant of an id; raises Unknown."""
        for grant in self.grants():
            if grant.id == number:
                return grant
        raise Unknown(f"There is no grant {number[:80]!r}.", "List them with: taihu grant list")

    def _checked(self, wanted: Grant) -> Grant:
        for project in (wanted.from_project, wanted.to_project):
            self._memory.project(project)
        if wanted.from_project == wanted.to_project:
            raise RefusedError("A project needs no grant from itself.", "Name two projects.")
        if not wanted.rights:
            raise RefusedError("A grant without a right grants nothing:", f"write {', '.join(Right)}.")
        for patterns in (wanted.things, wanted.properties):
            check_patterns(patterns, self._memory.default_limits)
        if wanted.begins_at < 0 or (wanted.ends_at is not None and wanted.ends_at <= wanted.begins_at):
            raise RefusedError("The grant would end before it begins:", "give it a later end, or none.")
        return msgspec.structs.replace(wanted, rights=tuple(right for right in Right if right in wanted.rights))

    def _check_room(self, project: str) -> None:
        highest = self._memory.default_limits.grants_per_project_max
        if sum(project in (grant.from_project, grant.to_project) for grant in self.grants()) >= highest:
            raise LimitError(
                f"{project} has {highest} grants, as many as it may.",
                "End some, or raise [limits] grants_per_project_max.",
            )

    def _put(self, grant: Grant, by: str, what: str) -> None:
        with self._transaction() as connection:
            records.put_grant(connection, grant)
            for project in (grant.from_project, grant.to_project):
                self._note(connection, by, what, _shown(grant), project)
        self._memory.put_grant(grant)


def _right(name: str) -> Right:
    try:
        return Right(name)
    except ValueError:
        raise RefusedError(f"There is no right {name[:80]!r}.", f"Write one of: {', '.join(Right)}.") from None


def _agreed(grant: Grant, by: str, now_ns: int, *, gives: bool, takes: bool) -> Grant:
    """The grant with the consent of the sides that `by` speaks for."""
    if gives:
        grant = msgspec.structs.replace(grant, given_by=by, given_at=now_ns)
    return msgspec.structs.replace(grant, taken_by=by, taken_at=now_ns) if takes else grant


def _shown(grant: Grant) -> str:
    """A grant as the audit tells of it."""
    words = f"{grant.id} {grant.from_project} -> {grant.to_project}: {', '.join(grant.rights)}"
    if grant.things or grant.properties:
        words += f" of {', '.join(grant.things) or '*'}/{', '.join(grant.properties) or '*'}"
    if grant.begins_at:
        words += f" from {format_iso(grant.begins_at)}"
    return words + (f" until {format_iso(grant.ends_at)}" if grant.ends_at is not None else "")
