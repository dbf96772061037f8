"""A device's side of enrolment (RFC 7030): its key, its request, and the certificate it is given."""

import base64
import binascii
import http.client
import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from taihu.cli.client import NodeAway, NodeRefused
from taihu.kernel.clock import from_datetime
from taihu.kernel.errors import RefusedError, RemoteError

_TIMEOUT_S = 60.0
_PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


class Fetched(NamedTuple):
    """A certificate as PEM, and its end (UTC ns)."""

    pem: bytes
    expires_at: int


class Key:
    """A device's private key."""

    def __init__(self, key: _PrivateKey) -> None:
        self._key = key

    @classmethod
    def make(cls) -> "Key":
        """A new key on the curve P-256."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def read(cls, path: Path) -> "Key":
        """The key in a PEM file. Raises RefusedError."""
        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise RefusedError(f"{path} cannot be read as a key: {error}.", "Name a PEM file, unencrypted.") from None
        if not isinstance(key, _PrivateKey):
            raise RefusedError(f"{path} is a key of a kind that is not certified.", "Make one on the curve P-256.")
        return cls(key)

    def pem(self) -> bytes:
        """It as PEM, unencrypted."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def request(self, encoding: Encoding = Encoding.PEM) -> bytes:
        """A PKCS #10 request for it. It names nobody: whose certificate it becomes is for the node to say."""
        algorithm = None if isinstance(self._key, ed25519.Ed25519PrivateKey) else SHA256()
        builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
        return builder.sign(self._key, algorithm).public_bytes(encoding)


def enroll(
    url: str, authority: Path | None, key: Key, *, token: str = "", present: tuple[Path, Path] | None = None
) -> Fetched:
    """A certificate for `key` from the node at `url`: by an enrolment token, or by the present certificate and key.

    Raises:
        NodeAway: no node answers, or it is not the one that `authority` vouches for.
        NodeRefused: it says no.
        RemoteError: what it answers is no certificate.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise RefusedError(f"{url!r} is not the address of a node over TLS:", "write https://HOST:PORT.")
    connection = http.client.HTTPSConnection(
        parts.hostname, parts.port, timeout=_TIMEOUT_S, context=_context(authority, present)
    )
    path = "/.well-known/est/" + ("simplereenroll" if present else "simpleenroll")
    headers = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request("POST", path, base64.encodebytes(key.request(Encoding.DER)), headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise NodeAway(f"{url} cannot be reached: {error}.", "Correct --url or --authority.") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise _refusal(answer.status, body)
    return _certificate(body)


def expires_at(path: Path) -> int:
    """The end of the certificate in a PEM file (UTC ns). Raises RefusedError."""
    try:
        return from_datetime(x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc)
    except (OSError, ValueError) as error:
        raise RefusedError(f"{path} cannot be read as a certificate: {error}.", "Name a PEM file.") from None


def _context(authority: Path | None, present: tuple[Path, Path] | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authority)
        if present:
            context.load_cert_chain(*present)
    except OSError as error:  # ssl.SSLError is one
        raise RefusedError(f"A certificate or key cannot be used: {error}.", "Name PEM files.") from None
    return context


def _certificate(body: bytes) -> Fetched:
    try:
        found = load_der_pkcs7_certificates(base64.b64decode(body))
        return Fetched(found[0].public_bytes(Encoding.PEM), from_datetime(found[0].not_valid_after_utc))
    except (ValueError, binascii.Error, IndexError):
        raise RemoteError("The answer is no certificate.", "Correct --url.") from None


def _refusal(status: int, body: bytes) -> Exception:
    try:
        problem = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return RemoteError(f"The node answers with status {status}.", "Correct --url.")
    code = str(problem.get("type", "")).rpartition(":")[2]
    kind = NodeAway if status == 503 else None
    message, remedy = str(problem.get("title", "")), str(problem.get("detail", ""))
    return kind(message, remedy) if kind else NodeRefused(message, remedy, code)
