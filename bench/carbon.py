"""The carbon ledger over a year of 17 measured houses: accounted, restated, added up, matched.

Each house is a project with a main meter and an inverter, its battery at rest; the history, the accountant and the
ledger are those of a node's worker.
"""

import math
import time
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.harness import Options, Report
from taihu.carbon.accountant import Accountant
from taihu.carbon.accounts import Account
from taihu.carbon.factors import Factor, FactorKind, Factors, load_factors
from taihu.carbon.figures import hours, sums
from taihu.carbon.inventory import Inventory, inventory
from taihu.carbon.ledger import Ledger
from taihu.carbon.matching import Match, match
from taihu.carbon.meters import Sources
from taihu.carbon.site import site_hours
from taihu.history.history import History
from taihu.kernel.clock import HOUR_NS, SimClock
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.kernel.sections import AccountConfig
from taihu.sim.district import START_NS, TIME_ZONE, District, House
from taihu.things.batch import Batch, Column
from taihu.things.property import Kind, Property

NAME = "carbon"
_METERS = (
    AccountConfig(meter="meter", net="energy", region="CITYLEARN-2022"),
    AccountConfig(meter="pv", generation="energy"),
)
_DEFINITIONS = {"energy": Property(name="energy", kind=Kind.INTERVAL, unit="kW.h", interval_s=3_600)}
_GRAM = 0.001
_GOAL = (61.0, 33.9, 44.3)


def run(options: Options) -> Report:
    """Rows by the second of each kind of work, and the three figures that must come out."""
    report = Report(NAME, "Carbon: a year of 17 houses by the hour, one core")
    houses = District().houses[: 2 if options.smoke else None]
    count = 240 if options.smoke else 8_760
    with TemporaryDirectory() as folder:
        _run(report, Path(folder), houses, count, options.smoke)
    return report


def _run(report: Report, folder: Path, houses: list[House], count: int, smoke: bool) -> None:
    clock = SimClock(START_NS + count * HOUR_NS)
    history = History(folder / "history", OsFiles(), clock, DEFAULT, _definitions)
    ledger = Ledger(folder / "carbon.sqlite")
    _fill(history, houses, count)
    accounts = [Account(house.name, TIME_ZONE, config) for house in houses for config in _METERS]
    sources = Sources(_definitions, lambda reader, project, thing: True, lambda project, thing: "")
    accountant = Accountant(accounts, ledger, load_factors(), history, sources, clock, settle_s=0)
    rows = len(accounts) * count
    _timed(report, "accounted", rows, lambda: _through(accountant))
    names = [house.name for house in houses]
    _check(ledger, houses, count)
    edges = [START_NS + count * HOUR_NS * part // 12 // HOUR_NS * HOUR_NS for part in range(13)]
    _timed(report, "added up: all of it", rows, lambda: [sums(ledger, name, (edges[0], edges[-1])) for name in names])
    _timed(report, "inventories by twelfths", rows, lambda: [_inventory(ledger, name, edges) for name in names])
    found: list[Match] = []
    _timed(report, "matched", rows, lambda: found.append(_match(ledger, names, count)))
    shares = tuple(round(100 * share, 1) for share in (found[0].annual, found[0].hourly, found[0].shared))
    accountant.use(accounts, Factors([*load_factors(), _corrected()]))
    _timed(report, "restated by another factor", rows // 2, lambda: _through(accountant))
    restated = sum(line.figures.restated for name in names for line in sums(ledger, name, (edges[0], edges[-1])))
    assert restated == rows // 2, "a row was not restated"
    assert smoke or shares == _GOAL, shares
    report.note(f"Matched in sum {shares[0]} %, by the hour {shares[1]} %, by the hour if they share {shares[2]} %.")
    report.note("Goals: 61.0, 33.9 and 44.3 %; 1 M rows added up in 2 s.")
    ledger.close()
    history.close()


def _definitions(project: str, thing: str) -> Mapping[str, Property]:
    return _DEFINITIONS


def _fill(history: History, houses: list[House], count: int) -> None:
    times = array("q", (START_NS + HOUR_NS * np.arange(count)).tolist()).tobytes()
    for number, house in enumerate(houses):
        for place, (thing, values) in enumerate((("meter", house.load - house.solar), ("pv", house.solar))):
            column = Column("d", array("d", values[:count].tolist()).tobytes())
            batch = Batch(house.name, "", ("energy",), (thing,), b"", START_NS, times, b"", (column,))
            history.apply(2 * number + place + 1, batch)


def _through(accountant: Accountant) -> None:
    while accountant.step():
        pass


def _inventory(ledger: Ledger, project: str, edges: list[int]) -> Inventory:
    return inventory(ledger, project, edges, title=project, timezone=TIME_ZONE, made_at=edges[-1])


def _check(ledger: Ledger, houses: list[House], count: int) -> None:
    """Each house's year against a computation of its own, to the gram."""
    (row,) = (one for one in load_factors() if one.id == "citylearn-2022-average")
    for house in houses:
        drawn = np.maximum((house.load - house.solar)[:count], 0.0).tolist()
        lines = sums(ledger, house.name, (START_NS, START_NS + count * HOUR_NS))
        found = math.fsum(line.figures.location_kg or 0.0 for line in lines)
        assert abs(found - math.fsum(drawn) * row.in_unit("kg/(kW.h)")) < _GRAM, house.name


def _match(ledger: Ledger, names: list[str], count: int) -> Match:
    sites = [site_hours(hours(ledger, name, START_NS, count), count) for name in names]
    return match([site.load for site in sites], [site.made for site in sites])


def _corrected() -> Factor:
    (row,) = (one for one in load_factors() if one.id == "citylearn-2022-average")
    fields = {name: getattr(row, name) for name in Factor.__struct_fields__}
    return Factor(**fields | {"id": "corrected", "kind": FactorKind.AVERAGE, "value": 0.2, "year": row.year + 1})


def _timed(report: Report, name: str, rows: int, work: Callable[[], object]) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    report.rows.append({"work": name, "rows": float(rows), "s": seconds, "cpu us a row": 1e6 * used / rows})
