"""Make the table of SunSpec models from the models that pysunspec2 carries.

Usage: python tools/sunspec_models.py src/taihu/drivers/modbus/sunspec.json

pysunspec2 (PyPI, Apache-2.0) has the SunSpec Alliance's models as JSON. Kept are the fixed points of models for
inverters, meters, batteries and their controls: name, label, offset, type, size, unit, scale factor, access.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MODELS = (
    1, 101, 102, 103, 111, 112, 113, 120, 121, 122, 123, 124, 160, 201, 202, 203, 204, 211, 212, 213, 214, 701, 704,
    713, 802,
)  # fmt: skip
SCALED = {"int16", "uint16", "int32", "uint32", "int64", "uint64", "acc32", "acc64", "enum16", "bitfield16"}


def main() -> None:
    spec = find_spec("sunspec2")
    assert spec is not None and spec.origin is not None, "pip install pysunspec2"
    folder = Path(spec.origin).parent / "models" / "json"
    models = {str(number): model(json.loads((folder / f"model_{number}.json").read_text())) for number in MODELS}
    target = Path(sys.argv[1])
    target.write_text(json.dumps(models, separators=(",", ":")) + "\n")
    print(f"{target}: {len(models)} models, {sum(len(one['points']) for one in models.values())} points")


def model(content: dict[str, Any]) -> dict[str, Any]:
    group = content["group"]
    offset = 0
    points = []
    for point in group["points"]:
        entry = {"name": point["name"], "at": offset, "type": point["type"], "size": point["size"]}
        for source, name in (("label", "label"), ("units", "unit"), ("sf", "sf")):
            if point.get(source) not in (None, ""):
                entry[name] = point[source]
        if point.get("access") == "RW":
            entry["write"] = True
        if symbols := point.get("symbols"):
            entry["symbols"] = {str(one["value"]): one["name"] for one in symbols}
        points.append(entry)
        offset += point["size"]
    return {"label": group.get("label", group["name"]), "points": points}


if __name__ == "__main__":
    main()
