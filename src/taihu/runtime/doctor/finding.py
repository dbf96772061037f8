"""What an examination finds."""

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How bad it is."""

    NOTE = "note"  # worth knowing
    WARNING = "warning"  # it will hurt, or it hurts a part
    ERROR = "error"  # it hurts now: readings wait or are lost, or nobody is served


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. `check` is its heading in docs/doctor.md; `remedy` is a command where there is one."""

    check: str
    severity: Severity
    what: str
    why: str
    remedy: str


def note(check: str, what: str, why: str, remedy: str) -> Finding:
    """A finding that is worth knowing."""
    return Finding(check=check, severity=Severity.NOTE, what=what, why=why, remedy=remedy)


def warning(check: str, what: str, why: str, remedy: str) -> Finding:
    """A finding that will hurt."""
    return Finding(check=check, severity=Severity.WARNING, what=what, why=why, remedy=remedy)


def error(check: str, what: str, why: str, remedy: str) -> Finding:
    """A finding that hurts now."""
    return Finding(check=check, severity=Severity.ERROR, what=what, why=why, remedy=remedy)
