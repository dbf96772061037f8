"""Energies, intensities and emissions as types that keep apart what must not be added (§8, §9).

Every quantity is a series over the same intervals: float64, one value an interval, NaN where it is missing (§3). Energy
times an average grid intensity is a location-based emission, times what a contract or the residual mix says a
market-based one, times a marginal intensity a consequence (what would change); fuel burnt is a direct one. Two
quantities of one type add; two of different types raise MixedQuantities, and do not pass the type checker either.

Sources: GHG Protocol Scope 2 Guidance (2015), chapters 4 and 7; GHG Protocol for Project Accounting for the marginal.
"""

from typing import ClassVar, Self, overload

import numpy as np
from numpy.typing import ArrayLike

from taihu.kernel.arrays import Flags, Numbers
from taihu.kernel.errors import LocalError


class MixedQuantities(LocalError):
    """Two quantities that measure different things were to be added or compared: keep them in separate columns."""

    code = "mixed-quantities"


class Quantity:
    """A series of one kind of quantity in `unit` (UCUM)."""

    unit: ClassVar[str]
    __slots__ = ("values",)

    def __init__(self, values: ArrayLike) -> None:
        self.values: Numbers = np.asarray(values, np.float64)

    def __add__(self, other: Self) -> Self:
        self._alike(other)
        return type(self)(self.values + other.values)

    def __sub__(self, other: Self) -> Self:
        self._alike(other)
        return type(self)(self.values - other.values)

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Quantity) or type(self) is not type(other):
            return False
        return np.array_equal(self.values, other.values, equal_nan=True)

    def __hash__(self) -> int:
        raise TypeError(f"{type(self).__name__} is not hashable")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.values.tolist()} {self.unit})"

    @property
    def known(self) -> Flags:
        """Where there is a value."""
        return ~np.isnan(self.values)

    def total(self) -> float:
        """The sum of what is known; NaN when nothing is. Say its coverage beside it (§3)."""
        return float(np.nansum(self.values)) if self.known.any() else float("nan")

    def _alike(self, other: "Quantity") -> None:
        if type(self) is not type(other):
            raise MixedQuantities(
                f"{type(self).__name__} and {type(other).__name__} are different quantities.", "Report them apart."
            )


class Intensity(Quantity):
    """Emission per energy; one of its kinds says of which electricity."""

    unit = "kg/(kW.h)"
    __slots__ = ()


class AverageIntensity(Intensity):
    """Of all electricity in a grid (attributional)."""

    __slots__ = ()


class MarketIntensity(Intensity):
    """Of the electricity that a contract, certificate, supplier or residual mix assigns."""

    __slots__ = ()


class MarginalIntensity(Intensity):
    """Of the electricity that would be generated for one more unit of demand (consequential)."""

    __slots__ = ()


class Emission(Quantity):
    """Mass of CO2 equivalent; one of its kinds says by which rule."""

    unit = "kg"
    __slots__ = ()


class Direct(Emission):
    """Scope 1: from what the site itself burns or leaks."""

    __slots__ = ()


class LocationBased(Emission):
    """Scope 2 by the average of the grid."""

    __slots__ = ()


class MarketBased(Emission):
    """Scope 2 by contracts and the residual mix."""

    __slots__ = ()


class Consequence(Emission):
    """What would be emitted more or less: never part of an inventory."""

    __slots__ = ()


class Energy(Quantity):
    """Energy over intervals; negative is the other direction."""

    unit = "kW.h"
    __slots__ = ()

    @overload
    def times(self, intensity: AverageIntensity) -> LocationBased: ...
    @overload
    def times(self, intensity: MarketIntensity) -> MarketBased: ...
    @overload
    def times(self, intensity: MarginalIntensity) -> Consequence: ...
    def times(self, intensity: Intensity) -> Emission:
        """The emission of this energy by the rule that the intensity's type stands for.

        >>> Energy([2.0, 1.0]).times(AverageIntensity([0.5, 0.25]))
        LocationBased([1.0, 0.25] kg)
        """
        for kind, emission in _EMISSION_OF.items():
            if type(intensity) is kind:
                return emission(self.values * intensity.values)
        raise MixedQuantities(f"{type(intensity).__name__} says nothing of an emission.", "Use one of its kinds.")

    def imported(self) -> "Energy":
        """What came in: exports count as zero and earn no credit."""
        return Energy(np.maximum(self.values, 0.0))

    def exported(self) -> "Energy":
        """What went out, as a positive amount."""
        return Energy(np.maximum(-self.values, 0.0))


class Mass(Quantity):
    """Mass of a fuel, a material or a gas over intervals."""

    unit = "kg"
    __slots__ = ()


class Volume(Quantity):
    """Volume of a fuel over intervals, at the conditions that its heating value is of."""

    unit = "m3"
    __slots__ = ()


_EMISSION_OF: dict[type[Intensity], type[Emission]] = {
    AverageIntensity: LocationBased,
    MarketIntensity: MarketBased,
    MarginalIntensity: Consequence,
}
