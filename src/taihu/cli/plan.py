"""Plans: what the controllers of a project decided, why, and what they have saved, or would have."""

import asyncio
from pathlib import Path
from typing import Any

import click

from taihu.cli.client import NodeClient, node_options, zone_of
from taihu.cli.output import number_text, printable, progress, show, show_json, time_text
from taihu.kernel.clock import NS_PER_S

_COLUMNS = {
    "power_kw": "plan kW", "content_kwh": "holds kWh", "net_kw": "net kW", "price": "price", "intensity": "kg/kWh",
}  # fmt: skip
_REMEDY = "Write [[project.scheduler]] in site.toml (docs/flexible-loads.md), then: taihu reload"
_ASSETS_SHOWN = 6  # with more than so many, what they take together is shown

_ASSET_HEADS = ("asset", "kind", "thing", "plan kW", "now kW", "kWh or °C", "why")


@click.group()
def plan() -> None:
    """What controllers decide, and what it saves."""


@plan.command("show")
@click.argument("project")
@click.option("--controller", help="Of this controller alone.")
@click.option("--why", is_flag=True, help="Also the steps ahead, the reason, and what no control would emit.")
@click.option("--limit", type=click.IntRange(1, 1_000), help="So many decisions, the newest first.  [default: 1]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@node_options
def show_(node: NodeClient, project: str, controller: str | None, why: bool, limit: int | None, as_json: bool) -> None:
    """Show the last plan of each controller of PROJECT."""
    body = node.get("projects", project, "plans", controller=controller, limit=limit)
    if as_json:
        show_json(body)
        return
    rows = [
        (
            printable(one["controller"]),
            time_text(_whole_second(decision["at"])),
            decision["mode"],
            _corridor(decision["stages"][0]),
            saved_text(one["saved"]),
            printable(decision["why"]),
        )
        for one in body["plans"]
        for decision in one["decisions"]
    ]
    show(("controller", "planned", "mode", "corridor kW", "saved", "why"), rows)
    waiting = [one for one in body["plans"] if one["waits"]]
    for one in waiting:
        click.echo(printable(f"{one['controller']} waits: {one['waits']}"), err=True)
    if not rows and not waiting:
        waits = f"No controller of {project} has planned yet: its last days are replayed first."
        click.echo(waits if body["plans"] else f"{project} has no controller, and no scheduler. {_REMEDY}", err=True)
    zone = zone_of(node, project) if why else ""
    for one in body["plans"] if why else ():
        for decision in one["decisions"]:
            _explain(one["controller"], decision, zone)
        if one["guard"]:
            for line in guard_lines(one["guard"]):
                click.echo(printable(line))


@plan.command("try")
@click.argument("project")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--days", type=click.IntRange(1, 365), default=28, help="So many stored days.  [default: 28]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@node_options
def try_(node: NodeClient, project: str, file: Path, days: int, as_json: bool) -> None:
    """Say what the schedulers of FILE would have saved on the stored days of PROJECT.

    FILE is written as site.toml, with [[project]] and [[project.scheduler]]; what they drive need not be there.
    """
    trials = tried(node, project, file, days)
    if as_json:
        show_json({"project": project, "tries": trials})
        return
    rows = [
        (
            printable(one["scheduler"]),
            str(len(one["days"])),
            f"{min(one['days'])} to {max(one['days'])}",
            f"{one['mean']:.3g}{_money(one)}",
            f"{one['lower']:.3g} to {one['upper']:.3g}",
        )
        for one in trials
    ]
    show(("scheduler", "days", "from", "saves a day", "90 %"), rows, ("days", "saves a day"))
    for one in trials:
        if one["stand_ins"]:
            click.echo(printable(f"{one['scheduler']}: {'; '.join(one['stand_ins'])}."))


def tried(node: NodeClient, project: str, file: Path, days: int) -> list[dict[str, Any]]:
    """What each scheduler that a file has for a project would have saved."""
    from taihu.kernel.config import parse_site, read_text
    from taihu.kernel.errors import RefusedError
    from taihu.runtime.pilot.api import NodeApi
    from taihu.runtime.scheduling.trial import Bar, trial

    folder = file.absolute().parent
    site = parse_site(read_text(folder, file.name), folder, file.name)
    found = next((one for one in site.projects if one.name == project and one.schedulers), None)
    if found is None:
        raise RefusedError(f"{file} has no scheduler of {project}.", "Write [[project]] and [[project.scheduler]].")
    configs, zone = found.schedulers, site.timezone_of(found)
    now = int(node.get("projects", project, "plans")["now"])

    async def run() -> list[dict[str, Any]]:
        api, trials = NodeApi(node.url, {project: node.token}), []
        try:
            for config in configs:
                with progress(f"Replaying {config.name}") as shown:
                    bar = Bar(shown.begin, shown.advance)
                    one = await trial(api, project, zone, config, folder, now, days, bar)
                said = one.verdict
                trials.append(
                    {
                        "scheduler": config.name, "mean": said.mean, "lower": said.lower, "upper": said.upper,
                        "days": one.days, "stand_ins": one.stand_ins, "currency": one.currency,
                    }
                )  # fmt: skip
        finally:
            await api.close()
        return trials

    return asyncio.run(run())


def saved_text(saved: dict[str, Any]) -> str:
    """What was saved, with its interval, and how it is known.

    >>> saved_text({"hours": 5, "kg": 1.25, "error_kg": 0.2, "estimated": True})
    '1.25 ± 0.20 kg in 5 h, estimated'
    >>> saved_text({"hours": 0, "kg": 0.0, "error_kg": 0.0, "estimated": False})
    'nothing yet'
    """
    if not saved["hours"]:
        return "nothing yet"
    how = ", estimated" if saved["estimated"] else ""
    return f"{saved['kg']:.2f} ± {saved['error_kg']:.2f} kg in {saved['hours']} h{how}"


def guard_lines(guard: dict[str, Any]) -> list[str]:
    """What the guard of a scheduler has to say: the days, what they saved, and what they were replayed with.

    >>> guard_lines({"days": 0, "needs": 14, "replaying": {"done": 0, "of": 9}, "stand_ins": [], "trouble": ""})
    ['The guard: 0 of 14 days are known. It advises until there are 14. 0 of 9 days are replayed so far.']
    """
    span = f" ({guard['first']} to {guard['last']})" if guard["days"] else ""
    text = f"The guard: {guard['days']} of {guard['needs']} days{span} are known"
    if guard["days"]:
        saved = f"{guard['mean']:.3g}{_money(guard)} a day saved by its objective"
        text += f": {saved}, {guard['lower']:.3g} to {guard['upper']:.3g} (90 %)"
    if guard["days"] < guard["needs"]:
        text += f". It advises until there are {guard['needs']}."
    else:
        text += ". It drives." if guard["drives"] else ". It advises: the lower end is not above zero."
    if guard["replaying"]:
        text += f" {guard['replaying']['done']} of {guard['replaying']['of']} days are replayed so far."
    lines = [text]
    if guard["stand_ins"]:
        lines.append(f"Replayed with: {'; '.join(guard['stand_ins'])}.")
    return [*lines, f"The replay waits: {guard['trouble']}"] if guard["trouble"] else lines


def ahead_text(decision: dict[str, Any]) -> str:
    """What the day ahead would emit, or cost where no intensity is known, and what batteries begin and end with: a plan
    that empties them saves that, too.

    >>> ahead_text({"with_kg": 5.0, "without_kg": 6.0, "content_kwh": 4.0, "stages": [{"content_kwh": 0.0}]})
    'The day ahead: 5.00 kg with this plan, 6.00 kg without control; batteries begin with 4.0 kWh and end with 0.0 kWh.'
    """
    money = f"{_money(decision)} to pay"
    what, unit = ("kg", " kg") if decision["with_kg"] is not None else ("money", money)
    with_, without = decision[f"with_{what}"], decision[f"without_{what}"]
    said = f"The day ahead: {with_:.2f}{unit} with this plan, {without:.2f}{unit} without control"
    begin, end = decision["content_kwh"], abs(decision["stages"][-1]["content_kwh"])
    if not begin and not end:
        return f"{said}."
    return f"{said}; batteries begin with {begin:.1f} kWh and end with {end:.1f} kWh."


def _money(said: dict[str, Any]) -> str:
    """The currency of a figure, where one is known: none in decisions of before, and where no tariff names one."""
    return f" {said['currency']}" if said.get("currency") else ""


def signal_text(decision: dict[str, Any]) -> str:
    """Which intensity the kg of a plan are of: an average and a marginal one never add (§8).

    >>> signal_text({"carbon_signal": "average", "inputs": {"intensity": "grid/carbon_intensity"}})
    'CO2 counts by the average intensity grid/carbon_intensity; what is fed in earns none.'
    >>> signal_text({"carbon_signal": "marginal", "inputs": {"intensity": "grid/marginal"}})
    'CO2 counts by the marginal intensity grid/marginal; what is fed in displaces as much. It is no inventory.'
    """
    by = decision.get("carbon_signal", "average")
    what = "earns none." if by == "average" else "displaces as much. It is no inventory."
    return f"CO2 counts by the {by} intensity {decision['inputs'].get('intensity', '')}; what is fed in {what}"


def _explain(name: str, decision: dict[str, Any], zone: str) -> None:
    click.echo()
    click.echo(printable(f"{name}: {decision['reason']}"))
    click.echo(printable(f"{decision['why']} What binds: {decision['binding']}."))
    click.echo(ahead_text(decision))
    if decision["with_kg"] is not None:
        click.echo(printable(signal_text(decision)))
    if decision.get("forecast"):
        click.echo(printable(f"Load and generation foretold: {decision['forecast']}."))
    for note in decision["notes"]:
        click.echo(printable(f"Note: {note}."))
    click.echo(printable("From: " + ", ".join(f"{key} = {value}" for key, value in decision["inputs"].items()) + "."))
    if decision.get("assets"):
        _show_assets(decision["assets"])
    heads, rows = steps_ahead(decision, zone)
    show(heads, rows, heads[1:] if decision.get("assets") else heads[2:])


def steps_ahead(decision: dict[str, Any], zone: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The steps of a plan, in the project's time zone: of a scheduler what each asset takes, as long as that stays."""
    stages, assets = decision["stages"], decision.get("assets", [])
    names = {key: head for key, head in _COLUMNS.items() if key != "intensity" or decision["with_kg"] is not None}
    names |= {"price": f"{decision['currency']}/kWh"} if decision.get("currency") else {}
    if not assets:
        rows = [(_at(one, zone), _corridor(one), *(_rounded(one[key], 3) for key in names)) for one in stages]
        return ("from", "corridor kW", *names.values()), rows
    with_battery = any(one["kind"] == "battery" for one in assets)
    names = {key: head for key, head in names.items() if key != "power_kw" and (with_battery or key != "content_kwh")}
    names["net_kw"] = "base kW"  # what nobody can move
    each = [(one["name"], one["powers_kw"]) for one in assets]
    if len(each) > _ASSETS_SHOWN:
        each = [("all kW", [stage["power_kw"] for stage in stages])]
    found: list[tuple[str, ...]] = []
    before: tuple[object, ...] = ()
    for place, stage in enumerate(stages):
        taken = tuple(_rounded(powers[place]) for _, powers in each)
        said = (taken, stage["price"], stage["intensity"])
        if said != before:
            found.append(
                (
                    _at(stage, zone),
                    *taken,
                    *(_rounded(stage[key], 3 if key in ("price", "intensity") else 2) for key in names),
                )
            )
        before = said
    return ("from", *(printable(name) for name, _ in each), *names.values()), found


def _show_assets(assets: list[dict[str, Any]]) -> None:
    """What a scheduler has each of its assets do now."""
    rows = [
        (
            printable(one["name"]),
            one["kind"],
            printable(one["thing"]),
            number_text(round(one["power_kw"], 2)),
            "-" if one["now_kw"] is None else number_text(round(one["now_kw"], 2)),
            "-" if one["level"] is None else number_text(round(one["level"], 2)),
            printable(one["why"]),
        )
        for one in assets
    ]
    show(_ASSET_HEADS, rows, _ASSET_HEADS[3:6])


def _whole_second(ns: int) -> int:
    return ns // NS_PER_S * NS_PER_S


def _at(stage: dict[str, Any], zone: str) -> str:
    """When a step begins, to the minute of the project's clock."""
    return time_text(_whole_second(stage["start"]), zone)[:16].replace("T", " ")


def _rounded(value: float, digits: int = 2) -> str:
    return number_text(round(value, digits) + 0.0)  # and never -0


def _corridor(stage: dict[str, Any]) -> str:
    low, high = (round(stage[name], 2) + 0.0 for name in ("low_kw", "high_kw"))
    return f"{low:.2f} to {high:.2f}"
