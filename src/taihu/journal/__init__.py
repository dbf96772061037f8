"""The durable, ordered log."""

from taihu.journal.damage import Damage
from taihu.journal.reader import JournalReader
from taihu.journal.segments import SegmentJournal

__all__ = ["Damage", "JournalReader", "SegmentJournal"]
