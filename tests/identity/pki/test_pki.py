"""The authority against OpenSSL, and any bytes as a request, a name or a list."""

import shutil
import subprocess
from base64 import encodebytes
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from taihu.identity.certificates import Ended
from taihu.identity.pki.authority import Authority, AuthorityExists, AuthorityLocked
from taihu.identity.pki.requests import RequestRefused, check_key, key_hash, read_request
from taihu.identity.pki.subjects import parse_thing_uri, thing_uri
from taihu.identity.pki.trust import Trust
from taihu.kernel.clock import NS_PER_S, SystemClock, from_datetime
from taihu.kernel.errors import ConfigError, RefusedError
from taihu.kernel.files import OsFiles
from taihu.kernel.ids import NameRefused, check_name

OPENSSL = shutil.which("openssl")
NOW = SystemClock().now_ns()
DAY_NS = 86_400 * NS_PER_S
KEY = ec.generate_private_key(ec.SECP256R1())


def authority(folder: Path, name: str = "test", days: int = 30) -> Authority:
    return Authority.create(OsFiles(), folder, name, days, NOW, b"")


PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def request(key: PrivateKey) -> bytes:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
def test_openssl_believes_what_the_authority_signs(tmp_path: Path) -> None:
    made = authority(tmp_path)
    thing = made.sign_thing("house-03", "main meter", KEY.public_key(), 10, NOW)
    server = made.sign_server(["node.example.org", "127.0.0.1"], KEY.public_key(), 10, NOW)
    listed = x509.load_der_x509_crl(made.revocation_list([Ended(thing.serial, NOW, "keyCompromise")], NOW))
    (tmp_path / "list.pem").write_bytes(listed.public_bytes(Encoding.PEM))

    def verify(der: bytes, *words: str) -> str:
        (tmp_path / "one.pem").write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
        command = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt", *words, "one.pem"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "one.pem: OK" in verify(thing.der, "-purpose", "sslclient")
    assert "one.pem: OK" in verify(server.der, "-purpose", "sslserver", "-verify_hostname", "node.example.org")
    assert "unsuitable certificate purpose" in verify(thing.der, "-purpose", "sslserver")
    assert "unsuitable certificate purpose" in verify(server.der, "-purpose", "sslclient")
    assert "certificate revoked" in verify(thing.der, "-crl_check", "-CRLfile", "list.pem")
    assert "one.pem: OK" in verify(server.der, "-crl_check", "-CRLfile", "list.pem")


def test_a_certificate_says_whose_it_is_and_ends_with_the_authority(tmp_path: Path) -> None:
    made = authority(tmp_path, days=20)
    long_name = "测" * 100
    signed = made.sign_thing("house-03", long_name, KEY.public_key(), 365, NOW)
    found = x509.load_der_x509_certificate(signed.der)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert parse_thing_uri(uri) == ("house-03", long_name)
    assert signed.expires_at == from_datetime(made.certificate.not_valid_after_utc)
    assert found.not_valid_before_utc < found.not_valid_after_utc - timedelta(days=20)
    assert signed.key_hash == key_hash(KEY.public_key())
    with pytest.raises(RefusedError, match="has expired"):
        made.sign_thing("house-03", "a", KEY.public_key(), 1, NOW + 21 * DAY_NS)
    assert signed.serial != made.sign_thing("house-03", long_name, KEY.public_key(), 365, NOW).serial


def test_an_authority_is_made_once_and_opened_by_its_passphrase(tmp_path: Path) -> None:
    with pytest.raises(AuthorityLocked, match="no certificate authority"):
        Authority.open(tmp_path / "none", b"")
    made = Authority.create(OsFiles(), tmp_path / "ca", "test", 30, NOW, b"open sesame")
    assert (tmp_path / "ca" / "ca.key").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in (tmp_path / "ca" / "ca.key").read_bytes()
    with pytest.raises(AuthorityExists):
        authority(tmp_path / "ca")
    assert Authority.open(tmp_path / "ca", b"open sesame").certificate == made.certificate
    for wrong in (b"", b"shut"):
        with pytest.raises(AuthorityLocked):
            Authority.open(tmp_path / "ca", wrong)
    authority(tmp_path / "other")
    with pytest.raises(AuthorityLocked, match="do not fit"):
        Authority.open(tmp_path / "other", b"not needed")
    (tmp_path / "other" / "ca.crt").rename(tmp_path / "ca" / "ca.crt")
    with pytest.raises(ConfigError, match="is not the key"):
        Authority.open(tmp_path / "ca", b"open sesame")
    (tmp_path / "ca" / "ca.crt").write_text("hello")
    with pytest.raises(ConfigError):
        Authority.open(tmp_path / "ca", b"open sesame")


def test_requests_of_every_kind_of_key_and_form() -> None:
    keys: list[PrivateKey] = [KEY, ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()]
    for key in [*keys, rsa.generate_private_key(65537, 2048)]:
        der = request(key)
        pem = x509.load_der_x509_csr(der).public_bytes(Encoding.PEM)
        text = b"".join(pem.splitlines()[1:-1])
        for form in (der, pem, text, text + b"\n", b"junk before\n" + pem):
            assert read_request(form, 20_000) == key.public_key()
    weak: PrivateKey
    for weak in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP192R1())):
        with pytest.raises(RequestRefused, match="kind or length"):
            read_request(request(weak), 20_000)
    with pytest.raises(RequestRefused, match="kind or length"):
        check_key("a word")


def test_a_request_that_its_key_did_not_sign() -> None:
    der = bytearray(request(KEY))
    der[-1] ^= 1
    with pytest.raises(RequestRefused):
        read_request(bytes(der), 20_000)
    with pytest.raises(RequestRefused, match="more than 100 bytes"):
        read_request(request(KEY), 100)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: b"\x30\x82\x01\x00" + tail)))
def test_any_bytes_as_a_request_are_refused_in_one_way(data: bytes) -> None:
    """§13."""
    with pytest.raises(RequestRefused):
        read_request(data, 20_000)


REQUEST = request(KEY)


def changed(der: bytes) -> Iterator[bytes]:
    """`der` with one byte another, for every byte, and each of its bits and three more values."""
    for place, was in enumerate(der):
        for value in {*(was ^ 1 << bit for bit in range(8)), 0, 3, 255} - {was}:
            yield der[:place] + bytes([value]) + der[place + 1 :]


def test_a_request_with_a_changed_byte_is_refused_or_still_of_some_key() -> None:
    """§13."""
    for der in changed(REQUEST):
        with suppress(RequestRefused):
            read_request(der, 20_000)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # of serial numbers below 1
def test_certificates_and_lists_with_a_changed_byte(tmp_path: Path) -> None:
    """§13: they stand for somebody or nobody; in the settings they are read or refused."""
    made = authority(tmp_path)
    thing = made.sign_thing("house-03", "main meter", KEY.public_key(), 10, NOW)
    root = made.certificate.public_bytes(Encoding.PEM)
    trust = Trust(root)
    for der in changed(thing.der):
        trust.principal(der)
    for der in changed(made.revocation_list([Ended(thing.serial, NOW, "keyCompromise")], NOW)):
        with suppress(ConfigError):
            Trust(root, der)
    for der in changed(made.certificate.public_bytes(Encoding.DER)):
        with suppress(ConfigError):
            Trust(b"-----BEGIN CERTIFICATE-----\n" + encodebytes(der) + b"-----END CERTIFICATE-----\n")


@given(st.text(min_size=1, max_size=128))
def test_a_thing_and_its_uri(name: str) -> None:
    try:
        check_name(name)
    except NameRefused:
        return
    assert parse_thing_uri(thing_uri("house-03", name)) == ("house-03", name)


@given(st.text(max_size=60).map(lambda tail: "urn:taihu:" + tail) | st.text(max_size=60))
def test_any_text_as_a_uri_names_a_thing_or_none(uri: str) -> None:
    found = parse_thing_uri(uri)
    assert found is None or thing_uri(*found).lower() == uri.lower() or "%" in uri


def foreign(folder: Path, name: str, days: int = 30) -> tuple[Authority, bytes]:
    made = authority(folder, name, days)
    return made, made.certificate.public_bytes(Encoding.PEM)


def test_other_authorities_and_what_they_took_back(tmp_path: Path) -> None:
    first, first_pem = foreign(tmp_path / "a", "first")
    second, second_pem = foreign(tmp_path / "b", "second")
    one, other = (each.sign_thing("plant", "pump", KEY.public_key(), 5, NOW) for each in (first, second))
    trust = Trust(first_pem + second_pem)
    found = trust.principal(one.der)
    assert found and (found.project, found.thing, found.expires_at) == ("plant", "pump", one.expires_at)
    assert found.credential_id.startswith("x509-")
    server = first.sign_server(["pump.example.org"], KEY.public_key(), 5, NOW)
    assert trust.principal(server.der) is None and trust.principal(b"nonsense") is None

    lists = [each.revocation_list([Ended(one.serial, NOW)], NOW) for each in (first, second)]
    as_pem = b"".join(x509.load_der_x509_crl(each).public_bytes(Encoding.PEM) for each in lists)
    for data in (lists[0], as_pem):
        trust = Trust(first_pem + second_pem, data)
        assert trust.principal(one.der) is None and trust.principal(other.der) is not None
        assert trust.stale_at is not None and trust.stale_at > NOW + 29 * DAY_NS
    with pytest.raises(ConfigError, match="signed by none"):
        Trust(first_pem, lists[1])
    for data in (b"hello", b"-----BEGIN X509 CRL-----\nhello\n-----END X509 CRL-----"):
        with pytest.raises(ConfigError, match="no revocation list"):
            Trust(first_pem, data)
    with pytest.raises(ConfigError, match="no PEM file"):
        Trust(b"hello")
    assert not Trust()


def test_nobody_speaks_in_the_name_of_the_nodes_own_authority(tmp_path: Path) -> None:
    own = authority(tmp_path / "own", "works")
    impostor, pem = foreign(tmp_path / "impostor", "works")
    with pytest.raises(ConfigError, match="own name"):
        Trust(pem, b"", own.certificate)
    _, other = foreign(tmp_path / "other", "other")
    signed = impostor.sign_thing("plant", "pump", KEY.public_key(), 5, NOW)
    assert Trust(other, b"", own.certificate).principal(signed.der) is None


@pytest.mark.parametrize("host", ["", "a b", "höst/..", "-", "x" * 300, "a..b"])
def test_what_names_no_host(tmp_path: Path, host: str) -> None:
    with pytest.raises(RefusedError):
        authority(tmp_path).sign_server([host], KEY.public_key(), 1, NOW)
    with pytest.raises(RefusedError, match="needs the name"):
        authority(tmp_path / "other").sign_server([], KEY.public_key(), 1, NOW)
