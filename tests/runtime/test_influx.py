"""InfluxDB's write endpoints, used by InfluxDB's own clients; errors in InfluxDB's words."""

import gzip
import http.client
import zlib
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import influxdb
import influxdb_client
import msgspec
import pytest
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.write_api import SYNCHRONOUS
from tests.faults.support import CLOCK, PROJECT, LiveNode
from tests.runtime.test_http import newest
from tests.waiting import WAIT_S

from taihu.kernel.clock import NS_PER_S

try:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from backports import zstd

V1, V2 = f"/write?db={PROJECT}", f"/api/v2/write?bucket={PROJECT}&org=any"


def post(
    node: LiveNode, path: str, body: bytes, authorization: str | None = None, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=WAIT_S)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given["Authorization"] = f"Token {node.operator}" if authorization is None else authorization
    connection.request("POST", path, body, given)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    found = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, msgspec.json.decode(data) if data else None, found


@pytest.fixture
def client(node: LiveNode) -> Iterator[influxdb_client.InfluxDBClient]:
    made = influxdb_client.InfluxDBClient(
        url=f"http://127.0.0.1:{node.http_port}", token=node.operator, org="any", enable_gzip=True
    )
    yield made
    made.close()


def test_the_client_of_version_2_writes_points(node: LiveNode, client: Any) -> None:
    """§4: what it was told is written is there; its body is gzipped."""
    assert client.ping()
    assert client.version().startswith("taihu-")
    now = CLOCK.now_ns() // NS_PER_S * NS_PER_S
    points = [
        influxdb_client.Point("cpu").tag("host", "press-7").tag("cpu", f"cpu{core}").field("idle", 90.5 + core)
        .field("count", core).field("on", True).field("note", 'say "hi"').time(now)
        for core in range(2)
    ]  # fmt: skip
    with client.write_api(write_options=SYNCHRONOUS) as writer:
        writer.write(PROJECT, "any", points)
        writer.write(PROJECT, "any", f"mem,host=press-7 used=7i {now // NS_PER_S}", write_precision="s")
    found = newest(node, "press-7")
    assert {name: entry["value"] for name, entry in found.items()} == {
        "cpu.cpu0.idle": 90.5, "cpu.cpu0.count": 0, "cpu.cpu0.on": True, "cpu.cpu0.note": 'say "hi"',
        "cpu.cpu1.idle": 91.5, "cpu.cpu1.count": 1, "cpu.cpu1.on": True, "cpu.cpu1.note": 'say "hi"',
        "mem.used": 7,
    }  # fmt: skip
    assert {entry["observed_at"] for entry in found.values()} == {now}


def test_the_client_of_version_2_is_told_of_bad_lines_and_the_good_ones_count(node: LiveNode, client: Any) -> None:
    with client.write_api(write_options=SYNCHRONOUS) as writer, pytest.raises(InfluxDBError) as caught:
        writer.write(PROJECT, "any", "a,host=mixed x=1\nb,host=mixed\na,host=mixed y=2")
    assert caught.value.response.status == 400
    assert "partial write" in str(caught.value.message)
    assert "Line 2: unable to parse 'b,host=mixed': missing fields" in caught.value.message
    assert set(newest(node, "mixed")) == {"a.x", "a.y"}


def test_the_client_of_version_1_writes_points(node: LiveNode) -> None:
    """Its password is the token; it makes its database first, and lists it."""
    client = influxdb.InfluxDBClient("127.0.0.1", node.http_port, "any", node.operator, PROJECT)
    try:
        assert client.ping().startswith("taihu-")
        client.create_database(PROJECT)
        assert {"name": PROJECT} in client.get_list_database()
        point = {"measurement": "weather", "tags": {"location": "hq"}, "time": 1_700_000_000, "fields": {"grad": 21.5}}
        assert client.write_points([point], time_precision="s")
        with pytest.raises(influxdb.exceptions.InfluxDBClientError, match="not found"):
            client.create_database("absent")
        with pytest.raises(influxdb.exceptions.InfluxDBClientError, match="InfluxQL is not answered"):
            client.query("SELECT * FROM weather")
    finally:
        client.close()
    found = newest(node, "weather.hq")["grad"]
    assert (found["value"], found["observed_at"]) == (21.5, 1_700_000_000 * NS_PER_S)


def test_a_token_comes_by_any_of_influxdbs_ways(node: LiveNode) -> None:
    line, token = b"m,host=ways x=1", node.operator
    basic = b64encode(f"any:{token}".encode()).decode()
    for authorization in (f"Token {token}", f"Token any:{token}", f"Bearer {token}", f"Basic {basic}"):
        for path in (V1, V2):
            assert post(node, path, line, authorization)[0] == 204, authorization
    assert post(node, f"{V1}&u=any&p={token}", line, "")[0] == 204
    for authorization in ("", "Token wrong", "Basic !", f"Basic {b64encode(b'x').decode()}", "Digest x"):
        assert post(node, V1, line, authorization)[0] == 401, authorization
        status, body, headers = post(node, V2, line, authorization)
        assert (status, body["code"], headers["x-platform-error-code"]) == (401, "unauthorized", "unauthorized")


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/write", b"m x=1", 400, "database is required"),
        ("/api/v2/write", b"m x=1", 400, "bucket is required"),
        (f"{V1}&precision=y", b"m x=1", 400, "invalid precision"),
        (V1, b"m", 400, "Line 1: unable to parse 'm': missing fields"),
        (V1, b"m,host=ways x=1\nm", 400, "partial write: "),
        (V1, b"m x=1 4102444800000000000", 400, "in the future"),
        (V1, b"m,host=meter power_kw=1", 204, ""),
        (V1, b'm,host=types x=1\nm,host=types x="one"', 400, "the string 'one' where a number is defined dropped=1"),
        ("/write?db=absent", b"m x=1", 404, 'database not found: "absent"'),
        (V1, b"", 204, ""),
        (V1, b"# nothing\n\n", 204, ""),
        (V1, b"m x=1\n" * 200_000, 413, "larger than"),
        (V1, b"\xff\xfe\x00", 400, "unable to parse"),
    ],
)
def test_what_is_wrong_is_told_in_both_forms(node: LiveNode, path: str, body: bytes, status: int, message: str) -> None:
    told, answer, headers = post(node, path, body)
    assert told == status, answer
    assert headers["x-influxdb-version"].startswith("taihu-")
    if status != 204:
        text = answer["error"] if path.startswith("/write") else answer["message"]
        assert message in text
        if path.startswith("/write?"):
            assert headers["x-influxdb-error"]
            status2, answer2, _ = post(node, path.replace("/write?db=", "/api/v2/write?bucket="), body)
            assert status2 == status
            assert answer2["message"].replace("bucket", "database") == text


def test_a_thing_writes_its_own_and_no_other(node: LiveNode) -> None:
    """§11: neither another thing of the project, nor another project, nor with a token that may only read."""
    thing = f"Token {node.tokens['fan']}"
    assert post(node, V1, b"motor speed=7", thing)[0] == 204
    assert post(node, V2, b"motor,thing=fan load=7", thing)[0] == 204
    assert {"motor.speed", "motor.load"} <= set(newest(node, "fan"))
    status, body, _ = post(node, V1, b"motor,thing=pump forged=7", thing)
    assert (status, "may not speak for 'pump'" in body["error"]) == (400, True)
    assert "motor.forged" not in newest(node, "pump")
    stranger = f"Token {node.strangers['other']}"
    for path, word in ((V1, "error"), (V2, "message")):
        unknown = post(node, path.replace(PROJECT, "absent"), b"m,thing=pump forged=1", stranger)
        foreign = post(node, path, b"m,thing=pump forged=1", stranger)
        assert foreign[0] == unknown[0] == 404
        assert foreign[1][word].replace(PROJECT, "absent") == unknown[1][word]
    assert post(node, V1, b"m,thing=pump forged=1", f"Token {node.viewer}")[0] == 403
    assert "m.forged" not in newest(node, "pump")
    names = post(node, "/query?q=SHOW+DATABASES", b"", stranger)[1]["results"][0]["series"][0]["values"]
    assert names == [["other"]]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "x-gzip"])
def test_a_body_is_decoded_and_a_bomb_is_not(node: LiveNode, encoding: str) -> None:
    """§6: what a body decodes to is bounded like any other body, and memory stays where it was."""
    pack = {"deflate": zlib.compress, "zstd": zstd.compress}.get(encoding, gzip.compress)
    assert post(node, V2, pack(b"m,host=packed x=1"), Content_Encoding=encoding)[0] == 204
    before = node.rss_bytes()
    bomb = pack(bytes(40_000_000))
    assert len(bomb) < 50_000
    assert post(node, V2, bomb, Content_Encoding=encoding)[0] == 413
    assert node.rss_bytes() - before < 20_000_000
    damaged = pack(b"m,host=packed x=1")
    for body in (damaged[:-3], damaged + b"more", b"plain", b""):
        status, answer, _ = post(node, V2, body, Content_Encoding=encoding)
        assert (status, "encoding" in answer["message"]) == (400, True), body


def test_an_unknown_encoding_is_refused(node: LiveNode) -> None:
    for encoding in ("br", "gzip, gzip", "snappy"):
        assert post(node, V2, b"m x=1", Content_Encoding=encoding)[0] == 415
    assert post(node, V2, b"m,host=plain x=1", Content_Encoding="identity")[0] == 204
    assert not node.log_lines("ingest", "Traceback")
