"""Reports as JSON has them: beside its figures `rows`, where the rows are that each of them is made of."""

from collections.abc import Iterable
from typing import Any

import msgspec

from taihu.carbon.avoided import Effect
from taihu.carbon.cells import Addresses, Trail
from taihu.carbon.figures import SUMMED, Figures, Line, Restated
from taihu.carbon.hourly import HourlyReport
from taihu.carbon.inventory import Category, Inventory, MainBalance, UsedFactor
from taihu.carbon.rows import COUNTED, DIRECT, Role, RowQuality
from taihu.carbon.selection import CHANGES, OF_AVOIDED, SOURCES, Figure, Selection
from taihu.carbon.site import Score
from taihu.kernel.clock import HOUR_NS

_GASES = (Figure.CO2, Figure.CH4, Figure.N2O, Figure.GASES)
_OF_TOTAL: dict[Figure, dict[str, Any]] = {
    **SOURCES, **{gas: {"role": DIRECT} for gas in _GASES}, Figure.CERTIFIED: {"role": (Role.GRID,)},
}  # fmt: skip
_SHARES = (Figure.IN_SUM, Figure.BY_THE_HOUR, Figure.CONTRACTED, Figure.CFE)
_HOURS = {"coverage": Figure.HOURS, "estimated": Figure.HOURS_ESTIMATED, "impossible": Figure.HOURS_IMPOSSIBLE}
_CATEGORIES = (Figure.SCOPE1, Figure.LOCATION, Figure.MARKET, Figure.UPSTREAM)


def linked(report: Inventory, addresses: Addresses) -> dict[str, Any]:
    """The inventory with an address for each figure that is known."""
    trail = Trail(addresses, Selection(start=report.start, end=report.end, as_of=report.known_at))
    found: dict[str, Any] = msgspec.to_builtins(report)
    whole = trail.narrow(role=COUNTED)
    sums = {name: trail.address(Figure(name), **_OF_TOTAL[Figure(name)]) for name in _known(report.total, SUMMED)}
    found["total"]["rows"] = sums | _counts(report.total, whole)
    for name in ("meters", "inside", "parts"):
        for shown, line in zip(found[name], getattr(report, name), strict=True):
            shown["rows"] = _of_line(line, trail)
    for shown, one, figure in zip(found["iso_14064"], report.iso_14064, _CATEGORIES, strict=True):
        mine = trail.narrow(**SOURCES[figure])
        shown["rows"] = ({} if one.kg is None else {"kg": mine.address(figure)}) | _counts(one, mine)
    for shown, balance in zip(found["balances"], report.balances, strict=True):
        shown["rows"] = _of_balance(balance, trail)
    for shown, restated in zip(found["restated"], report.restated, strict=True):
        shown["rows"] = _of_restated(restated, trail)
    for shown, factor in zip(found["factors"], report.factors, strict=True):
        shown["rows"] = _of_factor(factor, trail)
    if report.avoided is not None:
        _link_avoided(found, report, trail.narrow(role=(Role.AVOIDED,)))
    return found


def linked_hours(report: HourlyReport, addresses: Addresses) -> dict[str, Any]:
    """A report on hourly matching with an address for each figure that is known."""
    rows = Trail(addresses, Selection(start=report.start, end=report.end, as_of=report.known_at))
    trail, grid = rows.narrow(since=report.start, until=report.end), rows.narrow(role=(Role.GRID,))
    found: dict[str, Any] = msgspec.to_builtins(report)
    drawn = {"drawn_kwh": Figure.IMPORT, "certified_kwh": Figure.CERTIFIED}
    found["rows"] = {name: grid.address(drawn[name]) for name in _known(report, drawn)}
    found["score"]["rows"] = _of_score(report.score, trail)
    for shown, part in zip(found["parts"], report.parts, strict=True):
        shown["score"]["rows"] = _of_score(part.score, trail.narrow(start=part.start, end=part.end))
    for shown, hour in zip(found["by_hour"], report.by_hour, strict=True):
        shown["rows"] = {str(name): trail.address(name, hour=hour.hour) for name in (Figure.LOAD, Figure.MATCHED)}
    for shown, one, figure in zip(found["scope2"], report.scope2, (Figure.LOCATION, Figure.MARKET), strict=True):
        shown["rows"] = ({} if one.kg is None else {"kg": grid.address(figure)}) | _counts(one, grid)
    for shown, balance in zip(found["balances"], report.balances, strict=True):
        shown["rows"] = _of_balance(balance, rows)
    for shown, factor in zip(found["factors"], report.factors, strict=True):
        shown["rows"] = _of_factor(factor, rows)
    return found


def _of_score(one: Score, trail: Trail) -> dict[str, str]:
    figures = [Figure.LOAD, Figure.MADE, Figure.MATCHED]
    figures += [share for share in _SHARES if (value := getattr(one, share)) == value]  # without a load there is none
    found = {str(figure): trail.address(figure) for figure in figures}
    return found | {name: trail.address(figure) for name, figure in _HOURS.items()}


def _known(of: object, names: Iterable[str]) -> list[str]:
    """Those figures that are not missing: what is not known leads nowhere."""
    return [name for name in names if getattr(of, name) is not None]


def _counts(of: Figures | Category | Effect, trail: Trail) -> dict[str, str]:
    found = {str(quality): trail.address(Figure.ROWS, quality=quality) for quality in RowQuality}
    return found | ({} if isinstance(of, Category) else {"restated": trail.address(Figure.ROWS, restated=True)})


def _of_line(line: Line, trail: Trail) -> dict[str, str]:
    mine = trail.narrow(meter=(line.meter,), role=(line.role,), behind=line.behind, start=line.start, end=line.end)
    sums = {name: mine.address(Figure(name)) for name in _known(line.figures, SUMMED)}
    return sums | _counts(line.figures, mine)


def _of_balance(one: MainBalance, trail: Trail) -> dict[str, Any]:
    mine = trail.narrow(balance=one.meter, start=one.start, end=one.end, since=one.start, until=one.end)
    return {
        "main_kwh": mine.address(Figure.NET, meter=(one.meter,)),
        "parts_kwh": {part: mine.address(Figure.NET, meter=(part,)) for part in one.parts_kwh},
        "residual_kwh": mine.address(Figure.RESIDUAL),
        **({} if one.share is None else {"share": mine.address(Figure.APART)}),
        "coverage": mine.address(Figure.BALANCED),
        "worst": {
            at: mine.address(Figure.RESIDUAL, start=at, end=at + one.lengths[at] * HOUR_NS) for at in one.worst
        },
    }  # fmt: skip


def _of_restated(one: Restated, trail: Trail) -> dict[str, str]:
    mine = trail.narrow(reason=one.reason)
    return {"intervals": mine.address(Figure.ROWS)} | {str(name): mine.address(name) for name in sorted(CHANGES)}


def _of_factor(one: UsedFactor, trail: Trail) -> dict[str, str]:
    """The rows that it priced, and where its value comes from."""
    source = {} if one.value is None else {"value": trail.addresses.factor(one.id, trail.selection.as_of)}
    return {"id": trail.address(Figure.ROWS, factor=one.id)} | source


def _link_avoided(found: dict[str, Any], report: Inventory, trail: Trail) -> None:
    assert report.avoided is not None
    shown, avoided = found["avoided"], report.avoided
    shown["total"]["rows"] = _of_effect(avoided.total, trail)
    for name in ("meters", "parts"):
        for said, one in zip(shown[name], getattr(avoided, name), strict=True):
            said["rows"] = _of_effect(one, trail.narrow(meter=(one.meter,), start=one.start, end=one.end))
    for said, factor in zip(found["avoided_by"], report.avoided_by, strict=True):
        said["rows"] = _of_factor(factor, trail)


def _of_effect(one: Effect, trail: Trail) -> dict[str, str]:
    return {name: trail.address(Figure(name)) for name in _known(one, sorted(OF_AVOIDED))} | _counts(one, trail)
