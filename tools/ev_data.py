"""Make the vehicle benchmark's Parquet files from the data of ev2gym.

Usage: python tools/ev_data.py ev2gym-2.0.0-py3-none-any.whl bench/data

The wheel comes with `pip download --no-deps ev2gym==2.0.0`. `ev_prices.parquet` has one row an hour, 2015 to 2024;
`ev_habits.parquet` one for each quarter of a day with its share of arrivals, `ev_sizes.parquet` the quantiles of stays
and energies.
"""

import csv
import io
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np

FOLDER = "ev2gym/data/"
WHERE = ("private", "public", "workplace")
FORMATS = ("%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M")


def main() -> None:
    wheel, target = Path(sys.argv[1]), Path(sys.argv[2])
    with zipfile.ZipFile(wheel) as archive:
        write(target / "ev_prices.parquet", prices(archive))
        week, weekend = (
            rows(archive, "distribution-of-arrival.csv"),
            rows(archive, "distribution-of-arrival-weekend.csv"),
        )
        write(
            target / "ev_habits.parquet",
            {f"{place}_week": column(week, place) for place in WHERE}
            | {f"{place}_weekend": column(weekend, place) for place in WHERE[:2]},
        )
        stays, sizes = (
            rows(archive, "distribution-of-connection-time.csv"),
            rows(archive, "distribution-of-energy-demand.csv"),
        )
        write(
            target / "ev_sizes.parquet",
            {f"{place}_h": column(stays, place) for place in WHERE}
            | {f"{place}_kwh": column(sizes, place) for place in WHERE},
        )


def prices(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    found: dict[int, float] = {}
    for row in rows(archive, "Netherlands_day-ahead-2015-2024.csv"):
        if not row["Datetime (UTC)"]:  # the table ends with empty rows
            continue
        found[seconds(row["Datetime (UTC)"])] = float(row["Price (EUR/MWhe)"])
    starts = sorted(found)
    return {"start_s": np.array(starts, np.int64), "eur_per_mwh": np.array([found[start] for start in starts])}


def seconds(text: str) -> int:
    """The table has two ways of writing a time."""
    for form in FORMATS:
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
    raise SystemExit(f"not a time: {text!r}")


def rows(archive: zipfile.ZipFile, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read(FOLDER + name).decode("utf-8-sig"))))


def column(table: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in table])


def write(target: Path, table: dict[str, np.ndarray]) -> None:
    connection = duckdb.connect()
    connection.register("given", table)
    connection.execute(
        f"COPY given TO '{target}' (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL 19)"
    )
    print(f"{target}: {len(next(iter(table.values()))):,} rows, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
