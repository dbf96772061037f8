"""Certificates of things: who has one, its renewal and its end."""

from collections.abc import Callable
from sqlite3 import Connection

import msgspec

from taihu.identity import codes, records
from taihu.identity.codes import Code, Purpose
from taihu.identity.memory import Unknown
from taihu.identity.presented import Presented, certificate_digest, digest_of
from taihu.identity.principal import Change, CredentialKind, Event, Principal
from taihu.identity.rows import as_dicts, insert, select, update, value
from taihu.identity.writer import Writer
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.ids import new_token, token_hash

REASONS = ("keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn")


class EnrolmentRefused(RefusedError):
    """A device may not have a certificate: its enrolment token is unknown, used or expired, or its certificate is."""

    code = "enrolment-refused"


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate: DER, its serial number in hexadecimal, the hash of its public key, and its end (UTC ns)."""

    der: bytes
    serial: str
    key_hash: bytes
    expires_at: int


class Ended(msgspec.Struct, frozen=True):
    """A revoked certificate: its serial number in hexadecimal, since when (UTC ns), and why (RFC 5280, 5.3.1)."""

    serial: str
    at: int
    reason: str = ""


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate as it is listed; times are UTC nanoseconds."""

    id: str
    serial: str
    project: str
    thing: str
    label: str
    issued_by: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    first_used_at: int | None
    reason: str


_WITH_CREDENTIAL = "certificates JOIN credentials ON credential = id"

Sign = Callable[[str, str], Signed]
"""Makes the certificate of a project's thing for a key that was asked for."""


class Certificates(Writer):
    """The part of the directory that changes certificates. `by` is who, for the audit."""

    def issue_enrolment(self, project: str, thing: str, expires_at: int, by: str = "") -> str:
        """A token with which a device fetches the first certificate of `thing`, once. It replaces an earlier one.

        Raises Unknown for a thing there is not.
        """
        self._check_thing(project, thing)
        token, now = new_token(), self._clock.now_ns()
        code = Code(
            hash=token_hash(token), purpose=Purpose.ENROL, project=project, thing=thing, issued_by=by, created_at=now,
            expires_at=expires_at,
        )  # fmt: skip
        with self._writing, self._transaction() as connection:
            codes.put(connection, [code])
            self._note(connection, by, "enrolment token issued", f"{project}/{thing}", project)
        return token

    def enrol(self, token: str, sign: Sign) -> Signed:
        """Use an enrolment token up for a certificate of its thing. Raises EnrolmentRefused, LimitError."""
        with self._writing:
            with self._transaction() as connection:
                code = codes.take(connection, Purpose.ENROL, token_hash(token), self._clock.now_ns())
                if code is None or not self.thing(code.project, code.thing):
                    raise EnrolmentRefused("This is no valid enrolment token.", "Issue another: taihu ca enroll")
                signed = self._add(connection, code.project, code.thing, sign, "", "enrolment")
            self._remember(code.project, code.thing, signed)
        self._tell(Change(Event.TOKEN_ISSUED, code.project, code.thing, _id(signed)))
        return signed

    def certify(self, project: str, thing: str, key_hash: bytes, sign: Sign, label: str = "", by: str = "") -> Signed:
        """A certificate of a thing for a key; the same again when the key has one. Raises Unknown, LimitError."""
        self._check_thing(project, thing)
        with self._writing:
            with self._transaction() as connection:
                for signed in self._live(connection, project, thing):
                    if signed.key_hash == key_hash:
                        return signed
                signed = self._add(connection, project, thing, sign, label, by)
            self._remember(project, thing, signed)
        self._tell(Change(Event.TOKEN_ISSUED, project, thing, _id(signed)))
        return signed

    def renew(self, present: Presented, sign: Sign) -> Signed:
        """A new certificate for a thing that came with its present one, which ends `certificate_overlap_s` later.

        Raises EnrolmentRefused when the present one is not one of ours.
        """
        digest = digest_of(present)
        with self._writing:
            now = self._clock.now_ns()
            known = self._memory.principals.get(digest)
            if known is None or not known.thing or (known.expires_at or 0) <= now:
                raise EnrolmentRefused("This certificate renews nothing.", "Enrol anew with an enrolment token.")
            overlap = int(self._memory.default_limits.certificate_overlap_s * NS_PER_S)
            old = msgspec.structs.replace(known, expires_at=min(known.expires_at or 0, now + overlap))
            with self._transaction() as connection:
                update(connection, "credentials", {"id": known.credential_id}, {"expires_at": old.expires_at})
                signed = self._add(connection, known.project, known.thing, sign, "", known.credential_id)
            self._remember(known.project, known.thing, signed)
            self._memory.principals[digest] = old
        self._tell(Change(Event.TOKEN_ISSUED, known.project, known.thing, _id(signed)))
        return signed

    def revoke_certificate(self, project: str, number: str, reason: str, by: str = "") -> str:
        """End a certificate at once, named by its id or serial number; returns its id. Raises Unknown."""
        if reason and reason not in REASONS:
            raise RefusedError(f"{reason[:40]!r} is no reason.", f"Name one of: {', '.join(REASONS)}.")
        serial = number.lower().replace(":", "").lstrip("0")
        with self._writing:
            with self._transaction() as connection:
                query = "SELECT credential FROM certificates WHERE credential = ? OR serial = ?"
                found = value(connection.execute(query, (number, serial)))
                digest = None
                if found is not None:
                    digest = records.revoke(connection, found, project, None, self._clock.now_ns())
                if found is None or digest is None:
                    raise Unknown(f"There is no live certificate {number[:80]!r}.", "List them with: taihu ca list")
                update(connection, "certificates", {"credential": found}, {"reason": reason})
                self._note(connection, by, "certificate revoked", f"{found} {reason}".rstrip(), project)
            principal = self._memory.drop_principal(digest)
        self._tell(Change(Event.TOKEN_REVOKED, project, principal.thing, found))
        return str(found)

    def certificates(self, project: str | None = None, limit: int = 10_000) -> list[Certificate]:
        """At most `limit` certificates, the newest first, of a project or of all; blocks."""
        what = f"{', '.join(Certificate.__struct_fields__)} FROM {_WITH_CREDENTIAL}"
        key = {} if project is None else {"project": project}
        with self._writing, self._store.transaction() as connection:
            found = as_dicts(select(connection, what, key, "ORDER BY created_at DESC, id LIMIT ?", limit))
        return [Certificate(**fields) for fields in found]

    def ended_certificates(self) -> list[Ended]:
        """The revoked ones that have not expired by themselves: what a revocation list holds; blocks."""
        what, revoked = f"serial, revoked_at, reason FROM {_WITH_CREDENTIAL}", "AND revoked_at IS NOT NULL"
        tail, now = f"{revoked} AND expires_at > ? ORDER BY revoked_at", self._clock.now_ns()
        with self._writing, self._store.transaction() as connection:
            return [Ended(*row) for row in select(connection, what, {}, tail, now)]

    def _check_thing(self, project: str, thing: str) -> None:
        if thing not in self._memory.project(project).things:
            raise Unknown(f"There is no thing {project}/{thing}.", "List them with: taihu things")

    def _live(self, connection: Connection, project: str, thing: str) -> list[Signed]:
        """The certificates of a thing that are neither revoked nor expired."""
        what = f"der, serial, key_hash, expires_at FROM {_WITH_CREDENTIAL}"
        live = {"project": project, "thing": thing, "revoked_at": None}
        found = select(connection, what, live, "AND expires_at > ?", self._clock.now_ns())
        return [Signed(**fields) for fields in as_dicts(found)]

    def _add(self, connection: Connection, project: str, thing: str, sign: Sign, label: str, by: str) -> Signed:
        """Sign and store a certificate."""
        highest = self._memory.default_limits.certificates_per_thing_max
        if len(self._live(connection, project, thing)) >= highest:
            raise LimitError(
                f"{thing} has {highest} certificates, as many as it may.",
                "Revoke some, or raise [limits] certificates_per_thing_max.",
            )
        signed = sign(project, thing)
        principal = _principal(project, thing, signed)
        digest, now = certificate_digest(signed.der), self._clock.now_ns()
        records.add_credential(connection, principal, digest, now, label, {}, by)
        row = {"credential": principal.credential_id, "serial": signed.serial, "key_hash": signed.key_hash}
        insert(connection, "certificates", [row | {"reason": "", "der": signed.der}])
        self._note(connection, by, "certificate issued", f"{principal.credential_id} {project}/{thing}", project)
        return signed

    def _remember(self, project: str, thing: str, signed: Signed) -> None:
        self._memory.put_principal(certificate_digest(signed.der), _principal(project, thing, signed))


def _id(signed: Signed) -> str:
    return certificate_digest(signed.der)[:8].hex()


def _principal(project: str, thing: str, signed: Signed) -> Principal:
    return Principal(project, CredentialKind.THING, thing, _id(signed), signed.expires_at)
