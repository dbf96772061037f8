"""The steps of a plan as `taihu plan show --why` has them: local times, and what stays the same said once."""

from typing import Any

from taihu.cli.plan import steps_ahead
from taihu.kernel.clock import NS_PER_S, parse_iso

START = parse_iso("2026-11-26T18:15:00Z")
QUARTER = 900 * NS_PER_S


def decision(assets: list[dict[str, Any]]) -> dict[str, Any]:
    stages = [
        {
            "start": START + place * QUARTER, "low_kw": -0.001, "high_kw": 2.0, "power_kw": -0.0, "content_kwh": 5.0,
            "net_kw": 20.0, "price": 0.3071, "intensity": None,
        }
        for place in range(4)
    ]  # fmt: skip
    return {"stages": stages, "assets": assets, "with_kg": None}


def asset(name: str, kind: str, *powers_kw: float) -> dict[str, Any]:
    return {"name": name, "kind": kind, "powers_kw": list(powers_kw)}


def test_each_asset_has_a_column_and_a_row_begins_where_one_changes() -> None:
    heads, rows = steps_ahead(
        decision([asset("truck", "vehicle", 8, 8, 0, 0), asset("roof", "solar", -0.001, 0, 0, -3.5)]), "Asia/Shanghai"
    )
    assert heads == ("from", "truck", "roof", "base kW", "price")
    assert rows == [
        ("2026-11-27 02:15", "8", "0", "20", "0.307"),
        ("2026-11-27 02:45", "0", "0", "20", "0.307"),
        ("2026-11-27 03:00", "0", "-3.5", "20", "0.307"),
    ]


def test_a_battery_says_what_it_holds_and_many_assets_are_summed_up() -> None:
    heads, _ = steps_ahead(decision([asset("store", "battery", 1, 1, 1, 1)]), "UTC")
    assert heads == ("from", "store", "holds kWh", "base kW", "price")
    heads, rows = steps_ahead(decision([asset(str(n), "load", 0, 0, 0, 0) for n in range(40)]), "UTC")
    assert heads == ("from", "all kW", "base kW", "price") and len(rows) == 1


def test_a_controller_has_its_corridor_and_never_minus_zero() -> None:
    heads, rows = steps_ahead(decision([]), "UTC")
    assert heads[:2] == ("from", "corridor kW") and len(rows) == 4
    assert rows[0] == ("2026-11-26 18:15", "0.00 to 2.00", "0", "5", "20", "0.307")
