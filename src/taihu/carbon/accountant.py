"""Keeps the ledger: accounts each interval when it is over, and again when what is known of it has changed (§5).

An interval is accounted `settle_s` after its end. Readings that come later for an interval that is in the ledger mark
it, durably, before the history moves its own checkpoint; it is then accounted again, and restated where the result
differs. A known figure is never replaced by a missing one: when its readings have expired or were deleted, it stands.

Energy of a counter is its increase, of an interval property its sum; of a gauge of power it is the time-weighted mean
times the covered time (§9).
"""

import logging
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.carbon.account import Hourly, Metered, Row, RowQuality, Supply, electricity_rows, fuel_rows, generation_rows
from taihu.carbon.certificates import CertificateRefused, Registry
from taihu.carbon.certificates import Event as CertificateEvent
from taihu.carbon.factors import PER_KWH, FactorMissing, Factors
from taihu.carbon.ledger import Ledger
from taihu.carbon.quantity import AverageIntensity, Energy, Numbers, Power
from taihu.history.calendar import edges as calendar_edges
from taihu.history.calendar import parse_step, parse_zone
from taihu.history.history import History
from taihu.history.windows import CounterWindows, GaugeWindows, IntervalWindows, Windows
from taihu.kernel.clock import NS_PER_S, Clock, from_datetime
from taihu.kernel.errors import RefusedError
from taihu.kernel.sections import AccountConfig
from taihu.kernel.units import commensurable, converter
from taihu.things.batch import Batch
from taihu.things.property import Property

log = logging.getLogger("taihu.carbon")

LATE = "late readings"
CERTIFIED = "certificates"
_CHUNK = 744
_WH_PER_KWH = 1_000
_HOUR_NS = 3_600 * NS_PER_S
_events = msgspec.json.Decoder(CertificateEvent)


class AccountBroken(RefusedError):
    """A meter cannot be accounted as declared; the message says what is wrong with it."""

    code = "account"


class Account(msgspec.Struct, frozen=True):
    """One meter to account: its project, that project's time zone, and what `site.toml` says of it."""

    project: str
    timezone: str
    config: AccountConfig

    @property
    def watched(self) -> set[tuple[str, str]]:
        """The things whose late readings change the ledger."""
        found = {(self.project, self.config.meter)}
        if self.config.intensity:
            project, thing, _ = self.config.intensity.split("/")
            found.add((project, thing))
        return found


class Sources(msgspec.Struct, frozen=True):
    """What the accountant asks: definitions of things, and whether a project may read another's thing (§11)."""

    definitions: Callable[[str, str], Mapping[str, Property]]
    may_read: Callable[[str, str, str], bool]


class Accountant:
    """The one writer of a ledger. `see` is called with every batch, `step` from a thread of its own."""

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
        self.factors = factors
        self._accounts = {(one.project, one.config.meter): one for one in accounts}
        self._history = history
        self._sources = sources
        self._clock = clock
        self._settle_ns = int(settle_s * NS_PER_S)
        self._watchers: dict[tuple[str, str], list[Account]] = {}
        for one in accounts:
            for thing in one.watched:
                self._watchers.setdefault(thing, []).append(one)
        self._done = {key: ledger.accounted_to(*key) for key in self._accounts}
        self._broken: dict[tuple[str, str], str] = {}

    def see(self, batch: Batch) -> None:
        """Mark the accounts that a batch's late readings touch; durable at return."""
        earliest = 0
        for thing in batch.things:
            for account in self._watchers.get((batch.project, thing), ()):
                earliest = earliest or min(array("q", batch.observed))
                key = (account.project, account.config.meter)
                if earliest < self._done[key]:
                    self.ledger.mark(*key, earliest, LATE)

    def step(self) -> bool:
        """Account at most `_CHUNK` intervals of one meter; False when all is accounted as far as it can be."""
        for key, account in self._accounts.items():
            try:
                if self._recount(account) or self._advance(account):
                    self._broken.pop(key, None)
                    return True
            except (AccountBroken, FactorMissing) as error:
                if self._broken.get(key) != str(error):  # once, not once a second
                    log.error("%s/%s is not accounted: %s", *key, error)
                self._broken[key] = str(error)
        return False

    def states(self, project: str) -> list[dict[str, Any]]:
        """How far each account of a project has come, and why one has not."""
        return [
            {"meter": meter, "accounted_to": done, "broken": self._broken.get((project, meter), "")}
            for (owner, meter), done in self._done.items()
            if owner == project
        ]

    def certify(self, project: str, wanted: Mapping[str, Any]) -> CertificateEvent:
        """Do one operation on the project's certificates; durable at return.

        What a device produced and a consumer consumed is taken from the ledger, whatever `wanted` says.

        Raises:
            CertificateRefused: it would use energy that is not there.
        """
        facts: dict[str, Any] = dict(wanted)
        registry = self.registry(project)
        try:
            start = int(facts.get("start", 0))
            if facts.get("type") == "issue":
                facts["produced_wh"] = self._wh(project, str(facts.get("device")), start, "generation_kwh")
            elif facts.get("type") == "cancel":
                bundle = registry.bundles.get(str(facts.get("bundle")))
                consumer = str(facts.get("consumer"))
                facts["consumed_wh"] = self._wh(project, consumer, bundle.start if bundle else 0, "import_kwh")
                account = self._accounts.get((project, consumer))
                self._check_deliverable(bundle.location if bundle else "", account)
            event: CertificateEvent = msgspec.convert(facts, CertificateEvent)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            raise CertificateRefused(f"That is no operation on certificates: {error}.", "See docs/carbon.md.") from None
        registry.apply(event)
        self.ledger.add_events(project, [msgspec.json.encode(event)], self._clock.now_ns())
        if facts["type"] == "cancel":
            self.ledger.mark(project, facts["consumer"], registry.bundles[facts["bundle"]].start, CERTIFIED)
        return event

    def registry(self, project: str) -> Registry:
        """The project's certificates as they are now."""
        return Registry(map(_events.decode, self.ledger.events(project)))

    def _check_deliverable(self, location: str, account: Account | None) -> None:
        region = account.config.region if account else ""
        if location and region and location != region:
            raise CertificateRefused(
                f"The certificate is of {location}, the consumer is in {region}.", "Use one of the same grid."
            )

    def _wh(self, project: str, meter: str, start: int, name: str) -> int:
        row = self.ledger.current_row(project, meter, start)
        known = None if row is None else getattr(row, name)
        return 0 if known is None else int(known * _WH_PER_KWH)

    def _advance(self, account: Account) -> bool:
        """Account what is over and settled since the last time."""
        key = (account.project, account.config.meter)
        start = self._done[key] or self._first(account)
        until = self._clock.now_ns() - self._settle_ns
        if not start or start >= until:
            return False
        edges = self._edges(account, start, until)
        edges = edges[edges <= until]
        if len(edges) < 2:
            return False
        self.ledger.append(self._rows(account, edges), "", self._clock.now_ns())
        self._done[key] = int(edges[-1])
        return True

    def _recount(self, account: Account) -> bool:
        """Account again what has changed."""
        key = (account.project, account.config.meter)
        marked = self.ledger.pending(*key)
        if marked is None:
            return False
        start, reason = marked
        done = self._done[key]
        edges = self._edges(account, max(start, self._first(account)), done) if start < done else np.array([done])
        edges = edges[edges <= done]
        if len(edges) > 1:
            rows = [row for row in self._rows(account, edges) if self._says_more(row)]
            self.ledger.append(rows, reason, self._clock.now_ns())
        self.ledger.settle(*key, start, int(edges[-1]), done)
        return True

    def _says_more(self, row: Row) -> bool:
        """Whether a recount may stand: never a missing figure in place of a known one, whose inputs have gone."""
        if row.quality is not RowQuality.MISSING:
            return True
        known = self.ledger.current_row(row.project, row.meter, row.start)
        return known is None or known.quality is RowQuality.MISSING

    def _edges(self, account: Account, start: int, end: int) -> NDArray[np.int64]:
        step, zone = parse_step(account.config.every), parse_zone(account.timezone)
        near = min(end, start + _CHUNK * _HOUR_NS)
        return calendar_edges(start, near, step, zone)[: _CHUNK + 1]

    def _first(self, account: Account) -> int:
        """When the account begins: as declared, else with the first reading; 0 while there is none."""
        if account.config.since is not None:
            return from_datetime(account.config.since)
        config = account.config
        name = config.net or config.imported or config.generation
        found = self._history.read(account.project, config.meter, name, limit=1)
        return found[0].observed_at if found else 0

    def _rows(self, account: Account, edges: NDArray[np.int64]) -> list[Row]:
        config = account.config
        metered = self._metered(account, edges)
        if config.generation:
            return generation_rows(metered)
        if config.fuel:
            return fuel_rows(metered, config.fuel, self.factors)
        registry = self.registry(account.project)
        cancelled = Energy([registry.cancelled(config.meter, int(at)) / _WH_PER_KWH for at in edges[:-1]])
        supply = Supply(region=config.region, supplier=config.supplier, cancelled=cancelled)
        return electricity_rows(metered, supply, self.factors, self._hourly(account, edges))

    def _metered(self, account: Account, edges: NDArray[np.int64]) -> Metered:
        config, meter = account.config, account.config.meter
        name = config.net or config.imported or config.generation
        energy, coverage = self._energy(account, name, edges)
        inputs = [f"{meter}/{name}"]
        if config.net:
            imported, exported = energy.imported(), energy.exported()
        elif config.exported:
            imported = energy
            exported, other = self._energy(account, config.exported, edges)
            coverage = np.minimum(coverage, other)
            inputs.append(f"{meter}/{config.exported}")
        else:
            imported, exported = energy, Energy(np.where(energy.known, 0.0, np.nan))
        return Metered(
            project=account.project,
            meter=meter,
            edges=edges,
            imported=imported,
            exported=exported,
            coverage=coverage,
            inputs=tuple(inputs),
        )

    def _energy(self, account: Account, name: str, edges: NDArray[np.int64]) -> tuple[Energy, Numbers]:
        """KWh of what is known of each interval, and which share of it that is."""
        windows, unit = self._windows(account.project, account.config.meter, name, account, edges)
        match windows:
            case CounterWindows() if commensurable(unit, "kW.h"):
                values = windows.increase
            case IntervalWindows() if commensurable(unit, "kW.h"):
                values = windows.amount
            case GaugeWindows() if commensurable(unit, "kW"):
                factor, _ = converter(unit, "kW")
                return Power(windows.time_mean * factor).over(windows.covered), windows.coverage
            case _:
                raise AccountBroken(
                    f"{account.project}/{account.config.meter}/{name} is no energy and no power.",
                    "Name a counter or interval in kW.h, or a gauge in kW.",
                )
        factor, _ = converter(unit, "kW.h")
        return Energy(values * factor), windows.coverage

    def _hourly(self, account: Account, edges: NDArray[np.int64]) -> Hourly | None:
        """The grid's own intensity of each interval, where a property gives it and the project may read it (§11)."""
        if not account.config.intensity:
            return None
        project, thing, name = account.config.intensity.split("/")
        if project != account.project and not self._sources.may_read(account.project, project, thing):
            raise AccountBroken(
                f"{account.project} may not read {account.config.intensity}.",
                f"Let {project} grant it: a grant names both sides.",
            )
        windows, unit = self._windows(project, thing, name, account, edges)
        if not isinstance(windows, GaugeWindows) or not commensurable(unit, PER_KWH):
            raise AccountBroken(f"{account.config.intensity} is no intensity.", "Name a gauge in kg/(kW.h).")
        factor, offset = converter(unit, PER_KWH)
        known = windows.coverage >= _INTENSITY_FROM
        return Hourly(
            AverageIntensity(np.where(known, windows.time_mean * factor + offset, np.nan)), f"{project}/{thing}/{name}"
        )

    def _windows(
        self, project: str, thing: str, name: str, account: Account, edges: NDArray[np.int64]
    ) -> tuple[Windows, str]:
        definition = self._sources.definitions(project, thing).get(name)
        if definition is None:
            raise AccountBroken(f"There is no property {project}/{thing}/{name}.", "Correct the account.")
        if definition.unit is None:
            raise AccountBroken(f"The unit of {project}/{thing}/{name} is undeclared.", "Declare it (§2).")
        if definition.formula:  # a late reading of an input would not restate what was accounted
            raise AccountBroken(f"{project}/{thing}/{name} is calculated.", "Name a property that a meter sends.")
        windows = self._history.window(
            project, thing, name, int(edges[0]), int(edges[-1]), account.config.every, account.timezone
        )
        return windows, definition.unit


_INTENSITY_FROM = 0.5
