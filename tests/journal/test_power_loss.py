"""§4: whatever fails and whenever the power goes, what `commit` reported durable is read back once, in order, equal."""

import errno
from pathlib import Path
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from taihu.journal import JournalReader, SegmentJournal
from taihu.kernel.clock import SimClock
from taihu.sim.files import PowerLossFiles, PowerLost
from taihu.things.ports import Record

FOLDER = Path("/site/journal")
KINDS = st.integers(0, 255)


class JournalMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        self.files = PowerLossFiles(seed)
        self.random = Random(seed)
        self.appended: dict[int, tuple[int, bytes]] = {}
        self.durable = 0
        self.trimmed_to = 1
        self.open()

    def open(self) -> None:
        self.files.heal()
        self.journal = SegmentJournal(
            self.files, FOLDER, segment_bytes=700, retention_bytes=1_500, retention_s=1e9, clock=SimClock(),
            random_bytes=self.random.randbytes,
        )  # fmt: skip
        self.reader = JournalReader(self.files, FOLDER)
        self.followed = 0
        assert self.journal.durable >= self.durable
        assert self.journal.next_position > self.journal.durable
        for damage in self.journal.damage:
            assert damage.first_position > self.durable, "only what was never reported durable may be lost"
        self.durable = self.journal.durable
        self.appended = {position: record for position, record in self.appended.items() if position <= self.durable}
        self.check_all()

    def check_all(self) -> None:
        """Everything durable is there once and equal, in this process and in another."""
        oldest = self.journal.trim(1, 0)
        assert oldest <= self.trimmed_to
        expected = [position for position in sorted(self.appended) if oldest <= position <= self.durable]
        for found in (self.read_here(), self.read_as_another_process()):
            assert [record.position for record in found] == expected
            assert all((record.kind, record.payload) == self.appended[record.position] for record in found)

    def read_here(self) -> list[Record]:
        found: list[Record] = []
        while records := self.journal.read(found[-1].position + 1 if found else 1, 300):
            found += records
        return found

    def read_as_another_process(self) -> list[Record]:
        """From where the last call ended, as one that never stopped would, and then all again."""
        while records := self.reader.read(self.followed + 1, self.durable, 500):
            assert all((record.kind, record.payload) == self.appended[record.position] for record in records)
            self.followed = records[-1].position
        return JournalReader(self.files, FOLDER).read(1, self.durable, 1_000_000)

    @rule(kind=KINDS, payload=st.binary(max_size=200))
    def append(self, kind: int, payload: bytes) -> None:
        self.appended[self.journal.append(kind, payload)] = (kind, payload)

    @rule()
    def commit(self) -> None:
        try:
            durable = self.journal.commit()
        except OSError:
            assert self.journal.durable == self.durable
        else:
            assert durable == self.journal.durable >= max(self.appended, default=0)
            self.durable = durable

    @rule(
        operation=st.sampled_from(["write", "datasync", "sync", "truncate", "create"]),
        after=st.integers(0, 2),
        times=st.integers(1, 3),
    )
    def something_fails(self, operation: str, after: int, times: int) -> None:
        self.files.fail(operation, after, errno.EIO, times)

    @rule(room=st.integers(0, 2_000))
    def disk_fills(self, room: int) -> None:
        used = sum(self.files.size(FOLDER / name) for name in self.files.names(FOLDER))
        self.files.capacity_bytes = used + room

    @rule()
    def disk_has_room(self) -> None:
        self.files.capacity_bytes = None

    @rule(share=st.floats(0, 1))
    def trim(self, share: float) -> None:
        keep_from = 1 + int(self.durable * share)
        self.trimmed_to = max(self.trimmed_to, keep_from)
        try:
            self.journal.trim(keep_from, 0)
        except OSError:
            return

    @rule()
    def read_on(self) -> None:
        self.check_all()

    @rule()
    def process_is_killed(self) -> None:
        self.open()

    @rule(keep_some=st.booleans())
    def power_is_lost(self, keep_some: bool) -> None:
        self.files = self.files.power_loss(keep_some)
        self.open()

    @rule(operations=st.integers(0, 5), keep_some=st.booleans(), trim=st.booleans())
    def power_is_lost_in_the_middle(self, operations: int, keep_some: bool, trim: bool) -> None:
        self.files.lose_power_after(operations)
        try:
            self.commit()
            if trim:
                self.trim(1.0)
        except PowerLost:
            pass
        self.power_is_lost(keep_some)

    @invariant()
    def lag_is_bounded_by_the_folder(self) -> None:
        size = sum(self.files.size(FOLDER / name) for name in self.files.names(FOLDER))
        assert 0 <= self.journal.lag_bytes(1) <= size
        assert self.journal.lag_bytes(self.journal.durable + 1) == 0


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
