"""Things that come in by a certificate: others' clients, enrolment, renewal, and an end that counts at once."""

import base64
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.faults.support import CLOCK, PROJECT, LiveNode, wait_until
from tests.ports import free_port
from tests.waiting import WAIT_S

from taihu.cli.main import EXIT_REFUSED, EXIT_TRY_AGAIN, run
from taihu.identity.certificates import Ended
from taihu.identity.pki.authority import Authority
from taihu.kernel.files import OsFiles

TOPIC = "v1/devices/me/telemetry"
PUBLISHER = shutil.which("mosquitto_pub")
TOOLS = [shutil.which("curl"), shutil.which("openssl"), PUBLISHER]
pytestmark = pytest.mark.skipif(None in TOOLS, reason="curl, openssl or mosquitto_pub is not installed")


class Works:
    """A node with its own authority, an authority of somebody else's, and the files of some devices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mqtts, self.https = free_port(), free_port()
        things = "".join(f'[[project.thing]]\nname = "{name}"\n' for name in ("fan", "valve", "press", "spare"))
        tls = 'certificate = "tls/localhost.crt"\nkey = "tls/localhost.key"\nclient_certificates = "optional"\n'
        (folder / "tls").mkdir(parents=True)
        for name in ("localhost.crt", "localhost.key"):
            (folder / "tls" / name).touch()
        self.other = Authority.create(OsFiles(), folder / "other", "the other works", 30, CLOCK.now_ns(), b"")
        shutil.copy(folder / "other" / "ca.crt", folder / "other.pem")
        self.node = LiveNode(
            folder, ["pump"], mqtt=f"tls_port = {self.mqtts}\n{tls}", things=things,
            more='[[project]]\nname = "stranger"\n[[project.thing]]\nname = "pump"\n',
        )  # fmt: skip
        text = (folder / "site.toml").read_text()
        text = text.replace("[http]\n", f'[ca]\ntrusted = "other.pem"\n[http]\ntls_port = {self.https}\n{tls}')
        (folder / "site.toml").write_text(text)
        (folder / "tls" / "localhost.crt").unlink()
        (folder / "tls" / "localhost.key").unlink()
        self.url = f"https://localhost:{self.https}"
        self.own = folder / "tls" / "ca.crt"

    def start(self) -> None:
        """Make the authority and the server's certificate as one does before the first start, and start the node."""
        plain = (self.folder / "site.toml").read_text()
        (self.folder / "site.toml").write_text("[site]\nname = 'works'\n")
        assert run(["ca", "init", "--site", str(self.folder)]) == 0
        words = ["ca", "issue", "--server", "localhost", "--server", "127.0.0.1", "--out", str(self.folder / "tls")]
        assert run([*words, "--site", str(self.folder)]) == 0
        (self.folder / "site.toml").write_text(plain)
        self.node.start()

    def act(self, *words: str) -> int:
        return run([*words, "--site", str(self.folder)])

    def issue(self, thing: str) -> tuple[Path, Path]:
        """The certificate and key of a thing, as files."""
        out = self.folder / f"files-{thing}-{time.monotonic_ns()}"
        assert self.act("ca", "issue", PROJECT, thing, "--out", str(out)) == 0
        return out / f"{thing}.crt", out / f"{thing}.key"

    def publish(self, files: tuple[Path, Path] | None, message: str, *words: str) -> int:
        """mosquitto_pub over TLS at QoS 1; its exit code."""
        command = [str(PUBLISHER), "-h", "localhost", "-p", str(self.mqtts), "--cafile", str(self.own), "-q", "1"]
        shown = ["--cert", str(files[0]), "--key", str(files[1])] if files else []
        command += [*shown, "-V", "5", "-t", TOPIC, "-m", message, *words]
        return subprocess.run(command, capture_output=True, check=False, timeout=WAIT_S).returncode

    def curl(self, *words: str, files: tuple[Path, Path] | None = None) -> tuple[int, bytes]:
        """The status and body of a request over TLS."""
        shown = ["--cert", str(files[0]), "--key", str(files[1])] if files else []
        command = ["curl", "-s", "--cacert", str(self.own), *shown, "-w", "\n%{http_code}", *words]
        done = subprocess.run(command, capture_output=True, check=False, timeout=WAIT_S)
        body, _, status = done.stdout.rpartition(b"\n")
        return int(status), body

    def newest(self, thing: str, name: str) -> Any:
        answer = self.node.get(f"/projects/{PROJECT}/things/{thing}/properties/{name}")
        return answer.body if answer.status == 200 else None


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    found = Works(tmp_path_factory.mktemp("works") / "site")
    found.start()
    yield found
    found.node.stop()


def listed(works: Works, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert works.act("ca", "list", PROJECT, "--json") == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["certificates"]
    return found


def connect(works: Works, files: tuple[Path, Path]) -> tuple[paho.Client, list[str]]:
    """A paho client that is connected by certificate, and what happens to it."""
    happened: list[str] = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "held", protocol=paho.MQTTv5, reconnect_on_failure=False)
    client.tls_set(str(works.own), str(files[0]), str(files[1]))
    client.on_connect = lambda *words: happened.append(f"connected {words[3]}")
    client.on_disconnect = lambda *words: happened.append(f"ended {words[3]}")
    client.connect("localhost", works.mqtts)
    client.loop_start()
    wait_until(lambda: happened, "paho is answered")
    return client, happened


def test_a_certificate_is_the_credential_of_its_thing(works: Works) -> None:
    pump = works.issue("pump")
    assert works.publish(pump, '{"power": 7}') == 0
    assert works.newest("pump", "power") == 7
    readings = f"{works.url}/api/v1/projects/{PROJECT}/readings"
    status, body = works.curl("-d", '{"power": 8}', "-H", "Content-Type: application/json", readings, files=pump)
    assert (status, json.loads(body)) == (200, {"accepted": 1, "refused": []})
    assert works.newest("pump", "power") == 8


def test_it_opens_its_own_thing_and_no_other(works: Works) -> None:
    """§11."""
    pump = works.issue("pump")
    for path, status in (("pump", 200), ("fan", 404), ("../../stranger/things/pump", 404)):
        url = f"{works.url}/api/v1/projects/{PROJECT}/things/{path}"
        assert works.curl("--path-as-is", url, files=pump)[0] == status, path
    assert works.curl("-X", "POST", "-d", "{}", f"{works.url}/api/v1/admin/token-list", files=pump)[0] == 403
    # a token that comes along is what counts over HTTP
    operator = ("-H", f"Authorization: Bearer {works.node.operator}")
    assert works.curl(*operator, f"{works.url}/api/v1/projects/{PROJECT}/things/fan", files=pump)[0] == 200
    assert works.curl("-H", "Authorization: Bearer wrong", f"{works.url}/api/v1/projects", files=pump)[0] == 401
    # over MQTT the certificate alone says who it is
    assert works.publish(pump, '{"power": 1}', "-u", works.node.operator) == 0
    assert works.publish(None, '{"power": 1}', "-u", works.node.tokens["pump"]) == 0
    assert works.publish(None, '{"power": 1}') != 0


def test_a_copy_of_a_certificate_is_no_token(works: Works) -> None:
    """It is no secret: without its key it opens nothing, whatever it is sent as."""
    certificate, _ = works.issue("pump")
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
    for text in (der.decode("latin-1"), der.hex(), base64.b64encode(der).decode(), certificate.read_text()):
        token = text.encode("utf-8").decode("latin-1").replace("\n", "").replace("\r", "").replace("\0", "")
        assert works.node.get("/projects", token=token).status in (400, 401)
        assert works.publish(None, "{}", "-u", text[:60_000].replace("\0", "x")) != 0


def test_a_revoked_certificate_ends_at_once(works: Works, capsys: pytest.CaptureFixture[str]) -> None:
    files = works.issue("fan")
    other = works.issue("fan")
    serial = f"{x509.load_pem_x509_certificate(files[0].read_bytes()).serial_number:x}"
    client, happened = connect(works, files)
    assert happened == ["connected Success"]
    context = ssl.create_default_context(cafile=str(works.own))
    context.load_cert_chain(*files)
    with context.wrap_socket(socket.create_connection(("localhost", works.https)), server_hostname="localhost") as idle:
        idle.sendall(b"GET /api/v1/projects HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200 OK" in idle.recv(10_000)
        assert works.act("ca", "revoke", PROJECT, serial.upper(), "--reason", "keyCompromise") == 0
        idle.settimeout(WAIT_S)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            while idle.recv(10_000):
                pass
            raise ConnectionResetError("closed in good order")
    wait_until(lambda: happened[1:] == ["ended Administrative action"], "the MQTT connection ends")
    client.loop_stop()
    assert works.publish(files, '{"speed": 1}') != 0
    assert works.curl(f"{works.url}/api/v1/projects", files=files)[0] == 401
    assert works.publish(other, '{"speed": 2}') == 0

    entry = next(one for one in listed(works, capsys) if one["serial"] == serial)
    assert entry["revoked_at"] and entry["reason"] == "keyCompromise"
    assert works.act("ca", "revoke", PROJECT, serial) == EXIT_REFUSED
    assert works.act("ca", "revoke", "stranger", listed(works, capsys)[0]["id"]) == EXIT_REFUSED
    capsys.readouterr()
    assert works.act("ca", "crl", "--out", str(works.folder / "list.pem")) == 0
    shown = subprocess.run(
        ["openssl", "crl", "-in", "list.pem", "-noout", "-text"],
        cwd=works.folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert serial.upper() in shown and "Key Compromise" in shown
    status, der = works.curl(f"{works.url}/api/v1/ca/revoked")
    assert status == 200 and serial in {f"{one.serial_number:x}" for one in x509.load_der_x509_crl(der)}


def test_openssl_and_curl_enrol_a_device(works: Works, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a device does that has these two and no Python."""
    assert works.act("ca", "enroll", PROJECT, "valve") == 0
    token = capsys.readouterr().out.strip()
    script = f"""
        openssl ecparam -name prime256v1 -genkey -noout -out valve.key
        openssl req -new -key valve.key -subj /CN=whoever -outform DER | openssl base64 > valve.b64
        curl -sf --cacert {works.own} {works.url}/.well-known/est/cacerts | openssl base64 -d > ca.p7
        openssl pkcs7 -inform DER -in ca.p7 -print_certs -out ca.pem
        curl -sf --cacert ca.pem -u valve:{token} -H 'Content-Type: application/pkcs10' --data-binary @valve.b64 \
            {works.url}/.well-known/est/simpleenroll | openssl base64 -d > valve.p7
        openssl pkcs7 -inform DER -in valve.p7 -print_certs -out valve.crt
        openssl verify -CAfile ca.pem valve.crt
    """
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    files = (tmp_path / "valve.crt", tmp_path / "valve.key")
    assert works.publish(files, '{"open": true}') == 0
    assert works.newest("valve", "open") is True

    again = (
        "-u",
        f"valve:{token}",
        "-H",
        "Content-Type: application/pkcs10",
        "--data-binary",
        f"@{tmp_path}/valve.b64",
    )
    status, body = works.curl(*again, f"{works.url}/.well-known/est/simpleenroll")
    assert status == 403 and json.loads(body)["type"].endswith(":enrolment-refused"), "it is good once"

    renewal = ("-H", "Content-Type: application/pkcs10", "--data-binary", f"@{tmp_path}/valve.b64")
    status, body = works.curl(*renewal, f"{works.url}/.well-known/est/simplereenroll", files=files)
    assert status == 200
    (tmp_path / "new.p7").write_bytes(base64.b64decode(body))
    command = ["openssl", "pkcs7", "-inform", "DER", "-in", "new.p7", "-print_certs", "-out", "new.crt"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert works.publish((tmp_path / "new.crt", files[1]), '{"open": false}') == 0
    old, new = (x509.load_pem_x509_certificate((tmp_path / name).read_bytes()) for name in ("valve.crt", "new.crt"))
    ends = {one["serial"]: one["expires_at"] for one in listed(works, capsys)}
    assert ends[f"{old.serial_number:x}"] < ends[f"{new.serial_number:x}"], "the old one ends a week later"
    assert works.curl(*renewal, f"{works.url}/.well-known/est/simplereenroll")[0] == 401


def test_what_is_not_enrolled(works: Works, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = f"{works.url}/.well-known/est/simpleenroll"
    status, _ = works.curl("-d", "x", path)
    challenge = subprocess.run(["curl", "-si", "--cacert", works.own, "-d", "x", path], capture_output=True, check=True)
    assert status == 401 and b'www-authenticate: Basic realm="enrolment"' in challenge.stdout
    assert works.act("ca", "enroll", PROJECT, "spare") == 0
    token = capsys.readouterr().out.strip()
    bearer = ("-H", f"Authorization: Bearer {token}")
    status, body = works.curl(*bearer, "-d", "hello", path)
    assert status == 400 and json.loads(body)["type"].endswith(":certificate-request")
    # over plain HTTP no token is taken, and none is used up
    plain = works.node.ask("POST", "/.well-known/est/simpleenroll", b"x", token)
    assert (plain.status, plain.body["type"]) == (403, "urn:taihu:problem:tls-required")
    # and it opens nothing else
    assert works.curl(*bearer, f"{works.url}/api/v1/projects")[0] == 401
    assert works.publish(None, "{}", "-u", token) != 0
    words = ["ca", "request", "--url", works.url, "--authority", str(works.own), "--token", token]
    files = (tmp_path / "spare.crt", tmp_path / "spare.key")
    words += ["--certificate", str(files[0]), "--key", str(files[1])]
    assert run(words) == 0 and files[1].stat().st_mode & 0o777 == 0o600
    assert works.publish(files, '{"level": 3}') == 0
    assert run(words) == EXIT_REFUSED, "it has one"
    assert works.act("ca", "enroll", PROJECT, "nothing") == EXIT_REFUSED


def test_a_device_renews_its_own(works: Works, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate, key = works.issue("press")
    words = ["ca", "renew", "--url", works.url, "--authority", str(works.own), "--certificate", str(certificate)]
    words += ["--key", str(key)]
    before = certificate.read_bytes()
    assert run([*words, "--days-left", "30"]) == 0 and certificate.read_bytes() == before
    assert "nothing to do" in capsys.readouterr().out
    assert run(words) == 0 and certificate.read_bytes() != before
    assert works.publish((certificate, key), '{"force": 1}') == 0
    ours = [one for one in listed(works, capsys) if one["thing"] == "press"]
    assert len(ours) == 2 and ours[0]["issued_by"] == ours[1]["id"]
    assert works.act("ca", "revoke", PROJECT, ours[0]["id"]) == 0
    assert run(words) == EXIT_REFUSED
    other = ["--authority", str(works.folder / "other.pem")]
    assert run([*words, *other]) == EXIT_TRY_AGAIN, "a node that another vouches for is not believed"


def test_another_authority_and_what_it_takes_back(works: Works, tmp_path: Path) -> None:
    from taihu.cli.enrolment import Key
    from taihu.identity.pki.requests import read_request

    def foreign(project: str, thing: str) -> tuple[tuple[Path, Path], str]:
        key = Key.make()
        public = read_request(key.request(), 10_000)
        signed = works.other.sign_thing(project, thing, public, 5, CLOCK.now_ns())
        files = (tmp_path / f"{project}-{thing}.crt", tmp_path / f"{project}-{thing}.key")
        files[0].write_bytes(x509.load_der_x509_certificate(signed.der).public_bytes(Encoding.PEM))
        files[1].write_bytes(key.pem())
        return files, signed.serial

    fan, serial = foreign(PROJECT, "fan")
    assert works.publish(fan, '{"speed": 9}') == 0 and works.newest("fan", "speed") == 9
    nobody, _ = foreign(PROJECT, "nobody")
    assert works.publish(nobody, '{"speed": 9}') != 0, "there is no such thing"

    client, happened = connect(works, fan)
    site = works.folder / "site.toml"
    text = site.read_text()
    (works.folder / "other.crl").write_bytes(
        works.other.revocation_list([Ended(serial, CLOCK.now_ns())], CLOCK.now_ns())
    )
    site.write_text(text.replace("[ca]\n", '[ca]\nrevoked = "other.crl"\n'))
    assert works.act("reload") == 0
    wait_until(lambda: happened[1:] == ["ended Administrative action"], "the list ends the connection")
    client.loop_stop()
    assert works.publish(fan, '{"speed": 9}') != 0
    site.write_text(text)
    assert works.act("reload") == 0


def test_a_listener_that_requires_a_certificate(works: Works) -> None:
    pump = works.issue("pump")
    site = works.folder / "site.toml"
    text = site.read_text()
    site.write_text(text.replace('"optional"', '"required"'))
    assert works.act("reload") == 0
    try:
        assert works.publish(pump, '{"power": 1}') == 0
        assert works.publish(None, '{"power": 1}', "-u", works.node.tokens["pump"]) != 0
        assert works.curl(f"{works.url}/healthz")[0] == 0 and works.curl(f"{works.url}/healthz", files=pump)[0] == 200
    finally:
        site.write_text(text)
        assert works.act("reload") == 0
    assert works.publish(None, '{"power": 1}', "-u", works.node.tokens["pump"]) == 0


def test_issuing_again_for_a_key_gives_the_same(
    works: Works, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from taihu.cli.enrolment import Key

    (tmp_path / "one.csr").write_bytes(Key.make().request())
    found = []
    for out in ("a", "b"):
        words = ["ca", "issue", PROJECT, "spare", "--request", str(tmp_path / "one.csr"), "--out", str(tmp_path / out)]
        assert works.act(*words) == 0
        assert {path.name for path in (tmp_path / out).iterdir()} == {"spare.crt", "ca.crt"}
        found.append((tmp_path / out / "spare.crt").read_bytes())
    assert found[0] == found[1]
    assert works.act(*words) == EXIT_REFUSED, "no file is written over"
    capsys.readouterr()
    assert works.act("ca", "issue", "--out", str(tmp_path)) != 0
    assert works.act("ca", "issue", PROJECT, "nothing", "--out", str(tmp_path)) == EXIT_REFUSED


def test_no_secret_is_in_the_log_or_the_audit(works: Works) -> None:
    log = works.node.log("ingest")
    assert "PRIVATE KEY" not in log and works.node.operator not in log and "Bearer" not in log
