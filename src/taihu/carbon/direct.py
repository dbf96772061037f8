"""Scope 1: what is burnt, what a process sets free and what leaks, as rows of the ledger, gas by gas.

A fuel's energy is by lower heating value: as metered, or from its mass or volume by a heating value, and for a volume
without one of its own by a density. CO2, CH4 and N2O are masses of their own; `scope1_kg` is all of them in CO2
equivalent, by the global warming potentials of one report of the IPCC. Methane that is burnt has its carbon in the CO2
already, and counts without the CO2 that it becomes; methane that leaks is what its account says that it is.

A leak is an event, noted when what escaped is filled up: where nothing was noted nothing is known to have escaped,
which counts as nothing (the GHG Protocol's mass balance; a note that comes late restates its interval). Its `coverage`
says whether something was noted.

Sources: GHG Protocol Corporate Standard, chapter 6; ISO 14064-1:2018, 5.2.2 and annex B; IPCC 2006, Volumes 2 and 3.
"""

from collections.abc import Sequence
from itertools import groupby

import msgspec
import numpy as np

from taihu.carbon.account import measured
from taihu.carbon.factors import (
    DENSITY,
    PER_HEAT,
    PER_KWH,
    PER_MASS,
    PER_VOLUME,
    Factor,
    FactorKind,
    FactorMissing,
    Factors,
    Fit,
)
from taihu.carbon.quantity import Direct, Energy, Mass, Volume
from taihu.carbon.rows import Intervals, Role, Row, RowQuality
from taihu.kernel.arrays import Numbers

Amount = Energy | Mass | Volume
_MJ_PER_KWH = 3.6
_TJ_PER_KWH = 3.6e-6
_METHANE, _NITROUS_OXIDE = BURNT = ("methane", "nitrous-oxide")  # what a fuel emits beside CO2
FUEL_KINDS = (
    FactorKind.FUEL,
    FactorKind.FUEL_METHANE,
    FactorKind.FUEL_NITROUS_OXIDE,
    FactorKind.HEATING,
    FactorKind.DENSITY,
)
_OWN_FIGURE = {  # gases that have a figure of their own; all others are CO2 equivalent together
    "carbon-dioxide": "co2_kg",
    _METHANE: "ch4_kg",
    "methane-fossil": "ch4_kg",
    _NITROUS_OXIDE: "n2o_kg",
}


class Used(Intervals, frozen=True, kw_only=True):
    """What was used in whole intervals, NaN where it is missing."""

    amount: Amount


class Emitter(msgspec.Struct, frozen=True, kw_only=True):
    """The fuel, material or gas, and whose factors are used; `heating` and `upstream` are ids of rows."""

    subject: str
    region: str = ""
    heating: str = ""
    upstream: str = ""


def direct_rows(used: Used, emitter: Emitter, factors: Factors) -> list[Row]:
    """One row for each interval.

    Raises:
        FactorMissing: nothing says what it emits; the remedy names the row to provide.
    """
    priced = _Priced(used, emitter, factors)
    {Role.FUEL: priced.burn, Role.PROCESS: priced.process, Role.LEAK: priced.leak}[used.role]()
    unit = "" if isinstance(used.amount, Energy) else used.amount.unit
    if unit:
        priced.figures["amount"] = used.amount.values
    quality = [_quality(word, sure) for word, sure in zip(used.quality, priced.sure, strict=True)]
    return used.rows(priced.figures, quality, [tuple(dict.fromkeys(names)) for names in priced.names], unit)


def used_of(rows: Sequence[Row]) -> list[Used]:
    """What rows of one meter say that was used, so that other factors can price it."""
    return [_used(list(group)) for _, group in groupby(rows, key=lambda row: row.unit)]


class _Priced:
    """Figures of what was used, by interval; what they were computed with, and whether that fits exactly."""

    def __init__(self, used: Used, emitter: Emitter, factors: Factors) -> None:
        self._used, self._emitter, self._factors = used, emitter, factors
        self.figures: dict[str, Numbers] = {}
        self.names: list[list[str]] = [[] for _ in used.starts]
        self.sure = [True] * len(used.starts)

    def burn(self) -> None:
        """A fuel, gas by gas."""
        heat = self._heat()
        co2 = heat * self._values(FactorKind.FUEL, PER_HEAT) * _TJ_PER_KWH
        self.figures |= {"fuel_kwh": heat, "co2_kg": co2}
        whole = co2.copy()
        for kind, gas in ((FactorKind.FUEL_METHANE, _METHANE), (FactorKind.FUEL_NITROUS_OXIDE, _NITROUS_OXIDE)):
            try:
                mass = heat * self._values(kind, PER_HEAT) * _TJ_PER_KWH
            except FactorMissing:
                if self._factors.has(kind, self._emitter.region, self._emitter.subject):
                    raise  # its row is to be provided, or of another time: none of it would be said as nothing (§3)
                continue  # a fuel of the site's own, whose factor says CO2 alone
            self.figures[_OWN_FIGURE[gas]] = mass
            whole = whole + mass * self._potential(gas)
        self.figures["scope1_kg"] = Direct(whole).values
        if self._emitter.upstream:
            self.figures["upstream_kg"] = heat * self._named(self._emitter.upstream, PER_KWH)

    def process(self) -> None:
        """A material whose carbon is set free."""
        mass = self._used.amount.values * self._values(FactorKind.PROCESS, "1")
        self.figures |= {"co2_kg": mass, "scope1_kg": Direct(mass).values}

    def leak(self) -> None:
        """A gas that escapes."""
        mass, subject = self._used.amount.values, self._emitter.subject
        whole = Direct(mass * self._potential(subject)).values
        own = _OWN_FIGURE.get(subject)
        self.figures |= {"scope1_kg": whole} | ({own: mass} if own else {"gases_kg": whole})

    def _heat(self) -> Numbers:
        """KWh by lower heating value."""
        values = self._used.amount.values
        match self._used.amount:
            case Energy():
                return values
            case Mass():
                return values * self._heating(PER_MASS) / _MJ_PER_KWH
        try:
            return values * self._heating(PER_VOLUME) / _MJ_PER_KWH
        except FactorMissing:
            mass = values * self._values(FactorKind.DENSITY, DENSITY)
        return mass * self._heating(PER_MASS) / _MJ_PER_KWH

    def _heating(self, unit: str) -> Numbers | float:
        """The heating value by mass or by volume: the row that the account names, else what there is of the fuel."""
        if self._emitter.heating:
            return self._named(self._emitter.heating, unit)
        return self._values(FactorKind.HEATING, unit)

    def _named(self, name: str, unit: str) -> float:
        """The value of the row of an id, for all intervals."""
        row = self._factors.get(name)
        for place, start in enumerate(self._used.starts):
            self._note(place, row, row.covers(start))
        return row.in_unit(unit)

    def _values(self, kind: FactorKind, unit: str) -> Numbers:
        emitter = self._emitter
        found = [self._factors.find(kind, emitter.region, start, emitter.subject, unit) for start in self._used.starts]
        for place, one in enumerate(found):
            self._note(place, one.factor, one.fit is Fit.EXACT)
        return np.array([one.factor.in_unit(unit) for one in found])

    def _potential(self, gas: str) -> Numbers:
        factors = self._factors
        found = [factors.find(FactorKind.GWP, factors.gwp, start, gas).factor for start in self._used.starts]
        for place, one in enumerate(found):
            self._note(place, one, True)
        return np.array([one.in_unit("1") for one in found])

    def _note(self, place: int, factor: Factor, sure: bool) -> None:
        self.names[place].append(factor.id)
        self.sure[place] = self.sure[place] and sure


def _quality(word: RowQuality, sure: bool) -> RowQuality:
    return word if sure or word is RowQuality.MISSING else RowQuality.ESTIMATED


def _used(rows: Sequence[Row]) -> Used:
    kinds: dict[str, type[Amount]] = {Mass.unit: Mass, Volume.unit: Volume}
    values = [row.amount if row.unit else row.fuel_kwh for row in rows]
    return Used(
        project=rows[0].project,
        meter=rows[0].meter,
        role=rows[0].role,
        starts=[row.start for row in rows],
        ends=[row.end for row in rows],
        amount=kinds.get(rows[0].unit, Energy)([np.nan if value is None else value for value in values]),
        coverage=np.array([row.coverage for row in rows]),
        quality=[_known(row) for row in rows],
        inputs=[row.inputs for row in rows],
    )


def _known(row: Row) -> RowQuality:
    if row.counted is None:
        return RowQuality.MISSING
    return RowQuality.MEASURED if row.role is Role.LEAK else measured(row.coverage)
