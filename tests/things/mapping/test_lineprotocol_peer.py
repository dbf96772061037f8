"""Line protocol as InfluxDB itself reads it: the same lines taken, and the same values found."""

import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from bench.peers import Absent
from bench.people import influxd

from taihu.things.mapping.lineprotocol import BadLine, Point, Series, parse_lines

LINES = [
    "m f=1 10", "m,b=2,a=1 f=1i,g=-3i 10", "m f=t,g=T,h=true,i=True,j=TRUE 10",
    "m f=f,g=F,h=false,i=False,j=FALSE 10", "m a=1.,c=-1e3,d=2E-1,e=00.5 10", "m a=.5 10", "m a=+1 10", "m a=1e+2 10",
    "m a=- 10", "m a=. 10", "m a=1e 10", "m a=e1 10", r"my\ m\,x=y,t\=\ a=\,v f\=\ =1 10", r"m\=x f=1 10",
    r"m\\,x,t=c:\dir\\x f=1 10", r"m,t=a\\ f=1 10", r"m,t=a\ f=1 10", 'm f="a b,c=d",g="say \\"hi\\" \\x" 5',
    r'm f="a\\b" 5', 'm f="two\nlines" 7', 'm,t="q" f="" 7', 'm,t="q x" f=1 7', "  m   f=1   10  ", "m f=1 10\r",
    "wetter,ort=Zürich grad=1 10", "m f=1 -10", "m f=1 0", "m", ",t=1 f=1", "m,=1 f=1", "m,t= f=1", "m,t f=1",
    "m,t=1=2 f=1", "m =1", "m f=1,", "m f", "m f=", "m f=1_0", "m f=nan", "m f=-inf", "m f=0x10", "m f=1.5i",
    "m f=9223372036854775808i", "m f=-9223372036854775808i 10", "m f=tRUE", 'm f="open', 'm f="a"b', "m f=1 soon",
    "m f=1 1 1", "m f=1 1.5", "m f=1 9223372036854775808", "m f=1e999", "#m f=1", "m,t=1 f=1,g=2i,h=t 10",
    "m ,t=1 f=1", "m, t=1 f=1", "m f= 1", "m f=1 ,g=2", "m f=1, g=2", "m,a=b, f=1", "m f=tr", "m f=x", "m f='x' 10",
    'm "f"=1 10', 'm f"=1 10', "m,a=b,c f=1", "m f==1", "m\tf=1", "m f=1\t10", "m f=1i1", "m f=1ii", "m f=i",
    "m f=--1",
]  # fmt: skip
OTHERWISE = {
    "m f=1 10\r": "they take the carriage return of a Windows line end for a part of the time",
    r"m\\,x,t=c:\dir\\x f=1 10": "they take it and do not find it again",
    'm f="a"b': "they take it and lose the end of the text",
    "m f=9223372036854775808i": "their words are those of their language",
    "m f=1 9223372036854775808": "their words are those of their language",
    "m f=1 1 1": "their words are those of their language",
}
"""Lines of which it is told otherwise on purpose, and why."""


class Influx:
    """An InfluxDB server."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._databases = 0

    def ask(self, method: str, path: str, body: bytes = b"", **parameters: str) -> tuple[int, Any]:
        self._connection.request(method, f"{path}?{urlencode(parameters)}", body)
        answer = self._connection.getresponse()
        data = answer.read()
        return answer.status, msgspec.json.decode(data) if data else None

    def take(self, line: str) -> Point | str | None:
        """What it finds in a fresh database after the line was written, or what it says is wrong."""
        self._databases += 1
        name = f"d{self._databases}"
        self.ask("POST", "/query", q=f"CREATE DATABASE {name}")
        status, body = self.ask("POST", "/write", line.encode(), db=name)
        if status != 204:
            return str(body["error"])
        answer = self.ask("GET", "/query", db=name, epoch="ns", q="SELECT * FROM /.*/ GROUP BY *")
        (result,) = answer[1]["results"]
        if "series" not in result:
            return None
        (series,) = result["series"]
        row = dict(zip(series["columns"], series["values"][0], strict=True))
        time = row.pop("time")
        return Point(Series(series["name"], tuple(series.get("tags", {}).items())), row, time)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx]:
    try:
        with influxd(tmp_path_factory.mktemp("influx")) as (port, _):
            server = Influx(port)
            yield server
            server.close()
    except Absent as absent:
        pytest.skip(str(absent))


def test_influxdb_takes_and_finds_the_same(influx: Influx) -> None:
    differences = {}
    for line in LINES:
        theirs = influx.take(line)
        found = next(parse_lines(line.encode()), None)
        ours: Point | str | None = str(found) if isinstance(found, BadLine) else found
        if isinstance(ours, Point):
            ours = ours._replace(series=Series(ours.series.measurement, tuple(sorted(ours.series.tags))))
            if isinstance(theirs, Point) and ours.time is None:
                theirs = theirs._replace(time=None)  # theirs is the moment of receipt
        if ours != theirs:
            differences[line] = (ours, theirs)
    assert {line: both for line, both in differences.items() if line not in OTHERWISE} == {}
    assert set(differences) == set(OTHERWISE)
