"""The node's own certificate authority: its key and certificate in files, and what it signs (RFC 5280)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from taihu.identity.certificates import Ended, Signed
from taihu.identity.pki.requests import PublicKey, key_hash
from taihu.identity.pki.subjects import thing_uri
from taihu.kernel.clock import from_datetime, to_datetime
from taihu.kernel.errors import ConfigError, RefusedError, TransientError
from taihu.kernel.files import Files, write_atomic

CERTIFICATE, KEY = "ca.crt", "ca.key"
_NAME_BYTES_MAX = 64  # RFC 5280, ub-common-name, and so for an organization
_BACK = timedelta(minutes=10)  # a device whose clock is behind believes a certificate that is new
_CRL_DAYS = 30


class AuthorityExists(RefusedError):
    """There is an authority already, and all its certificates would end with it: issue with that one."""

    code = "ca-exists"


class AuthorityLocked(TransientError):
    """The authority's key cannot be opened: there is none, or its passphrase is not known."""

    code = "ca-locked"


class Authority:
    """One authority, opened to sign."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    @classmethod
    def create(cls, files: Files, folder: Path, name: str, days: int, now_ns: int, passphrase: bytes) -> "Authority":
        """Make an authority in `folder`; with a passphrase its key is encrypted. Raises AuthorityExists."""
        if (folder / KEY).exists() or (folder / CERTIFICATE).exists():
            raise AuthorityExists(f"There is an authority in {folder}.", "Issue with it, or move it away for good.")
        files.make_folder(folder)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        starts = to_datetime(now_ns)
        builder = _builder(subject, subject, key.public_key(), starts, starts + timedelta(days=days))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        certificate = builder.sign(key, SHA256())
        locked: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        write_atomic(files, folder / KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
        write_atomic(files, folder / CERTIFICATE, certificate.public_bytes(Encoding.PEM))
        return cls(certificate, key)

    @classmethod
    def open(cls, folder: Path, passphrase: bytes) -> "Authority":
        """The authority in `folder`. Raises AuthorityLocked, and ConfigError when its files do not fit."""
        certificate = read_certificate(folder)
        if certificate is None:
            raise AuthorityLocked("There is no certificate authority here.", "Make one: taihu ca init")
        try:
            key = load_pem_private_key((folder / KEY).read_bytes(), passphrase or None)
        except OSError as error:
            raise AuthorityLocked(f"{folder / KEY} cannot be read: {error.strerror}.", "Bring it back.") from None
        except TypeError:
            remedy = "Take [ca] passphrase_file away." if passphrase else "Set [ca] passphrase_file."
            raise AuthorityLocked(f"{folder / KEY} and the passphrase do not fit.", remedy) from None
        except ValueError:
            raise AuthorityLocked(f"The passphrase does not open {folder / KEY}.", "Correct it.") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ConfigError(f"{KEY} is not the key of {CERTIFICATE}.", "Bring back the one that is.", str(folder))
        return cls(certificate, key)

    def sign_thing(self, project: str, thing: str, key: PublicKey, days: int, now_ns: int) -> Signed:
        """A client's certificate that stands for a thing; it ends with the authority's own at the latest."""
        builder = self._builder(_name(thing, project), key, days, now_ns, ExtendedKeyUsageOID.CLIENT_AUTH)
        uri = x509.UniformResourceIdentifier(thing_uri(project, thing))
        return self._sign(builder, x509.SubjectAlternativeName([uri]))

    def sign_server(self, hosts: Sequence[str], key: PublicKey, days: int, now_ns: int) -> Signed:
        """A server's certificate for host names and addresses. Raises RefusedError for what is neither."""
        if not hosts:
            raise RefusedError("A server's certificate needs the name of a host.", "Name at least one.")
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        builder = self._builder(_name(hosts[0]), key, days, now_ns, ExtendedKeyUsageOID.SERVER_AUTH)
        return self._sign(builder, names)

    def revocation_list(self, ended: Sequence[Ended], now_ns: int) -> bytes:
        """The revoked certificates as a list, in DER; good for 30 days. Its number is the time."""
        now = to_datetime(now_ns)
        builder = x509.CertificateRevocationListBuilder(self.certificate.subject, now, now + timedelta(days=_CRL_DAYS))
        builder = builder.add_extension(x509.CRLNumber(now_ns), critical=False)
        builder = builder.add_extension(self._issuer(), critical=False)
        for one in ended:
            entry = x509.RevokedCertificateBuilder(int(one.serial, 16), to_datetime(one.at))
            if one.reason:
                entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags(one.reason)), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.DER)

    def _builder(
        self, subject: x509.Name, key: PublicKey, days: int, now_ns: int, usage: x509.ObjectIdentifier
    ) -> x509.CertificateBuilder:
        now, last = to_datetime(now_ns), self.certificate.not_valid_after_utc
        if now >= last:
            raise RefusedError("The authority's own certificate has expired.", "Make a new authority: taihu ca init")
        builder = _builder(subject, self.certificate.subject, key, now, min(last, now + timedelta(days=days)))
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.add_extension(self._issuer(), critical=False)

    def _sign(self, builder: x509.CertificateBuilder, names: x509.SubjectAlternativeName) -> Signed:
        certificate = builder.add_extension(names, critical=False).sign(self._key, SHA256())
        return Signed(
            der=certificate.public_bytes(Encoding.DER),
            serial=f"{certificate.serial_number:x}",
            key_hash=key_hash(certificate.public_key()),  # type: ignore[arg-type]  # it is one of those asked for
            expires_at=from_datetime(certificate.not_valid_after_utc),
        )

    def _issuer(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())


def read_certificate(folder: Path) -> x509.Certificate | None:
    """The certificate of the authority in `folder`; None when there is none. Raises ConfigError."""
    path = folder / CERTIFICATE
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"It cannot be read: {error}.", "Bring back the authority's.", str(path)) from None


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, starts: datetime, ends: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), starts - _BACK, ends)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _name(common: str, organization: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, _cut(common))]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, _cut(organization)))
    return x509.Name(parts)


def _cut(text: str) -> str:
    """As much of a text as a name holds; the whole one stands in the alternative name."""
    return text.encode()[:_NAME_BYTES_MAX].decode("utf-8", "ignore")


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    try:
        name = host.encode("idna").decode()
    except UnicodeError:
        name = ""
    if not name or not all(part.replace("-", "").isalnum() for part in name.removeprefix("*.").split(".")):
        raise RefusedError(f"{host!r} names no host.", "Write a name such as node.example.org, or an address.")
    return x509.DNSName(name)
