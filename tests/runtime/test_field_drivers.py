"""Devices of several protocols behind one node: found, read, kept, and commanded, each by its own driver."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.drivers.conformance import Peer
from tests.runtime.test_field import SITE, until
from tests.supervised import SupervisedNode

from taihu.cli.client import NodeClient
from taihu.cli.main import run

DRIVERS = Path(__file__).parents[1] / "drivers"


def opcua() -> Any:
    from tests.drivers.opcua.support import Peer as OpcuaPeer

    return OpcuaPeer()


class Case(NamedTuple):
    """A peer, where it is, and a property of a thing that is set to another value."""

    needs: str
    peer: Callable[[], Any]
    url: str
    thing: str
    property: str
    before: float
    after: float
    options: tuple[str, ...] = ()


CASES = {
    "http": Case("httptools", lambda: Peer(DRIVERS / "http" / "peer.py"), "http://127.0.0.1:{port}/td",
                 "boiler", "setpoint", 20.0, 18.5),
    "coap": Case("aiocoap", lambda: Peer(DRIVERS / "coap" / "peer.py"), "coap://127.0.0.1:{port}/td",
                 "boiler", "setpoint", 20.0, 18.5),
    "bacnet": Case("bacpypes3", lambda: Peer(DRIVERS / "bacnet" / "peer.py"), "bacnet://127.0.0.1:{port}/599",
                   "bacnet", "set.point", 20.0, 18.5),
    "opcua": Case("asyncua", opcua, "opc.tcp://127.0.0.1:{port}/plant/",
                  "Boiler", "Setpoint", 60.0, 72.5, ("--option", "security=None")),
}  # fmt: skip


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, NodeClient]]:
    site = tmp_path_factory.mktemp("site")
    node = SupervisedNode(site, SITE)
    yield site, node.operator("roof")
    node.stop()


@pytest.mark.parametrize("name", CASES)
def test_a_device_is_found_read_kept_and_commanded(name: str, node: tuple[Path, NodeClient]) -> None:
    case = CASES[name]
    if find_spec(case.needs) is None:
        pytest.skip(f"{case.needs} is not installed (the extra {name})")
    site, roof = node
    peer = case.peer()

    def newest(what: str) -> Any:
        found = roof.get("projects", "roof", "values", thing=case.thing, property=what)["values"]
        return found[0] if found else None

    try:
        url = case.url.format(port=peer.port)
        given = ["--project", "roof", "--name", name, "--period", "0.2", "--site", str(site)]
        assert run(["add", url, *given, *case.options]) == 0
        until(lambda: (newest(case.property) or {}).get("value") == case.before)
        assert newest(case.property)["quality"] == "good"
        until(lambda: roof.get("projects", "roof", "history", thing=case.thing, property=case.property)["readings"])
        body = {"thing": case.thing, "property": case.property, "input": case.after, "wait_s": 10}
        steps = roof.post("projects", "roof", "commands", body=body)["steps"]
        assert [step["state"] for step in steps] == ["queued", "permitted", "sent", "done"]
        until(lambda: newest(case.property)["value"] == case.after)
        if name == "opcua":
            doubtful = until(lambda: newest("Doubtful"))
            assert (doubtful["value"], doubtful["quality"]) == (7.5, "suspect")
        assert run(["disconnect", name, "--site", str(site)]) == 0
    finally:
        peer.stop()
