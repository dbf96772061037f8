"""`taihu score`: battery policies on the CityLearn challenge 2022, or on other data in its layout."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taihu.cli.output import MISSING, share_text, show, show_json

if TYPE_CHECKING:
    from taihu.kernel.arrays import Numbers
    from taihu.sim.citylearn import Buildings

_MARKS = ("reflex", "oracle", "foresight")  # what they know is made up, or is to come
_PARTS = ("score", "price", "emission", "grid", "ramping", "load_factor")


@click.command()
@click.option(
    "--controller",
    "name",
    default="plan",
    show_default=True,
    help="The policy none, basic, greedy, forecast, mpc or plan; or a mark: reflex, oracle, foresight.",
)
@click.option(
    "--data", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A folder in its layout."
)
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def score(name: str, folder: Path | None, as_json: bool) -> None:
    """Play a year of a battery policy and show the challenge's score; no battery is 1, lower is better."""
    import msgspec

    from taihu.decide.policies import POLICIES
    from taihu.sim.citylearn import captured, evaluate, phases, weighted
    from taihu.sim.folder import read_folder

    if name not in (*POLICIES, *_MARKS):
        raise click.BadParameter(f"{name!r} is none of {', '.join((*POLICIES, *_MARKS))}", param_hint="--controller")
    sets = phases() if folder is None else {folder.name: read_folder(folder)}
    hours = sum(len(one.hour) for one in sets.values())
    for label, one in sets.items():
        for note in one.notes:
            click.echo(f"{label}: {note}", err=True)
    scores = {}
    with click.progressbar(length=hours, label=name, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        for label, buildings in sets.items():
            scores[label] = evaluate(_play(name, buildings, lambda _: bar.update(100)), buildings)
    known = {label: one.score for label, one in scores.items()}
    known |= {"weighted": weighted(scores)} if folder is None else {}
    shares = {label: captured(label, one) for label, one in known.items()} if folder is None else {}
    if as_json:
        parts = {label: msgspec.to_builtins(one) for label, one in scores.items()}
        notes = {label: list(one.notes) for label, one in sets.items() if one.notes}
        show_json({"controller": name, **known, "captured": shares, "parts": parts, "notes": notes})
        return
    rows = [
        (
            label,
            *(_part(getattr(scores[label], part)) if label in scores else "" for part in _PARTS[1:]),
            f"{one:.4f}",
            share_text(shares.get(label)),
        )
        for label, one in known.items()
    ]
    heads = [*(part.replace("_", " ") for part in _PARTS[1:]), _PARTS[0], "captured"]
    show(("data", *heads), rows, heads)


def _part(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4f}"


def _play(name: str, buildings: "Buildings", progress: Callable[[int], None]) -> "Numbers":
    from taihu.decide.plan import need_solver
    from taihu.decide.policies import POLICIES
    from taihu.sim.citylearn import play, play_oracle
    from taihu.sim.minutes import play_reflex

    match name:
        case "oracle":
            return play_oracle(buildings)
        case "reflex":
            return play_reflex(buildings, progress)
        case "foresight":
            need_solver()
            from taihu.sim.foresight import Foresight

            return play(buildings, lambda battery, _: Foresight(battery, buildings), progress)
        case _:
            return play(buildings, POLICIES[name], progress)
