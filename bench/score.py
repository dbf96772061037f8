"""Battery policies on the CityLearn challenge 2022: scores of a year, and which part of the attainable each captures.

The quick policies are played here. What takes minutes a phase (`mpc`, `plan`, `reflex`, `foresight`) is read from
`bench/score.json`, which says when it was made; `python -m bench.score` makes it anew.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from bench.harness import Options, Report, Row
from taihu.decide.policies import POLICIES
from taihu.sim.citylearn import WEIGHTS, Buildings, captured, evaluate, phases, play, play_oracle, weighted

NAME = "score"
_LONG = ("mpc", "plan", "reflex", "foresight")
_STORED = Path(__file__).parent / "score.json"
_SMOKE_HOURS = 200


def run(options: Options) -> Report:
    """One row a policy; lower is better, no battery is 1."""
    report = Report(NAME, "CityLearn challenge 2022: a year of each phase, no battery = 1")
    sets = {name: _cut(one, _SMOKE_HOURS) for name, one in phases().items()} if options.smoke else phases()
    for name in ("none", "basic", "greedy", "forecast", "oracle"):
        scores = {
            label: evaluate(play_oracle(one) if name == "oracle" else play(one, POLICIES[name]), one)
            for label, one in sets.items()
        }
        found = {label: one.score for label, one in scores.items()} | {"weighted": weighted(scores)}
        report.rows.append(_row(name, found, options.smoke))
    stored = msgspec.json.decode(_STORED.read_bytes())
    for name in _LONG:
        report.rows.append(_row(f"{name} (stored)", stored["scores"][name], False))
    report.note(f"Stored: not played in this run but read from bench/score.json ({stored['note']}).")
    report.note("oracle and foresight know what is to come: marks, not policies. captured: of foresight's saving.")
    report.note(
        "reflex: the plan, and within the hour a loop that follows the meters; steps of five minutes are synthetic."
    )
    report.note("Goals: phase 1 at most 0.78, weighted at most 0.84; no set of buildings above 1.")
    return report


def _row(name: str, found: dict[str, Any], part: bool) -> Row:
    shares = {"captured": None if part else captured("weighted", found["weighted"])}
    return {"controller": name} | {label: float(found[label]) for label in (*WEIGHTS, "weighted")} | shares


def _cut(one: Buildings, hours: int) -> Buildings:
    published = {lead: made[:hours] for lead, made in one.published.items()}
    return Buildings(
        one.load_kwh[:, :hours],
        one.solar_kwh[:, :hours],
        one.price[:hours],
        one.intensity[:hours],
        one.hour[:hours],
        published,
    )


def main() -> None:
    """Play what takes long, by `taihu score`, and store it."""
    scores = {}
    for name in _LONG:
        command = [sys.executable, "-m", "taihu.cli.main", "score", "--controller", name, "--json"]
        scores[name] = msgspec.json.decode(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    stored = {"note": "python -m bench.score", "scores": scores}
    _STORED.write_bytes(msgspec.json.format(msgspec.json.encode(stored)) + b"\n")


if __name__ == "__main__":
    main()
