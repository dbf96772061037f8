"""An edge node for the tests: pysparkplug's. `python node.py PORT`; it repeats what it is commanded."""

import sys
import time
from importlib import import_module
from typing import Any

spb: Any = import_module("pysparkplug") if __name__ == "__main__" else None


def metric(name: str, kind: Any, value: Any) -> Any:
    return spb.Metric(timestamp=int(time.time() * 1e3), name=name, datatype=kind, value=value)


def obey(node: Any, message: Any) -> None:
    for one in message.payload.metrics:
        node.update_device("pump", [metric(one.name, spb.DataType.DOUBLE, one.value)])


def main() -> None:
    node = spb.EdgeNode("plant", "line", [metric("load", spb.DataType.FLOAT, 0.25)])
    pump = [
        metric("setpoint", spb.DataType.DOUBLE, 5.5),
        metric("count", spb.DataType.INT16, -7),
        metric("levels", spb.DataType.FLOAT_ARRAY, (1.5, 2.5)),
    ]
    node.register(spb.Device("pump", pump, cmd_callback=obey))
    node.connect("127.0.0.1", port=int(sys.argv[1]))
    print("ready", flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main()
