"""What a scheduler may tell the assets of its settings: hands, contactors, and the bounds of the reflex."""

from taihu.control.contactor import Contactor
from taihu.control.reflex import Bounds, Group
from taihu.kernel.clock import MINUTE_NS
from taihu.kernel.flexible import (
    AssetConfig,
    BatteryConfig,
    HeatConfig,
    JobConfig,
    LoadConfig,
    SchedulerConfig,
    SolarConfig,
    Switched,
    VehicleConfig,
)
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.hand import Hand
from taihu.runtime.pilot.held import HeldPermits

_LAG_REAL_S = 0.5  # of the machine's time: what the meter lags behind at least
_STEP_KW = 0.1  # of what is no car, and has a least power


def bounds_of(config: SchedulerConfig, speed: float) -> Bounds:
    """What holds for all of them together."""
    return Bounds(
        import_max_kw=config.import_max_kw or None, export_max_kw=config.export_max_kw or None,
        groups=tuple(Group(one.members, one.import_max_kw) for one in config.groups),
        lag_s=max(config.lag_s, _LAG_REAL_S * speed), meter_age_s=max(config.meter_age_s, 2 * config.reflex_s),
        battery_to_vehicle=config.battery_to_vehicle,
    )  # fmt: skip


def contactors_of(config: SchedulerConfig) -> dict[str, Contactor]:
    """Of what is switched: cars, and whatever has a least power."""
    found = {
        one.name: Contactor(
            one.minimum_kw, one.step_kw, int(one.on_minutes_min * MINUTE_NS), int(one.off_minutes_min * MINUTE_NS)
        )
        for one in config.vehicles
    }
    found |= {
        one.name: Contactor(
            one.power_kw, _STEP_KW, one.on_minutes_min * MINUTE_NS, max(one.off_minutes_min, 1) * MINUTE_NS
        )
        for one in config.loads
        if one.switch
    }
    others: tuple[Switched, ...] = (*config.heats, *config.jobs)
    return found | {one.name: Contactor(one.minimum_kw, _STEP_KW, 0, MINUTE_NS) for one in others if one.minimum_kw}


def hand_of(api: NodeApi, project: str, config: AssetConfig, permits: HeldPermits) -> Hand | None:
    """What writes an asset; None for the sun that cannot be curtailed."""
    match config:
        case BatteryConfig():
            what, corridor = config.setpoint, (-config.power_kw, config.power_kw)
        case VehicleConfig():
            what, corridor = config.setpoint, (-config.discharge_kw, config.power_kw)
        case HeatConfig() | JobConfig():
            what, corridor = config.setpoint, (0.0, config.power_kw)
        case LoadConfig():
            what, corridor = config.switch or config.start, (0.0, 1.0)
        case SolarConfig() if config.limit:
            what, corridor = config.limit, (0.0, config.power_kw)
        case _:
            return None
    return Hand(api, project, config.thing, what, *corridor, _rest_kw(config), permits)


def _rest_kw(config: AssetConfig) -> float | None:
    """What an asset is told last: batteries rest, cars and work may take all, heat keeps warm, the sun is let in.

    None for a load: it goes on as it is.
    """
    match config:
        case BatteryConfig():
            return 0.0
        case VehicleConfig() | JobConfig() | SolarConfig():
            return config.power_kw
        case HeatConfig():
            return holding_kw(config, None)
    return None


def holding_kw(config: HeatConfig, outside_c: float | None) -> float:
    """What holds the middle of a band for ever, whatever it is now: neither frost nor heat comes of it."""
    colder = (config.low_c + config.high_c) / 2 - (config.outside_c if outside_c is None else outside_c)
    lost = config.loss_kw_per_k * colder - config.gain_kw
    kw = min(max(0.0, lost / config.cop), config.power_kw)
    return max(kw, min(config.minimum_kw, config.power_kw)) if kw > 0 else 0.0
