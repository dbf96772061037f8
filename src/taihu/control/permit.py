"""Permits: without one, no driver and no door passes a command on (§7)."""

import hashlib
import hmac
from fnmatch import fnmatchcase

import msgspec

from taihu.control.command import Affordance, Command
from taihu.kernel.errors import RefusedError

_SEAL_BYTES = 32


class NoPermit(RefusedError):
    """A command came without a permit, with another's, or with one that has ended: it is not passed on."""

    code = "permit"


class Permit(msgspec.Struct, frozen=True):
    """The word of `control` that a command may be sent until `until` (UTC ns). Only control can seal one."""

    command: str
    until: int
    seal: bytes


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A permit for a loop that acts often: inside a corridor, at a rate, until it expires (UTC ns).

    `holder` is who may use it, `things` a pattern; `low` and `high` bound the value. `rest` is what a thing that was
    driven under it is told when somebody else withdraws it, and when it expires; None: it is left as it is.
    """

    id: str
    project: str
    things: str
    name: str
    low: float
    high: float
    per_minute: int
    expires_at: int
    holder: str
    issued_by: str = ""
    rest: float | None = None

    def fault(self, command: Command, now: int) -> str:
        """Why it does not cover a command; empty when it does."""
        value = command.input
        bare = value is None and command.affordance is Affordance.ACTION  # nothing of it to bound
        if now >= self.expires_at:
            return f"the standing permit {self.id} has expired"
        if command.project != self.project or command.who != self.holder:
            return f"the standing permit {self.id} is another's"
        if not fnmatchcase(command.thing, self.things) or command.name != self.name:
            return f"the standing permit {self.id} is for {self.things}/{self.name}"
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not bare and not (number and self.low <= value <= self.high):
            return f"{value!r} is outside the corridor {self.low:g} to {self.high:g} of the standing permit {self.id}"
        return ""


class Authority:
    """Seals permits with a secret of this run, and checks them where a command leaves the system.

    A seal is a keyed BLAKE2b (RFC 7693), which costs a tenth of an HMAC by OpenSSL.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def permit(self, command: Command) -> Permit:
        """A permit for one command, until its deadline."""
        return Permit(command.id, command.deadline, self._seal(command, command.deadline))

    def check(self, command: Command, permit: Permit | None, now: int) -> None:
        """Pass if the permit is for this very command and still holds.

        Raises:
            NoPermit: otherwise; the command must not be sent.
        """
        if permit is None or permit.command != command.id:
            raise NoPermit(f"The command {command.id} has no permit.", "Commands are given to control alone.")
        if not hmac.compare_digest(permit.seal, self._seal(command, permit.until)):
            raise NoPermit(f"The permit of the command {command.id} is not genuine.", "Ask control for one.")
        if now >= permit.until:
            raise NoPermit(f"The permit of the command {command.id} has ended.", "Give the command again.")

    def _seal(self, command: Command, until: int) -> bytes:
        what = (command.id, command.project, command.thing, command.affordance, command.name, command.input, until)
        return hashlib.blake2b(msgspec.msgpack.encode(what), key=self._secret, digest_size=_SEAL_BYTES).digest()
