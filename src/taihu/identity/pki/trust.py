"""Other authorities whose certificates a site believes, and the lists of those they revoked."""

from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from taihu.identity.pki.requests import BROKEN
from taihu.identity.pki.subjects import parse_thing_uri
from taihu.identity.presented import FOREIGN
from taihu.identity.principal import CredentialKind, Principal
from taihu.kernel.clock import from_datetime
from taihu.kernel.errors import ConfigError


class Trust:
    """What `[ca] trusted` and `[ca] revoked` hold.

    Args:
        authorities: certificates as PEM; empty for none.
        lists: revocation lists, each signed by one of the authorities, as PEM or one as DER; empty for none.
        own: the node's own authority: a certificate of its name is known here or stands for nobody.

    Raises:
        ConfigError: one of them cannot be read, or a list is of none of the authorities.
    """

    def __init__(self, authorities: bytes = b"", lists: bytes = b"", own: x509.Certificate | None = None) -> None:
        known, self._issuers = _certificates(authorities)
        self._own = own.subject if own is not None else None
        if self._own in self._issuers:
            raise ConfigError("It holds an authority of the node's own name.", "Take it out.", "[ca] trusted")
        self.pem = b"".join(one.public_bytes(Encoding.PEM) for one in known).decode()
        self._revoked: set[tuple[x509.Name, int]] = set()
        self.stale_at: int | None = None
        try:
            for found in _lists(lists):
                self._take(found, known)
        except BROKEN as error:
            raise ConfigError(f"It is no revocation list: {error}.", "Name one, PEM or DER.", "[ca] revoked") from None

    def __bool__(self) -> bool:
        """Whether there is any authority."""
        return bool(self._issuers)

    def principal(self, der: bytes) -> Principal | None:
        """Whom a certificate stands for, its chain verified by the handshake; None when revoked or none of ours.

        The thing is that of the first URI in its subject alternative name that names one.
        """
        try:
            certificate = x509.load_der_x509_certificate(der)
            issuer = certificate.issuer
            if issuer == self._own or (issuer, certificate.serial_number) in self._revoked:
                return None
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        except BROKEN:
            return None
        found = next(filter(None, map(parse_thing_uri, uris)), None)
        if found is None:
            return None
        ends = from_datetime(certificate.not_valid_after_utc)
        return Principal(found[0], CredentialKind.THING, found[1], f"{FOREIGN}{sha256(der).hexdigest()[:16]}", ends)

    def _take(self, found: x509.CertificateRevocationList, known: list[x509.Certificate]) -> None:
        signers = [one for one in known if one.subject == found.issuer]
        if not any(found.is_signature_valid(one.public_key()) for one in signers):  # type: ignore[arg-type]
            name = found.issuer.rfc4514_string()
            raise ConfigError(f"The list of {name} is signed by none of them.", "Add its authority.", "[ca] revoked")
        self._revoked |= {(found.issuer, entry.serial_number) for entry in found}
        if found.next_update_utc is not None:
            ends = from_datetime(found.next_update_utc)
            self.stale_at = ends if self.stale_at is None else min(ends, self.stale_at)


def _certificates(data: bytes) -> tuple[list[x509.Certificate], set[x509.Name]]:
    try:
        known = x509.load_pem_x509_certificates(data) if data.strip() else []
        return known, {one.subject for one in known}  # a name is parsed when it is asked for
    except BROKEN as error:
        raise ConfigError(f"It is no PEM file of certificates: {error}.", "Name one.", "[ca] trusted") from None


def _lists(data: bytes) -> list[x509.CertificateRevocationList]:
    end = b"-----END X509 CRL-----"
    if end not in data:
        return [x509.load_der_x509_crl(data)] if data.strip() else []
    return [x509.load_pem_x509_crl(part + end) for part in data.split(end)[:-1]]
