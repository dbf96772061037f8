"""Which rows of the ledger a figure is made of, as an address says it.

A report gives each of its figures a selection; asked for its rows, the ledger answers with exactly those that were
added up, in the versions that it knew then, and with the sum of them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

import msgspec

from taihu.carbon.rows import COUNTED, DIRECT, Role, RowQuality
from taihu.kernel.errors import RefusedError


class Figure(StrEnum):
    """What is added up. Of rows: one of their columns, how many there are, or what a meter drew less what it gave."""

    IMPORT = "import_kwh"
    EXPORT = "export_kwh"
    GENERATION = "generation_kwh"
    FUEL = "fuel_kwh"
    SCOPE1 = "scope1_kg"
    LOCATION = "location_kg"
    MARKET = "market_kg"
    UPSTREAM = "upstream_kg"
    CERTIFIED = "certified_kwh"
    CO2 = "co2_kg"
    CH4 = "ch4_kg"
    N2O = "n2o_kg"
    GASES = "gases_kg"
    ESTIMATED = "estimated_kwh"
    WITH = "with_kwh"
    WITHOUT = "without_kwh"
    AVOIDED = "avoided_kg"
    ROWS = "rows"
    KNOWN = "known"  # the share of rows that are not missing
    NET = "net_kwh"
    PARTS = "parts_kwh"  # of a balance: of all behind its meter
    RESIDUAL = "residual_kwh"  # the meter less all behind it
    # By the hour, of a project's meters together.
    APART = "apart"
    BALANCED = "hours_balanced"
    LOAD = "load_kwh"
    MADE = "made_kwh"
    MATCHED = "matched_kwh"
    UNMATCHED = "unmatched_kwh"
    UNMATCHED_IN_SUM = "unmatched_in_sum_kwh"
    IN_SUM = "annual"
    BY_THE_HOUR = "hourly"
    CONTRACTED = "contracted"
    CFE = "cfe"
    HOURS = "hours"
    HOURS_ESTIMATED = "hours_estimated"
    HOURS_IMPOSSIBLE = "hours_impossible"


_PLACE = list(Figure)
COLUMNS = frozenset(_PLACE[: _PLACE.index(Figure.ROWS)])  # what a row has, or is computed from it alone
# Which meters of a project's total a figure comes from; of any other it has nothing.
SOURCES: dict[Figure, dict[str, Any]] = {
    **{one: {"role": (Role.GRID,)} for one in (Figure.IMPORT, Figure.EXPORT, Figure.LOCATION, Figure.MARKET)},
    Figure.GENERATION: {"role": (Role.GENERATION,)},
    Figure.FUEL: {"role": (Role.FUEL,)},
    Figure.SCOPE1: {"role": DIRECT},
    Figure.UPSTREAM: {"role": COUNTED, "having": Figure.UPSTREAM},
    Figure.ESTIMATED: {"role": COUNTED},
    **{one: {"role": (Role.AVOIDED,)} for one in (Figure.WITH, Figure.WITHOUT, Figure.AVOIDED)},
}
OF_AVOIDED = frozenset((Figure.WITH, Figure.WITHOUT, Figure.AVOIDED))
CHANGES = frozenset((Figure.SCOPE1, Figure.LOCATION, Figure.MARKET, Figure.UPSTREAM))
OF_BALANCE = frozenset((Figure.NET, Figure.PARTS, Figure.RESIDUAL, Figure.APART, Figure.BALANCED))
OF_HOURS = frozenset(_PLACE[_PLACE.index(Figure.APART) :])
SHARES = frozenset(
    (
        *(Figure.KNOWN, Figure.APART, Figure.BALANCED, Figure.HOURS),
        *(Figure.IN_SUM, Figure.BY_THE_HOUR, Figure.CONTRACTED, Figure.CFE),
    )
)
_OF_BOTH = (None, Figure.ROWS, Figure.KNOWN)
COUNTS = frozenset((Figure.ROWS, Figure.HOURS_ESTIMATED, Figure.HOURS_IMPOSSIBLE))


class Selection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rows that begin in [start, end) (UTC ns), of these meters and kinds, as they were known at `as_of` (0 is now).

    `behind` is exact where it is given. `having` selects meters that have a figure of that name in the period, `factor`
    rows that were computed with it. `reason` selects what was restated for it, each row against the one before.
    `balance` names a meter: only hours that take part in its balance count. Figures by the hour are of the period
    [since, until) as a whole, which decides on the meters that take part; `hour` is one of the local day's.
    """

    start: int
    end: int
    meter: tuple[str, ...] = ()
    role: tuple[Role, ...] = ()
    behind: str | None = None
    quality: RowQuality | None = None
    restated: bool = False
    reason: str | None = None
    having: Figure | None = None
    factor: str = ""
    balance: str = ""
    since: int = 0
    until: int = 0
    hour: int | None = None
    figure: Figure | None = None
    as_of: int = 0

    def of(self, figure: Figure, **more: Any) -> "Selection":
        """The same rows for another figure, narrowed by more."""
        return msgspec.structs.replace(self, figure=figure, **more)

    def query(self) -> str:
        """The query of an address that selects this."""
        found = msgspec.to_builtins(self)
        return urlencode(found | {"restated": "true"} if self.restated else found, doseq=True)


def read_selection(asked: Mapping[str, Any]) -> Selection:
    """What a query selects; texts stand for numbers.

    Raises:
        RefusedError: it says something that no selection has.
    """
    known = {name: value for name, value in asked.items() if name in Selection.__struct_fields__}
    try:
        found = msgspec.convert(known, Selection, strict=False)
    except msgspec.ValidationError as error:
        raise RefusedError(f"These select no rows: {error}.", "See docs/http.md.") from None
    if found.reason is not None and found.figure not in (None, Figure.ROWS, *CHANGES):
        raise RefusedError(f"A restatement has no {found.figure}.", f"Ask for {', '.join(sorted(CHANGES))} or rows.")
    avoided = found.figure in OF_AVOIDED
    if (found.figure not in _OF_BOTH and (Role.AVOIDED in found.role) != avoided) or (avoided and len(found.role) > 1):
        remedy = f"Ask for {', '.join(sorted(OF_AVOIDED))} with role={Role.AVOIDED} alone, for all else without it."
        raise RefusedError("What was avoided and an inventory are different accounts, and never add (§8).", remedy)
    if found.having is not None and found.having not in COLUMNS - {Figure.ESTIMATED}:
        raise RefusedError(f"Rows have no {found.having}.", "Name one of their figures.")
    if bool(found.balance) != (found.figure in OF_BALANCE):
        raise RefusedError(
            "A balance has its own figures.", f"Ask for {', '.join(sorted(OF_BALANCE))}, and only there."
        )
    return found
