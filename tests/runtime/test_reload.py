"""A changed configuration is taken over while connections live on; a broken one changes nothing and says where."""

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.support import PROJECT, LiveNode, wait_until, write_certificate
from tests.ports import free_port

from taihu.cli.main import EXIT_REFUSED, run
from taihu.kernel.config import load_site, parse_site
from taihu.kernel.errors import ConfigError
from taihu.kernel.limits import Limits, renew
from taihu.runtime import __main__ as processes
from taihu.runtime.node.reload import merge
from taihu.runtime.node.tls import make_context

TLS = '\ncertificate = "cert.pem"\nkey = "key.pem"\n'


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    folder = tmp_path_factory.mktemp("reload") / "site"
    folder.mkdir()
    write_certificate(folder)
    (folder / "own.toml").write_text(MAPPING.format(topic="first/{thing}"))
    tls = [free_port(), free_port()]
    node = LiveNode(
        folder,
        ["pump"],
        mqtt=f"tls_port = {tls[0]}{TLS}websocket_tls_port = {tls[1]}",
        project='mappings = ["own.toml"]',
    )
    text = (folder / "site.toml").read_text().replace("[http]\n", f"[http]\ntls_port = 0{TLS}")
    (folder / "site.toml").write_text(text)
    node.start()
    yield node
    node.stop()


MAPPING = '[[mapping]]\nname = "own"\ntopic = "{topic}"\nformat = "flat-json"\n'


@pytest.fixture
def edited(live: LiveNode) -> Iterator[Path]:
    """`site.toml`, put back as it was."""
    path = live.folder / "site.toml"
    text = path.read_text()
    yield path
    path.write_text(text)
    assert run(["reload", "--site", str(live.folder)]) == 0


def addresses(live: LiveNode) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = json.loads((live.folder / "data" / "node.json").read_text())
    return found


def reload(live: LiveNode, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    capsys.readouterr()
    assert run(["reload", "--json", "--site", str(live.folder)]) == 0
    found: dict[str, list[str]] = json.loads(capsys.readouterr().out)
    return found


def shown_certificate(host: str, port: int) -> str:
    return ssl.get_server_certificate((host, port))


def test_new_certificates_are_shown_and_connections_live_on(live: LiveNode, capsys: pytest.CaptureFixture[str]) -> None:
    doors = [addresses(live)[name] for name in ("mqtts", "wss", "https")]
    old = (live.folder / "cert.pem").read_text()
    context = ssl.create_default_context(cafile=str(live.folder / "cert.pem"))
    host, port = doors[2]
    with context.wrap_socket(socket.create_connection((host, port)), server_hostname=host) as connection:
        write_certificate(live.folder)
        assert [shown_certificate(*door) for door in doors] == [old] * 3, "files are read when told"
        assert reload(live, capsys) == {"applied": [], "restart": []}
        new = (live.folder / "cert.pem").read_text()
        assert new != old and [shown_certificate(*door) for door in doors] == [new] * 3
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_served_over_tls(live: LiveNode) -> None:
    host, port = addresses(live)["https"]
    command = ["curl", "-s", "--cacert", str(live.folder / "cert.pem"), f"https://{host}:{port}/healthz"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b'{"status":"ok"}'


def test_projects_things_and_limits_count_at_once(
    live: LiveNode, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    big = b'{"power": 1, "note": "%s"}' % (b"x" * 2000)
    device = f"/api/v1/{live.tokens['pump']}/telemetry"
    assert live.ask("POST", device, big).status == 200
    more = '[[project.thing]]\nname = "added"\n[[project]]\nname = "annexe"\n'
    text = edited.read_text().replace("[limits]\n", "[limits]\nhttp_body_bytes_max = 1000\njoin_things_max = 3\n")
    edited.write_text(text + more)
    names = ["limits.http_body_bytes_max", "limits.join_things_max", "project"]
    report = reload(live, capsys)
    assert (sorted(report["applied"]), report["restart"]) == (names, [])
    assert live.ask("POST", device, big).status == 413
    assert live.ask("POST", device, b'{"power": 1}').status == 200
    assert live.get(f"/projects/{PROJECT}/things/added").status == 200
    owner = (live.folder / "data" / "admin.token").read_text()
    assert live.get("/projects/annexe/things", token=owner).status == 200


def test_the_worker_goes_by_new_limits_too(live: LiveNode, edited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for power in range(3):
        assert live.ask("POST", f"/api/v1/{live.tokens['pump']}/telemetry", b'{"flow": %d}' % power).status == 200
    live.settle()
    query = {"thing": "pump", "property": "flow", "every": "1m", "start": "-1h"}
    assert live.get(f"/projects/{PROJECT}/history", **query).status == 200
    edited.write_text(edited.read_text().replace("[limits]\n", "[limits]\nquery_rows_max = 2\n"))
    assert reload(live, capsys)["applied"] == ["limits.query_rows_max"]
    wait_until(lambda: live.get(f"/projects/{PROJECT}/history", **query).status >= 400, "the worker's limit")


def test_a_mapping_file_is_read_again(live: LiveNode, capsys: pytest.CaptureFixture[str]) -> None:
    publisher = shutil.which("mosquitto_pub")
    if publisher is None:
        pytest.skip("mosquitto_pub is not installed")

    def publish(topic: str, value: int) -> None:
        command = [publisher, "-p", str(live.mqtt_port), "-u", live.operator, "-q", "1", "-t", topic]
        subprocess.run([*command, "-m", f'{{"level": {value}}}'], check=True)

    publish("second/tank", 1)
    assert live.get(f"/projects/{PROJECT}/things/tank").status == 404
    (live.folder / "own.toml").write_text(MAPPING.format(topic="second/{thing}"))
    reload(live, capsys)
    publish("second/tank", 2)
    assert live.get(f"/projects/{PROJECT}/things/tank/properties/level").body == 2


def test_what_needs_a_restart_is_named_and_stays(
    live: LiveNode, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = edited.read_text().replace(f"port = {live.mqtt_port}", f"port = {free_port()}")
    edited.write_text(text.replace("[limits]\n", "[limits]\njournal_segment_bytes = 1000000\n"))
    for _ in range(2):  # as long as it is so, it is said
        assert reload(live, capsys) == {"applied": [], "restart": ["mqtt.port", "limits.journal_segment_bytes"]}
    with socket.create_connection(("127.0.0.1", live.mqtt_port)):
        pass


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ('[[project]]\nname = "late"\n[[project]]\nname = "late"\n', "site.toml:"),
        ('[[project]]\nname = "late"\n[[project.thing]]\nname = "a"\nmodel = "bad.tm.json"\n', "bad.tm.json"),
        ('[[project]]\nname = "late"\nmappings = ["bad.toml"]\n', "bad.toml"),
    ],
)
def test_a_broken_file_changes_nothing_and_says_where(
    live: LiveNode, edited: Path, broken: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (live.folder / "bad.tm.json").write_text('{"title": 3}')
    (live.folder / "bad.toml").write_text('[[mapping]]\nname = "x"\n')
    edited.write_text(edited.read_text().replace("[limits]\n", "[limits]\ntail_queue_max = 7\n") + broken)
    url = ("--url", f"http://127.0.0.1:{live.http_port}", "--token", (live.folder / "data/admin.token").read_text())
    assert run(["reload", *url]) == EXIT_REFUSED
    assert line in capsys.readouterr().err
    owner = (live.folder / "data" / "admin.token").read_text()
    assert live.get("/projects/late/things", token=owner).status == 404
    (live.folder / "key.pem").rename(live.folder / "key.away")
    try:
        assert run(["reload", *url]) == EXIT_REFUSED
    finally:
        (live.folder / "key.away").rename(live.folder / "key.pem")
    assert live.ask("POST", f"/api/v1/{live.tokens['pump']}/telemetry", b'{"power": 1}').status == 200


def test_only_the_owner_may(live: LiveNode) -> None:
    for token in (live.operator, live.tokens["pump"]):
        assert live.ask("POST", "/api/v1/admin/reload", b"{}", token).status == 403


def test_a_hangup_asks_for_the_same(live: LiveNode, edited: Path) -> None:
    edited.write_text(edited.read_text().replace("[limits]\n", "[limits]\nhttp_body_bytes_max = 500\n"))
    live.signal("ingest", signal.SIGHUP)
    live.signal("worker", signal.SIGHUP)
    body = b'{"note": "%s"}' % (b"x" * 600)
    wait_until(lambda: live.ask("POST", f"/api/v1/{live.tokens['pump']}/telemetry", body).status == 413, "the limit")
    edited.write_text("[")
    live.signal("ingest", signal.SIGHUP)
    wait_until(lambda: live.log_lines("ingest", "stays as it was: site.toml:1"), "the log tells")
    assert live.running("ingest") and live.running("worker")


def test_a_process_comes_back_beside_a_broken_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running = tmp_path / "site.running.toml"
    running.write_text('[site]\nname = "good"\n')
    (tmp_path / "site.toml").write_text("[")
    monkeypatch.setattr(sys, "argv", ["taihu.runtime", "ingest", str(tmp_path), str(running)])
    assert processes._site("ingest", tmp_path).site.name == "good"
    assert "site.toml:1" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["taihu.runtime", "console", str(tmp_path), str(running)])
    with pytest.raises(ConfigError):
        processes._site("console", tmp_path)


def test_merging_keeps_what_cannot_change(tmp_path: Path) -> None:
    old = parse_site("", tmp_path)
    new = parse_site(
        '[node]\ndata = "other"\n[site]\ntitle = "A"\n[limits]\nflush_s = 1\nhttp_head_bytes_max = 9\n', tmp_path
    )
    site, report = merge(old, new)
    assert (site.node.data, site.site.title, site.limits.flush_s) == ("data", "A", 1.0)
    assert report.applied == ["site.title", "limits.flush_s"]
    assert report.restart == ["node.data", "limits.http_head_bytes_max"]
    assert merge(old, old)[1].text() == "no setting changed"


def test_each_site_has_limits_of_its_own(tmp_path: Path) -> None:
    first, second = parse_site("", tmp_path), parse_site("", tmp_path)
    renew(first.limits, parse_site("[limits]\nflush_s = 1\nhttp_head_bytes_max = 9\n", tmp_path).limits)
    assert first.limits.flush_s == 1.0 != second.limits.flush_s == Limits().flush_s
    assert first.limits.http_head_bytes_max == Limits().http_head_bytes_max, "it is read at the start alone"


@pytest.mark.parametrize("fault", ["absent", "of another", "with a passphrase", "no PEM"])
def test_files_of_tls_that_cannot_be_used(tmp_path: Path, fault: str) -> None:
    write_certificate(tmp_path)
    if fault == "no PEM":
        (tmp_path / "cert.pem").write_text("hello")
    elif fault == "of another":
        certificate = (tmp_path / "cert.pem").read_bytes()
        write_certificate(tmp_path)
        (tmp_path / "cert.pem").write_bytes(certificate)
    elif fault == "with a passphrase":
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.skip("openssl is not installed")
        command = [openssl, "ec", "-aes128", "-passout", "pass:x", "-in", "key.pem", "-out", "key.pem"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "site.toml").write_text(f"[http]\ntls_port = 1{TLS}")
    site = load_site(tmp_path)
    if fault == "absent":
        (tmp_path / "key.pem").unlink()
    with pytest.raises(ConfigError, match=r"\[http\]: cert.pem and key.pem cannot be used"):
        make_context(site, "http", "")
