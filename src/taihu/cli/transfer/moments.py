"""Times as people write them on the command line."""

from taihu.kernel.clock import NS_PER_S, parse_iso
from taihu.kernel.errors import RefusedError

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def moment_ns(text: str, now_ns: int) -> int:
    """UTC nanoseconds of ISO 8601 with an offset, of a number of them, or of a time back from now such as -24h.

    >>> moment_ns("-2m", 200_000_000_000), moment_ns("1970-01-01T00:01:00Z", 0)
    (80000000000, 60000000000)
    """
    try:
        if text[:1] == "-" and text[-1:] in _UNITS_S:
            return now_ns - int(float(text[1:-1]) * _UNITS_S[text[-1]] * NS_PER_S)
        return int(text) if text.lstrip("-").isdigit() else parse_iso(text)
    except (ValueError, OverflowError):
        raise RefusedError(
            f"{text[:40]!r} is not a time:", "write 2026-11-23T08:00:00Z, UTC nanoseconds, or -24h."
        ) from None
