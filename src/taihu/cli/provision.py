"""Commands for many things: provision, claim."""

import csv
import os
import secrets
from collections.abc import Iterator, Sequence
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import click

from taihu.cli.admin import Administration, administration_options, json_option
from taihu.cli.output import progress, show_json
from taihu.kernel.errors import RefusedError
from taihu.kernel.ids import NameRefused, check_name, check_project, new_token, token_hash

_FILE = click.Path(dir_okay=False, path_type=Path)
_FIELDS = ("title", "model", "site", "building", "parent", "role")
_LISTS = ("tags", "groups")
_COLUMNS = ("project", "thing", *_FIELDS, *_LISTS)
_SECRETS = ("token", "enrolment_token", "claim_code")
_CHUNK = 500
_FAULTS_TOLD = 20
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none is taken for another


@click.command()
@click.argument("table", metavar="CSV", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=_FILE, required=True, help="The CSV of secrets to write, which only its owner may read.")
@click.option(
    "--credential",
    type=click.Choice(["token", "enrolment", "none"]),
    default="token",
    show_default=True,
    help="What each thing comes in by: a token, or a certificate for an enrolment token.",
)
@click.option("--claim-codes", is_flag=True, help="Make a claim code for each thing, to be printed on it.")
@click.option("--hours", type=click.IntRange(1, 8_760), default=168, show_default=True, help="How long codes are good.")
@json_option
@administration_options
def provision(
    to: Administration, table: Path, out: Path, credential: str, claim_codes: bool, hours: int, as_json: bool
) -> None:
    """Make the things of a CSV and a secret for each. A second run with the same files changes nothing."""
    rows = read_table(table)
    known = _read_secrets(out)
    wanted = {"token": credential == "token", "enrolment_token": credential == "enrolment", "claim_code": claim_codes}
    made = []
    for row in rows:
        own = known.get((row["project"], row["thing"]), {})
        values = {name: own.get(name) or (_make(name) if wanted[name] else "") for name in _SECRETS}
        made.append({"project": row["project"], "thing": row["thing"], **values})
    kept = {(one["project"], one["thing"]) for one in made}
    _write_secrets(out, [*made, *(row for key, row in known.items() if key not in kept)])
    counts = {"rows": len(rows), "things": 0, "tokens": 0}
    with progress("Provisioning") as bar:
        bar.begin(len(rows))
        for project, chunk in _chunks(list(zip(rows, made, strict=True))):
            entries = [_entry(row, own) for row, own in chunk]
            answer = to.act("things-provision", project=project, things=entries, hours=hours)
            counts["things"] += answer["things"]
            counts["tokens"] += answer["tokens"]
            bar.advance(len(chunk))
    if as_json:
        show_json(counts | {"out": str(out)})
    else:
        click.echo(
            f"{counts['things']:,} new things and {counts['tokens']:,} new tokens of {len(rows):,} rows; see {out}."
        )


@click.command()
@click.argument("project")
@click.argument("code")
@click.option("--thing", default="", help="The device's name, where the code is a secret of its own.")
@click.option("--name", default="", help="What it is called in PROJECT.  [default: as it was]")
@json_option
@administration_options
def claim(to: Administration, project: str, code: str, thing: str, name: str, as_json: bool) -> None:
    """Claim the thing whose label says CODE for PROJECT."""
    answer = to.act("thing-claim", project=project, code=code, thing=thing, name=name)
    if as_json:
        show_json(answer)
    else:
        click.echo(f"{answer['project']}/{answer['thing']} is yours.")


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV of things, checked as a whole. Raises RefusedError with the lines of what is wrong."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise RefusedError(f"{path} is not UTF-8.", "Save it as UTF-8.") from None
    reader = csv.DictReader(StringIO(text), strict=True)
    faults: list[str] = []
    rows: list[dict[str, str]] = []
    seen: dict[tuple[str, str], int] = {}
    try:
        unknown = [name for name in reader.fieldnames or () if name not in _COLUMNS]
        missing = [name for name in ("project", "thing") if name not in (reader.fieldnames or ())]
        if unknown or missing:
            words = [*(f"no column {name}" for name in missing), *(f"unknown column {name!r}" for name in unknown)]
            raise RefusedError(f"{path}:1: {', '.join(words)}.", f"The columns are: {', '.join(_COLUMNS)}.")
        for row in reader:
            line = reader.line_num
            if None in row or None in row.values():
                faults.append(f"{path}:{line}: it has not as many values as there are columns.")
                continue
            clean = {name: value.strip() for name, value in row.items()}
            try:
                key = (check_project(clean["project"]), check_name(clean["thing"]))
            except NameRefused as error:
                faults.append(f"{path}:{line}: {error}")
                continue
            if seen.setdefault(key, line) != line:
                faults.append(f"{path}:{line}: {clean['thing']} is on line {seen[key]} already.")
            rows.append(clean)
    except csv.Error as error:
        faults.append(f"{path}:{reader.line_num + 1}: {error}.")
    if faults:
        more = f" and {len(faults) - _FAULTS_TOLD} more" if len(faults) > _FAULTS_TOLD else ""
        raise RefusedError("; ".join(faults[:_FAULTS_TOLD]) + more, "Correct the file; nothing was made.")
    return rows


def _entry(row: dict[str, str], own: dict[str, str]) -> dict[str, Any]:
    """A row as the node takes it: with the hashes of its secrets, and never the secrets."""
    entry: dict[str, Any] = {name: row[name] for name in _FIELDS if row.get(name)}
    entry |= {name: [part.strip() for part in row[name].split(";")] for name in _LISTS if row.get(name)}
    hashes = {
        "token_hash": own["token"] and token_hash(own["token"]).hex(),
        "enrolment_hash": own["enrolment_token"] and token_hash(own["enrolment_token"]).hex(),
        "claim_hash": own["claim_code"] and sha256(own["claim_code"].replace("-", "").encode()).hexdigest(),
    }
    return {"name": row["thing"], **entry, **{name: value for name, value in hashes.items() if value}}


def _make(name: str) -> str:
    if name != "claim_code":
        return new_token()
    letters = "".join(secrets.choice(_LETTERS) for _ in range(16))
    return "-".join(letters[place : place + 4] for place in range(0, 16, 4))


def _chunks(pairs: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """The rows of each project, so many at a time, parents before what belongs to them."""
    projects: dict[str, list[Any]] = {}
    for pair in pairs:
        projects.setdefault(pair[0]["project"], []).append(pair)
    for project, own in projects.items():
        for place in range(0, len(own), _CHUNK):
            yield project, own[place : place + _CHUNK]


def _read_secrets(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and set(rows[0]) != {"project", "thing", *_SECRETS}:
        raise RefusedError(f"{path} is something else.", "Name another file with --out.")
    return {(row["project"], row["thing"]): row for row in rows}


def _write_secrets(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Before the node hears of their hashes: a secret that opens something is never lost."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("project", "thing", *_SECRETS))
        writer.writeheader()
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
