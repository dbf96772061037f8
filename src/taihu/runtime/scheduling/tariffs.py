"""What a kWh costs in each step of a plan: a tariff is one price, bands of the day, a property, or a file."""

import csv
import math
from datetime import time
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from taihu.decide.problem import ProblemRefused
from taihu.decide.tariff import Band, Filled, Starts, by_bands, by_time, fill
from taihu.kernel.clock import parse_iso
from taihu.kernel.flexible import TariffConfig
from taihu.runtime.scheduling.reads import Reads

_QUARTER_NS = 900 * 1_000_000_000
_HOUR_NS = 4 * _QUARTER_NS
_PAST_NS = 8 * 24 * _HOUR_NS
_FILE_ROWS_MAX = 200_000
_REMEDY = "Write start,price in the first line, then 2026-01-01T00:00:00+01:00,0.25 and so on."


async def prices_of(
    tariff: TariffConfig, starts: Starts, zone: ZoneInfo, project: str, api: Reads, folder: Path
) -> Filled:
    """The price of each step; holes are filled, and `notes` say with what.

    Raises:
        ProblemRefused: no price is known at all, or the file is none.
    """
    if tariff.bands:
        bands = [
            Band(time.fromisoformat(one.start), time.fromisoformat(one.end), one.price, one.days)
            for one in tariff.bands
        ]
        return fill(by_bands(bands, zone, starts), starts)
    if tariff.property:
        return await _of_property(tariff.property, starts, project, api)
    if tariff.file:
        published, every_ns = read_prices(folder / tariff.file)
        return fill(by_time(published, every_ns, starts), starts, published, every_ns)
    return Filled(np.full(len(starts), tariff.price or 0.0))


async def _of_property(name: str, starts: Starts, project: str, api: Reads) -> Filled:
    """Of readings that hold ahead of their time, what is published; else the price of the same time a day before."""
    path, _, ahead = name.partition("@")
    shift = int(ahead.removesuffix("h") or 0) * _HOUR_NS
    now = int(starts[0])
    begin = (now - shift - _PAST_NS) // _HOUR_NS * _HOUR_NS
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
    filled = fill(by_time(published, _QUARTER_NS, starts), starts, published, _QUARTER_NS)
    return filled if shift else Filled(filled.prices)


def read_prices(path: Path) -> tuple[dict[int, float], int]:
    """The prices of a CSV file with the columns `start` (ISO 8601 with an offset) and `price`, and how long one holds.

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
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if len(found) >= _FILE_ROWS_MAX:
                    raise ProblemRefused(f"{path.name} has more than {_FILE_ROWS_MAX} prices.", "Split it by year.")
                price = float(row["price"] or "nan")
                if math.isfinite(price):  # an empty price is a hole
                    found[parse_iso(row["start"] or "")] = price
    except (OSError, csv.Error, KeyError, ValueError, TypeError) as error:
        raise ProblemRefused(f"{path.name} is no file of prices: {error!r}.", _REMEDY) from None
    gaps = {later - one for one, later in pairwise(sorted(found))}
    return found, min(gaps, default=_HOUR_NS)
