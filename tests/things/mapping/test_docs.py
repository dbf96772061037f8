"""docs/mappings.md says what the code does."""

import re
from pathlib import Path

import msgspec

import taihu.things.mapping
from taihu.things.mapping.rules import BaseName, Format, Mapping, Nested, builtin_mappings, load_mappings

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "mappings.md").read_text("utf-8")
SOURCES = sorted(Path(taihu.things.mapping.__path__[0]).glob("*.py"))


def test_every_key_has_its_heading() -> None:
    assert re.findall(r"^### (\w+)$", TEXT, re.MULTILINE) == sorted(
        (field.encode_name for field in msgspec.structs.fields(Mapping)),
        key=["name", "version", "topic", "thing", "property", "format", "time", "nested", "base_name", "kind", "rename",
             "units", "thing_tags", "ignore_tags"].index,
    )  # fmt: skip


def test_every_choice_is_named() -> None:
    for choice in (*Format, *Nested, *BaseName):
        assert f"`{choice}`" in TEXT


def test_every_built_in_topic_is_listed() -> None:
    assert re.findall(r"^\| `([^`]*/[^`]*)` \|", TEXT, re.MULTILINE) == [
        mapping.topic for mapping in builtin_mappings()
    ]


def test_every_reason_is_listed() -> None:
    raised = {
        reason for path in SOURCES for reason in re.findall(r'PayloadError\(\s*"([a-z-]+)"', path.read_text("utf-8"))
    }
    assert set(re.findall(r"^\| `([a-z]+-[a-z0-9]+)` \|", TEXT, re.MULTILINE)) == raised


def test_the_examples_load() -> None:
    examples = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert examples
    for example in examples:
        assert load_mappings(example, "docs/mappings.md")
