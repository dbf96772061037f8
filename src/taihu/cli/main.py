"""`taihu`: the command line. A command's module, and all that it needs, is imported when the command runs."""

import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import NoReturn

import click

from taihu import __version__
from taihu.kernel.errors import DamagedError, LocalError, RefusedError, RemoteError, TaihuError, TransientError

_OF_THE_NAME = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)

EXIT_DEFECT = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_TRY_AGAIN = 4
EXIT_DAMAGED = 5
EXIT_WARNINGS = 6
EXIT_FAULTS = 7
EXIT_INTERRUPTED = 130

_COMMANDS = {
    "run": ("start", "Run a site until Ctrl-C."),
    "console": ("start", "Show a running site as web pages."),
    "demo": ("start", "Run 17 measured houses on a demo clock, with a page."),
    "init": ("start", "Write a commented site.toml."),
    "status": ("service", "Show how a node is."),
    "reload": ("service", "Take over a changed site.toml while the node runs."),
    "storage": ("storage", "Show what projects take on the disk, how they grow, and what they may."),
    "doctor": ("doctor", "Find what is wrong with a site, and what mends it."),
    "upgrade": ("upgrade", "Bring a site's stores to this release's versions."),
    "backup": ("backup", "Make backups of a site while it runs, and look after them."),
    "restore": ("backup", "Put a backup into a folder of its own."),
    "systemd": ("service", "Print a systemd unit of a site."),
    "completion": ("service", "Print a script that completes commands in a shell."),
    "things": ("look", "List things and how they are."),
    "read": ("look", "Show newest values."),
    "history": ("look", "Show readings of the past, or windows of them."),
    "declare": ("declare", "Say what a property is: its unit, kind and range."),
    "calculate": ("calculate", "Declare a property that is calculated of others, or show of which."),
    "query": ("query", "Ask a project's history in SQL."),
    "export": ("export", "Write a project's readings as Parquet or CSV files."),
    "import": ("importing", "Take readings of files into a project."),
    "tail": ("look", "Follow what is accepted and refused, with the reason."),
    "delete": ("delete", "Delete readings, a thing or a project, exactly and for good."),
    "deletions": ("delete", "List what was deleted, and how far it is."),
    "token": ("admin", "Issue, list and revoke tokens."),
    "project": ("admin", "Create and list projects."),
    "grant": ("grants", "Let one project use the things of another."),
    "user": ("people", "Add people, and say what they are to each project."),
    "sessions": ("people", "List and end the sessions of people."),
    "audit": ("audit", "Show and check who did what."),
    "add": ("connections", "Connect a device by its address, and have it as things."),
    "connections": ("connections", "List connections and how they are."),
    "disconnect": ("connections", "Remove a connection."),
    "upstream": ("upstream", "Send to a centre, and prove that it has everything."),
    "command": ("command", "Give commands to things, and see what became of them."),
    "permit": ("command", "Standing permits: let a loop act inside a corridor."),
    "carbon": ("carbon", "What each hour emitted: reports, rows, matching, certificates."),
    "forecast": ("forecast", "What a property will be, who says so, and how they did."),
    "score": ("score", "Play a battery policy on the CityLearn challenge."),
    "plan": ("plan", "What controllers decide, and what it saves."),
    "factors": ("factors", "List emission factors and their sources."),
    "provision": ("provision", "Make the things of a CSV, with a secret for each."),
    "claim": ("provision", "Claim a thing by the code on its label."),
    "ca": ("certificates", "Make, renew and revoke certificates of things."),
    "bench": ("start", "Measure this machine."),
    "version": ("start", "Print the version."),
}


class LazyGroup(click.Group):
    """A group whose commands are known by name and one line; the rest is imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"taihu.cli.{_COMMANDS[cmd_name][0]}")
        command = getattr(module, f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def taihu() -> None:
    """Connect things, keep their history, know their carbon."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; see docs/cli.md for the exit codes."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are one line on stderr, with the remedy."""
    try:
        code = taihu.main(args=arguments, prog_name="taihu", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except SystemExit:  # click's word for a pipe that nobody reads any more, as before head; all else it returns
        return 0
    except TaihuError as error:
        click.echo(f"taihu: {error}", err=True)
        return exit_code(error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        own = (
            "Run this as the user whose it is." if isinstance(error, PermissionError) else "See that place on the disk."
        )
        click.echo(f"taihu: {where}{error.strerror or error}. {own}", err=True)
        return EXIT_REFUSED if isinstance(error, _OF_THE_NAME) else EXIT_TRY_AGAIN
    return code if isinstance(code, int) else 0


def exit_code(error: TaihuError) -> int:
    """The documented exit code of an error."""
    match error:
        case RefusedError():
            return EXIT_REFUSED
        case TransientError():
            return EXIT_TRY_AGAIN
        case DamagedError() | RemoteError():
            return EXIT_DAMAGED
        case LocalError():
            return EXIT_DEFECT
    return EXIT_DEFECT


if __name__ == "__main__":
    main()
