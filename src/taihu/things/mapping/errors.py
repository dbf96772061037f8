"""The one error for payload bytes that give no readings (§13)."""

from taihu.kernel.errors import RemoteError


class PayloadError(RemoteError):
    """A payload cannot become readings: refuse the message, keep the connection.

    Args:
        reason: a short, stable code, as listed in `docs/mappings.md`, such as `not-json` or `bad-time`.
        message: what is wrong.
        remedy: what the sender should do.
    """

    code = "payload"

    def __init__(self, reason: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}: {super().__str__()}"
