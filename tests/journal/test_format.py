"""§14: journals that released versions wrote open in every later one; the bytes of version 1 do not change."""

import shutil
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.journal import SegmentJournal
from taihu.journal.format import (
    FRAME_BYTES,
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    Header,
    encode_frames,
    encode_header,
    records_max,
    segment_firsts,
    segment_path,
)
from taihu.journal.scan import Hole, scan
from taihu.kernel.clock import SimClock
from taihu.kernel.files import Files, OsFiles
from taihu.sim.files import PowerLossFiles
from taihu.things.ports import Record

SAMPLE = Path(__file__).parents[1] / "data" / "journal_v1"
SAMPLE_RECORDS = [Record(n, n % 3, f"record {n} ".encode() * (n % 5)) for n in range(1, 21)]


def write_sample(files: Files, folder: Path) -> None:
    """How the sample was written; 20 records in groups of 4, some segments."""
    journal = SegmentJournal(
        files, folder, segment_bytes=300, retention_bytes=0, retention_s=0, clock=SimClock(),
        random_bytes=lambda count: bytes(range(0xF0, 0xF0 + count)),
    )  # fmt: skip
    for record in SAMPLE_RECORDS:
        journal.append(record.kind, record.payload)
        if record.position % 4 == 0:
            journal.commit()
    journal.close()


def test_the_sample_of_version_1_opens_and_is_continued(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    shutil.copytree(SAMPLE, folder)
    journal = SegmentJournal(OsFiles(), folder, segment_bytes=300, retention_bytes=0, retention_s=0, clock=SimClock())
    assert (journal.durable, journal.damage) == (20, [])
    assert journal.read(1) == SAMPLE_RECORDS
    journal.append(1, b"new")
    assert journal.commit() == 21
    assert journal.read(20)[-1] == Record(21, 1, b"new")
    journal.close()


def test_the_same_input_gives_the_bytes_of_version_1() -> None:
    files, folder = PowerLossFiles(0), Path("/journal")
    write_sample(files, folder)
    assert files.names(folder) == sorted(path.name for path in SAMPLE.iterdir())
    for name in files.names(folder):
        assert files.read(folder / name) == (SAMPLE / name).read_bytes()


@settings(deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 1_000, FRAME_BYTES - 5, FRAME_BYTES, 600_000]), min_size=1, max_size=12))
def test_frames_cover_the_records_without_a_hole(sizes: list[int]) -> None:
    files, folder = PowerLossFiles(0), Path("/journal")
    files.make_folder(folder)
    path = segment_path(folder, 5)
    data = encode_frames(b"markmark", 5, [(1, bytes(size)) for size in sizes])
    file = files.append(path)
    file.write(encode_header(Header(b"markmark", 5, 4, 0)))
    file.write(data)
    frames = list(scan(files, path, b"markmark", HEADER_BYTES, 5))
    position = 5
    for frame in frames:
        assert not isinstance(frame, Hole)
        assert frame.first == position
        assert frame.count == 1 or frame.end - frame.offset <= FRAME_BYTES + FRAME_HEADER_BYTES
        position = frame.next_position
    assert position == 5 + len(sizes)
    assert len(sizes) <= records_max(len(data))


def test_only_names_of_segments_count() -> None:
    names = ["00000000000000000011.seg", "00000000000000000002.seg", "2.seg", "x.seg.new"]
    assert segment_firsts(names) == [2, 11]
