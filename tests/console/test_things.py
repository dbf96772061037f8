"""The table of things: everything that comes from outside is escaped, units and ages are said."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from taihu.console.answers import Newest, Project, Thing
from taihu.console.model import View
from taihu.console.things import table_rows

PROJECT = Project("site", "Works", things=2)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)


def view(*values: Newest, things: tuple[Thing, ...] = (Thing("meter", state="late"),)) -> View:
    return View(PROJECT, things, values)


def test_a_row_says_value_unit_age_and_quality() -> None:
    newest = Newest("meter", "power", -1.5, unit="kW", quality="suspect", age_s=190.0)
    (row,) = table_rows("zh", view(newest))
    for words in ("power", "−1.5", "kW", "3 分钟前", "可疑", "迟到"):
        assert words in row


def test_an_undeclared_unit_a_stale_value_and_a_thing_without_values_say_so() -> None:
    newest = Newest("meter", "power", 1.0, stale=True, age_s=9_000.0)
    first, second = table_rows("en", view(newest, things=(Thing("meter"), Thing("pv"))))
    assert "undeclared" in first
    assert "stale" in first
    assert "no value yet" in second


def test_the_filter_finds_projects_things_and_properties() -> None:
    values = (Newest("meter", "power", 1.0), Newest("meter", "energy", 2.0), Newest("pv", "power", 3.0))
    shown = view(*values, things=(Thing("meter", title="Main"), Thing("pv")))
    assert len(table_rows("en", shown, "works")) == 2
    assert len(table_rows("en", shown, "main")) == 1
    (row,) = table_rows("en", shown, "energy")
    assert "energy" in row
    assert "power" not in row
    assert table_rows("en", shown, "nothing") == []


@given(st.text(max_size=30), st.text(max_size=30), st.one_of(st.text(max_size=90), st.lists(st.text(max_size=9))))
def test_no_words_from_outside_become_markup(name: str, title: str, given: object) -> None:
    newest = Newest(name, title, given, unit=title, quality=title)
    parser = Tags()
    parser.feed("".join(table_rows("en", view(newest, things=(Thing(name, title=title, state=title),)))))
    assert parser.found <= {"tbody", "tr", "th", "td", "b", "small", "span"}
