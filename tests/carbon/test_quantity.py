"""Energies, intensities and emissions keep apart (§8, §9)."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.carbon.quantity import (
    AverageIntensity,
    Consequence,
    Direct,
    Emission,
    Energy,
    Intensity,
    LocationBased,
    MarginalIntensity,
    MarketBased,
    MarketIntensity,
    MixedQuantities,
    Quantity,
)

KINDS: list[type[Quantity]] = [
    Energy, AverageIntensity, MarketIntensity, MarginalIntensity,
    Direct, LocationBased, MarketBased, Consequence,
]  # fmt: skip
SERIES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5)


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(KINDS, 2)))
def test_different_quantities_do_not_add_8(one: type[Quantity], other: type[Quantity]) -> None:
    with pytest.raises(MixedQuantities):
        _ = one([1.0]) + other([1.0])
    with pytest.raises(MixedQuantities):
        _ = one([1.0]) - other([1.0])
    assert one([1.0]) != other([1.0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_quantity_adds(kind: type[Quantity]) -> None:
    total = kind([1.0, np.nan]) + kind([2.0, 1.0])
    assert total == kind([3.0, np.nan])
    assert total.total() == 3.0
    assert total.known.tolist() == [True, False]


def test_an_intensity_decides_what_an_emission_is_8() -> None:
    energy = Energy([2.0])
    intensities = (AverageIntensity([0.5]), MarketIntensity([0.5]), MarginalIntensity([0.5]))
    found: list[Emission] = [energy.times(one) for one in intensities]
    assert [type(one) for one in found] == [LocationBased, MarketBased, Consequence]
    with pytest.raises(MixedQuantities):
        energy.times(Intensity([0.5]))  # type: ignore[call-overload]


@given(SERIES)
def test_import_and_export_are_the_two_directions_9(values: list[float]) -> None:
    energy = Energy(values)
    assert energy.imported() - energy.exported() == energy
    assert (energy.imported().values * energy.exported().values == 0).all()


def test_missing_stays_missing_3() -> None:
    assert np.isnan(Energy([np.nan]).times(AverageIntensity([0.5])).values).all()
    assert np.isnan(Energy([np.nan]).total())
    assert np.isnan(Energy([np.nan]).imported().values).all()


def test_quantities_are_no_keys() -> None:
    with pytest.raises(TypeError):
        hash(Energy([1.0]))
