"""A project's certificates and the ledger together: what was produced and consumed is what the ledger says."""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import msgspec

from taihu.carbon.accounts import Account
from taihu.carbon.certificates import CertificateRefused, Discharge, Event, Issue, Receive, Registry, Transfer
from taihu.carbon.ledger import Cause, Ledger, Mark
from taihu.carbon.rows import Row, RowQuality
from taihu.carbon.site import APART
from taihu.kernel.clock import format_iso

CERTIFIED = "certificates"
_BORDER = "/"  # what came from another project is named with it
_WH_PER_KWH = 1_000
_CHUNK = 744
_events = msgspec.json.Decoder(Event)


class Certifier:
    """The one who changes certificates. A registry is replayed once, and then follows what is done.

    `account_of` knows a project's accounts by name and time, `may_read` says whether a project may read another's
    thing (§11).
    """

    def __init__(
        self,
        ledger: Ledger,
        account_of: Callable[[str, str, int], Account | None],
        may_read: Callable[[str, str, str], bool],
    ) -> None:
        self._ledger = ledger
        self._account_of = account_of
        self._may_read = may_read
        self._registries: dict[str, Registry] = {}
        self._seen: dict[tuple[str, str], int] = {}  # up to when a device's intervals were looked at

    def registry(self, project: str) -> Registry:
        """The project's certificates as they are now."""
        found = self._registries.get(project)
        if found is None:
            found = self._registries[project] = Registry(map(_events.decode, self._ledger.events(project)))
        return found

    def forget(self, project: str) -> None:
        """The project was deleted."""
        self._registries.pop(project, None)

    def certify(self, project: str, wanted: Mapping[str, Any], now_ns: int) -> Event:
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
                row = self._row(project, str(facts.get("device")), start, int(facts.get("end", 0)))
                facts["produced_wh"] = self._issuable(registry, row) if row else 0
            elif facts.get("type") == "cancel":
                bundle = registry.bundles.get(str(facts.get("bundle")))
                consumer = str(facts.get("consumer"))
                used = self._row(project, consumer, bundle.start, bundle.end) if bundle else None
                facts["consumed_wh"] = self._consumed(registry, used) if used else 0
                account = self._account_of(project, consumer, bundle.start if bundle else 0)
                self._check_deliverable(bundle.location if bundle else "", account.config.region if account else "")
            event: Event = msgspec.convert(facts, Event)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            raise CertificateRefused(f"That is no operation on certificates: {error}.", "See docs/carbon.md.") from None
        match event:
            case Issue() | Discharge() if _BORDER in event.bundle:
                raise CertificateRefused("A name with a slash is of another project.", "Give it another.")
            case Receive():
                raise CertificateRefused("What another project gives is received by itself.", "Let it transfer.")
            case Transfer() if event.project:
                self._pass_on(project, event, now_ns)
                return event
        registry.apply(event)
        self._keep([(project, event)], now_ns)
        if facts["type"] == "cancel":
            at = registry.bundles[facts["bundle"]].start
            self._ledger.mark(project, facts["consumer"], Mark(Cause.CERTIFICATES, at, CERTIFIED))
        return event

    def issue_due(self, project: str, device: str, until: int, location: str, now_ns: int) -> bool:
        """Issue to the project what a device gave in its intervals that end by `until`; whether there were any.

        At most `_CHUNK` intervals; what is estimated or missing gets no certificate.
        """
        key, registry = (project, device), self.registry(project)
        bundles = registry.bundles.values()
        begin = self._seen.get(key) or max((one.end for one in bundles if one.device == device), default=0)
        rows = list(islice(self._ledger.rows(project, begin, until, device), _CHUNK))
        events: list[Event] = []
        for row in rows:
            amount = self._issuable(registry, row) if row.quality is RowQuality.MEASURED else 0
            amount -= registry.issued(row.start).get(device, 0)
            name = f"{device} {format_iso(row.start)}"
            if amount <= 0 or name in registry.bundles:
                continue
            event = Issue(
                bundle=name, device=device, owner=project, start=row.start, end=row.end,
                amount_wh=amount, produced_wh=amount, location=location,
            )  # fmt: skip
            registry.apply(event)
            events.append(event)
        if events:
            self._keep([(project, event) for event in events], now_ns)
        if rows:
            self._seen[key] = rows[-1].end
        return bool(rows)

    def cancelled_kwh(self, project: str, consumer: str, start: int) -> float:
        """What certificates cover of a consumer's interval."""
        return self.registry(project).cancelled(consumer, start) / _WH_PER_KWH

    def _check_deliverable(self, location: str, region: str) -> None:
        if location and region and location != region:
            raise CertificateRefused(
                f"The certificate is of {location}, the consumer is in {region}.", "Use one of the same grid."
            )

    def _issuable(self, registry: Registry, row: Row) -> int:
        """What a device's interval gave, in Wh: behind a meter no more than left through that, or was left by others.

        What was used on site is matched already: a certificate of it would let the same energy count twice.
        """
        made = _wh(row.generation_kwh)
        if row.behind in ("", APART):
            return made
        main = self._row(row.project, row.behind, row.start, row.end)
        if main is None:
            return 0
        others = (name for name in registry.issued(row.start) if name != row.meter)
        beside = (self._ledger.current_row(row.project, name, row.start) for name in others)
        taken = sum(registry.issued(row.start)[one.meter] for one in beside if one and one.behind == row.behind)
        return min(made, max(0, _wh(main.export_kwh) - taken))

    def _consumed(self, registry: Registry, row: Row) -> int:
        """What a consumer's interval took in, in Wh, as far as certificates do not stand for it at another meter.

        A submeter's consumption is its main meter's too: together they are covered once.
        """
        main, others = self._main(row), 0
        for name, amount in registry.consumers(row.start).items():
            other = self._row(row.project, name, row.start, row.end) if name != row.meter else None
            others += amount if other and self._main(other).meter == main.meter else 0
        return min(_wh(row.import_kwh), max(0, _wh(main.import_kwh) - others))

    def _main(self, row: Row) -> Row:
        """The row of the meter that counts a row's electricity before all others."""
        seen = {row.meter}
        while row.behind and row.behind not in seen:
            seen.add(row.behind)
            before = self._row(row.project, row.behind, row.start, row.end)
            if before is None:
                break
            row = before
        return row

    def _row(self, project: str, meter: str, start: int, end: int) -> Row | None:
        """A meter's row of exactly this interval."""
        row = self._ledger.current_row(project, meter, start)
        return row if row is not None and row.end == end else None

    def _pass_on(self, project: str, event: Transfer, now_ns: int) -> None:
        """Both sides of a transfer between projects, at once or not at all.

        Nothing crosses a border without a grant (§11): the other project may read the device that the certificate is
        of; of one that came from elsewhere, all of this project.
        """
        bundle = self.registry(project).bundles.get(event.bundle)
        account = self._account_of(project, bundle.device, bundle.start) if bundle else None
        thing = account.config.meter if account else ""
        if event.project == project or bundle is None or not self._may_read(event.project, project, thing):
            raise CertificateRefused(
                f"{project} has granted {event.project} nothing of which that could be.",
                "Let it read the device, and agree on both sides: taihu grant add.",
            )
        received = Receive(
            bundle=f"{project}{_BORDER}{bundle.name}",
            device=bundle.device if _BORDER in bundle.device else f"{project}{_BORDER}{bundle.device}",
            owner=event.to,
            sender=project,
            start=bundle.start,
            end=bundle.end,
            amount_wh=event.amount_wh,
            source=bundle.source,
            location=bundle.location,
        )
        try:
            self.registry(project).apply(event)
            self.registry(event.project).apply(received)
        except CertificateRefused:
            self.forget(project)  # what was done of it is not kept
            raise
        self._keep([(project, event), (event.project, received)], now_ns)

    def _keep(self, events: list[tuple[str, Event]], now_ns: int) -> None:
        try:
            self._ledger.add_events([(project, msgspec.json.encode(event)) for project, event in events], now_ns)
        except BaseException:
            for project, _ in events:
                self.forget(project)  # what is not kept did not happen
            raise


def _wh(known_kwh: float | None) -> int:
    return 0 if known_kwh is None else int(known_kwh * _WH_PER_KWH)
