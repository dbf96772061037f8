"""Commands that change what there is and what opens it: token, project.

On a site whose node runs they go through its API; on one that does not run, straight to its store. The store's lock
tells which.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Protocol

import click

from taihu.cli.client import NodeClient, connect
from taihu.cli.output import MISSING, show, show_json, time_text
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import RefusedError

json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


class Administration(Protocol):
    """Where actions are done."""

    def projects(self) -> list[dict[str, Any]]:
        """All projects there are for the caller."""
        ...

    def act(self, action: str, **arguments: Any) -> Any:
        """Do an action of `taihu.runtime.admin.projects`."""
        ...

    def console_url(self) -> str:
        """Where people find the console."""
        ...


class NodeAdministration:
    """Through the API of a running node."""

    def __init__(self, node: NodeClient) -> None:
        self._node = node

    def projects(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._node.get("projects")["projects"]
        return found

    def act(self, action: str, **arguments: Any) -> Any:
        return self._node.post("admin", action, body=arguments)

    def console_url(self) -> str:
        return str(self._node.get("sign-in")["console"])


class StoreAdministration:
    """On the store of a site whose node does not run, with what its site.toml declares."""

    def __init__(self, site: Path) -> None:
        from taihu.identity.directory import Directory
        from taihu.kernel.clock import SystemClock
        from taihu.kernel.config import load_site
        from taihu.kernel.files import OsFiles
        from taihu.runtime.admin.certification import Certification
        from taihu.runtime.apply import apply_site

        content = load_site(site)
        self._site = content
        clock = SystemClock()
        self.directory = Directory(content.data / "metadata.db", clock, content.limits)
        apply_site(content, self.directory, OsFiles())
        self._more = Certification(content, self.directory, clock).actions()

    def projects(self) -> list[dict[str, Any]]:
        return [
            {
                "name": project.name,
                "title": project.title,
                "timezone": project.timezone,
                "things": self.directory.thing_count(project.name),
            }
            for project in self.directory.projects()
        ]

    def act(self, action: str, **arguments: Any) -> Any:
        from taihu.identity.principal import CredentialKind, Principal
        from taihu.runtime.admin.projects import administer

        owner = Principal("", CredentialKind.ADMIN, credential_id="cli")
        return administer(self.directory, owner, action, arguments, self._more)

    def console_url(self) -> str:
        return self._site.console.address


def _runs(site: Path) -> bool:
    """Whether a node holds the site's store: told without opening that, which takes half a second."""
    from taihu.kernel.config import load_site
    from taihu.kernel.files import is_locked

    return is_locked(load_site(site).data / "metadata.db.lock")


def administration_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that find its site or node, as one argument `to`."""

    @click.option("--url", envvar="TAIHU_URL", help="The node's address [TAIHU_URL].")
    @click.option("--token", envvar="TAIHU_TOKEN", help="An operator's token [TAIHU_TOKEN].")
    @click.option(
        "--site", type=click.Path(file_okay=False, path_type=Path), help="The folder of a site, running or not."
    )
    @wraps(command)
    def with_administration(*, url: str | None, token: str | None, site: Path | None, **others: Any) -> None:
        if site is None and url is None and token is None and Path("site.toml").exists():
            site = Path()
        if site is None:
            command(to=NodeAdministration(connect(url, token, None)), **others)
            return
        if _runs(site):
            command(to=NodeAdministration(connect(url, token, site)), **others)
            return
        store = StoreAdministration(site)
        try:
            command(to=store, **others)
        finally:
            store.directory.close()

    return with_administration


@click.group()
def token() -> None:
    """Issue, list and revoke tokens."""


@token.command("issue")
@click.argument("project")
@click.argument("thing", required=False)
@click.option(
    "--kind",
    type=click.Choice(["thing", "join", "operator", "viewer"]),
    help="What it opens.  [default: thing when one is named, else operator]",
)
@click.option("--create", is_flag=True, help="Create the thing if there is none of its name.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "write", "ingest", "command", "admin"]),
    help="What an operator's token may be used for; may be repeated.  [default: all]",
)
@click.option("--only", multiple=True, help="Only for things of this pattern, such as meter*; may be repeated.")
@click.option("--label", default="", help="A note of what it is for.")
@click.option("--expires", help="When it ends: ISO 8601 with an offset.  [default: never]")
@click.option("--things-max", type=click.IntRange(0), help="A join token's things in all.  [default: join_things_max]")
@click.option(
    "--per-minute-max",
    type=click.IntRange(0),
    help="A join token's things a minute.  [default: join_things_per_minute_max]",
)
@json_option
@administration_options
def token_issue(
    to: Administration,
    project: str,
    thing: str | None,
    kind: str | None,
    create: bool,
    scopes: tuple[str, ...],
    only: tuple[str, ...],
    label: str,
    expires: str | None,
    things_max: int | None,
    per_minute_max: int | None,
    as_json: bool,
) -> None:
    """Make a token of PROJECT, or of one THING of it. It is shown this once."""
    limits = {"join_things_max": things_max, "join_things_per_minute_max": per_minute_max}
    if create and thing:
        _create_thing(to, project, thing)
    answer = to.act(
        "token-issue",
        project=project,
        thing=thing or "",
        kind=kind or ("thing" if thing else "operator"),
        scopes=scopes,
        things=only,
        label=label,
        expires_at=moment(expires),
        limits={name: value for name, value in limits.items() if value is not None},
    )
    if as_json:
        show_json(answer)
    else:
        click.echo(answer["token"])
        click.echo(
            f"Keep it: it is not shown again. Revoke it with: taihu token revoke {project} {answer['id']}", err=True
        )


@token.command("personal")
@click.argument("user")
@click.option("--project", default="", help="Only in this project.  [default: where the person has a role]")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "write", "ingest", "command", "admin"]),
    help="What it may be used for; may be repeated.  [default: all that the person may]",
)
@click.option("--only", multiple=True, help="Only for things of this pattern; may be repeated.")
@click.option("--label", default="", help="A note of what it is for.")
@click.option("--expires", help="When it ends: ISO 8601 with an offset.  [default: never]")
@json_option
@administration_options
def token_personal(
    to: Administration,
    user: str,
    project: str,
    scopes: tuple[str, ...],
    only: tuple[str, ...],
    label: str,
    expires: str | None,
    as_json: bool,
) -> None:
    """Make a token that does what the person USER may, as far as its scopes go. It is shown this once."""
    terms = {"user": user, "project": project, "scopes": scopes, "things": only, "label": label}
    answer = to.act("token-personal", **terms, expires_at=moment(expires))
    if as_json:
        show_json(answer)
    else:
        click.echo(answer["token"])
        click.echo(f"Keep it: it is not shown again. Its id is {answer['id']}.", err=True)


@token.command("list")
@click.argument("project")
@json_option
@administration_options
def token_list(to: Administration, project: str, as_json: bool) -> None:
    """List the tokens of PROJECT by id; no secret is shown."""
    answer = to.act("token-list", project=project)
    if as_json:
        show_json(answer)
        return
    rows = [
        (
            one["id"],
            one["kind"],
            one["thing"] or ", ".join(one["things"]) or MISSING,
            ", ".join(one["scopes"]) or MISSING,
            "revoked" if one["revoked_at"] else "used" if one["first_used_at"] else "unused",
            time_text(one["created_at"] // NS_PER_S * NS_PER_S),
            time_text(one["expires_at"]),
            one["label"],
        )
        for one in answer["tokens"]
    ]
    show(("id", "kind", "things", "scopes", "state", "created", "expires", "label"), rows)


@token.command("revoke")
@click.argument("project")
@click.argument("number", metavar="ID")
@json_option
@administration_options
def token_revoke(to: Administration, project: str, number: str, as_json: bool) -> None:
    """Revoke the token ID of PROJECT; who is connected with it is disconnected."""
    done(to.act("token-revoke", project=project, id=number), as_json, f"Revoked {number}.")


@click.group()
def project() -> None:
    """Create and list projects."""


@project.command("create")
@click.argument("name")
@click.option("--title", default="", help="Its name for people.")
@click.option("--timezone", default="UTC", show_default=True, help="IANA name: days begin and end there.")
@json_option
@administration_options
def project_create(to: Administration, name: str, title: str, timezone: str, as_json: bool) -> None:
    """Create the project NAME."""
    answer = to.act("project-create", name=name, title=title, timezone=timezone)
    done(answer, as_json, f"Created {name}. Let devices in with: taihu token issue {name} --kind join")


@project.command("list")
@json_option
@administration_options
def project_list(to: Administration, as_json: bool) -> None:
    """List the projects the token may read."""
    found = to.projects()
    if as_json:
        show_json({"projects": found})
        return
    rows = [(one["name"], str(one["things"]), one["timezone"], one["title"]) for one in found]
    show(("project", "things", "time zone", "title"), rows, ("things",))


def _create_thing(to: Administration, project: str, thing: str) -> None:
    try:
        to.act("thing-create", project=project, name=thing)
    except RefusedError as error:
        if getattr(error, "problem", error.code) != "exists":
            raise


def done(answer: Any, as_json: bool, sentence: str) -> None:
    """Say that something was done."""
    if as_json:
        show_json(answer)
    else:
        click.echo(sentence)


def moment(text: str | None, option: str = "--expires") -> int | None:
    """A time that somebody wrote; None for none."""
    if text is None:
        return None
    from taihu.kernel.clock import parse_iso

    try:
        return parse_iso(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a time with an offset; write one such as 2027-01-01T00:00:00+08:00.",
            param_hint=option,
        ) from None
