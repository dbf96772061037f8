"""What a kWh costs in each step of a plan: a tariff is one price, bands of the day, a property, or a file."""

import csv
import math
from datetime import time
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from zoneinfo import ZoneInfo

import numpy as np

from taihu.decide.problem import ProblemRefused
from taihu.decide.tariff import Band, Filled, Starts, by_bands, by_time, credible, fill
from taihu.kernel.clock import DAY_NS, HOUR_NS, format_iso, parse_iso
from taihu.kernel.flexible import TariffConfig
from taihu.runtime.scheduling.reads import Reads

_QUARTER_NS = 900 * 1_000_000_000
_PAST_NS = 8 * DAY_NS
_OLD_HOURS = 3
_FILE_ROWS_MAX = 200_000
_REMEDY = "Write start,price in the first line, then 2026-01-01T00:00:00+01:00,0.25 and so on."


async def prices_of(
    tariff: TariffConfig, starts: Starts, zone: ZoneInfo, project: str, api: Reads, folder: Path, *,
    earned: bool = False,
) -> Filled:  # fmt: skip
    """The price of each step, paid or `earned`; holes are filled, and `notes` say with what.

    Raises:
        ProblemRefused: no price is known at all, or the file is none.
    """
    if tariff.bands:
        bands = [
            Band(time.fromisoformat(one.start), time.fromisoformat(one.end), one.price, one.days)
            for one in tariff.bands
        ]
        return fill(by_bands(bands, zone, starts), starts, earned=earned)
    if tariff.property:
        return await _of_property(tariff.property, starts, project, api, earned=earned)
    if tariff.file:
        published, holds_ns = read_prices(folder / tariff.file)
        can_be, notes = _believed(tariff.file, published, int(starts[0]))
        filled = fill(by_time(can_be, holds_ns, starts), starts, can_be, holds_ns, earned=earned)
        return Filled(filled.prices, (*notes, *filled.notes))
    return Filled(np.full(len(starts), tariff.price or 0.0))


async def _of_property(name: str, starts: Starts, project: str, api: Reads, *, earned: bool) -> Filled:
    """Of readings that hold ahead of their time, what is published; else the price of the same time a day before."""
    path, _, ahead = name.partition("@")
    shift = int(ahead.removesuffix("h") or 0) * HOUR_NS
    now = int(starts[0])
    begin = (now - shift - _PAST_NS) // HOUR_NS * HOUR_NS
    end = now // _QUARTER_NS * _QUARTER_NS
    found = await api.windows(project, path, begin, end, "15m")
    published = {start + shift: value for start, value in found.items()}
    newest = await api.at(project, path)
    if newest is not None:  # the window that now is in has not ended
        published.setdefault((now + shift) // _QUARTER_NS * _QUARTER_NS, newest)
    if not published:
        raise ProblemRefused(
            f"{path} has said no price of a whole quarter of an hour in the last 8 days.",
            "Let it say some; each holds for the property's taihu:maxAge.",
        )
    can_be, notes = _believed(path, published, now)
    filled = fill(by_time(can_be, _QUARTER_NS, starts), starts, can_be, _QUARTER_NS, earned=earned)
    if shift:
        return Filled(filled.prices, (*notes, *filled.notes))
    behind = (now - max(can_be)) // HOUR_NS  # what is to come is never published
    late = (f"nothing was measured of {path} in the last {behind} hours",) if behind >= _OLD_HOURS else ()
    return Filled(filled.prices, (*notes, *late))


def _believed(name: str, published: dict[int, float], now: int) -> tuple[dict[int, float], tuple[str, ...]]:
    """The prices that can be, and in words which cannot.

    Raises:
        ProblemRefused: there is none of the last days or to come.
    """
    can_be, since = credible(published), now - _PAST_NS
    if not can_be or max(can_be) < since:
        last = f"its last is of {format_iso(max(can_be))}" if can_be else "it has none that can be"
        raise ProblemRefused(
            f"{name} has no price of the last 8 days or to come: {last}.", "Let it have those to come."
        )
    odd = [price for start, price in published.items() if start >= since and start not in can_be]
    return can_be, (f"{len(odd)} prices of {name} cannot be, such as {odd[0]:g}: they are none",) if odd else ()


def read_prices(path: Path) -> tuple[dict[int, float], int]:
    """The prices of a CSV file with the columns `start` (ISO 8601 with an offset) and `price`, and how long each holds.

    Raises:
        ProblemRefused: it cannot be read as such.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ProblemRefused(f"{path.name} is no file of prices: {error!r}.", _REMEDY) from None
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, changed_ns: int, size: int) -> tuple[dict[int, float], int]:
    """The prices of a file as it is since it was changed."""
    found: dict[int, float] = {}
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in (reader := csv.DictReader(file)):
                line = reader.line_num
                if len(found) >= _FILE_ROWS_MAX:
                    raise ProblemRefused(f"{path.name} has more than {_FILE_ROWS_MAX} prices.", "Split it by year.")
                price = float(row["price"] or "nan")
                if math.isfinite(price):  # an empty price is a hole
                    found[parse_iso(row["start"] or "")] = price
    except KeyError as error:
        raise ProblemRefused(f"{path.name} is no file of prices: it has no column {error}.", _REMEDY) from None
    except (OSError, csv.Error, ValueError, TypeError) as error:
        raise ProblemRefused(f"{path.name} is no file of prices: line {line}: {error}.", _REMEDY) from None
    gaps = [later - one for one, later in pairwise(sorted(found))]
    return found, median_low(gaps or [HOUR_NS])
