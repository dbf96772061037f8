"""Keeps the ledger: accounts each interval when it is over, and again when what is known of it has changed (§5).

An interval is accounted `settle_s` after its end. Readings that come later for an interval that is in the ledger mark
it, durably, before the history moves its own checkpoint; it is then accounted again, and restated where the result
differs. So does the reading that ends a gap of a register: what rose in it is of all its intervals. So do certificates
that are cancelled for it, and factors that are added, changed or taken away. A known figure is never replaced by one
that knows less: when its readings have expired or were deleted, its energy stands, and only other factors change what
was emitted.
"""

import logging
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from taihu.carbon.account import FULL, Supply, electricity_rows, energy_rows, settle
from taihu.carbon.accounts import Account, AccountBroken
from taihu.carbon.certificates import Event, Registry
from taihu.carbon.certifying import Certifier
from taihu.carbon.direct import BURNT, FUEL_KINDS, Emitter, direct_rows
from taihu.carbon.factors import ELECTRICITY, IS_PROPERTY, Factor, FactorKind, FactorMissing, Factors, outward
from taihu.carbon.ledger import NOW, Cause, Ledger, Mark
from taihu.carbon.meters import Meters, Sources
from taihu.carbon.parts import Part, changed_from, part_at, recall, remember
from taihu.carbon.quantity import Energy
from taihu.carbon.restate import restated
from taihu.carbon.rows import DRAWS, Role, Row, RowQuality
from taihu.carbon.site import APART
from taihu.history.calendar import edges as calendar_edges
from taihu.history.calendar import parse_step, parse_zone
from taihu.history.history import History
from taihu.kernel.arrays import Ints
from taihu.kernel.clock import HOUR_NS, NS_PER_S, Clock
from taihu.kernel.sections import AccountConfig
from taihu.things.batch import Batch

log = logging.getLogger("taihu.carbon")

LATE = "late readings"
GAP = "the end of a gap"
CHANGED = "accounts"
_CHUNK = 744
_METERS = 6
_NAMED = 3
_ROUNDING = 1e-9
_SUPPLY_KINDS = (FactorKind.AVERAGE, FactorKind.RESIDUAL)


_SILENT = "nothing was read of it yet"


class Accountant:
    """The one writer of a ledger. `see` is called with every batch, the rest from one thread of its own."""

    def __init__(
        self,
        accounts: Sequence[Account],
        ledger: Ledger,
        factors: Factors,
        history: History,
        sources: Sources,
        clock: Clock,
        settle_s: float,
    ) -> None:
        self.ledger = ledger
        self._clock = clock
        self._settle_ns = int(settle_s * NS_PER_S)
        self._sources = sources
        self._meters = Meters(history, sources)
        self._certifier = Certifier(ledger, self._account_of, sources.may_read)
        self._broken: dict[tuple[str, str], str] = {}
        self._history = history
        self._late: dict[tuple[str, str], int] = {}  # what the history had before it took the newest late batch
        self._reached: dict[tuple[tuple[str, str], Cause], int] = {}  # marks that went back to where their gap began
        self.use(accounts, factors)

    def use(self, accounts: Sequence[Account], factors: Factors) -> None:
        """Go by these accounts and factors from now on; what they change of accounted intervals restates them."""
        watchers: dict[tuple[str, str], list[Account]] = {}
        configured: dict[tuple[str, str], list[Account]] = {}
        for one in accounts:
            configured.setdefault(one.key, []).append(one)
            for thing in one.watched:
                watchers.setdefault(thing, []).append(one)
        self.factors = factors
        self._done = {key: self.ledger.accounted_to(*key) for key in configured}
        self._parts = {key: self._see_account(key, found) for key, found in configured.items()}
        bounds: dict[str, set[int]] = {}
        for (project, _), parts in self._parts.items():
            bounds.setdefault(project, set()).update(at for one in parts for at in (one.start, one.end))
        self._bounds = {project: sorted(found) for project, found in bounds.items()}
        self._zones = {key: found[0].timezone for key, found in configured.items()}
        self._watchers = watchers
        self._broken = {key: why for key, why in self._broken.items() if key in self._parts}
        self._see_factors()

    def see(self, batch: Batch) -> None:
        """Mark the accounts that a batch's late readings touch; durable at return."""
        earliest = 0
        for thing in batch.things:
            for account in self._watchers.get((batch.project, thing), ()):
                earliest = earliest or min(array("q", batch.observed))
                if earliest <= self._done.get(account.key, 0):  # a register read at an edge counts what was before it
                    self._reached.pop((account.key, Cause.READINGS), None)
                    self._late[account.key] = self._history.applied
                    self.ledger.mark(*account.key, Mark(Cause.READINGS, earliest, LATE))

    def step(self) -> bool:
        """Account again what has changed of one meter, or what is over of a few: questions wait for it.

        False when all is accounted as far as it can be.
        """
        self._meters.fresh()
        rows: list[Row] = []
        done: dict[tuple[str, str], int] = {}
        recounted = False
        for key in self._parts:
            try:
                recounted = self._recount(key)
                account, edges = self._due(key)
                if account and len(edges) > 1:
                    found = self._rows(account, edges)
                    self._see_gap(account, found[0])
                    rows += found
                    done[key] = int(edges[-1])
                if recounted or key in done:
                    self._broken.pop(key, None)
            except (AccountBroken, FactorMissing) as error:
                if self._broken.get(key) != str(error):  # once, not once a second
                    log.error("%s/%s is not accounted: %s", *key, error)
                self._broken[key] = str(error)
            if recounted or len(rows) >= _CHUNK or len(done) >= _METERS:
                break
        self.ledger.append(rows, "", self._clock.now_ns())  # one sync for these meters
        self._done |= done
        return bool(recounted or rows) or self._certify()

    def states(self, project: str) -> list[dict[str, Any]]:
        """How far each account of a project has come, and why one has not."""
        return [
            {
                "meter": meter,
                "accounted_to": done,
                "broken": self._broken.get((project, meter), "" if done else _SILENT),
            }
            for (owner, meter), done in self._done.items()
            if owner == project
        ]

    def certify(self, project: str, wanted: Mapping[str, Any]) -> Event:
        """Do one operation on the project's certificates; durable at return. Raises CertificateRefused."""
        return self._certifier.certify(project, wanted, self._clock.now_ns())

    def registry(self, project: str) -> Registry:
        """The project's certificates as they are now."""
        return self._certifier.registry(project)

    def forget(self, project: str) -> None:
        """Delete what is known of a project that was deleted."""
        self.ledger.forget(project)
        self._certifier.forget(project)

    def _see_factors(self) -> None:
        """Compare the factors with those of the last time, and mark what the changed ones may have priced."""
        before = {one.id: one for one in self.ledger.factors()}
        now = {one.id: one for one in self.factors}
        changed = {name: now.get(name) for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
        marks: dict[tuple[str, str], Mark] = {}
        for key, parts in self._parts.items() if before else ():  # a new ledger has nothing to restate
            touching = [
                one
                for name in sorted(changed)
                for one in (before.get(name), now.get(name))
                if one and any(_prices(one, part.account) for part in parts)
            ]
            if touching and self._done[key]:
                reason = "factors " + ", ".join(list(dict.fromkeys(one.id for one in touching))[:_NAMED])
                marks[key] = Mark(Cause.FACTORS, min(one.valid_from for one in touching), reason)
        if changed:
            self.ledger.see_factors(changed, marks, self._clock.now_ns())

    def _see_account(self, key: tuple[str, str], accounts: Sequence[Account]) -> list[Part]:
        """The parts of a meter's account, remembered; what they change of accounted intervals is marked."""
        before, done = recall(self.ledger.accounts(*key)), self._done[key]
        now = remember(before, accounts, done)
        if now != before:
            changed = changed_from(before.parts, now.parts, done) if before else None
            mark = None if changed is None else Mark(Cause.ACCOUNTS, changed, CHANGED)
            self.ledger.see_accounts(*key, msgspec.json.encode(now), mark, self._clock.now_ns())
        return now.parts

    def _see_gap(self, account: Account, row: Row) -> None:
        """Mark the intervals before a row that is the next of its meter, where a gap reaches from them into it."""
        last = self.ledger.last_row(*account.key)
        if row.counted is None or last is None or last.coverage >= FULL:
            return
        since = self._meters.since(account, row.start)
        if since < row.start and (last.counted is None or since > last.start):
            self._reached.pop((account.key, Cause.READINGS), None)
            self.ledger.mark(*account.key, Mark(Cause.READINGS, since, GAP))

    def _account_at(self, key: tuple[str, str], at: int) -> Account | None:
        """A meter's account as it holds at a moment."""
        part = part_at(self._parts.get(key, ()), at)
        return Account(key[0], self._zones[key], part.account) if part else None

    def _account_of(self, project: str, name: str, at: int) -> Account | None:
        return self._account_at((project, name), at)

    def _from(self, key: tuple[str, str], at: int) -> int:
        """The moment, or where the next part of the account begins when none holds then."""
        if part_at(self._parts[key], at):
            return at
        return min((one.start for one in self._parts[key] if one.start > at), default=NOW)

    def _due(self, key: tuple[str, str]) -> tuple[Account | None, Ints]:
        """The edges of intervals that are over and settled since the last time, and their account."""
        until = self._clock.now_ns() - self._settle_ns
        start = self._done[key] or self._first(key)
        start = self._from(key, start) if start else NOW
        account = self._account_at(key, start)
        if account and account.config.avoided:
            start, until = self._meters.driven_span(account, start, until, _CHUNK)
            account = self._account_at(key, start)
        if account is None or start >= until:
            return None, np.array([], np.int64)
        edges = self._edges(account, start, until)
        return account, edges[edges <= until]

    def _first(self, key: tuple[str, str]) -> int:
        """When a meter's first account begins; 0 while that is not known."""
        if not self._parts[key]:
            return 0
        part = self._parts[key][0]
        return part.start or self._meters.first(Account(key[0], self._zones[key], part.account))

    def _certify(self) -> bool:
        """Issue certificates of what devices gave, as far as they and the meters before them are accounted."""
        found = False
        for key, done in self._done.items():
            account = self._account_at(key, self._from(key, max(0, done - 1)))
            if account and account.config.certificates:
                behind = (account.project, self._place(account, done)[1])
                until = min(done, self._done.get(behind, done))
                found |= self._certifier.issue_due(*key, until, account.config.region, self._clock.now_ns())
        return found

    def _recount(self, key: tuple[str, str]) -> bool:
        """Account again what has changed."""
        marks, late = self.ledger.marks(*key), self._late.get(key, -1)
        if not marks or late == self._history.applied:  # the history has not taken yet what changes them
            return False
        mark, done = marks[0], self._done[key]
        begins = [at for at in (self._first(key), self.ledger.begins(*key)) if at]
        start = self._from(key, max(self._back(key, mark), min(begins, default=done)))
        account = self._account_at(key, start)
        edges = self._edges(account, start, done) if account and start < done else np.array([done])
        edges = edges[edges <= done]
        if account and len(edges) > 1:
            rows = self._recounted(account, edges, mark.cause)
            self.ledger.append(rows, mark.reason, self._clock.now_ns())
        end = int(edges[-1])
        if late == self._late.get(key, -1):  # else more has come meanwhile
            self.ledger.settle(*key, mark, end, done)
            self._reached[key, mark.cause] = end
        return True

    def _back(self, key: tuple[str, str], mark: Mark) -> int:
        """Where a recount begins: with the gap of a register that the mark is in, once."""
        account = self._account_at(key, mark.start)
        if account is None or self._reached.get((key, mark.cause)) == mark.start:
            return mark.start
        return self._meters.since(account, mark.start)

    def _recounted(self, account: Account, edges: Ints, cause: Cause) -> list[Row]:
        """The rows that a recount may put in the place of others: by the factors there are now, and, unless the account
        itself has changed, with each meter in the place that it had.
        """
        known = {row.start: row for row in self.ledger.rows(*_period(account, edges))}
        rows, standing = [], []
        for new in self._rows(account, edges):
            old = known.get(new.start)
            row = new if old is None or cause is Cause.ACCOUNTS else _placed(new, old)
            if old is None or not _knew_more(old, row):
                rows.append(row)
            elif cause is not Cause.READINGS:
                standing.append(_placed(old, row))
        if standing:
            supply = self._supply(account, [row.start for row in standing])
            rows += restated(standing, _emitter(account.config) or supply, self.factors)
        return rows

    def _edges(self, account: Account, start: int, end: int) -> Ints:
        """The edges of a piece of intervals, in all of which the project has the same accounts."""
        step, zone = parse_step(account.config.every), parse_zone(account.timezone)
        bounds = self._bounds[account.project]
        place = bisect_right(bounds, start)
        near = min(end, start + _CHUNK * HOUR_NS, *bounds[place : place + 1])
        return calendar_edges(start, near, step, zone)[: _CHUNK + 1]

    def _rows(self, account: Account, edges: Ints) -> list[Row]:
        if account.config.avoided:
            return self._meters.avoided(account, edges, self.factors)
        role, behind = self._place(account, int(edges[0]))
        if emitter := _emitter(account.config):
            return direct_rows(self._meters.used(account, edges, role), emitter, self.factors)
        settled = settle(self._meters.metered(account, edges, role, behind))
        if role in (Role.GENERATION, Role.STORAGE):
            return energy_rows(settled)
        supply = self._supply(account, settled.starts)
        return electricity_rows(settled, supply, self.factors, self._meters.hourly(account, edges, self.factors))

    def _supply(self, account: Account, starts: Sequence[int]) -> Supply:
        config = account.config
        cancelled = Energy([self._certifier.cancelled_kwh(*account.key, at) for at in starts]) if config.draws else None
        return Supply(region=config.region, supplier=config.supplier, upstream=config.upstream, cancelled=cancelled)

    def _place(self, account: Account, at: int) -> tuple[Role, str]:
        """What a meter counts, and behind which other: as declared, else the nearest accounted meter above it."""
        config = account.config
        if config.avoided:
            return Role.AVOIDED, ""
        if config.emits:
            return Role.FUEL if config.fuel else Role.PROCESS if config.process else Role.LEAK, ""
        behind = config.behind.removeprefix(APART) or ("" if config.behind else self._above(account, at))
        if config.draws:
            return (Role.SUBMETER if behind else Role.GRID), behind
        role = Role.GENERATION if config.generation else Role.STORAGE
        if not behind and not config.behind:
            mains = [one for one in self._mains(account.project, at).values() if self._place(one, at)[0] is Role.GRID]
            behind = mains[0].config.key if len(mains) == 1 else ""
        return role, behind or APART

    def _above(self, account: Account, at: int) -> str:
        mains = self._mains(account.project, at)
        seen, name = set(), self._sources.parent(account.project, account.config.meter)
        while name and name not in seen:
            if name in mains:
                return mains[name].config.key
            seen.add(name)
            name = self._sources.parent(account.project, name)
        return ""

    def _mains(self, project: str, at: int) -> dict[str, Account]:
        """By its thing, the first account of each meter that draws electricity at a moment."""
        found: dict[str, Account] = {}
        for key in self._parts:
            one = self._account_at(key, at) if key[0] == project else None
            if one and one.config.draws:
                found.setdefault(one.config.meter, one)
        return found


def _period(account: Account, edges: Ints) -> tuple[str, int, int, str]:
    return account.project, int(edges[0]), int(edges[-1]), account.config.key


def _emitter(config: AccountConfig) -> Emitter | None:
    if not config.emits:
        return None
    return Emitter(subject=config.emits, region=config.region, heating=config.heating, upstream=config.upstream)


def _knew_more(old: Row, new: Row) -> bool:
    """Whether a row stands against a recount: its readings, or the grid's, have expired or were deleted since."""
    if new.quality is RowQuality.MISSING and old.quality is not RowQuality.MISSING:
        return True
    if old.counted is not None and new.coverage < old.coverage - _ROUNDING:
        return True
    return any(IS_PROPERTY in name for name in old.factors) and not any(IS_PROPERTY in name for name in new.factors)


def _placed(row: Row, other: Row) -> Row:
    """A row in the place of another, where both are of the same kind of meter."""
    alike = row.role is other.role or (row.role in DRAWS and other.role in DRAWS)
    if not alike or (row.role is other.role and not other.behind):
        return row
    return msgspec.structs.replace(row, role=other.role, behind=other.behind)


def _prices(factor: Factor, config: AccountConfig) -> bool:
    """Whether a factor may have priced, or may now price, an account's rows."""
    if factor.id in (config.supplier, config.upstream, config.heating):
        return True
    if factor.kind is FactorKind.GWP:
        return factor.subject == config.leak or (bool(config.fuel) and factor.subject in BURNT)
    if factor.kind is FactorKind.PROCESS:
        return factor.subject == config.process
    if factor.kind in FUEL_KINDS:
        return factor.subject == config.fuel
    if factor.kind is FactorKind.LIFECYCLE:
        return bool(config.mix)
    kinds = (FactorKind.MARGINAL,) if config.avoided else _SUPPLY_KINDS if config.draws else ()
    supplies = factor.kind in kinds and factor.subject == ELECTRICITY
    return supplies and bool(config.region) and factor.region in outward(config.region)
