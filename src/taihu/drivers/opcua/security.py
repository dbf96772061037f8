"""Who we are to a server, and whether it is the one that was trusted.

The site's own application certificate is made on first use and kept beside its connections, the key for its owner
alone. A server is trusted by the SHA-256 fingerprint of its certificate, which `taihu add` shows and writes down.
"""

import asyncio
import hashlib
import os
import socket
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from asyncua import ua
from asyncua.crypto import security_policies
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from taihu.drivers.port import DeviceRefused
from taihu.kernel.clock import Clock, to_datetime

Policy = Literal["auto", "None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"]
Mode = Literal["Sign", "SignAndEncrypt"]

_POLICIES: dict[str, Any] = {
    "Aes256Sha256RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
    "Aes128Sha256RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
}
POLICIES = ("auto", "None", *_POLICIES)
NO_POLICY: str = security_policies.SecurityPolicyNone.URI
_FOLDER = "opcua"
_KEY_BITS = 2_048
_DAYS = 3_650


class Identity(NamedTuple):
    """Our application: its URI, certificate and key."""

    uri: str
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate in DER, as 64 hexadecimal digits.

    >>> fingerprint(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(certificate).hexdigest()


def leaf(chain: bytes | None) -> bytes:
    """The first certificate of a chain in DER; empty when it is none."""
    if not chain or len(chain) < 4:
        return b""
    return chain[: int.from_bytes(chain[2:4], "big") + 4]


async def own_identity(folder: Path | None, clock: Clock) -> Identity:
    """The application certificate that a site keeps in its connections' folder, made when there is none.

    Without a folder it is made for this time alone.
    """
    return await asyncio.to_thread(_own_identity, folder, clock)  # making a key takes its time


def choose(endpoints: Sequence[ua.EndpointDescription], policy: str, mode: str) -> tuple[ua.EndpointDescription, Any]:
    """The endpoint to use, and its policy's class (None for no security).

    `auto` takes what the server calls its safest, of the policies known here.

    Raises:
        DeviceRefused: the server offers no such endpoint; the message lists what it offers.
    """
    by_uri = {one.URI: name for name, one in _POLICIES.items()} | {NO_POLICY: "None"}
    found = []
    for endpoint in endpoints:
        name = by_uri.get(endpoint.SecurityPolicyUri or "")
        shown = endpoint.SecurityMode.name.rstrip("_")
        if name is None or not (endpoint.EndpointUrl or "").startswith("opc.tcp"):
            continue
        if policy == "None" == name or (name != "None" and policy in ("auto", name) and mode in ("", shown)):
            found.append(
                (int(endpoint.SecurityMode), list(_POLICIES).index(name) if name in _POLICIES else 0, endpoint)
            )
        elif policy == "auto" and name == "None":
            found.append((0, 0, endpoint))
    if not found:
        offered = sorted({f"{by_uri.get(one.SecurityPolicyUri or '', one.SecurityPolicyUri)}" for one in endpoints})
        raise DeviceRefused(
            f"The server offers no security {policy} {mode}.".replace(" .", "."),
            f"It offers: {', '.join(offered)}. Set --option security=...",
        )
    _, _, best = min(found, key=lambda one: (-one[0], one[1]))
    return best, _POLICIES.get(by_uri[best.SecurityPolicyUri])


def check_trusted(certificate: bytes, trusted: str, host: str) -> str:
    """The server's fingerprint, when it is the one that was trusted, or none was yet (`trusted` is empty).

    Raises:
        DeviceRefused: it is another one.
    """
    shown = fingerprint(certificate)
    if trusted and trusted.replace(":", "").lower() != shown:
        raise DeviceRefused(
            f"{host} shows a certificate that is not the trusted one: {shown}.",
            "If it was renewed, compare it on the server and write it as trusted under [options].",
        )
    return shown


def _own_identity(folder: Path | None, clock: Clock) -> Identity:
    if folder is None:
        return _make(clock)
    place = folder / _FOLDER
    certificate, key = place / "certificate.der", place / "key.pem"
    try:
        return _read(certificate, key)
    except FileNotFoundError:
        made = _make(clock)
    except ValueError as error:
        raise DeviceRefused(f"{place} holds no certificate and key: {error}.", "Remove the folder.") from None
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    der = made.certificate.public_bytes(serialization.Encoding.DER)
    pem = made.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key, pem)
    _write(certificate, der)
    return _read(certificate, key)


def _read(certificate: Path, key: Path) -> Identity:
    found = x509.load_der_x509_certificate(certificate.read_bytes())
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ValueError("the key is not RSA")
    return Identity(names.get_values_for_type(x509.UniformResourceIdentifier)[0], found, private)


def _write(path: Path, content: bytes) -> None:
    """Put a file there whole, for its owner alone; one that appeared meanwhile stays."""
    descriptor, fresh = tempfile.mkstemp(dir=path.parent)  # 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def _make(clock: Clock) -> Identity:
    host = socket.gethostname()
    uri = f"urn:{host}:taihu"
    key = rsa.generate_private_key(65_537, _KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Taihu@{host}"[:64])])
    now = to_datetime(clock.now_ns())
    uses = x509.KeyUsage(
        digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True,
        key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(host)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    for extension, critical in ((uses, True), (purposes, False), (names, False)):
        builder = builder.add_extension(extension, critical=critical)
    return Identity(uri, builder.sign(key, hashes.SHA256()), key)
