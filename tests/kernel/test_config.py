"""`site.toml`: every fault is told by line, with what to write instead; everything has a default."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.clock import from_datetime
from taihu.kernel.config import FILE_NAME, example_text, load_site, parse_site, write_example
from taihu.kernel.errors import ConfigError
from taihu.kernel.limits import Limits

FOLDER = Path("/somewhere")


def fault(text: str, folder: Path = FOLDER) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_site(text, folder)
    return caught.value


def test_an_empty_file_is_a_site() -> None:
    site = parse_site("", FOLDER)
    assert site.data == FOLDER / "data"
    assert (site.mqtt.port, site.http.port, site.console.port) == (1883, 8080, 8090)
    assert site.mqtt.tls_port is None and site.mqtt.anonymous == ""
    assert site.limits == Limits()
    assert site.projects == () and site.grants == ()


def test_everything_can_be_set(tmp_path: Path) -> None:
    for name in ("meter.tm.json", "own.toml", "server.crt", "server.key"):
        (tmp_path / name).touch()
    (tmp_path / FILE_NAME).write_text("""
[site]
name = "district"
timezone = "Asia/Shanghai"
[node]
data = "store"
[clock]
speed = 600
start = 2024-01-01T00:00:00+08:00
[mqtt]
tls_port = 8883
certificate = "server.crt"
key = "server.key"
anonymous = "house-01"
[limits]
join_things_max = 5
[[project]]
name = "house-01"
mappings = ["own.toml"]
free_topics = ["chat/#", "+/x"]
[[project.thing]]
name = "meter"
model = "meter.tm.json"
tags = ["main"]
[[project.thing]]
name = "sub"
parent = "meter"
[[project]]
name = "all"
timezone = "Europe/Berlin"
[[grant]]
from = "house-01"
to = "all"
things = ["m*"]
""")
    site = load_site(tmp_path)
    assert site.folder == tmp_path and site.data == tmp_path / "store"
    assert site.clock.start_ns == from_datetime(datetime(2023, 12, 31, 16, tzinfo=UTC))
    assert site.limits.join_things_max == 5
    house, everyone = site.projects
    assert [thing.name for thing in house.things] == ["meter", "sub"]
    assert site.timezone_of(house) == "Asia/Shanghai" and site.timezone_of(everyone) == "Europe/Berlin"
    assert (site.grants[0].source, site.grants[0].to, site.grants[0].things) == ("house-01", "all", ("m*",))


TWO = '[[project]]\nname = "a"\n[[project]]\nname = "b"\n'


@pytest.mark.parametrize(
    ("text", "line", "what", "remedy"),
    [
        ("[mqtt]\n\nprot = 3", 3, "'prot' is not a setting of [mqtt]", "Did you mean port?"),
        ("[mqtt]\nport = '1883'", 2, "port is text in quotes", "Write a whole number."),
        ("[mqtt]\nport = 70000", 2, "port does not fit", "<= 65535"),
        ("[limits]\njoin_thing_max = 1", 2, "'join_thing_max'", "Did you mean join_things_max?"),
        ("[limits]\nflush_rows = -1", 2, "flush_rows is negative", "0 or more"),
        ("\n[project]\nname = 'a'", 2, "project is a list of tables", "[[project]]"),
        (TWO + "[[project]]\ntitle = 'x'", 5, "name is missing", "name ="),
        (TWO + "[[project]]\nname = 'a'", 6, "a is defined twice", "another name"),
        (TWO + "[[project.thing]]\nname = 'x'\n[[project.thing]]\nname = 'y/z'", 8, "'y/z'", "without / + #"),
        (TWO + "[[project.thing]]\nname = 'x'\ntags = [1]", 7, "tags[0] is a whole number", "text in quotes"),
        (TWO + "[[project.thing]]\nname = 'x'\nmodel = 'no.json'", 7, "There is no file", "relative"),
        (TWO + "[[project.thing]]\nname = 'x'\nparent = 'z'", 7, "'z' is not defined", "Define it"),
        (TWO + "mappings = ['no.toml']", 5, "There is no file", "relative"),
        (TWO + "free_topics = ['a/#/b']", 5, "not a topic filter", "chat/#"),
        (TWO + "[[grant]]\nfrom = 'a'\nto = 'bb'", 7, "'bb' is not defined", "Did you mean b?"),
        (TWO + "[[grant]]\nfrom = 'a'\nto = 'a'", 7, "no grant from itself", "two projects"),
        (TWO + "[[grant]]\nfrom = 'a'\nto = 'b'\nrights = ['own']", 8, "'own'", "manual"),
        ("[site]\ntimezone = 'Asia/Wuxi'", 2, "not a time zone", "IANA"),
        ("[site]\ntimezone = '../etc'", 2, "not a time zone", "IANA"),
        ("[clock]\nspeed = 0", 2, "speed does not fit", "> 0"),
        ("[clock]\nstart = 2024-01-01T00:00:00", 2, "start does not fit", "timezone"),
        ("[mqtt]\ntls_port = 8883", 2, "TLS needs a certificate", "certificate and key"),
        ("[mqtt]\nport = 8080", 1, "Port 8080 is that of mqtt.port too", "its own port"),
        ("[http]\nhost = ''", 2, "host is empty", "127.0.0.1"),
        ("[console]\nhost = '0.0.0.0'", 2, "passwords unencrypted", "certificate and key"),
        ("[console]\nurl = 'site.example'", 2, "is no address", "https://"),
        ("[console]\ncertificate = 'site.toml'", 2, "There is no file", "site folder"),
        ("[oidc]\nissuer = 'http://id.example'\nclient_id = 'x'", 2, "not reached over TLS", "https://"),
        ("[oidc]\nissuer = 'https://id.example'", 1, "client_id is missing", "knows this site by"),
        (
            "[oidc]\nissuer = 'https://id.example'\nclient_id = 'x'\n[[oidc.role]]\nvalue = 'a'\nrole = 'viewer'",
            4,
            "only be owner",
            "Add a project",
        ),
        (TWO + "[mqtt]\nanonymous = 'c'", 6, "'c' is not defined", "Define it"),
        ("a = 1\n[mqtt\n", 2, "Not TOML", "Quote text"),
        ('a = "', 1, "Not TOML", "Quote text"),
        ("zz = 1", 1, "not a setting of the file", "Known here: site, node"),
        ("mqtt = 3", 1, "mqtt is a whole number", "Write a table."),
    ],
)
def test_a_fault_is_told_by_line(text: str, line: int, what: str, remedy: str) -> None:
    error = fault(text)
    assert error.where == f"{FILE_NAME}:{line}"
    assert what in error.message
    assert remedy in error.remedy


@pytest.mark.parametrize("section", ["mqtt", "http", "console"])
def test_anonymous_is_refused_off_the_loopback(section: str) -> None:
    text = f"{TWO}[mqtt]\nanonymous = 'a'\n"
    assert parse_site(text, FOLDER).mqtt.anonymous == "a"
    listener = "host = '0.0.0.0'" if section == "mqtt" else f"[{section}]\nhost = '0.0.0.0'"
    error = fault(text + listener)
    assert f"[{section}] listens on 0.0.0.0" in error.message
    assert "operator rights" in error.message and "token" in error.remedy


def test_the_example_is_valid_and_stays_as_it_was(tmp_path: Path) -> None:
    path = write_example(tmp_path / "new")
    site = load_site(path.parent)
    assert [project.name for project in site.projects] == ["home"]
    with pytest.raises(ConfigError, match="exists already"):
        write_example(path.parent)


def test_the_example_with_all_its_comments_removed_is_valid(tmp_path: Path) -> None:
    for name in (
        "server.crt",
        "server.key",
        "ca.pass",
        "factory-ca.pem",
        "factory.crl",
        "meter.tm.json",
        "my-device.toml",
        "oidc.secret",
        "centre.crt",
        "prices.csv",
    ):
        (tmp_path / name).touch(mode=0o600)
    text = re.sub(r"^# (?=\[\[|[a-z_]+ = )", "", example_text(), flags=re.MULTILINE)
    site = parse_site(text + '\n[[project]]\nname = "district"\n', tmp_path)
    assert site.mqtt.websocket_port == 8083
    assert site.projects[0].things[0].role == "main_meter"
    assert site.grants[0].to == "district"


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="taihu init"):
        load_site(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_site(tmp_path)


@given(st.text(alphabet="[]=.\"' #\nabmqtport1-", max_size=60))
def test_any_text_gives_a_site_or_the_one_error(text: str) -> None:
    try:
        parse_site(text, FOLDER)
    except ConfigError as error:
        assert re.fullmatch(r"site\.toml:\d+", error.where)
