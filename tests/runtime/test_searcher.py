"""A search that reads heads alone finds what one over whole descriptions finds."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.runtime.support import NOW_NS

from taihu.identity.descriptions import Registered
from taihu.identity.directory import Directory
from taihu.identity.principal import Project
from taihu.kernel.clock import SimClock
from taihu.runtime.serving import searcher
from taihu.runtime.serving.heads import picks_by_heads, reads_heads
from taihu.runtime.serving.searcher import Search, find
from taihu.things.description import HEADING, build_description, heading
from taihu.things.property import Property, Thing

BASE = "http://127.0.0.1:1/api/v1/projects/plant/things"
THINGS = [
    Thing(name="pump-1", title="Pump", site="north", tags=("wet", "old"), properties={"power": Property(name="power")}),
    Thing(name="pump-2", title="Pump", building="hall", groups=("all",), inferred=True),
    Thing(name="fan", role="air", parent="pump-1", created_at=NOW_NS),
]
LAMP = {"id": "urn:x:lamp", "title": "Lamp", "taihu:site": "south", "taihu:tags": ["wet"], "properties": {"on": {}}}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    path: Path = tmp_path_factory.mktemp("searched") / "metadata.db"
    made = Directory(path, SimClock(NOW_NS))
    made.create_project(Project(name="plant"))
    made.create_things("plant", THINGS)
    made.register(
        "plant", Thing(name="lamp", registered_id="urn:x:lamp"), Registered(document=msgspec.json.encode(LAMP))
    )
    yield made
    made.close()


@pytest.mark.parametrize(
    ("query", "picks", "alone"),
    [
        ("$[*].title", False, True),
        ("$[*]['title', 'taihu:site', 'id']", False, True),
        ("$[*]['taihu:tags'][?@ == 'wet']", False, True),
        ("$[*].properties", False, False),
        ("$[*]", False, False),
        ("$[*]..title", False, False),
        ("$[?@.title == 'Pump']", True, False),
        ("$[?@.title == 'Pump'].title", True, False),
        ("$[?@['taihu:site'] && !@['taihu:inferred']].properties", True, False),
        ("$[?match(@['taihu:name'], 'pump-.')].id", True, False),
        ("$[?count(@['taihu:tags'][*]) > 1]", True, False),
        ("$[?@['taihu:tags'][?@ == 'wet']].title", True, False),
        ("$[?@.title == @['taihu:name']]", True, False),
        ("$[?@.title == 'Lamp' || @.properties.power].title", False, False),
        ("$[?@.properties.power].title", False, False),
        ("$[?@..title]", False, False),
        ("$[?@[?@ == 'Pump']].title", False, False),
        ("$[?@.*].title", False, False),
        ("$[?@].title", False, False),
        ("$[?@.title, ?@.id].title", False, False),
        ("$[?@.nothing].title", False, False),
    ],
)
def test_heads_say_what_descriptions_say(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, query: str, picks: bool, alone: bool
) -> None:
    from jsonpath_rfc9535 import JSONPathEnvironment

    compiled = JSONPathEnvironment().compile(query)
    assert (picks_by_heads(compiled.segments[0]), reads_heads(compiled)) == (picks, alone)
    search = Search("plant", query, BASE, "", NOW_NS, 1_000_000)
    by_heads = find(directory, search)
    monkeypatch.setattr(searcher, "picks_by_heads", lambda segment: False)
    monkeypatch.setattr(searcher, "reads_heads", lambda query: False)
    assert by_heads == find(directory, search)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.name)
def test_a_heading_is_of_its_description(thing: Thing) -> None:
    """And all of the description that has these names."""
    document = build_description("plant", thing, None, BASE, "mqtt://127.0.0.1:1")
    assert heading("plant", thing) == {name: value for name, value in document.items() if name in HEADING}
