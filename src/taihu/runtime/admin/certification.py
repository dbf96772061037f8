"""The node's certificate authority at work, and the other authorities that its site believes.

`cryptography` takes 16 MB: it is loaded by a node that has an authority, or is told of one, and by no other.
"""

from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from taihu.identity.certificates import Ended, Sign, Signed
from taihu.identity.directory import Directory
from taihu.identity.presented import Presented, certificate_digest
from taihu.identity.principal import Principal
from taihu.kernel.clock import HOUR_NS, Clock
from taihu.kernel.errors import ConfigError
from taihu.kernel.sections import Site
from taihu.runtime.actions import Action, ActionRefused, own, own_node
from taihu.runtime.paths import Paths

if TYPE_CHECKING:
    from cryptography import x509

    from taihu.identity.pki.authority import Authority
    from taihu.identity.pki.requests import PublicKey
    from taihu.identity.pki.trust import Trust

_DAYS_MAX = 3_650
_SERVER_DAYS = 397
_HOURS_MAX = 24 * 90
_LIST_NS = HOUR_NS


class Certification:
    """Signs for the doors and for administration. Everything but `principal` and `authorities` blocks."""

    def __init__(self, site: Site, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._signing = Lock()
        self.use(site)
        directory.believe(self.principal)

    def use(self, site: Site) -> None:
        """Go by the site's files as they are now. Raises ConfigError, and then nothing has changed."""
        own, trust = read_authorities(site)
        self._site, self._trust = site, trust
        self._authority: Authority | None = None
        self._listed: tuple[int, list[Ended], bytes] | None = None
        self.authorities = believed(own, trust)

    def principal(self, der: bytes) -> Principal | None:
        """Whom another authority's certificate stands for."""
        return self._trust.principal(der) if self._trust is not None else None

    def authority_chain(self) -> bytes:
        """The authority's certificate as PKCS #7 (RFC 7030, 4.1.3). Raises AuthorityLocked."""
        return _bundle([self._open().certificate])

    def enrol(self, token: str, request: bytes) -> bytes:
        """The first certificate of the thing that an enrolment token is for, as PKCS #7."""
        return _bundle_der(self._directory.enrol(token, self._signs(self._key(request), self._site.ca.days)).der)

    def renew_certificate(self, present: Presented, request: bytes) -> bytes:
        """A new certificate in the place of the present one, as PKCS #7."""
        return _bundle_der(self._directory.renew(present, self._signs(self._key(request), self._site.ca.days)).der)

    def revocation_list(self) -> bytes:
        """The revoked certificates, as DER; the same for an hour unless one is added."""
        ended, now = self._directory.ended_certificates(), self._clock.now_ns()
        known = self._listed
        if known is None or known[1] != ended or now - known[0] > _LIST_NS:
            with self._signing:
                known = self._listed = (now, ended, self._open().revocation_list(ended, now))
        return known[2]

    def actions(self) -> dict[str, Action]:
        """What administration may ask for."""
        return {
            "certificate-issue": self._issue,
            "certificate-list": self._list,
            "certificate-revoke": self._revoke,
            "enrolment-issue": self._issue_enrolment,
            "server-certificate": self._issue_server,
            "revocation-list": self._list_revoked,
        }

    def _issue(self, directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
        project, thing = str(arguments["project"]), str(arguments["thing"])
        own(directory, principal, project)
        key, days = self._key(_text(arguments, "request")), _number(arguments, "days", self._site.ca.days, _DAYS_MAX)
        from taihu.identity.pki.requests import key_hash

        label = str(arguments.get("label", ""))
        signed = directory.certify(project, thing, key_hash(key), self._signs(key, days), label, principal.who)
        return self._answer(signed)

    def _issue_server(self, directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
        own_node(directory, principal)
        hosts = arguments["hosts"]
        if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
            raise ActionRefused("hosts is no list of names.", 'Write ["node.example.org"].')
        key, days = self._key(_text(arguments, "request")), _number(arguments, "days", _SERVER_DAYS, _DAYS_MAX)
        with self._signing:
            return self._answer(self._open().sign_server(hosts, key, days, self._clock.now_ns()))

    def _issue_enrolment(self, directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
        project, thing = str(arguments["project"]), str(arguments["thing"])
        own(directory, principal, project)
        hours = _number(arguments, "hours", 24, _HOURS_MAX)
        expires_at = self._clock.now_ns() + hours * HOUR_NS
        return {
            "token": directory.issue_enrolment(project, thing, expires_at, principal.who),
            "expires_at": expires_at,
        }

    def _list(self, directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
        project = str(arguments.get("project", "")) or None
        if project is None:
            own_node(directory, principal)
        else:
            own(directory, principal, project)
            directory.limits(project)  # raises Unknown: no project is not one without certificates
        return {"certificates": directory.certificates(project)}

    def _revoke(self, directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
        project = str(arguments["project"])
        own(directory, principal, project)
        reason = str(arguments.get("reason", ""))
        return {"revoked": directory.revoke_certificate(project, str(arguments["id"]), reason, principal.who)}

    def _list_revoked(self, directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        found = x509.load_der_x509_crl(self.revocation_list())
        return {"list": found.public_bytes(Encoding.PEM).decode(), "count": len(found)}

    def _signs(self, key: "PublicKey", days: int) -> Sign:
        authority = self._open()

        def sign(project: str, thing: str) -> Signed:
            with self._signing:
                return authority.sign_thing(project, thing, key, days, self._clock.now_ns())

        return sign

    def _key(self, request: bytes) -> "PublicKey":
        from taihu.identity.pki.requests import read_request

        return read_request(request, self._site.limits.certificate_request_bytes_max)

    def _answer(self, signed: Signed) -> dict[str, Any]:
        from cryptography import x509

        return {
            "id": certificate_digest(signed.der)[:8].hex(),
            "serial": signed.serial,
            "certificate": _pem(x509.load_der_x509_certificate(signed.der)),
            "authority": _pem(self._open().certificate),
            "expires_at": signed.expires_at,
        }

    def _open(self) -> "Authority":
        """The authority, opened at its first use."""
        from taihu.identity.pki.authority import Authority

        if self._authority is None:
            name = self._site.ca.passphrase_file
            passphrase = self._site.path(name).read_bytes().strip() if name else b""
            self._authority = Authority.open(Paths(self._site.data).ca, passphrase)
        return self._authority


def read_authorities(site: Site) -> "tuple[x509.Certificate | None, Trust | None]":
    """The certificate of the node's own authority, and the others that the site believes. Raises ConfigError."""
    folder = Paths(site.data).ca
    if not (folder / "ca.crt").exists() and not site.ca.trusted:
        return None, None
    from taihu.identity.pki.authority import read_certificate
    from taihu.identity.pki.trust import Trust

    own = read_certificate(folder)
    if not site.ca.trusted:
        return own, None
    try:
        lists = site.path(site.ca.revoked).read_bytes() if site.ca.revoked else b""
        return own, Trust(site.path(site.ca.trusted).read_bytes(), lists, own)
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}.", "Bring it back.", "[ca]") from None


def believed(own: "x509.Certificate | None", trust: "Trust | None") -> str:
    """The authorities whose clients a door lets in, as PEM."""
    return (_pem(own) if own is not None else "") + (trust.pem if trust is not None else "")


def _pem(certificate: "x509.Certificate") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _bundle_der(der: bytes) -> bytes:
    from cryptography import x509

    return _bundle([x509.load_der_x509_certificate(der)])


def _bundle(certificates: "list[x509.Certificate]") -> bytes:
    """Certificates as a PKCS #7 of no signed content (RFC 5272, 4.1)."""
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

    return serialize_certificates(certificates, Encoding.DER)


def _text(arguments: Mapping[str, Any], name: str) -> bytes:
    return str(arguments[name]).encode("utf-8", "replace")


def _number(arguments: Mapping[str, Any], name: str, default: int, highest: int) -> int:
    value = arguments.get(name)
    if value is None:
        return default
    if type(value) is not int or not 1 <= value <= highest:
        raise ActionRefused(f"{name} is not a number from 1 to {highest}.", "Correct the body.")
    return value
