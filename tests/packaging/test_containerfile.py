"""The container file builds from what is there, runs as nobody in particular, and starts commands there are."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import click

from taihu.cli.main import taihu

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its words, continuation lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Containerfile").read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]


def last(name: str) -> str:
    return next(words for word, words in reversed(instructions()) if word == name)


def test_it_runs_without_rights_of_its_own() -> None:
    names = [word for word, _ in instructions()]
    final = names[len(names) - 1 - names[::-1].index("FROM") :]
    assert last("USER") == "10001", "a number, so that a cluster can check that it is not root"
    assert final.index("USER") > max(place for place, word in enumerate(final) if word == "RUN")
    assert last("VOLUME") == last("WORKDIR") == "/site"


def test_every_image_has_its_version() -> None:
    for word, words in instructions():
        assert word != "FROM" or re.match(r"docker\.io/library/python:3\.\d+-slim( AS \w+)?$", words), words
        assert word != "ADD"


def test_what_it_copies_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".containerignore").read_text("utf-8").split()
    for word, words in instructions():
        if word == "COPY" and not words.startswith("--from"):
            for name in words.split()[:-1]:
                assert (ROOT / name).exists(), name
                assert f"!{name}" in ignored and not any(fnmatch(name, each) for each in ignored[1:] if each[0] != "!")


def test_what_it_starts_are_commands() -> None:
    health = json.loads(re.sub(r"^.*?CMD ", "", last("HEALTHCHECK")))
    entry, command = json.loads(last("ENTRYPOINT")), json.loads(last("CMD"))
    context = click.Context(taihu)
    for words in (health, [*entry, *command]):
        assert words[0] == "taihu"
        found = taihu.get_command(context, words[1])
        assert found is not None
        found.make_context(words[1], list(words[2:]))
