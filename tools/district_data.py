"""Make the district's Parquet file from the CityLearn 2022 challenge data.

Usage: python tools/district_data.py CityLearn-1.8.0-py3-none-any.whl src/taihu/sim/data/district.parquet

The wheel comes with `pip download --no-deps CityLearn==1.8.0`. One row per house and hour: 17 houses x 8,760 hours.
"""

import csv
import io
import json
import sys
import zipfile
from pathlib import Path

import duckdb
import numpy as np

FOLDER = "citylearn/data/citylearn_challenge_2022_phase_all/"


def main() -> None:
    wheel, target = Path(sys.argv[1]), Path(sys.argv[2])
    with zipfile.ZipFile(wheel) as archive:
        table = read(archive)
    con = duckdb.connect()
    con.register("district", table)
    con.execute(
        f"COPY (SELECT * FROM district ORDER BY house, hour) TO '{target}' "
        "(FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL 19)"
    )
    size = target.stat().st_size
    print(f"{target}: {len(table['hour']):,} rows, {size:,} bytes")
    if size > 3_000_000:
        raise SystemExit("larger than 3 MB")


def read(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    schema = json.loads(archive.read(FOLDER + "schema.json"))
    carbon = column(archive, "carbon_intensity.csv", "kg_CO2/kWh")
    price = column(archive, "pricing.csv", "Electricity Pricing [$]")
    outdoor = column(archive, "weather.csv", "Outdoor Drybulb Temperature [C]")
    parts: dict[str, list[np.ndarray]] = {}
    for building, entry in schema["buildings"].items():
        house = int(building.removeprefix("Building_"))
        name = f"Building_{house}.csv"
        load = column(archive, name, "Equipment Electric Power [kWh]")
        peak_kw = float(entry["pv"]["attributes"]["nominal_power"])
        solar = column(archive, name, "Solar Generation [W/kW]") * peak_kw / 1000
        rows: dict[str, np.ndarray] = {
            "house": np.full(len(load), house, np.int8),
            "hour": np.arange(len(load), dtype=np.int16),
            "load_kwh": load,
            "solar_kwh": solar,
            "pv_kwp": np.full(len(load), peak_kw),
            "carbon_kg_per_kwh": carbon,
            "price_usd_per_kwh": price,
            "outdoor_c": outdoor,
        }
        for key, values in rows.items():
            parts.setdefault(key, []).append(values)
    return {key: np.concatenate(values) for key, values in parts.items()}


def column(archive: zipfile.ZipFile, name: str, header: str) -> np.ndarray:
    rows = csv.DictReader(io.StringIO(archive.read(FOLDER + name).decode("utf-8")))
    return np.array([float(row[header]) for row in rows])


if __name__ == "__main__":
    main()
