"""The lives of the certificates that rows count on: when each was issued or came, passed on, stored and used."""

from collections.abc import Sequence

import msgspec

from taihu.carbon.cells import iso, number
from taihu.carbon.certificates import Cancel, Charge, Discharge, Event, Issue, Receive, Transfer
from taihu.carbon.document import Cell, Section, Table
from taihu.carbon.ledger import NOW, Ledger
from taihu.carbon.rows import Row

_WH_PER_KWH = 1_000
_WORDS: dict[type, str] = {
    Issue: "issued", Transfer: "passed on", Receive: "received", Cancel: "used", Charge: "stored",
    Discharge: "came out of storage",
}  # fmt: skip
_decode = msgspec.json.Decoder(Event).decode


class Step(msgspec.Struct, frozen=True):
    """One event of a certificate, and when it was kept (UTC ns)."""

    at: int
    event: Event


class Life(msgspec.Struct, frozen=True):
    """A bundle, and all that happened to it in the project, oldest first."""

    bundle: str
    steps: tuple[Step, ...]


def lives(ledger: Ledger, project: str, rows: Sequence[Row], as_of: int = NOW) -> list[Life]:
    """Of each bundle of which a part was cancelled for one of the rows, as it was known at a moment."""
    certified = {(row.meter, row.start) for row in rows if row.certified_kwh}
    if not certified:
        return []
    query = (
        "SELECT event, written_at FROM certificates WHERE project = :project AND written_at <= :as_of ORDER BY number"
    )
    steps: dict[str, list[Step]] = {}
    begins: dict[str, int] = {}
    wanted: dict[str, None] = {}
    for text, at in ledger.ask(query, {"project": project, "as_of": as_of}):
        event = _decode(text)
        steps.setdefault(event.bundle, []).append(Step(at, event))
        begins.setdefault(event.bundle, getattr(event, "start", 0))
        if (getattr(event, "consumer", ""), begins[event.bundle]) in certified:
            wanted[event.bundle] = None
    return [Life(bundle, tuple(steps[bundle])) for bundle in wanted]


def section(found: Sequence[Life], zone: str) -> Section:
    """The lives as a table, one line for each event."""
    rows: list[tuple[Cell, ...]] = [
        (life.bundle, iso(step.at, zone), _WORDS[type(step.event)], *_said(step.event))
        for life in found
        for step in life.steps
    ]
    heads = ("Certificate", "Kept at", "What", "Given by", "To or for", "kWh")
    return Section(heading="Certificates", table=Table(heads=heads, rows=rows, texts=(0, 1, 2, 3, 4)))


def _said(event: Event) -> tuple[str, str, str]:
    """From whom, to whom or for what, and how much: of what a storage gave, all that it gave."""
    wh = event.energy_wh if isinstance(event, Discharge) else event.amount_wh
    match event:
        case Issue():
            ends = (event.device, event.owner)
        case Transfer():
            ends = (event.owner, f"{event.project}/{event.to}" if event.project else event.to)
        case Receive():
            ends = (event.sender, event.owner)
        case Cancel():
            ends = (event.owner, event.consumer)
        case Charge():
            ends = (event.owner, event.storage)
        case Discharge():
            ends = (event.storage, event.owner)
    return *ends, number(wh / _WH_PER_KWH, 3)
