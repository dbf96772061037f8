"""What was found damaged: kept in a bounded list and logged once, never passed over in silence."""

import logging

import msgspec

_logger = logging.getLogger(__name__)
DAMAGE_MAX = 1_000


class Damage(msgspec.Struct, frozen=True):
    """Bytes of a segment that fail their checks, and the positions [first, next) that may have been in them."""

    file: str
    offset: int
    lost_bytes: int
    first_position: int
    next_position: int


class DamageLog:
    """Every damage found so far, each place once; `found` holds the first `DAMAGE_MAX`, `count` says how many."""

    def __init__(self) -> None:
        self.found: list[Damage] = []
        self.count = 0

    def knows(self, file: str) -> bool:
        """Whether something in `file` was found damaged; also when there is too much to tell."""
        return len(self.found) == DAMAGE_MAX or any(known.file == file for known in self.found)

    def report(self, damage: Damage) -> None:
        """Log and keep `damage`, unless its place is known already."""
        if any((known.file, known.offset) == (damage.file, damage.offset) for known in self.found):
            return
        self.count += 1
        if len(self.found) == DAMAGE_MAX:
            return
        self.found.append(damage)
        _logger.warning(
            "journal segment %s is damaged at byte %d: %d bytes unreadable, which can hold %d records from position"
            " %d on; at the end of the journal after a crash these are what was being written and nobody was told of",
            damage.file,
            damage.offset,
            damage.lost_bytes,
            damage.next_position - damage.first_position,
            damage.first_position,
            extra={"file": damage.file, "offset": damage.offset, "lost_bytes": damage.lost_bytes},
        )
