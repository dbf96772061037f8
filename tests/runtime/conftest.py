"""One node in processes of its own, for all tests of its HTTP door."""

from collections.abc import Iterator

import pytest
from tests.faults.support import LiveNode

MODEL = """{
  "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"taihu": "urn:taihu:ns#"}],
  "@type": "tm:ThingModel", "title": "Meter",
  "properties": {
    "power_kw": {"type": "number", "unit": "kW", "minimum": -100, "maximum": 100},
    "energy_kwh": {"type": "number", "unit": "kW.h", "taihu:kind": "counter"},
    "mode": {"type": "string", "enum": ["on", "off"], "taihu:kind": "state"},
    "setpoint": {"type": "number", "unit": "Cel", "minimum": 5, "maximum": 30, "readOnly": false},
    "quiet": {"type": "boolean", "observable": false}
  },
  "actions": {"blink": {"input": {"type": "integer", "maximum": 5}, "output": {"type": "integer"}}},
  "events": {"trip": {"title": "Breaker trip", "data": {"type": "integer"}}, "door": {"data": {"type": "string"}}}
}
"""


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """Project `plant` with a modelled meter and plain things, and a second project that holds no grant."""
    folder = tmp_path_factory.mktemp("node") / "site"
    folder.mkdir()
    (folder / "meter.tm.json").write_text(MODEL)
    live = LiveNode(
        folder,
        ["pump", "fan"],
        {"http_body_bytes_max": 1_000_000, "http_request_timeout_s": 3.0, "flush_rows": 50},
        things="".join(
            f'[[project.thing]]\nname = "{name}"\nmodel = "meter.tm.json"\n' for name in ("meter", "boiler")
        ),
        more='[[project]]\nname = "other"\n[[project.thing]]\nname = "pump"\n',
    )
    live.start()
    yield live
    live.stop()
