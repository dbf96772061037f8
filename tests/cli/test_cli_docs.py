"""docs/cli.md has a heading for every command and option and a row for every exit code, and none for anything else."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from taihu.cli import main
from taihu.cli.main import taihu

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
COMMON = {"--site", "--url", "--token", "--json", "--help"}
PROSE = {"Finding the node", "Exit codes"}


def headings(group: click.Group, before: str = "") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        words = f"{before}{name}"
        yield words
        for option in command.params:
            if isinstance(option, click.Option) and not COMMON.intersection(option.opts):
                yield f"{words} {option.opts[0]}"
        if isinstance(command, click.Group):
            yield from headings(command, f"{words} ")


def test_every_command_and_option_has_its_heading() -> None:
    found = re.findall(r"^##+ (.+)$", PAGE, flags=re.MULTILINE)
    assert len(found) == len(set(found))
    assert set(found) - PROSE == set(headings(taihu)) | COMMON


def test_every_exit_code_has_its_row() -> None:
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)}
    assert rows == {0} | {getattr(main, name) for name in dir(main) if name.startswith("EXIT_")}
