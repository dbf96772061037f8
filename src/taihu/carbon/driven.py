"""Hours that a controller drove: what the pilot tells the ledger of them."""

import msgspec


class Driven(msgspec.Struct, frozen=True):
    """An hour that a controller drove, from `start` (UTC ns): what its meter drew less gave, and would have without it.

    `estimated` says that nothing measured the second; `source` names what both are of.
    """

    start: int
    with_kwh: float
    without_kwh: float
    estimated: bool
    source: str
