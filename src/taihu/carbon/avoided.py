"""What controllers avoided, or caused: the consequential account beside the inventory, and in no total of it (§8).

A controller that drove an hour changed what its meter took from the grid and gave to it. The grid's other plants make
up the difference: times the marginal intensity it is what was emitted less, or more where it is negative. What is fed
in displaces as much as what is drawn calls for, so that energies count with their sign. Hours in which nothing was
driven change nothing, and have no row.

Sources: GHG Protocol for Project Accounting (2005), and its Guidelines for Grid-Connected Electricity Projects (2007):
the baseline is what would have happened, the factor the operating margin.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from taihu.carbon.account import Priced
from taihu.carbon.driven import Driven
from taihu.carbon.figures import PERIOD
from taihu.carbon.ledger import CURRENT, NOW, Ledger
from taihu.carbon.quantity import Energy, MarginalIntensity
from taihu.carbon.rows import Role, Row, RowQuality, total
from taihu.kernel.clock import HOUR_NS

_SUMS = ("with_kwh", "without_kwh", "avoided_kg")
_COUNTS = ("measured", "estimated", "missing", "restated")
_QUALITIES = ", ".join(f"sum(quality = '{quality}')" for quality in RowQuality)
_EFFECT = (
    f"SELECT max(written_at), {', '.join(f'sum({name})' for name in _SUMS)}, {_QUALITIES}, sum(version > 1)"  # noqa: S608
    f" FROM rows WHERE {PERIOD} AND meter = :meter AND role = '{Role.AVOIDED}' AND {CURRENT}"
)


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What one controller, or all of them, changed in [start, end) (UTC ns), and how sure its hours are.

    Energies are of all hours it drove, `avoided_kg` of those whose marginal intensity is known.
    """

    meter: str
    start: int
    end: int
    written_at: int
    with_kwh: float | None
    without_kwh: float | None
    avoided_kg: float | None
    measured: int
    estimated: int
    missing: int
    restated: int


class Consequences(msgspec.Struct, frozen=True, kw_only=True):
    """The consequential account of a period: all together, each controller, and each of them in parts of it."""

    total: Effect
    meters: tuple[Effect, ...]
    parts: tuple[Effect, ...]


def avoided_rows(project: str, meter: str, hours: Sequence[Driven], signal: Priced) -> list[Row]:
    """Rows of the hours that a controller drove; one whose marginal intensity is not known is missing (§3)."""
    saved = Energy([one.without_kwh for one in hours]) - Energy([one.with_kwh for one in hours])
    avoided = saved.times(MarginalIntensity(signal.values))
    known = avoided.known.tolist()
    return [
        Row(
            project=project,
            meter=meter,
            start=one.start,
            end=one.start + HOUR_NS,
            role=Role.AVOIDED,
            coverage=1.0,
            quality=_quality(known[place], sure=signal.sure[place] and not one.estimated),
            factors=signal.names[place],
            inputs=(one.source,),
            with_kwh=one.with_kwh,
            without_kwh=one.without_kwh,
            avoided_kg=float(avoided.values[place]) if known[place] else None,
        )
        for place, one in enumerate(hours)
    ]


def consequences(ledger: Ledger, project: str, edges: Sequence[int], as_of: int = NOW) -> Consequences | None:
    """The consequential account of a project in parts of a period (UTC ns); None when nothing was driven in it."""
    parts = []
    for meter in ledger.meters(project):
        for start, end in pairwise(edges):
            values = {"project": project, "meter": meter, "start": start, "end": end, "as_of": as_of}
            ((written_at, *figures),) = ledger.ask(_EFFECT, values)
            if written_at is not None:
                found = dict(zip((*_SUMS, *_COUNTS), figures, strict=True))
                parts.append(Effect(meter=meter, start=start, end=end, written_at=written_at, **found))
    if not parts:
        return None
    names = dict.fromkeys(one.meter for one in parts)
    meters = [_together(name, [one for one in parts if one.meter == name], edges) for name in names]
    return Consequences(total=_together(project, meters, edges), meters=tuple(meters), parts=tuple(parts))


def first_known(first: Priced, other: Priced) -> Priced:
    """Of two sources of a marginal intensity, for each hour the first that knows it."""
    lacks = np.isnan(first.values).tolist()
    return Priced(
        np.where(lacks, other.values, first.values),
        [theirs if lack else mine for lack, mine, theirs in zip(lacks, first.names, other.names, strict=True)],
        [theirs if lack else mine for lack, mine, theirs in zip(lacks, first.sure, other.sure, strict=True)],
    )


def _quality(known: bool, *, sure: bool) -> RowQuality:
    if not known:
        return RowQuality.MISSING
    return RowQuality.MEASURED if sure else RowQuality.ESTIMATED


def _together(name: str, found: Sequence[Effect], edges: Sequence[int]) -> Effect:
    sums: dict[str, Any] = {what: total([getattr(one, what) for one in found]) for what in _SUMS}
    sums |= {what: sum(getattr(one, what) for one in found) for what in _COUNTS}
    return Effect(
        meter=name,
        start=edges[0],
        end=edges[-1],
        written_at=max(one.written_at for one in found),
        **sums,
    )
