"""Sites, meters and the asset tree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.things.property import Thing
from taihu.things.topology import ROLE_MAIN_METER, ROLE_SUBMETER, Topology, TopologyError

MAIN = Thing(name="main", site="plant", role=ROLE_MAIN_METER)
LINE = Thing(name="line", site="plant", building="hall", role=ROLE_SUBMETER, parent="main", tags=("vital",))
OVEN = Thing(name="oven", site="plant", building="hall", parent="line", groups=("flexible", "flexible"))
OFFICE = Thing(name="office", site="plant", building="office", role=ROLE_SUBMETER)
OTHER = Thing(name="pump", site="well", groups=("flexible",))


def plant() -> Topology:
    return Topology([OVEN, LINE, MAIN, OFFICE, OTHER])


def test_tree() -> None:
    topology = plant()
    assert topology.children("main") == ["line"]
    assert topology.descendants("main") == ["line", "oven"]
    assert topology.ancestors("oven") == ["line", "main"]
    assert topology.ancestors("nobody") == topology.children("nobody") == topology.descendants("nobody") == []


def test_meters() -> None:
    topology = plant()
    assert topology.main_meter("plant") == "main"
    assert topology.main_meter("well") is None
    assert topology.submeters("main") == ["line", "office"]
    assert topology.submeters("line") == []


def test_selection() -> None:
    topology = plant()
    assert topology.sites() == ["plant", "well"]
    assert topology.select() == ["line", "main", "office", "oven", "pump"]
    assert topology.select(group="flexible") == ["oven", "pump"]
    assert topology.select(site="plant", group="flexible") == ["oven"]
    assert topology.select(tag="vital") == ["line"]
    assert topology.select(site="plant", building="hall", role=ROLE_SUBMETER) == ["line"]
    assert topology.select(site="nowhere") == topology.select(site="well", tag="vital") == []


def test_replacing_and_removing_leave_no_trace() -> None:
    topology = plant()
    topology.put(Thing(name="oven", site="well"))
    assert topology.children("line") == topology.select(site="plant", group="flexible") == []
    for name in ("main", "line", "oven", "office", "pump", "nobody"):
        topology.remove(name)
    assert topology.sites() == topology.select() == topology.select(tag="vital") == []
    assert topology.main_meter("plant") is None
    topology.put(Thing(name="new", site="plant", role=ROLE_MAIN_METER))
    assert topology.main_meter("plant") == "new"


def test_a_circle_is_refused_and_changes_nothing() -> None:
    topology = plant()
    with pytest.raises(TopologyError, match="main in oven in line in main") as caught:
        topology.put(Thing(name="main", site="plant", role=ROLE_MAIN_METER, parent="oven"))
    assert caught.value.remedy
    assert topology.ancestors("oven") == ["line", "main"]
    with pytest.raises(TopologyError, match="x in x"):
        topology.put(Thing(name="x", parent="x"))
    assert topology.select(role=ROLE_MAIN_METER) == ["main"]


def test_a_long_circle_is_named_in_short() -> None:
    topology = Topology(Thing(name=str(row), parent=str(row + 1)) for row in range(1000))
    with pytest.raises(TopologyError) as caught:
        topology.put(Thing(name="1000", parent="0"))
    assert len(str(caught.value)) < 200


def test_a_second_main_meter_is_refused() -> None:
    topology = plant()
    with pytest.raises(TopologyError, match="already has the main meter 'main'"):
        topology.put(Thing(name="second", site="plant", role=ROLE_MAIN_METER))
    topology.put(MAIN)
    topology.put(Thing(name="free", role=ROLE_MAIN_METER))
    assert topology.main_meter("plant") == "main"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 9)), max_size=40))
def test_no_sequence_of_changes_makes_a_circle(changes: list[tuple[int, int]]) -> None:
    topology = Topology()
    parents: dict[str, str] = {}
    for child, parent in changes:
        name, above = str(child), "" if parent < 0 else str(parent)
        try:
            topology.put(Thing(name=name, parent=above))
        except TopologyError:
            continue
        parents[name] = above
    for name in parents:
        assert name not in topology.ancestors(name)
        assert name not in topology.descendants(name)
        assert all(parents[child] == name for child in topology.children(name))
