"""Granular certificates: carbon-free energy of one interval that is issued, passed on, stored and used exactly once.

Amounts are whole watt-hours, so that the algebra is exact. A bundle is what one device produced in one interval; its
owners hold parts of it. Cancelling uses a part for the consumption of the same interval. Storing turns a part into
content of a storage device, less its losses; what is discharged carries the green share of the content, as a new
bundle that names the storage. Every operation is checked against these rules and then kept as an event; a registry is
its events, replayed.

Rules, whatever the order of operations:
- issued for a device and interval: at most what it produced, as far as that left the site;
- cancelled for a consumer and interval: at most what it consumed, and at most what was issued of that interval;
- nothing is used twice: held + stored + cancelled of a bundle, and what passed to other projects, is what was issued;
- green energy out of a storage is at most green energy in, less the losses.

Source: EnergyTag Granular Certificate Scheme Standard, version 2, and its Configuration 3 for storage.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from taihu.kernel.errors import RefusedError

_PER_MILLE = 1_000


class CertificateRefused(RefusedError):
    """The operation would use energy that is not there: the message says what is left."""

    code = "certificate"


class Issue(msgspec.Struct, frozen=True, kw_only=True, tag="issue"):
    """A device's carbon-free generation of [start, end) (UTC ns) becomes a bundle held by `owner`."""

    bundle: str
    device: str
    owner: str
    start: int
    end: int
    amount_wh: int
    produced_wh: int
    source: str = ""
    location: str = ""


class Transfer(msgspec.Struct, frozen=True, kw_only=True, tag="transfer", omit_defaults=True):
    """A part of a bundle passes from one owner to another, of another `project` where that is named."""

    bundle: str
    owner: str
    to: str
    amount_wh: int
    project: str = ""


class Receive(msgspec.Struct, frozen=True, kw_only=True, tag="receive"):
    """The other side of a transfer between projects: what `sender` passed on is held by `owner` here.

    `bundle` and `device` begin with the project that they are of.
    """

    bundle: str
    device: str
    owner: str
    sender: str
    start: int
    end: int
    amount_wh: int
    source: str = ""
    location: str = ""


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel"):
    """A part of a bundle is used for what `consumer` consumed in the bundle's interval."""

    bundle: str
    owner: str
    consumer: str
    amount_wh: int
    consumed_wh: int


class Charge(msgspec.Struct, frozen=True, kw_only=True, tag="charge"):
    """A storage takes in `energy_wh`, of which `amount_wh` are of a bundle (none when `bundle` is empty).

    `efficiency_per_mille` is its round trip: what will come out of 1,000 Wh.
    """

    storage: str
    energy_wh: int
    efficiency_per_mille: int
    bundle: str = ""
    owner: str = ""
    amount_wh: int = 0


class Discharge(msgspec.Struct, frozen=True, kw_only=True, tag="discharge"):
    """A storage gives `energy_wh` in [start, end); its green share becomes a bundle held by `owner`."""

    bundle: str
    storage: str
    owner: str
    start: int
    end: int
    energy_wh: int
    location: str = ""


Event = Issue | Transfer | Receive | Cancel | Charge | Discharge


class Bundle(msgspec.Struct, frozen=True):
    """What is known of a bundle: where its energy comes from, and what was issued, or received of it."""

    name: str
    device: str
    start: int
    end: int
    issued_wh: int
    source: str
    location: str


class Content(msgspec.Struct):
    """What a storage can still give, in Wh at its terminals after losses, and how much of it is green."""

    total_wh: int = 0
    green_wh: int = 0


class Registry:
    """Who holds what. `apply` is the only way to change it."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.bundles: dict[str, Bundle] = {}
        self.storages: dict[str, Content] = {}
        self._held: dict[tuple[str, str], int] = {}
        self._issued: dict[int, dict[str, int]] = {}
        self._cancelled: dict[int, dict[str, int]] = {}
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Do one operation, or refuse it whole with CertificateRefused."""
        match event:
            case Issue():
                self._issue(event)
            case Transfer():
                _positive(event.amount_wh)
                self._take(event.bundle, event.owner, event.amount_wh)
                if not event.project:
                    self._give(event.bundle, event.to, event.amount_wh)
            case Receive():
                self._receive(event)
            case Cancel():
                self._cancel(event)
            case Charge():
                self._charge(event)
            case Discharge():
                self._discharge(event)

    def held(self, owner: str) -> dict[str, int]:
        """Wh of each bundle that an owner holds."""
        return {bundle: amount for (bundle, holder), amount in self._held.items() if holder == owner and amount}

    def holdings(self, bundles: Collection[str]) -> dict[str, dict[str, int]]:
        """Wh of some bundles that each owner holds."""
        found: dict[str, dict[str, int]] = {}
        for (bundle, owner), amount in self._held.items():
            if amount and bundle in bundles:
                found.setdefault(owner, {})[bundle] = amount
        return found

    @property
    def issued_wh(self) -> int:
        """What was issued of generation; what came out of storage was issued when it was made."""
        return sum(sum(devices.values()) for devices in self._issued.values())

    def issued(self, start: int) -> dict[str, int]:
        """Wh that were issued to each device of its interval that begins at `start`."""
        return self._issued.get(start, {})

    @property
    def cancelled_wh(self) -> int:
        """What was used."""
        return sum(sum(consumers.values()) for consumers in self._cancelled.values())

    def cancelled(self, consumer: str, start: int) -> int:
        """Wh cancelled for a consumer's interval that begins at `start`."""
        return self.consumers(start).get(consumer, 0)

    def consumers(self, start: int) -> Mapping[str, int]:
        """Wh cancelled for each consumer's interval that begins at `start`."""
        return self._cancelled.get(start, {})

    def _issue(self, event: Issue) -> None:
        _positive(event.amount_wh)
        self._new(event.bundle, event.start, event.end)
        issued = self._issued.setdefault(event.start, {})
        left = event.produced_wh - issued.get(event.device, 0)
        if event.amount_wh > left:
            raise CertificateRefused(
                f"{event.device} gave {event.produced_wh} Wh then; {max(0, left)} Wh are left to issue.",
                "Issue no more than that.",
            )
        issued[event.device] = issued.get(event.device, 0) + event.amount_wh
        self._add(event.bundle, event.device, event, event.amount_wh, event.source)

    def _receive(self, event: Receive) -> None:
        _positive(event.amount_wh)
        known = self.bundles.get(event.bundle)
        if known is None:
            self._add(event.bundle, event.device, event, event.amount_wh, event.source)
            return
        if (known.device, known.start, known.end) != (event.device, event.start, event.end):
            raise CertificateRefused(f"There is another bundle {event.bundle[:80]!r} already.", "Pass on another.")
        self.bundles[event.bundle] = msgspec.structs.replace(known, issued_wh=known.issued_wh + event.amount_wh)
        self._give(event.bundle, event.owner, event.amount_wh)

    def _cancel(self, event: Cancel) -> None:
        _positive(event.amount_wh)
        bundle = self._bundle(event.bundle)
        used = self.cancelled(event.consumer, bundle.start)
        left = event.consumed_wh - used
        if event.amount_wh > left:
            raise CertificateRefused(
                f"{event.consumer} consumed {event.consumed_wh} Wh then; {max(0, left)} Wh of it are still unmatched.",
                "Cancel no more than that; keep the rest or pass it on.",
            )
        self._take(event.bundle, event.owner, event.amount_wh)
        self._cancelled.setdefault(bundle.start, {})[event.consumer] = used + event.amount_wh

    def _charge(self, event: Charge) -> None:
        if not 0 <= event.amount_wh <= event.energy_wh or not 0 < event.efficiency_per_mille <= _PER_MILLE:
            raise CertificateRefused("A storage's charge is at least its green part.", "Correct the amounts.")
        if event.amount_wh:
            self._take(event.bundle, event.owner, event.amount_wh)
        content = self.storages.setdefault(event.storage, Content())
        content.total_wh += event.energy_wh * event.efficiency_per_mille // _PER_MILLE
        content.green_wh += event.amount_wh * event.efficiency_per_mille // _PER_MILLE

    def _discharge(self, event: Discharge) -> None:
        _positive(event.energy_wh)
        self._new(event.bundle, event.start, event.end)
        content = self.storages.get(event.storage, Content())
        drawn = min(event.energy_wh, content.total_wh)  # more than it should hold has no known origin
        green = drawn * content.green_wh // content.total_wh if content.total_wh else 0
        if event.storage in self.storages:
            content.total_wh -= drawn
            content.green_wh -= green
        self._add(event.bundle, event.storage, event, green, "storage")

    def _add(self, name: str, device: str, event: Issue | Discharge | Receive, amount: int, source: str) -> None:
        self.bundles[name] = Bundle(name, device, event.start, event.end, amount, source, event.location)
        self._give(name, event.owner, amount)

    def _bundle(self, name: str) -> Bundle:
        if name not in self.bundles:
            raise CertificateRefused(f"There is no bundle {name[:80]!r}.", "Name one that was issued.")
        return self.bundles[name]

    def _new(self, name: str, start: int, end: int) -> None:
        if name in self.bundles:
            raise CertificateRefused(f"The bundle {name[:80]!r} was issued already.", "Give each its own name.")
        if start >= end:
            raise CertificateRefused("The interval ends before it starts.", "Give its start and its end.")

    def _take(self, bundle: str, owner: str, amount: int) -> None:
        self._bundle(bundle)
        held = self._held.get((bundle, owner), 0)
        if amount > held:
            raise CertificateRefused(f"{owner} holds {held} Wh of {bundle}, not {amount}.", "Use no more than that.")
        self._held[bundle, owner] = held - amount

    def _give(self, bundle: str, owner: str, amount: int) -> None:
        self._held[bundle, owner] = self._held.get((bundle, owner), 0) + amount


def _positive(amount: int) -> None:
    if amount <= 0:
        raise CertificateRefused(f"{amount} Wh is no amount.", "Use 1 Wh or more.")
