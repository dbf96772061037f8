"""Passwords: what may be one, and argon2 hashes of them (RFC 9106, its second recommended option)."""

import threading
import unicodedata
from functools import cached_property
from typing import TYPE_CHECKING

from taihu.kernel.errors import RefusedError
from taihu.kernel.ids import new_token
from taihu.kernel.limits import Limits

if TYPE_CHECKING:
    from argon2 import PasswordHasher

_BYTES_MAX = 1_024


class PasswordRefused(RefusedError):
    """It may not be a password: too short, too long, or the person's own name."""

    code = "password"


class Passwords:
    """Hashes and checks passwords. Each takes about 64 MB and a tenth of a second: at most so many at once, on threads.

    `checks` counts them. A hash that another release made with less work is renewed when its owner signs in.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._slots = threading.BoundedSemaphore(max(1, limits.password_checks_max))
        self.checks = 0

    def hash(self, user: str, password: str) -> str:
        """The hash of a new password; blocks. Raises PasswordRefused."""
        text = normal(password)
        if len(text) < self._limits.password_length_min:
            raise PasswordRefused(
                f"A password has at least {self._limits.password_length_min} characters.",
                "Take a longer one, such as five words that do not belong together.",
            )
        if len(text.encode()) > _BYTES_MAX:
            raise PasswordRefused(f"A password has at most {_BYTES_MAX} bytes.", "Take a shorter one.")
        if user.casefold() in text.casefold() and len(text) < len(user) + 8:
            raise PasswordRefused("A password is not the person's name.", "Take another.")
        with self._slots:
            return self._hasher.hash(text)

    def check(self, stored: str, password: str) -> bool:
        """Whether a password is the one of the hash `stored`; blocks.

        It takes as long when there is no hash, so that the time of an answer does not tell whom there is.
        """
        from argon2.exceptions import InvalidHashError, VerificationError

        text = normal(password)[:_BYTES_MAX]
        with self._slots:
            self.checks += 1
            try:
                return self._hasher.verify(stored or self._nobody, text) and bool(stored)
            except (VerificationError, InvalidHashError):
                return False

    def outdated(self, stored: str) -> bool:
        """Whether a hash is weaker than those made now."""
        return self._hasher.check_needs_rehash(stored)

    @cached_property
    def _hasher(self) -> "PasswordHasher":
        from argon2 import PasswordHasher  # some MB, and only where people sign in

        return PasswordHasher()

    @cached_property
    def _nobody(self) -> str:
        """The hash of what nobody has as a password."""
        return self._hasher.hash(new_token())


def normal(password: str) -> str:
    r"""A password as it is hashed, however a keyboard composed its characters.

    >>> normal("e\u0301") == normal("\u00e9")
    True
    """
    return unicodedata.normalize("NFKC", password.encode("utf-8", "replace").decode())
