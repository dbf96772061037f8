"""A host that hears with pysparkplug, for the tests: prints each message as JSON, publishes what it is told.

`python hearer.py PORT`; lines on its input: `rebirth`, or `speed VALUE`, or `state true|false TIMESTAMP`.
"""

import json
import sys
from importlib import import_module
from typing import Any

from paho.mqtt.client import Client

spb: Any = import_module("pysparkplug") if __name__ == "__main__" else None
KINDS = {
    "NBIRTH": "NBirth",
    "DBIRTH": "DBirth",
    "NDATA": "NData",
    "DDATA": "DData",
    "DDEATH": "DDeath",
    "NDEATH": "NDeath",
}
births: dict[str, Any] = {}


def hear(client: Client, _: object, message: Any) -> None:
    parts = message.topic.split("/")
    kind = parts[2]
    if kind not in KINDS:
        return
    source = "/".join(parts[3:])
    birth = births.get(source)
    payload = getattr(spb, KINDS[kind]).decode(message.payload, **({"birth": birth} if kind.endswith("DATA") else {}))
    if kind.endswith("BIRTH"):
        births[source] = payload
    said = {"kind": kind, "source": source, "seq": getattr(payload, "seq", None), "retain": message.retain}
    if kind == "NDEATH":
        said["metrics"] = {"bdSeq": payload.bd_seq_metric.value}
    else:
        said["metrics"] = {one.name or alias(birth, one): one.value for one in getattr(payload, "metrics", ())}
        said["historical"] = [one.is_historical for one in getattr(payload, "metrics", ())]
        said["types"] = {one.name: one.datatype.name for one in getattr(payload, "metrics", ())}
    print(json.dumps(said), flush=True)


def alias(birth: Any, metric: Any) -> str:
    return next((one.name for one in birth.metrics if one.alias == metric.alias), "?")


def main() -> None:
    client = Client("hearer")
    client.on_message = hear
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.connect("127.0.0.1", int(sys.argv[1]))
    client.subscribe("spBv1.0/#", 1)
    client.loop_start()
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "rebirth":
            metric = spb.Metric(timestamp=1, name="Node Control/Rebirth", datatype=spb.DataType.BOOLEAN, value=True)
            client.publish("spBv1.0/plant/NCMD/centre", spb.NCmd(1, [metric]).encode(include_dtypes=True))
        elif word == "speed":
            metric = spb.Metric(timestamp=1, name="speed", datatype=spb.DataType.DOUBLE, value=float(rest[0]))
            client.publish("spBv1.0/plant/DCMD/centre/pump", spb.DCmd(1, [metric]).encode(include_dtypes=True))
        else:
            state = {"online": rest[0] == "true", "timestamp": int(rest[1])}
            client.publish("spBv1.0/STATE/scada", json.dumps(state), 1, True)


if __name__ == "__main__":
    main()
