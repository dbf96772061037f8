"""Which retained and queued messages carry what is deleted; in doubt they do."""

import pytest

from taihu.runtime.deletion.carried import Carried
from taihu.things.deletion import TIME_MAX, TIME_MIN, Deletion
from taihu.things.mapping.matcher import Matcher
from taihu.things.mapping.rules import Format, Mapping, builtin_mappings

S = 1_000_000_000
OWN = Mapping(name="own", topic="hall/{thing}/raw", format=Format.FLAT_JSON)
SHARED = Mapping(name="shared", topic="hall/all", format=Format.FLAT_JSON)


def carries(
    topic: str, payload: bytes, *, thing: str = "pump", name: str = "", start: int = TIME_MIN, end: int = TIME_MAX
) -> bool:
    deletion = Deletion(id="d", project="plant", thing=thing, property=name, start=start, end=end)
    return Carried(Matcher((OWN, SHARED, *builtin_mappings()), "plant"), deletion)(topic, payload)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("taihu/plant/pump", b'{"power": 1}'),
        ("taihu/plant/pump/power", b"1"),
        ("taihu/plant/pump", b"no JSON at all"),
        ("senml/plant", b'[{"bn": "fan", "n": "power", "v": 2}, {"bn": "pump", "n": "power", "v": 1}]'),
        ("hall/pump/raw", b'{"power": 1}'),
        ("hall/all", b'{"power": 1}'),  # whoever sent it: nobody can tell any more
    ],
)
def test_it_does(topic: str, payload: bytes) -> None:
    assert carries(topic, payload)
    assert carries(topic, payload, thing="")


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("taihu/plant/fan", b'{"power": 1}'),
        ("taihu/other/pump", b'{"power": 1}'),
        ("senml/plant", b'[{"bn": "fan", "n": "power", "v": 2}]'),
        ("free/pump", b'{"power": 1}'),
    ],
)
def test_it_does_not(topic: str, payload: bytes) -> None:
    assert not carries(topic, payload)


def test_property_and_time_are_told_by_the_payload() -> None:
    timed = b'{"ts": 1700000000000, "power": 1}'
    assert carries("taihu/plant/pump", timed, name="power")
    assert not carries("taihu/plant/pump", timed, name="level")
    assert not carries("taihu/plant/pump/power", b"1", name="level")
    assert not carries("taihu/plant/pump", timed, start=0, end=5 * S)
    assert carries("taihu/plant/pump", timed, start=0, end=1_700_000_001 * S)
    relative = b'[{"bn": "pump", "n": "power", "v": 1, "t": -5}]'
    assert carries("senml/plant", relative, start=0, end=1)
    assert carries("taihu/plant/pump", b'{"power": 1}', start=0, end=1)  # its time is that of its arrival
