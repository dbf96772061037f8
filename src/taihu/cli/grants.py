"""`taihu grant`: what one project lets another do. Both sides agree; either side ends it."""

from typing import Any

import click

from taihu.cli.admin import Administration, administration_options, done, json_option, moment
from taihu.cli.output import show, show_json, time_text

_RIGHTS = click.Choice(["read", "write", "command"])


@click.group()
def grant() -> None:
    """Let one project use the things of another."""


def _terms(command: Any) -> Any:
    """The options that say what is granted."""
    for option in (
        click.option("--ends", help="When it ends, likewise.  [default: when somebody ends it]"),
        click.option("--begins", help="When it begins: ISO 8601 with an offset.  [default: at once]"),
        click.option(
            "--property", "properties", multiple=True, help="Only properties of this pattern; may be repeated."
        ),
        click.option("--thing", "things", multiple=True, help="Only things of this pattern, such as meter*."),
        click.option("--right", "rights", multiple=True, type=_RIGHTS, help="What is granted.  [default: read]"),
    ):
        command = option(command)
    return command


@grant.command("add")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@_terms
@json_option
@administration_options
def grant_add(to: Administration, source: str, target: str, as_json: bool, **terms: Any) -> None:
    """Let the project TO use things of the project FROM, once it has accepted."""
    _proposed(to.act("grant-add", **_body(source, target, terms)), as_json)


@grant.command("request")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@_terms
@json_option
@administration_options
def grant_request(to: Administration, source: str, target: str, as_json: bool, **terms: Any) -> None:
    """Ask for the project TO to use things of the project FROM, once that has accepted."""
    _proposed(to.act("grant-request", **_body(source, target, terms)), as_json)


@grant.command("accept")
@click.argument("number", metavar="ID")
@json_option
@administration_options
def grant_accept(to: Administration, number: str, as_json: bool) -> None:
    """Accept the offer or request ID for your side."""
    _proposed(to.act("grant-accept", id=number), as_json)


@grant.command("list")
@json_option
@administration_options
def grant_list(to: Administration, as_json: bool) -> None:
    """List the grants from and to the projects you administer, with the offers and requests."""
    answer = to.act("grant-list")
    if as_json:
        show_json(answer)
        return
    rows = [
        (
            one["id"],
            one["from_project"],
            one["to_project"],
            ", ".join(one["rights"]),
            ", ".join(one["things"]) or "all",
            ", ".join(one["properties"]) or "all",
            one["state"],
            time_text(one["begins_at"]),
            time_text(one["ends_at"]),
        )
        for one in answer["grants"]
    ]
    show(("id", "from", "to", "rights", "things", "properties", "state", "begins", "ends"), rows)


@grant.command("remove")
@click.argument("source", metavar="FROM|ID")
@click.argument("target", metavar="[TO]", required=False)
@json_option
@administration_options
def grant_remove(to: Administration, source: str, target: str | None, as_json: bool) -> None:
    """End the grant ID, or every grant from the project FROM to the project TO. Either side may."""
    answer = to.act("grant-remove", **({"id": source} if target is None else {"from": source, "to": target}))
    done(answer, as_json, f"Ended {', '.join(answer['removed'])}.")


def _body(source: str, target: str, terms: dict[str, Any]) -> dict[str, Any]:
    begins = moment(terms["begins"], "--begins")
    patterns = {name: terms[name] for name in ("things", "properties")}
    body = {"from": source, "to": target, "rights": terms["rights"] or ("read",), "begins_at": begins or 0}
    return body | patterns | {"ends_at": moment(terms["ends"], "--ends")}


def _proposed(answer: dict[str, Any], as_json: bool) -> None:
    source, target, state = (answer[name] for name in ("from_project", "to_project", "state"))
    things = ", ".join(answer["things"]) or "all things"
    words = f"{target} may {', '.join(answer['rights'])} {things} of {source}"
    if state in ("offered", "requested"):
        side = target if state == "offered" else source
        words += f" once {side} has accepted: taihu grant accept {answer['id']}"
    done(answer, as_json, words if state in ("offered", "requested") else f"{words}.")
