"""InfluxDB line protocol to points and rows, against the clients that others wrote."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb.line_protocol import make_lines
from influxdb_client import Point as InfluxPoint

from taihu.kernel.limits import Limits
from taihu.things.mapping import PayloadError, lineprotocol
from taihu.things.mapping.lineprotocol import PRECISIONS, BadLine, Point, Series, parse_columns, parse_lines
from taihu.things.mapping.lines import line_lots, line_protocol
from taihu.things.mapping.matcher import Matcher
from taihu.things.mapping.reading import Source
from taihu.things.mapping.rules import Format, Mapping, builtin_mappings
from taihu.things.ports import Refusal, Row

AT = 1_700_000_000_123_456_789


def points(text: str | bytes, unit_ns: int = 1) -> list[Point]:
    found = list(parse_lines(text.encode() if isinstance(text, str) else text, unit_ns))
    assert not [each for each in found if isinstance(each, BadLine)], found
    return [each for each in found if isinstance(each, Point)]


def rows(text: str, topic_thing: str | None = None, own: str | None = None, **rule: Any) -> list[Row | Refusal]:
    mapping = Mapping(name="m", topic="t", format=Format.LINE_PROTOCOL, **rule)
    return line_protocol(Source(mapping, topic_thing, own=own), text.encode(), AT)


@pytest.mark.parametrize(
    ("line", "measurement", "tags", "fields", "time"),
    [
        ("m f=1 10", "m", {}, {"f": 1.0}, 10),
        ("m,b=2,a=1 f=1i,g=2u,h=-3i", "m", {"b": "2", "a": "1"}, {"f": 1, "g": 2, "h": -3}, None),
        ("m f=t,g=T,h=true,i=True,j=TRUE", "m", {}, dict.fromkeys("fghij", True), None),
        ("m f=f,g=F,h=false,i=False,j=FALSE", "m", {}, dict.fromkeys("fghij", False), None),
        ("m a=1.,b=.5,c=-1e3,d=2E-1,e=00.5", "m", {}, {"a": 1.0, "b": 0.5, "c": -1000.0, "d": 0.2, "e": 0.5}, None),
        (r"my\ m\,x=y,t\=\ a=\,v f\=\ =1", "my m,x=y", {"t= a": ",v"}, {"f= ": 1.0}, None),
        (r"m\=x f=1", "m=x", {}, {"f": 1.0}, None),
        (r"m\\,x,t=c:\dir\\x f=1", r"m\,x", {"t": r"c:\dir\\x"}, {"f": 1.0}, None),
        ('m f="a b,c=d",g="say \\"\\\\\\" \\x" -5', "m", {}, {"f": "a b,c=d", "g": 'say "\\" \\x'}, -5),
        ('m f="two\nlines" 7', "m", {}, {"f": "two\nlines"}, 7),
        ('m,t="q" f=""', "m", {"t": '"q"'}, {"f": ""}, None),
        ("  m   f=1   10  \r", "m", {}, {"f": 1.0}, 10),
        ("wetter,ort=Zürich grad=1", "wetter", {"ort": "Zürich"}, {"grad": 1.0}, None),
        ("m f=1,f=2", "m", {}, {"f": 2.0}, None),
        ("m f=18446744073709551615u,g=-9223372036854775808i", "m", {}, {"f": 2**64 - 1, "g": -(2**63)}, None),
    ],
)
def test_a_line_is_read_as_influxdb_reads_it(
    line: str, measurement: str, tags: dict[str, str], fields: dict[str, Any], time: int | None
) -> None:
    (point,) = points(line)
    assert (point.series.measurement, dict(point.series.tags), point.fields, point.time) == (
        measurement, tags, fields, time,
    )  # fmt: skip
    assert [type(value) for value in point.fields.values()] == [type(value) for value in fields.values()]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m", "missing fields"),
        (",t=1 f=1", "missing measurement"),
        ("m,=1 f=1", "missing tag key"),
        ("m,t= f=1", "missing tag value"),
        ("m,t f=1", "missing tag value"),
        ("m,t=1=2 f=1", "invalid tag format"),
        ("m,t=1,t=2 f=1", "duplicate tags"),
        ("m =1", "missing field key"),
        ("m f=1,", "invalid field format"),
        ("m f", "invalid field format"),
        ("m f=", "missing field value"),
        ("m f=1_0", "invalid number"),
        ("m f=nan", "invalid number"),
        ("m f=-inf", "invalid number"),
        ("m f=1e999", "invalid float"),
        ("m f=+1", "invalid boolean"),
        ("m f=0x10", "invalid number"),
        ("m f=\u0661", "invalid boolean"),
        ("m f=1.5i", "invalid number"),
        ("m f=-1u", "invalid number"),
        ("m f=9223372036854775808i", "invalid number"),
        ("m f=18446744073709551616u", "invalid number"),
        ("m f=tRUE", "invalid boolean"),
        ('m f="open', "unbalanced quotes"),
        ('m f="a"b', "invalid field format"),
        ("m f=1 soon", "bad timestamp"),
        ("m f=1 1 1", "bad timestamp"),
        ("m f=1 1.5", "bad timestamp"),
        ("m f=1 9223372036854775808", "time outside range"),
    ],
)
def test_a_bad_line_is_told_in_influxdbs_words_and_the_next_is_read(line: str, reason: str) -> None:
    found = list(parse_lines(f"a x=1 1\n# comment\n\n{line}\nb x=2 2\n".encode()))
    assert [each.number for each in found if isinstance(each, BadLine)] == [4]
    assert str(found[1]) == f"unable to parse '{line}': {reason}"
    assert [each.series.measurement for each in found if isinstance(each, Point)] == ["a", "b"]


def test_lines_are_counted_through_strings_with_line_breaks() -> None:
    found = list(parse_lines(b'm f="a\nb\nc"\nbad\nm f="never closed\nm f=2'))
    assert [each.number for each in found if isinstance(each, BadLine)] == [4, 5]
    assert [each.fields for each in found if isinstance(each, Point)] == [{"f": "a\nb\nc"}, {"f": 2.0}]


@pytest.mark.parametrize(("precision", "time"), [("s", 1_700_000_000), ("ms", 1_700_000_000_000), ("h", 472_222)])
def test_times_count_their_precision(precision: str, time: int) -> None:
    (point,) = points(f"m f=1 {time}", PRECISIONS[precision])
    assert point.time == time * PRECISIONS[precision]


KEY = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\#\"'"), min_size=1, max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=10)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUE = NUMBERS | st.integers(-(2**63), 2**63 - 1) | st.booleans() | TEXT


@given(KEY, st.dictionaries(KEY, KEY, max_size=3), st.dictionaries(KEY, VALUE, min_size=1, max_size=4))
def test_what_influxdbs_own_client_writes_is_read_back(name: str, tags: dict[str, str], fields: dict[str, Any]) -> None:
    """The encoder is the one of the PyPI package influxdb-client."""
    point = InfluxPoint(name).time(AT)
    for key, value in tags.items():
        point.tag(key, value)
    for key, value in fields.items():
        point.field(key, value)
    (found,) = points(point.to_line_protocol())
    assert found == Point(Series(name, tuple(sorted(tags.items()))), fields, AT)
    assert {key: type(value) for key, value in found.fields.items()} == {
        key: type(value) for key, value in fields.items()
    }


def test_what_the_client_of_version_1_writes_is_read_back() -> None:
    """The encoder is the one of the PyPI package influxdb."""
    body = make_lines(
        {
            "tags": {"host": "press 7"},
            "points": [
                {
                    "measurement": "a,b c",
                    "fields": {"x": 1, "y": 2.5, "on": True, "note": 'say "hi" \\ there'},
                    "time": 5,
                },
                {"measurement": "d", "tags": {"t=1": "u,v"}, "fields": {"z": -1.0}, "time": 6},
            ],
        },
        precision="s",
    )
    first, second = points(body, PRECISIONS["s"])
    assert first.series == Series("a,b c", (("host", "press 7"),))
    assert (first.fields, first.time) == (
        {"x": 1, "y": 2.5, "on": True, "note": 'say "hi" \\ there'}, 5_000_000_000,
    )  # fmt: skip
    assert second.series.tags == (("host", "press 7"), ("t=1", "u,v"))


PIECES = st.sampled_from(
    [
        "m",
        "cpu",
        ",",
        "=",
        " ",
        "\n",
        '"',
        "\\",
        "a",
        "1",
        "1i",
        "2u",
        "t",
        "-",
        ".",
        "e",
        "#",
        "_",
        "é",
        "\r",
        "\t",
        "9" * 19,
    ]
)


@given(st.lists(PIECES, max_size=24).map("".join))
def test_the_short_way_and_the_long_way_agree(text: str) -> None:
    found = list(parse_lines(text.encode()))
    short = lineprotocol._short
    lineprotocol._short = lambda line, heads, unit_ns: None
    try:
        assert list(parse_lines(text.encode())) == found
    finally:
        lineprotocol._short = short


@given(st.binary(max_size=80) | st.lists(PIECES, max_size=24).map(lambda parts: "".join(parts).encode()))
def test_any_bytes_give_points_or_bad_lines(payload: bytes) -> None:
    """§13"""
    for each in parse_lines(payload):
        assert isinstance(each, Point | BadLine)
        if isinstance(each, Point):
            str(each).encode()
            assert each.fields
            assert each.time is None or -(2**63) <= each.time < 2**63


@given(st.lists(st.sampled_from(["m f=1", "m,a=b f=1 5", "", "# x", "m", "m f=t,g=2i"]), max_size=8))
def test_all_at_once_equals_line_by_line(lines: list[str]) -> None:
    alone = [each for line in lines for each in parse_lines(line.encode())]
    together = list(parse_lines("\n".join(lines).encode()))
    assert [each._replace(number=0) if isinstance(each, BadLine) else each for each in together] == [
        each._replace(number=0) if isinstance(each, BadLine) else each for each in alone
    ]


HEADS = st.sampled_from(["m", "m,a=b", "cpu,host=x,cpu=0", "m,a=b,a=c", ",a=b", "m,a", "#m"])
FIELD = st.sampled_from(
    ["f=1", "f=1.5", "g=2", "f=7i", "g=-8i", "g=2u", "on=t", "f=1e3", "f=+1", "f=1_0", "f=", "f=1=2"]
)
BIG = st.sampled_from(["f=1e999", f"f={'9' * 19}i", f"f={'0' * 25}1i", f"f={'9' * 400}", "f=1e308", "f=5-i", "f=i"])
FIELDS = st.lists(FIELD, min_size=1, max_size=3).map(",".join) | BIG
PLAIN = st.tuples(HEADS, FIELDS, st.sampled_from(["1", "17", "9" * 19, "9" * 20, "-1"])).map(" ".join)
LINES = st.sampled_from(["m f=1,g=2 5", "m,a=b f=3i 6", "m f=2,g=1 7"])


@pytest.mark.parametrize("many", [1, lineprotocol._MANY])
@given(text=st.lists(LINES | PLAIN, max_size=6).map("\n".join) | st.lists(PIECES, max_size=24).map("".join))
def test_column_by_column_is_line_by_line(many: int, text: str) -> None:
    """Or it is left to that: what is not plain is none of its business."""
    payload = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lineprotocol, "_MANY", many)
        parsed = parse_columns(payload)
    found = [
        Point(points.series, dict(zip(points.fields, values, strict=True)), time)
        for points in parsed
        for *values, time in zip(*points.columns, points.times, strict=True)
    ]
    if found:
        assert sorted(map(repr, found)) == sorted(map(repr, parse_lines(payload)))


def test_many_lines_alike_are_read_by_an_expression_of_their_own() -> None:
    """Names that mean something in an expression mean nothing in it; one line that is not alike ends it."""
    lines = [f"m.x+,host=a(b f.1={at}.5,g*={at}i {at}" for at in range(lineprotocol._MANY)]
    (found,) = lineprotocol._alike("\n".join(lines), 1)
    assert found.fields == ("f.1", "g*") and found.columns[1][7] == 7
    for other in ("mxx+,host=a(b f.1=1.5,g*=1i 5", "m.x+,host=a(b g*=1i,f.1=1.5 5", "m.x+,host=a(b f.1=1.5 5", "# x"):
        assert lineprotocol._alike("\n".join([*lines, other]), 1) == []


def test_plain_lines_go_all_at_once() -> None:
    lines = [f"meter,host=press-{at % 3} power={at}.5,count={at}i {at}" for at in range(30)]
    source = Source(Mapping(name="m", topic="t", format=Format.LINE_PROTOCOL), unit_ns=1_000)
    lots = line_lots(source, "\n".join(lines).encode())
    assert [(lot.thing, len(lot)) for lot in lots] == [(f"press-{at}", 10) for at in range(3)]
    assert lots[1].row(9) == {"meter.power": 28.5, "meter.count": 28} and lots[1].times[9] == 28_000
    assert line_lots(source, "\n".join([*lines, "m f=2u 1"]).encode()) == []


def test_the_host_is_the_thing_and_the_other_tags_tell_properties_apart() -> None:
    """§11: two series of one host at one time are two properties, never one that overwrites the other."""
    assert rows("cpu,cpu=cpu0,host=a idle=1,user=2 7\ncpu,cpu=cpu1,host=a idle=3 7") == [
        Row({"cpu.cpu0.idle": 1.0, "cpu.cpu0.user": 2.0}, 7, "a"),
        Row({"cpu.cpu1.idle": 3.0}, 7, "a"),
    ]


@pytest.mark.parametrize(
    ("line", "thing", "name"),
    [
        ("mem,host=a used=1", "a", "mem.used"),
        ("mem,host=a,thing=b used=1", "b", "mem.a.used"),
        ("weather,location=us-midwest temperature=82", "weather.us-midwest", "temperature"),
        ("weather temperature=82", "weather", "temperature"),
        ("disk,host=a,path=/var/lib used=1", "a", "disk._var_lib.used"),
        ("m+x,host=a/b#1 f=1", "a_b_1", "m_x.f"),
    ],
)
def test_a_series_names_its_thing_without_a_rule_too(line: str, thing: str, name: str) -> None:
    assert rows(line) == [Row({name: 1.0 if "82" not in line else 82.0}, None, thing)]


def test_a_declared_rule_names_things_and_properties() -> None:
    line = "power,site=hq,dev=7,region=eu,Phase=L1 value=1.5,total=3i"
    assert rows(line, thing="{site}-{dev}", ignore_tags=("region",)) == [
        Row({"power.L1.value": 1.5, "power.L1.total": 3}, None, "hq-7")
    ]
    assert rows(line, thing_tags=("uuid", "dev"), property="{Phase}.{field}.{none}", units={"L1.total": "kW.h"}) == [
        Row({"L1.value": 1.5, "L1.total": 3}, None, "7", {"L1.total": "kW.h"})
    ]
    assert rows(line, thing="{dev}", property="{field}", rename={"value": "power_kw"}) == [
        Row({"power_kw": 1.5, "total": 3}, None, "7")
    ]
    (refusal,) = rows(line, thing="{hall}")
    assert isinstance(refusal, Refusal)
    assert "no tag 'hall'" in refusal.reason


def test_the_things_own_connection_and_its_topic_go_before() -> None:
    """A line without a naming tag is the connection's; a topic that names its thing says it of all lines."""
    assert rows("mem used=1", own="pump") == [Row({"mem.used": 1.0}, None, None)]
    assert rows("mem,host=fan used=1", own="pump") == [Row({"mem.used": 1.0}, None, "fan")]
    assert rows("mem,host=fan used=1", "pump") == [Row({"mem.fan.used": 1.0}, None, "pump")]


def test_good_lines_count_beside_bad_ones_and_lines_are_bounded() -> None:
    """§6"""
    first, second, third = rows("a x=1\nb\nc x=2")
    assert isinstance(first, Row)
    assert isinstance(third, Row)
    assert isinstance(second, Refusal)
    assert "Line 2: unable to parse 'b': missing fields" in second.reason
    limited = Source(Mapping(name="m", topic="t", format=Format.LINE_PROTOCOL), limits=Limits(payload_rows_max=2))
    with pytest.raises(PayloadError, match="more than 2 lines"):
        line_protocol(limited, b"a x=1\nb x=1\nc x=1", AT)
    assert rows("# nothing\n") == []


def test_the_built_in_topic_is_the_projects_own() -> None:
    """§11"""
    matcher = Matcher(builtin_mappings(), "home")
    match = matcher.match("influx/home")
    assert match is not None
    assert matcher.match("influx/other") is None
    (row,) = match.decoder(None, PRECISIONS["s"])(b"m,host=a f=1 1700000000", AT)
    assert row == Row({"m.f": 1.0}, 1_700_000_000 * 10**9, "a")
