"""A client's certificate in the place of a token."""

from hashlib import sha256
from typing import Any

from taihu.kernel.ids import token_hash

FOREIGN = "x509-"
"""How the id of a credential begins that another authority gave."""


class Presented(str):
    """A certificate that a client showed and whose key it has: TLS verified both. Its DER, one character a byte.

    What a client sends as text is never one, so that nobody comes in by a copy of a certificate, which is no secret.
    """

    __slots__ = ()

    @classmethod
    def of(cls, der: bytes) -> "Presented":
        """The certificate with this DER."""
        return cls(der.decode("latin-1"))

    @property
    def der(self) -> bytes:
        """Its DER."""
        return self.encode("latin-1")


def presented_by(transport: Any) -> Presented | None:
    """The client's certificate that a transport's handshake has verified; None without one."""
    handshake = transport.get_extra_info("ssl_object")
    der = handshake.getpeercert(binary_form=True) if handshake is not None else None
    return Presented.of(der) if der else None


def digest_of(token: str) -> bytes:
    """Under what a credential is kept: the SHA-256 of a token's UTF-8, or of a certificate after a byte UTF-8 lacks."""
    if isinstance(token, Presented):
        return certificate_digest(token.der)
    return token_hash(token)


def certificate_digest(der: bytes) -> bytes:
    """The digest of a certificate, which no token has."""
    return sha256(b"\xff" + der).digest()
