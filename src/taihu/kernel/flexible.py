"""`[[project.scheduler]]`: the flexible loads behind one meter, each bound to the properties and actions of a thing."""

from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Way = Annotated[float, msgspec.Meta(gt=0, le=1)]
Size = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
TimeOfDay = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Currency = Annotated[str, msgspec.Meta(pattern=r"^([A-Z]{3})?$")]
Day = Annotated[int, msgspec.Meta(ge=1, le=7)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a scheduler."""


class BandConfig(Table, frozen=True, kw_only=True):
    """`[[project.scheduler.buys.band]]`: a price from one local time of day to another, on some days or all."""

    start: TimeOfDay
    end: TimeOfDay
    price: float
    days: tuple[Day, ...] = ()


class TariffConfig(Table, frozen=True, kw_only=True):
    """What a kWh costs or earns: one price, bands by local time, a property, or a file; the first that is given.

    `currency` is that of the scheduler's other prices, too.
    """

    currency: Currency = ""
    price: float | None = None
    bands: tuple[BandConfig, ...] = msgspec.field(default=(), name="band")
    property: str = ""
    file: str = ""


class GroupConfig(Table, frozen=True, kw_only=True):
    """`[[project.scheduler.group]]`: assets that together take no more than a limit."""

    name: str
    members: tuple[str, ...]
    import_max_kw: Positive


class Asset(Table, frozen=True, kw_only=True):
    """What every asset has: a thing, the property with the power that it takes now, and the most it can be (kW)."""

    name: str
    thing: str
    power: str = "power"
    power_kw: Positive


class Driven(Asset, frozen=True, kw_only=True):
    """An asset whose power is written."""

    setpoint: str = "setpoint"


class Storing(Driven, frozen=True, kw_only=True):
    """An asset that holds energy and may give it back."""

    charge: str = "state_of_charge"
    capacity_kwh: Positive
    one_way: Way = 0.95
    wear_price: Size = 0.0


class Switched(Driven, frozen=True, kw_only=True):
    """An asset that takes nothing, or at least so much."""

    minimum_kw: Size = 0.0


class BatteryConfig(Storing, frozen=True, kw_only=True):
    """`[[project.scheduler.battery]]`: a battery that takes a setpoint."""

    low: Share = 0.0


class VehicleConfig(Storing, frozen=True, kw_only=True):
    """`[[project.scheduler.vehicle]]`: whatever car is at a charger."""

    plugged: str = "plugged"
    departure: str = ""
    ready_by: TimeOfDay = "07:00"
    target: Share = 0.8
    minimum_kw: Size = 0.0
    step_kw: Positive = 0.1
    on_minutes_min: Size = 3.0
    off_minutes_min: Size = 1.0
    discharge_kw: Size = 0.0


class HeatConfig(Switched, frozen=True, kw_only=True):
    """`[[project.scheduler.heat]]`: a heat pump or boiler with a room or tank."""

    temperature: str = "temperature"
    outside: str = ""
    outside_c: float = 10.0
    capacity_kwh_per_k: Positive
    loss_kw_per_k: Size
    cop: Positive = 1.0
    gain_kw: float = 0.0
    low_c: float
    high_c: float
    comfort_price: Positive = 1.0


class LoadConfig(Asset, frozen=True, kw_only=True):
    """`[[project.scheduler.load]]`: a load that runs once a day in a window, started by an action or switched."""

    running: str = "running"
    start: str = ""
    switch: str = ""
    minutes: Annotated[int, msgspec.Meta(ge=15, le=1_440)]
    earliest: TimeOfDay = "00:00"
    latest: TimeOfDay = "00:00"
    on_minutes_min: Annotated[int, msgspec.Meta(ge=0, le=1_440)] = 0
    off_minutes_min: Annotated[int, msgspec.Meta(ge=0, le=1_440)] = 0


class JobConfig(Switched, frozen=True, kw_only=True):
    """`[[project.scheduler.job]]`: batch work with so much energy to go, until a time."""

    remaining: str = "remaining"
    deadline: str = ""
    ready_by: TimeOfDay = "07:00"


class SolarConfig(Asset, frozen=True, kw_only=True):
    """`[[project.scheduler.solar]]`: generation, which may be curtailed where a limit can be written."""

    limit: str = ""
    energy: str

    @property
    def energy_path(self) -> str:
        """The path of what it gives by the hour."""
        return self.energy if "/" in self.energy else f"{self.thing}/{self.energy}"


AssetConfig = BatteryConfig | VehicleConfig | HeatConfig | LoadConfig | JobConfig | SolarConfig


class SchedulerConfig(Table, frozen=True, kw_only=True):
    """`[[project.scheduler]]`: what is behind one meter, planned together and driven once that has been winning.

    Properties are `thing/property` of this project, or `project/thing/property` of one that grants it.
    """

    name: str
    net: str
    base: str
    intensity: str = ""
    marginal: str = ""
    carbon_signal: Literal["average", "marginal"] = "average"
    buys: TariffConfig = TariffConfig()
    sells: TariffConfig = TariffConfig()
    import_max_kw: Size = 0.0
    export_max_kw: Size = 0.0
    demand_price: Size = 0.0
    cost_weight: Size = 1.0
    carbon_weight: Size = 0.0
    peak_weight: Size = 0.0
    ramp_weight: Size = 0.0
    battery_to_vehicle: bool = True
    every: Literal["5m", "10m", "15m", "30m"] = "15m"
    reflex_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 1.0
    lag_s: Annotated[float, msgspec.Meta(gt=0, le=600)] = 3.0
    meter_age_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 60.0
    solver_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 2.0
    mode: Literal["auto", "advise"] = "auto"
    meter_error: Share = 0.01
    factor_error: Share = 0.1
    groups: tuple[GroupConfig, ...] = msgspec.field(default=(), name="group")
    batteries: tuple[BatteryConfig, ...] = msgspec.field(default=(), name="battery")
    vehicles: tuple[VehicleConfig, ...] = msgspec.field(default=(), name="vehicle")
    heats: tuple[HeatConfig, ...] = msgspec.field(default=(), name="heat")
    loads: tuple[LoadConfig, ...] = msgspec.field(default=(), name="load")
    jobs: tuple[JobConfig, ...] = msgspec.field(default=(), name="job")
    solars: tuple[SolarConfig, ...] = msgspec.field(default=(), name="solar")

    @property
    def by_margin(self) -> bool:
        """Whether plans go by the marginal intensity."""
        return self.carbon_signal == "marginal"

    @property
    def signal(self) -> str:
        """The property of the intensity that plans go by."""
        return self.marginal if self.by_margin else self.intensity

    @property
    def assets(self) -> tuple[AssetConfig, ...]:
        """All of them."""
        return (*self.batteries, *self.vehicles, *self.heats, *self.loads, *self.jobs, *self.solars)
