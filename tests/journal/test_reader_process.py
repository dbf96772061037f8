"""Another process reads the same files while this one writes them."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from taihu.journal import SegmentJournal
from taihu.kernel.clock import SystemClock
from taihu.kernel.files import OsFiles

READER = """
import sys
from hashlib import sha256
from pathlib import Path
from taihu.journal import JournalReader
from taihu.kernel.files import OsFiles

reader = JournalReader(OsFiles(), Path(sys.argv[1]))
start, digest = 1, sha256()
for line in sys.stdin:
    until = int(line)
    while records := reader.read(start, until, 20_000):
        for record in records:
            assert record.position == start
            digest.update(record.payload)
            start += 1
    print(start - 1, digest.hexdigest(), len(reader.damage), flush=True)
"""


def test_another_process_follows_the_journal(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = SegmentJournal(
        OsFiles(), folder, segment_bytes=50_000, retention_bytes=0, retention_s=0, clock=SystemClock()
    )
    digest = sha256()
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin
        assert reader.stdout
        for turn in range(20):
            for number in range(40):
                payload = b"%d " % (turn * number) * 50
                digest.update(payload)
                journal.append(1, payload)
                if number % 7 == 0:
                    journal.commit()
            durable = journal.commit()
            journal.append(1, b"not durable, not told")
            digest.update(b"not durable, not told")
            print(durable, file=reader.stdin, flush=True)
            position, _, damaged = reader.stdout.readline().split()
            assert (int(position), int(damaged)) == (durable, 0)
            if turn % 5 == 4:
                journal.trim(durable + 1, 0)
        print(journal.commit(), file=reader.stdin, flush=True)
        assert reader.stdout.readline().split() == [str(journal.durable), digest.hexdigest(), "0"]
        reader.stdin.close()
        assert reader.wait() == 0
    journal.close()
