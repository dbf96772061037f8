"""The physics of the demo's district: 17 measured houses, each with a modelled battery.

Load and PV are the measured hours of `data/district.parquet` (see its notice). The battery follows a plain rule:
surplus charges it, deficit empties it. Everything is a function of the demo time alone, so a restart goes on exactly.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import HOUR_NS, parse_iso

HOURS = 8_760
START_NS = parse_iso("2016-07-31T23:00:00-08:00")
TIME_ZONE = "Etc/GMT+8"
HOUSES = 17

BATTERY_KWH = 6.4
BATTERY_KW = 5.0
ONE_WAY_EFFICIENCY = 0.9**0.5

Hours = Numbers


class House:
    """One house's year, hour by hour (kWh per hour; arrays of 8,760)."""

    def __init__(self, number: int, load: Hours, solar: Hours, pv_kwp: float) -> None:
        self.number = number
        self.name = f"house-{number:02d}"
        self.load = load
        self.solar = solar
        self.pv_kwp = pv_kwp

    @cached_property
    def battery(self) -> tuple[Hours, Hours]:
        """Energy into the battery at its terminals (negative: out of it) and its content at the end of each hour."""
        flow = np.zeros(HOURS)
        content = np.zeros(HOURS)
        stored = 0.5 * BATTERY_KWH
        for hour, surplus in enumerate(self.solar - self.load):
            if surplus > 0:
                flow[hour] = min(surplus, BATTERY_KW, (BATTERY_KWH - stored) / ONE_WAY_EFFICIENCY)
                stored += flow[hour] * ONE_WAY_EFFICIENCY
            else:
                flow[hour] = -min(-surplus, BATTERY_KW, stored * ONE_WAY_EFFICIENCY)
                stored += flow[hour] / ONE_WAY_EFFICIENCY
            content[hour] = stored
        return flow, content

    @cached_property
    def net(self) -> Hours:
        """What the main meter sees: load less PV plus what the battery takes; negative is export."""
        return self.load - self.solar + self.battery[0]

    @cached_property
    def registers(self) -> tuple[Hours, Hours]:
        """Import and export registers at the end of each hour (kWh since the start of the data)."""
        return np.cumsum(np.maximum(self.net, 0)), np.cumsum(np.maximum(-self.net, 0))

    def power(self, series: Hours, at_ns: int) -> float:
        """Power (kW) at an instant, interpolated between the middles of the hours: synthetic, the data are hourly."""
        place = (at_ns - START_NS) / HOUR_NS - 0.5
        return float(np.interp(place % HOURS, np.arange(HOURS), series, period=HOURS))

    def register(self, which: int, at_ns: int) -> float:
        """The import (0) or export (1) register at an instant, rising evenly in an hour; goes on over the years."""
        hours = (at_ns - START_NS) / HOUR_NS
        years, place = divmod(hours, HOURS)
        total = self.registers[which]
        return float(years * total[-1] + np.interp(place, np.arange(HOURS + 1), np.concatenate(([0.0], total))))


class District:
    """All houses and the grid they share."""

    def __init__(self, path: Path | None = None) -> None:
        import duckdb

        path = path or Path(__file__).parent / "data" / "district.parquet"
        with duckdb.connect() as connection:
            table: dict[str, Any] = connection.execute(
                "SELECT house, load_kwh, solar_kwh, pv_kwp, carbon_kg_per_kwh, price_usd_per_kwh, outdoor_c "
                "FROM read_parquet(?) ORDER BY house, hour",
                [str(path)],
            ).fetchnumpy()
        rows = {name: np.asarray(values, np.float64).reshape(HOUSES, HOURS) for name, values in table.items()}
        self.houses = [
            House(index + 1, rows["load_kwh"][index], rows["solar_kwh"][index], float(rows["pv_kwp"][index, 0]))
            for index in range(HOUSES)
        ]
        self.carbon = rows["carbon_kg_per_kwh"][0]
        self.price = rows["price_usd_per_kwh"][0]
        self.outdoor = rows["outdoor_c"][0]


def hour_of(at_ns: int) -> int:
    """The hour of the data an instant falls in; after the year it begins again."""
    return (at_ns - START_NS) // HOUR_NS % HOURS
