"""Many things at once, and things that change hands: provisioning by list, claims by code."""

from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from sqlite3 import Connection

import msgspec

from taihu.identity import codes, records
from taihu.identity.codes import Code, Purpose
from taihu.identity.principal import Change, CredentialKind, Event, Principal
from taihu.identity.registry import Exists, Registry, check_room
from taihu.identity.rows import update
from taihu.kernel.clock import MINUTE_NS
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.ids import check_name, token_hash
from taihu.things.property import Thing

_HASH_BYTES = 32
_WHO_MAX = 10_000
_ALIKE = str.maketrans("OIL", "011")  # letters that no code has, and people read into it


class ClaimRefused(RefusedError):
    """A thing cannot be claimed: the code is unknown, used or expired, or the project has a thing of that name."""

    code = "claim-refused"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that there shall be, and the hashes of the secrets that shall open it; empty for none.

    The secrets themselves stay with who made them: asking twice for the same changes nothing.
    """

    thing: Thing
    token_hash: bytes = b""
    enrolment_hash: bytes = b""
    claim_hash: bytes = b""


class Provisioning(Registry):
    """The part of the directory that provisions and claims. `by` is who, for the audit."""

    def provision(self, project: str, wanted: Sequence[Wanted], expires_at: int, by: str = "") -> tuple[int, int]:
        """Make things and their credentials, all or none, in two transactions of one sync each.

        Codes are good until `expires_at` (UTC ns). Returns how many things and how many tokens are new. Raises as
        `put_things`, and RefusedError for a hash that is none or opens something else.
        """
        for one in wanted:
            for digest in (one.token_hash, one.enrolment_hash, one.claim_hash):
                if digest and len(digest) != _HASH_BYTES:
                    raise RefusedError("A secret's hash has 32 bytes:", "send the SHA-256 in hexadecimal.")
        before = self.thing_count(project)
        self.put_things(project, [one.thing for one in wanted], by)
        now = self._clock.now_ns()
        with self._writing:
            fresh = []
            for one in wanted:
                known = self._memory.principals.get(one.token_hash)
                if known is not None and (known.project, known.thing) != (project, one.thing.name):
                    raise Exists(f"The token of {one.thing.name} opens something else.", "Make another.")
                if one.token_hash and known is None:
                    number = one.token_hash[:8].hex()
                    fresh.append((one.token_hash, Principal(project, CredentialKind.THING, one.thing.name, number)))
            found = [
                Code(
                    hash=digest, purpose=purpose, project=project, thing=one.thing.name, issued_by=by, created_at=now,
                    expires_at=expires_at,
                )
                for one in wanted
                for purpose, digest in ((Purpose.ENROL, one.enrolment_hash), (Purpose.CLAIM, one.claim_hash))
                if digest
            ]  # fmt: skip
            if fresh or found:
                with self._transaction() as connection:
                    records.add_credentials(connection, fresh, now, "provisioned")
                    codes.put(connection, found)
                    said = f"{len(fresh)} tokens and {len(found)} codes for {len(wanted)} things"
                    self._note(connection, by, "provisioned", said, project)
                with self._changing:
                    for digest, principal in fresh:
                        self._memory.put_principal(digest, principal)
        return self.thing_count(project) - before, len(fresh)

    def open_claim(self, project: str, thing: str, secret: str, expires_at: int) -> None:
        """A device says itself that it may be claimed, by its name and a secret; in memory, until `expires_at`.

        Raises LimitError when as many wait as may.
        """
        now = self._clock.now_ns()
        with self._changing:
            waiting = {key: claim for key, claim in self._memory.claims.items() if claim.expires_at > now}
            if len(waiting) >= self._memory.default_limits.claims_open_max:
                raise LimitError("Too many devices wait to be claimed.", "Raise [limits] claims_open_max.")
            digest = claim_hash(secret, thing)
            code = Code(hash=digest, purpose=Purpose.CLAIM, project=project, thing=thing, expires_at=expires_at)
            self._memory.claims = waiting | {digest: code}

    def claim(self, project: str, secret: str, thing: str = "", name: str = "", by: str = "") -> Thing:
        """Move what a claim code is for into `project`, under `name` or its own: its credentials open it there.

        Args:
            secret: the code, as printed; or a device's own secret, and then `thing` is its name.

        The thing it was stays where it was, with its history, and nothing opens it any more. A code is used up.
        Raises ClaimRefused, and LimitError when `by` has tried too often.
        """
        self._memory.project(project)
        now = self._clock.now_ns()
        self._count_attempt(f"{by} {project}", now)
        digest = claim_hash(secret, thing)
        with self._writing:
            code = self._memory.claims.get(digest)
            code = code if code is not None and code.expires_at > now else None
            with self._transaction() as connection:
                code = code or codes.take(connection, Purpose.CLAIM, digest, now)
                known = self.thing(code.project, code.thing) if code is not None else None
                if code is None or known is None:
                    raise ClaimRefused("This is no valid claim code.", "Look at the label again, or ask for another.")
                kept = {"name": name or known.name, "parent": "", "registered_id": ""}
                moved = msgspec.structs.replace(known, created_at=now, **kept)
                if code.project == project or self.thing(project, moved.name) is not None:
                    raise ClaimRefused(f"{project} has a thing {moved.name} already.", "Claim it under another name.")
                check_room(self._memory.project(project), 1)
                check_name(moved.name)
                if moved.model and moved.model not in self._memory.project(project).models:
                    moved = msgspec.structs.replace(moved, model="", properties=dict(
                        self.definitions(code.project, code.thing) or {}
                    ))  # fmt: skip
                records.put_things(connection, [(project, moved)])
                self._move_credentials(code, project, moved.name, connection)
                said = f"{code.project}/{code.thing} -> {project}/{moved.name}"
                for each in (code.project, project):
                    self._note(connection, by, "claimed", said, each)
            with self._changing:
                self._memory.claims = {key: one for key, one in self._memory.claims.items() if key != digest}
                self._memory.project(project).put_thing(moved)
                ended = self._memory.move(code.project, code.thing, project, moved.name)
        self._tell(Change(Event.THING, project, moved.name))
        self._tell(*(Change(Event.TOKEN_REVOKED, code.project, code.thing, number) for number in ended))
        return moved

    def _move_credentials(self, code: Code, project: str, name: str, connection: Connection) -> None:
        here = {"project": code.project, "thing": code.thing, "kind": CredentialKind.THING}
        update(connection, "credentials", here, {"project": project, "thing": name})

    def _count_attempt(self, who: str, now: int) -> None:
        """At most so many attempts a minute: a code is not to be guessed."""
        with self._changing:
            attempts = self._memory.attempts.setdefault(who, deque())
            while attempts and not 0 <= now - attempts[0] < MINUTE_NS:
                attempts.popleft()
            if len(attempts) >= self._memory.default_limits.claim_attempts_per_minute_max:
                raise LimitError("Too many claims were tried.", "Try again in a minute.")
            attempts.append(now)
            if len(self._memory.attempts) > _WHO_MAX:
                self._memory.attempts = {who: attempts}


def claim_hash(secret: str, thing: str = "") -> bytes:
    """Under what a claim is kept: a printed code alone, however it is written, or a device's name and own secret."""
    if not thing:
        return token_hash("".join(secret.upper().replace("-", "").split()).translate(_ALIKE))
    return sha256(b"\xff" + thing.encode() + b"\0" + secret.encode()).digest()
