"""What ThingsBoard gives: telemetry as JSON from its REST API, and its `ts_kv` table as CSV from PostgreSQL.

`ts_kv` names devices by UUID and keys by number: two small CSV files beside it, of the tables `device` and
`key_dictionary` (or `ts_kv_dictionary`), say what they are called.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from taihu.cli.transfer.csvfile import Records, dictionary
from taihu.cli.transfer.rows import Item, Refused, Row, SourceRefused, Text
from taihu.cli.transfer.values import BadValue, moment
from taihu.things.property import Thing

_VALUES = ("bool_v", "str_v", "long_v", "dbl_v", "json_v")


class _Point(msgspec.Struct):
    ts: int | str
    value: object = None


class TelemetryJson:
    """`{"temperature": [{"ts": 1700000000000, "value": "21.5"}, …], …}`: the time series of one device.

    The file is held in memory; what the REST API gives at once fits.
    """

    def __init__(self, path: Path, thing: str) -> None:
        if not thing:
            raise SourceRefused("The file does not say whose telemetry it is:", "name the thing with --thing.")
        try:
            self._series = msgspec.json.decode(path.read_bytes(), type=dict[str, list[_Point]])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SourceRefused(f"{path} is no telemetry of ThingsBoard ({error}):", "name another file.") from None
        self.skipped = 0
        self._thing = thing
        self.total = sum(map(len, self._series.values()))
        self._done = 0

    def about(self, thing: str) -> Thing | None:
        return None

    def items(self, after: int) -> Iterator[Item]:
        number = 0
        for name, points in self._series.items():
            for place, point in enumerate(points, 1):
                number += 1
                self._done = number
                if number <= after:
                    continue
                where = f"{name}, entry {place}"
                try:
                    observed_at = moment(point.ts, None)
                except BadValue as error:
                    yield Refused(number, where, self._thing, name, str(error))
                    continue
                value = Text(point.value) if isinstance(point.value, str) else point.value
                yield Row(number, where, self._thing, observed_at, {} if value in (None, "") else {name: value})

    def done(self) -> int:
        return self._done


class TsKv(Records):
    """The table `ts_kv`: entity_id, key, ts and one of bool_v, str_v, long_v, dbl_v and json_v."""

    def __init__(self, path: Path, devices: Path | None, keys: Path | None) -> None:
        super().__init__(path)
        self._devices = dictionary(devices, ("id", "entity_id"), ("name",)) if devices else {}
        self._keys = dictionary(keys, ("key_id",), ("key",)) if keys else {}
        try:
            self._places = {name: self.headings.index(name) for name in ("entity_id", "key", "ts")}
        except ValueError:
            raise SourceRefused(f"{path} is no ts_kv:", "export it with headings: COPY … WITH CSV HEADER.") from None
        self._values = [self.headings.index(name) for name in _VALUES if name in self.headings]

    def read(self, number: int, where: str, record: Sequence[str]) -> list[Item]:
        if len(record) != len(self.headings):
            return [Refused(number, where, "", "", f"it has {len(record)} cells, the first line {len(self.headings)}")]
        device, key = (record[self._places[name]] for name in ("entity_id", "key"))
        thing, name = self._devices.get(device, device), self._keys.get(key, key)
        if name.isdigit() and not self._keys:
            return [
                Refused(number, where, thing, name, "the key is a number: name the table key_dictionary with --keys")
            ]
        text = next((record[place] for place in self._values if record[place]), "")
        if not text:
            return []
        try:
            observed_at = moment(record[self._places["ts"]], None)
        except BadValue as error:
            return [Refused(number, where, thing, name, str(error))]
        return [Row(number, where, thing, observed_at, {name: Text(text)})]
