"""The pages on moving data: every command in them has such options, every mapping says what the page says."""

import re
import shlex
import tomllib

import click
import pytest
from tests.docs.support import DOCS

from taihu.cli.main import taihu
from taihu.things.mapping.matcher import Matcher
from taihu.things.mapping.rules import builtin_mappings, load_mappings
from taihu.things.ports import Row

PAGES = ("export-import.md", "factory.md", "migrating.md", "sql.md")


@pytest.mark.parametrize("page", PAGES)
def test_commands_have_the_options_that_are_shown(page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    lines = re.findall(r"^(?: {4})?(taihu .+)$", text, re.MULTILINE) + re.findall(r"`(taihu [a-z]+ [^`]+)`", text)
    assert lines
    for line in lines:
        _, name, *words = shlex.split(line)
        command = taihu.get_command(click.Context(taihu), name)
        assert command is not None, line
        while isinstance(command, click.Group):
            name, *words = words
            command = command.get_command(click.Context(command), name)
            assert command is not None, line
        context = click.Context(command, info_name=name, resilient_parsing=True)
        command.make_parser(context).parse_args(list(words))  # raises NoSuchOption


def test_the_mapping_of_statestream() -> None:
    page = (DOCS / "migrating.md").read_text("utf-8")
    block = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert block is not None and tomllib.loads(block[1])
    matcher = Matcher((*load_mappings(block[1], "migrating.md"), *builtin_mappings()), "home")
    match = matcher.match("homeassistant/sensor/kitchen_temperature/state")
    assert match is not None
    (row,) = match.decoder(None)(b"21.5", 0)
    assert isinstance(row, Row)
    assert (match.thing, row.values) == ("kitchen_temperature", {"state": 21.5})
