"""The last hours of a district: its houses' net energies added up, the grid's intensity and the carbon of it."""

from collections.abc import Sequence

import msgspec

from taihu.console.answers import Window

HOURS_SHOWN = 24
_COVERED = 0.999  # rounding at the edges of an hour does not make it incomplete


class Hour(msgspec.Struct, frozen=True):
    """One hour [start, end) in UTC nanoseconds. What is None is missing, and is drawn as a gap (§3).

    `energy_kwh` is the sum over the `houses` of `of` that are fully known or known in part; `coverage` is what is known
    of all houses' time. `carbon_kg` counts import only: energy above zero times the hour's mean intensity (kg/kWh).
    """

    start: int
    end: int
    energy_kwh: float | None
    houses: int
    of: int
    coverage: float
    intensity: float | None
    carbon_kg: float | None

    @property
    def complete(self) -> bool:
        """Whether every house is known for the whole hour."""
        return self.coverage >= _COVERED


def merge_hours(
    energies: Sequence[Sequence[Window]], intensity: Sequence[Window], now_ns: int, count: int = HOURS_SHOWN
) -> tuple[Hour, ...]:
    """The last `count` hours that have ended, from each house's windows (kWh) and the grid's (kg/kWh)."""
    houses = [{window.start: window for window in windows} for windows in energies]
    grid = {window.start: window for window in intensity}
    spans = {window.start: window.end for windows in (*energies, intensity) for window in windows}
    ended = sorted(start for start, end in spans.items() if end <= now_ns)[-count:]
    return tuple(_hour(start, spans[start], [house.get(start) for house in houses], grid.get(start)) for start in ended)


def _hour(start: int, end: int, windows: list[Window | None], grid: Window | None) -> Hour:
    known = [window for window in windows if window is not None and window.value is not None]
    energy = sum(window.value for window in known if window.value is not None) if known else None
    coverage = sum(window.coverage for window in known) / len(windows) if windows else 0.0
    intensity = grid.value if grid else None
    carbon = max(0.0, energy) * intensity if energy is not None and intensity is not None else None
    return Hour(start, end, energy, len(known), len(windows), coverage, intensity, carbon)
