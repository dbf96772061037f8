"""§13: a damaged segment gives records or a reported damage; never wrong records, never another exception."""

from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.journal import JournalReader, SegmentJournal
from taihu.journal.damage import DAMAGE_MAX, Damage, DamageLog
from taihu.journal.format import (
    HEADER_BYTES,
    VERSION,
    Header,
    NewerFormat,
    decode_header,
    encode_frames,
    encode_header,
    segment_path,
)
from taihu.kernel.clock import SimClock
from taihu.sim.files import PowerLossFiles
from taihu.things.ports import Record

FOLDER = Path("/site/journal")


def journal_on(files: PowerLossFiles) -> SegmentJournal:
    return SegmentJournal(
        files, FOLDER, segment_bytes=400, retention_bytes=0, retention_s=0, clock=SimClock(),
        random_bytes=lambda count: bytes(range(65, 65 + count)),
    )  # fmt: skip


def filled() -> tuple[PowerLossFiles, list[Record]]:
    """Three segments of two groups of two records each."""
    files = PowerLossFiles(0)
    journal = journal_on(files)
    for number in range(12):
        journal.append(number, bytes([number]) * 60)
        if number % 2:
            journal.commit()
    assert len(files.names(FOLDER)) == 3
    return files, journal.read(1)


FILES, RECORDS = filled()
SEGMENTS = [FILES.read(FOLDER / name) for name in FILES.names(FOLDER)]
FIRSTS = (1, 5, 9)


def stored(segments: list[bytes]) -> PowerLossFiles:
    files = PowerLossFiles(0)
    files.make_folder(FOLDER)
    for first, data in zip(FIRSTS, segments, strict=True):
        files.append(segment_path(FOLDER, first)).write(data)
        files.sync(segment_path(FOLDER, first))
    return files


def check(segments: list[bytes]) -> list[Damage]:
    """Every record is found equal or its position is in a reported damage; then the journal goes on."""
    files = stored(segments)
    journal = journal_on(files)
    found = journal.read(1)
    covered = {position for damage in journal.damage for position in range(damage.first_position, damage.next_position)}
    assert found == [record for record in RECORDS if record in found], "once, in order, equal"
    last = max(journal.durable, journal.next_position - 1)
    for record in RECORDS:
        assert record in found or record.position in covered or record.position > last
    reader = JournalReader(files, FOLDER)
    assert reader.read(1, journal.durable) == found
    new = Record(journal.append(9, b"new"), 9, b"new")
    journal.commit()
    assert journal.read(1) == [*found, new]
    again = journal_on(files)
    assert again.read(1) == [*found, new]
    return journal.damage


def test_every_single_flipped_byte_is_found() -> None:
    for index, segment in enumerate(SEGMENTS):
        for offset in range(len(segment)):
            damaged = bytearray(segment)
            damaged[offset] ^= 1 << offset % 8
            damage = check([*SEGMENTS[:index], bytes(damaged), *SEGMENTS[index + 1 :]])
            assert len(damage) == 1
            assert damage[0].file == segment_path(FOLDER, FIRSTS[index]).name
            assert damage[0].offset <= offset < damage[0].offset + damage[0].lost_bytes


@settings(deadline=None)
@given(
    segment=st.integers(0, 2),
    start=st.integers(0, len(SEGMENTS[0])),
    noise=st.one_of(st.binary(max_size=300), st.integers(1, 300).map(bytes)),
    cut=st.booleans(),
)
def test_overwritten_and_torn_segments(segment: int, start: int, noise: bytes, cut: bool) -> None:
    data = SEGMENTS[segment]
    damaged = data[:start] + noise + (b"" if cut else data[start + len(noise) :])
    if len(damaged) < len(data) and segment == 2:
        return  # a durable file does not get shorter: what was at its end cannot be known
    check([*SEGMENTS[:segment], damaged, *SEGMENTS[segment + 1 :]])


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=3, max_size=3))
def test_segments_of_noise_give_nothing_and_no_exception(segments: list[bytes]) -> None:
    files = stored(segments)
    journal = journal_on(files)
    assert journal.read(1) == []
    assert JournalReader(files, FOLDER).read(1, 100) == []


def test_a_frame_inside_a_payload_is_never_taken_for_one() -> None:
    """§13: payloads come from strangers, who cannot know the segment's mark."""
    files = PowerLossFiles(0)
    journal = SegmentJournal(files, FOLDER, segment_bytes=10_000, retention_bytes=0, retention_s=0, clock=SimClock())
    journal.append(1, encode_frames(b"a guess!", 1, [(1, b"forged")]))
    journal.commit()
    journal.append(1, b"honest")
    journal.commit()
    files.flip_bit(segment_path(FOLDER, 1), 8 * (HEADER_BYTES + 9))
    assert journal_on(files).read(1) == [Record(2, 1, b"honest")]


def test_positions_of_a_cut_tail_are_never_given_out_again() -> None:
    """§4: its records may have been durable, and read."""
    files = stored(SEGMENTS)
    files.flip_bit(segment_path(FOLDER, 9), 8 * len(SEGMENTS[2]) - 1)
    journal = journal_on(files)
    assert (journal.durable, journal.read(1)) == (10, RECORDS[:10])
    assert journal.append(1, b"new") > 12
    journal.commit()
    again = journal_on(files)
    assert [record.payload for record in again.read(10)] == [RECORDS[9].payload, b"new"]
    assert again.damage == [], "what was cut off on one opening is no news on the next"


def test_a_damage_just_before_an_abandoned_tail_ends_there() -> None:
    files = PowerLossFiles(0)
    journal = journal_on(files)
    for payload in (b"kept", b"damaged"):
        journal.append(1, payload)
        journal.commit()
    size = files.size(segment_path(FOLDER, 1))
    journal.append(1, b"abandoned")
    files.fail("datasync")
    files.fail("truncate")
    with pytest.raises(OSError, match="Input/output"):
        journal.commit()
    journal.commit()
    files.flip_bit(segment_path(FOLDER, 1), 8 * size - 1)
    assert [record.payload for record in journal.read(1)] == [b"kept", b"abandoned"]
    assert [(damage.first_position, damage.next_position) for damage in journal.damage] == [(2, 3)]


def test_a_frame_of_earlier_positions_is_passed_over() -> None:
    header = encode_header(Header(b"markmark", 1, 0, 0))
    first, second = (encode_frames(b"markmark", position, [(1, b"x")]) for position in (1, 2))
    files = PowerLossFiles(0)
    files.make_folder(FOLDER)
    files.append(segment_path(FOLDER, 1)).write(header + first + b"noise" + first + second)
    journal = journal_on(files)
    assert journal.read(1) == [Record(1, 1, b"x"), Record(2, 1, b"x")]
    assert len(journal.damage) == 1


def test_a_segment_lost_in_the_middle_is_reported() -> None:
    files = stored(SEGMENTS)
    files.remove(segment_path(FOLDER, 5))
    journal = journal_on(files)
    assert journal.read(1) == RECORDS[:4] + RECORDS[8:]
    assert [(damage.first_position, damage.next_position) for damage in journal.damage] == [(5, 9)]


def test_a_damage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    files = stored([SEGMENTS[0][:-10], *SEGMENTS[1:]])
    journal = journal_on(files)
    for _ in range(3):
        assert journal.read(1) == RECORDS[:2] + RECORDS[4:]
    assert len(caplog.messages) == len(journal.damage) == 1
    assert "00000000000000000001.seg is damaged at byte" in caplog.messages[0]


def test_the_list_of_damages_is_bounded() -> None:
    """§6."""
    log = DamageLog()
    for offset in range(DAMAGE_MAX + 5):
        log.report(Damage("file", offset, 1, 1, 2))
    assert (len(log.found), log.count) == (DAMAGE_MAX, DAMAGE_MAX + 5)


def test_a_later_format_is_refused_with_a_remedy() -> None:
    """§14."""
    data = encode_header(Header(b"markmark", 1, 0, 0))
    assert decode_header(data) == Header(b"markmark", 1, 0, 0)
    later = data[:8] + (VERSION + 1).to_bytes(4, "little") + data[12:-4]
    with pytest.raises(NewerFormat, match="version 2"):
        decode_header(later + crc32(later).to_bytes(4, "little"))
