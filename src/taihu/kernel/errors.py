"""One root for every error; the second level says whose fault it is and so what the caller should do."""

from typing import ClassVar


class TaihuError(Exception):
    """Root of all errors.

    Args:
        message: what is wrong, in one sentence.
        remedy: what the reader should do about it; empty when the message says it.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()


class LocalError(TaihuError):
    """Our own caller broke a contract: a defect to report, never the peer's fault."""

    code = "local"


class RemoteError(TaihuError):
    """A peer sent something that is not valid: refuse it, keep serving the others."""

    code = "remote"


class TransientError(TaihuError):
    """The same call may succeed later: retry with a back-off."""

    code = "transient"


class RefusedError(TaihuError):
    """A rule, a right or a limit says no: retrying the same call changes nothing."""

    code = "refused"


class ConfigError(RefusedError):
    """A configuration file cannot be used.

    Args:
        message: what is wrong.
        remedy: what to write instead.
        where: file and line, or file and key.
    """

    code = "config"

    def __init__(self, message: str, remedy: str = "", where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message, remedy)
        self.where = where


class DamagedError(TaihuError):
    """Stored bytes fail their checksum or do not parse: restore from a backup or cut at the last good record."""

    code = "damaged"


class LimitError(RefusedError):
    """A named limit of `kernel.limits` refuses the request."""

    code = "limit"
