"""`taihu user` and `taihu sessions`: who signs in, what they are to each project, and where they are signed in."""

import sys
from typing import Any

import click

from taihu.cli.admin import Administration, administration_options, done, json_option
from taihu.cli.output import MISSING, printable, show, show_json, time_text
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import RefusedError

_ROLE = click.Choice(["owner", "operator", "viewer", "none"])
_password_options = (
    click.option("--stdin", is_flag=True, help="Read the password from standard input, one line."),
    click.option("--link", is_flag=True, help="Print a one-time link by which the person sets a password."),
)


@click.group()
def user() -> None:
    """Add people, and say what they are to each project."""


@user.command("add")
@click.argument("name")
@click.option("--title", default="", help="The person's name for people.")
@click.option("--owner", is_flag=True, help="An owner of the node, and so of every project.")
@click.option("--role", "roles", multiple=True, metavar="PROJECT=ROLE", help="A role in a project; may be repeated.")
@_password_options[0]
@_password_options[1]
@json_option
@administration_options
def user_add(
    to: Administration,
    name: str,
    title: str,
    owner: bool,
    roles: tuple[str, ...],
    stdin: bool,
    link: bool,
    as_json: bool,
) -> None:
    """Add the person NAME, who signs in with a password."""
    body: dict[str, Any] = {"name": name, "title": title, "owner": owner, "roles": dict(map(_role, roles))}
    body |= {"link": True} if link else {"password": _password(stdin)}
    answer = to.act("user-add", **body)
    done(answer, as_json, f"Added {name}." + (_link(to, answer) if link else ""))


@user.command("list")
@click.argument("project", required=False)
@json_option
@administration_options
def user_list(to: Administration, project: str | None, as_json: bool) -> None:
    """List the people of PROJECT, or of all the node."""
    answer = to.act("user-list", project=project or "")
    if as_json:
        show_json(answer)
        return
    rows = [
        (
            one["name"],
            ", ".join(f"{role} of {where or 'the node'}" for where, role in sorted(one["roles"].items())) or MISSING,
            "disabled" if one["disabled"] else "active",
            one.get("issuer") or ("password" if one.get("password") else MISSING),
            printable(one["title"]),
        )
        for one in answer["users"]
    ]
    show(("name", "roles", "state", "signs in by", "title"), rows)


@user.command("role")
@click.argument("name")
@click.argument("role", type=_ROLE)
@click.argument("project", required=False)
@json_option
@administration_options
def user_role(to: Administration, name: str, role: str, project: str | None, as_json: bool) -> None:
    """Make the person NAME owner, operator or viewer of PROJECT, or none of these; without one, owner of the node."""
    answer = to.act("user-role", name=name, project=project or "", role=None if role == "none" else role)
    done(answer, as_json, f"{name} is {role if role != 'none' else 'nothing'} of {project or 'the node'}.")


@user.command("remove")
@click.argument("name")
@json_option
@administration_options
def user_remove(to: Administration, name: str, as_json: bool) -> None:
    """Remove the person NAME; their sessions and tokens end."""
    done(to.act("user-remove", name=name), as_json, f"Removed {name}.")


@user.command("disable")
@click.argument("name")
@json_option
@administration_options
def user_disable(to: Administration, name: str, as_json: bool) -> None:
    """Keep the person NAME out; their sessions end, their tokens do nothing until they are enabled."""
    done(to.act("user-change", name=name, disabled=True), as_json, f"Disabled {name}.")


@user.command("enable")
@click.argument("name")
@json_option
@administration_options
def user_enable(to: Administration, name: str, as_json: bool) -> None:
    """Let the person NAME in again."""
    done(to.act("user-change", name=name, disabled=False), as_json, f"Enabled {name}.")


@user.command("password")
@click.argument("name")
@_password_options[0]
@_password_options[1]
@json_option
@administration_options
def user_password(to: Administration, name: str, stdin: bool, link: bool, as_json: bool) -> None:
    """Give the person NAME a new password; their sessions end."""
    if link:
        answer = to.act("user-link", name=name)
        done(answer, as_json, _link(to, answer).strip())
    else:
        answer = to.act("user-password", name=name, password=_password(stdin))
        done(answer, as_json, f"Changed the password of {name}.")


@click.group()
def sessions() -> None:
    """List and end the sessions of people."""


@sessions.command("list")
@click.argument("name", required=False)
@json_option
@administration_options
def sessions_list(to: Administration, name: str | None, as_json: bool) -> None:
    """List where the person NAME, or everybody, is signed in."""
    answer = to.act("session-list", **({"user": name} if name else {"all": True}))
    if as_json:
        show_json(answer)
        return
    rows = [
        (
            one["id"],
            one["user"],
            one["how"],
            printable(one["address"]) or MISSING,
            _seconds(one["created_at"]),
            _seconds(one["used_at"]),
            _seconds(one["expires_at"]),
            printable(one["agent"][:60]),
        )
        for one in answer["sessions"]
    ]
    show(("id", "user", "how", "address", "since", "last used", "ends", "agent"), rows)


@sessions.command("end")
@click.argument("number", metavar="[ID]", required=False)
@click.option("--user", "name", help="Every session of this person.")
@json_option
@administration_options
def sessions_end(to: Administration, number: str | None, name: str | None, as_json: bool) -> None:
    """End the session ID, or every session of a person."""
    if not (number or name):
        raise click.UsageError("Name a session, or a person with --user.")
    answer = to.act("session-end", **({"id": number} if number else {}), **({"user": name} if name else {}))
    done(answer, as_json, f"Ended {len(answer['ended'])} of the sessions.")


def _role(text: str) -> tuple[str, str]:
    project, equals, role = text.partition("=")
    if not (project and equals and role in ("owner", "operator", "viewer")):
        raise click.BadParameter(f"{text!r} is not such as house-03=operator.", param_hint="--role")
    return project, role


def _password(stdin: bool) -> str:
    if stdin:
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise RefusedError("There is no password on standard input:", "write it there, on one line.")
        return line
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _link(to: Administration, answer: dict[str, Any]) -> str:
    return f" Within a day, set a password at {to.console_url()}/welcome#{answer['code']}"


def _seconds(ns: int) -> str:
    return time_text(ns // NS_PER_S * NS_PER_S)
