"""What is sent to be signed: PKCS #10 requests (RFC 2986), as DER, base64 of it, or PEM."""

import base64
import re
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from taihu.kernel.errors import RemoteError

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
BROKEN = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for bytes that are no request, certificate or list, when read and when looked into."""

_RSA_BITS_MIN, _RSA_BITS_MAX = 2048, 4096
_PEM = re.compile(
    rb"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]*)-----END (?:NEW )?CERTIFICATE REQUEST-----"
)


class RequestRefused(RemoteError):
    """It is no certificate request that can be signed: the message says what a device should send."""

    code = "certificate-request"


def read_request(data: bytes, bytes_max: int) -> PublicKey:
    """The public key of a request whose signature proves that its sender has the private one.

    What it says of its subject is not believed: whose certificate it becomes is for the node to say.

    Raises:
        RequestRefused: it is none, too large, of a weak or unknown key, or not signed by it.
    """
    if len(data) > bytes_max:
        raise RequestRefused(f"The request has more than {bytes_max} bytes.", "Send a smaller one.")
    try:
        request = x509.load_der_x509_csr(_der(data))
        key = request.public_key()
        signed = request.is_signature_valid
    except (*BROKEN, InvalidSignature):
        raise RequestRefused("This is no PKCS #10 certificate request.", "Make one: openssl req -new") from None
    if not signed:
        raise RequestRefused("The request is not signed by its own key.", "Sign it with the key it asks for.")
    return check_key(key)


def check_key(key: object) -> PublicKey:
    """Return `key` if it is strong enough and of a kind that clients of TLS use."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey) and _RSA_BITS_MIN <= key.key_size <= _RSA_BITS_MAX:
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise RequestRefused(
        "A key of this kind or length is not certified.",
        f"Make one on the curve P-256, or an RSA key of {_RSA_BITS_MIN} to {_RSA_BITS_MAX} bits.",
    )


def key_hash(key: PublicKey) -> bytes:
    """The SHA-256 of a public key."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _der(data: bytes) -> bytes:
    if data[:1] == b"\x30":
        return data
    found = _PEM.search(data)
    return base64.b64decode(b"".join((found[1] if found else data).split()), validate=True)
