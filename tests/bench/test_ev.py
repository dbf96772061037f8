"""The vehicle benchmark on a small scale: all that can be delivered is, near the least cost, below the transformer."""

import pytest

pytest.importorskip("highspy", reason="the extra `plan` is not installed")

from bench.ev import drive, optimum, week

START = "2022-08-22T00:00:00+02:00"


@pytest.mark.parametrize("known", [True, False])
def test_energy_by_departure_below_the_transformer_near_the_optimum(known: bool) -> None:
    """§12: shortage only where even who knows everything is short."""
    one = week(START, 12, 2)
    total, got = drive(one, known=known)
    best = optimum(one)
    short = sum(breach.amount for breach in best.breaches)
    assert sum(got.values()) == pytest.approx(sum(each.kwh for each in one.sessions) - short, rel=1e-3)
    assert total.max() <= one.transformer_kw * (1 + 1e-9)
    assert float(total @ one.price) / 4 <= 1.05 * best.money
