"""Both languages say everything, with the same places to fill."""

import ast
from pathlib import Path
from string import Formatter

import taihu.console
from taihu.console.model import HOUSE_THINGS, STATES
from taihu.console.poller import Link
from taihu.console.texts import LANGUAGES, TEXTS, WEEKDAYS, text

SOURCES = sorted(Path(taihu.console.__file__).parent.glob("*.py"))


def places(words: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(words) if name is not None}


def test_every_key_is_said_in_every_language_with_the_same_places() -> None:
    for key, words in TEXTS.items():
        assert len(words) == len(LANGUAGES), key
        assert all(said.strip() for said in words), key
        assert len({frozenset(places(said)) for said in words}) == 1, key


def test_chinese_is_chinese() -> None:
    plain = [
        key
        for key in TEXTS
        if not any("\u4e00" <= sign <= "\u9fff" for sign in text("zh", key, **dict.fromkeys(places(TEXTS[key][1]), 1)))
    ]
    assert plain == []


def test_weekdays_are_seven() -> None:
    assert [len(WEEKDAYS[language]) for language in LANGUAGES] == [7, 7]


def test_every_key_the_pages_ask_for_is_there() -> None:
    asked = {*STATES, *HOUSE_THINGS, *map(str, Link)} | {f"notice_{link}" for link in Link if link != Link.CONNECTED}
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "text":
                key = node.args[1]
                for part in ast.walk(key):
                    if (
                        isinstance(part, ast.Constant)
                        and isinstance(part.value, str)
                        and not isinstance(key, ast.JoinedStr)
                    ):
                        asked.add(part.value)
    assert asked - {"never", "s"} - TEXTS.keys() == set()
