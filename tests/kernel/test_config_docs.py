"""docs/configuration.md has a heading for every setting, with its default, and for nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec

from taihu.kernel.sections import SiteFile

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")


def settings(table: type[msgspec.Struct], before: str = "") -> Iterator[tuple[str, str]]:
    """The name of each setting below `table`, and what the page must say of its default."""
    for field in msgspec.structs.fields(table):
        name = f"{before}{field.encode_name}"
        below = (get_args(field.type) or (field.type,))[0]
        if isinstance(below, type) and issubclass(below, msgspec.Struct):
            yield from settings(below, f"{name}.")
        elif field.required:
            yield name, "Required."
        elif field.default is None:
            yield name, "Default: none."
        else:
            yield name, f"Default: `{msgspec.json.encode(field.default).decode()}`."


def test_every_setting_has_its_heading_and_its_default() -> None:
    sections = dict(re.findall(r"^### (\S+)\n\n(.+)$", PAGE, flags=re.MULTILINE))
    wanted = dict(settings(SiteFile))
    assert sorted(wanted) == sorted(sections)
    assert {name: text for name, text in wanted.items() if not sections[name].startswith(text)} == {}
