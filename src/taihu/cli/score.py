"""`taihu score`: battery policies on the CityLearn challenge 2022, or on other data in its layout."""

import sys
from pathlib import Path
from typing import Any

import click

from taihu.cli.output import show, show_json

_PARTS = ("score", "price", "emission", "grid", "ramping", "load_factor")


@click.command()
@click.option("--controller", "name", default="plan", show_default=True, help="Which policy, or oracle.")
@click.option(
    "--data", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="A folder in its layout."
)
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def score(name: str, folder: Path | None, as_json: bool) -> None:
    """Play a year of a battery policy and show the challenge's score; no battery is 1, lower is better."""
    import msgspec

    from taihu.decide.policies import POLICIES
    from taihu.sim.citylearn import evaluate, phases, play, play_oracle, read_folder, weighted

    if name not in (*POLICIES, "oracle"):
        raise click.BadParameter(f"{name!r} is none of {', '.join((*POLICIES, 'oracle'))}", param_hint="--controller")
    sets = phases() if folder is None else {folder.name: read_folder(folder)}
    hours = sum(len(one.hour) for one in sets.values())
    scores = {}
    with click.progressbar(length=hours, label=name, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        for label, buildings in sets.items():
            if name == "oracle":
                meters = play_oracle(buildings)
            else:
                meters = play(buildings, POLICIES[name], lambda _: bar.update(100))
            scores[label] = evaluate(meters, buildings)
    whole = weighted(scores) if folder is None else None
    rows = [(label, *(f"{getattr(one, part):.4f}" for part in _PARTS)) for label, one in scores.items()]
    if whole is not None:
        rows.append(("weighted", f"{whole:.4f}", *[""] * (len(_PARTS) - 1)))
    if as_json:
        answer: dict[str, Any] = {"controller": name} | {label: one.score for label, one in scores.items()}
        answer |= {} if whole is None else {"weighted": whole}
        show_json(answer | {"parts": {label: msgspec.to_builtins(one) for label, one in scores.items()}})
    else:
        show(("data", *(part.replace("_", " ") for part in _PARTS)), rows, [part.replace("_", " ") for part in _PARTS])
