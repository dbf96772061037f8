"""Every command, whoever made it: it answers programs as JSON, explains each option, and completes in a shell."""

from collections.abc import Iterator

import click
import pytest
from click.shell_completion import ShellComplete

from taihu.cli.main import taihu

NO_DATA = {
    "run": "serves until it is stopped",
    "console": "serves until it is stopped",
    "init": "writes a file",
    "systemd": "prints a unit",
    "completion": "prints a script",
    "upstream login": "keeps a token",
    "upstream logout": "forgets a token",
}


def leaves(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


COMMANDS = dict(leaves(taihu))


@pytest.mark.parametrize("words", COMMANDS)
def test_what_shows_data_shows_it_to_programs(words: str) -> None:
    names = {name for option in COMMANDS[words].params for name in option.opts}
    assert ("--json" in names) != (words in NO_DATA), f"{words}: add --json, or say in NO_DATA why it has none"


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_is_explained(words: str) -> None:
    command = COMMANDS[words]
    assert command.help and command.help.split("\n")[0].rstrip().endswith((".", "?"))
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help and option.help[0].isupper() and option.help.rstrip()[-1] in ".]", option.name


def test_a_shell_completes_them_all() -> None:
    complete = ShellComplete(taihu, {}, "taihu", "_TAIHU_COMPLETE")
    for words in COMMANDS:
        *before, last = words.split()
        assert last in [each.value for each in complete.get_completions(before, last)], words


def test_nothing_is_excused_that_is_not_there() -> None:
    assert NO_DATA.keys() <= COMMANDS.keys()
