"""What must hold between the settings of a scheduler, beyond their types."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from taihu.kernel.account_checks import signal_faults
from taihu.kernel.currencies import CURRENCIES
from taihu.kernel.flexible import (
    AssetConfig,
    HeatConfig,
    JobConfig,
    LoadConfig,
    SchedulerConfig,
    SolarConfig,
    TariffConfig,
    VehicleConfig,
)
from taihu.kernel.ids import NameRefused, check_name
from taihu.kernel.sections import ControllerConfig
from taihu.kernel.toml import Fault, numbers

_SIDES = ("buys", "sells")
_MOST = 1e9  # what is above is a wrong unit
_PROPERTY = 'Write "thing/property".'

Written = dict[tuple[str, str], str]  # the thing, and what is written of it; by whom


def controllers_write(controllers: tuple[ControllerConfig, ...]) -> Written:
    """What the controllers of a project write, those that may."""
    return {(one.battery, one.setpoint): one.name for one in controllers if one.mode == "auto"}


def currency_faults(
    path: str, controllers: tuple[ControllerConfig, ...], schedulers: tuple[SchedulerConfig, ...]
) -> Iterator[Fault]:
    """Prices of a project are in one currency, and that is one."""
    said = [(f"{path}.controller[{index}].currency", one.currency) for index, one in enumerate(controllers)]
    for index, one in enumerate(schedulers):
        said += [(f"{path}.scheduler[{index}].{side}.currency", getattr(one, side).currency) for side in _SIDES]
    first = next((code for _, code in said if code), "")
    for where, code in said:
        if code and code not in CURRENCIES:
            yield Fault(where, f"There is no currency {code!r}.", "Write its ISO 4217 code, such as CNY or EUR.")
        elif code and code != first:
            yield Fault(where, f"Prices are in {first} and in {code}, which do not add.", "Give all in one currency.")


def scheduler_faults(
    path: str, config: SchedulerConfig, before: list[str], written: Written, folder: Path
) -> Iterator[Fault]:
    """Every fault of a scheduler; `before` are the controllers and schedulers that the project has already, `written`
    is what those write, and then what it does.
    """
    if config.name in before:
        yield Fault(f"{path}.name", f"There are two controllers {config.name!r}.", "Give each its own name.")
    yield from signal_faults(path, config)
    for name in ("net", "base", "intensity", "marginal"):
        value = getattr(config, name)
        if value and value.count("/") != 1 and (name == "net" or value.count("/") != 2):
            yield Fault(f"{path}.{name}", f"{value!r} is no property.", _PROPERTY)
    if not config.assets:
        yield Fault(path, "There is nothing to plan.", f"Add a table such as [[{_table(path)}.battery]].")
    if not config.cost_weight and not config.carbon_weight:
        yield Fault(f"{path}.cost_weight", "Nothing is to be made small.", "Give cost_weight or carbon_weight.")
    if config.cost_weight and not _given(config.buys):
        remedy = f"Add [{_table(path)}.buys], or cost_weight = 0."
        yield Fault(path, "Costs have a weight, and there is no tariff.", remedy)
    if config.carbon_weight and not config.signal:
        remedy = "Name intensity, or carbon_weight = 0."
        yield Fault(f"{path}.carbon_weight", "CO2 has a weight, and there is no intensity.", remedy)
    for side in _SIDES:
        yield from _tariff(f"{path}.{side}", getattr(config, side), folder)
    for where, number in numbers(path, msgspec.to_builtins(config)):
        if abs(number) > _MOST:
            yield Fault(where, f"{where.rpartition('.')[2]} is {number:g}.", "Give kW, kWh, °C, and money a kWh.")
    yield from _assets(path, config, written)
    names = [asset.name for asset in config.assets]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(path, f"There are two assets {name!r}.", "Give each its own name.")
    for index, heat in enumerate(config.heats):
        if heat.low_c > heat.high_c:
            yield Fault(
                f"{path}.heat[{index}].low_c", f"The band of {heat.name} ends below it begins.", "Swap the two."
            )
    least: dict[str, tuple[VehicleConfig | HeatConfig | JobConfig, ...]]
    least = {"vehicle": config.vehicles, "heat": config.heats, "job": config.jobs}
    for kind, those in least.items():
        for index, one in enumerate(those):
            if one.minimum_kw > one.power_kw:
                where = f"{path}.{kind}[{index}].minimum_kw"
                yield Fault(
                    where, f"{one.name} could never run: {where.rpartition('.')[2]} is above power_kw.", "Lower it."
                )
    taken = set(names)
    for index, group in enumerate(config.groups):
        if group.name in taken:
            yield Fault(f"{path}.group[{index}].name", f"There are two of {group.name!r}.", "Give each its own name.")
        taken.add(group.name)
        if len(set(group.members)) < len(group.members):
            yield Fault(f"{path}.group[{index}].members", f"{group.name} has a member twice.", "Name each once.")
        for member in group.members:
            if member not in names:
                yield Fault(f"{path}.group[{index}].members", f"There is no asset {member!r}.", f"Known: {names}.")
    for index, load in enumerate(config.loads):
        yield from _load(f"{path}.load[{index}]", load)


def _assets(path: str, config: SchedulerConfig, written: Written) -> Iterator[Fault]:
    """Things are of the own project, and nothing is driven by two."""
    for kind, assets in _by_kind(config).items():
        for index, one in enumerate(assets):
            where = f"{path}.{kind}[{index}]"
            try:
                check_name(one.thing)
            except NameRefused as error:
                remedy = error.remedy if "/" not in one.thing else "Name a thing of this project."
                yield Fault(f"{where}.thing", error.message, remedy)
            what = (one.thing, _writes(one))
            if config.mode != "auto" or not what[1]:
                continue
            if what in written:
                remedy = 'Leave it to one of them, or give the other mode = "advise".'
                said = f"{'/'.join(what)} is driven by {written[what]} and by {config.name}."
                yield Fault(f"{where}.thing", said, remedy)
            written[what] = config.name


def _by_kind(config: SchedulerConfig) -> dict[str, tuple[AssetConfig, ...]]:
    return {
        "battery": config.batteries, "vehicle": config.vehicles, "heat": config.heats, "load": config.loads,
        "job": config.jobs, "solar": config.solars,
    }  # fmt: skip


def _writes(asset: AssetConfig) -> str:
    match asset:
        case LoadConfig():
            return asset.switch or asset.start
        case SolarConfig():
            return asset.limit
    return asset.setpoint


def _tariff(path: str, tariff: TariffConfig, folder: Path) -> Iterator[Fault]:
    if _given(tariff) > 1:
        yield Fault(path, "A tariff has several sources.", "Keep one of price, band, property and file.")
    where, mark, ahead = tariff.property.partition("@")
    hours = ahead.removesuffix("h")
    if tariff.property and (where.count("/") not in (1, 2) or (mark and not (hours.isdecimal() and int(hours)))):
        remedy = 'Write "thing/property", or "thing/property@24h" where readings are of a day later.'
        yield Fault(f"{path}.property", f"{tariff.property!r} is no property.", remedy)
    if tariff.file and not (folder / tariff.file).is_file():
        remedy = "Paths are relative to the site folder."
        yield Fault(f"{path}.file", f"There is no file {folder / tariff.file}.", remedy)


def _load(path: str, load: LoadConfig) -> Iterator[Fault]:
    if bool(load.start) == bool(load.switch):
        yield Fault(path, f"{load.name} is started by nothing, or by two.", "Name an action start, or a switch.")
    if load.start and (load.on_minutes_min or load.off_minutes_min):
        yield Fault(path, f"{load.name} runs in one go.", "Least times on and off are for a switch.")


def _given(tariff: TariffConfig) -> int:
    return sum((tariff.price is not None, bool(tariff.bands), bool(tariff.property), bool(tariff.file)))


def _table(path: str) -> str:
    return path.removeprefix("$.").split("[")[0] + ".scheduler"
