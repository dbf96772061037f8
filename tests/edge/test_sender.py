"""What goes to a centre in which order, and what becomes of a record that the centre cannot take."""

import asyncio
import zlib
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.waiting import WAIT_S

from taihu.drivers.address import Endpoint
from taihu.drivers.line import Line
from taihu.journal.reader import JournalReader
from taihu.journal.segments import SegmentJournal
from taihu.kernel.clock import SystemClock
from taihu.kernel.files import OsFiles
from taihu.protocols.mqtt.client import Client
from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.packets import Connack, Connect, Disconnect, Pingreq, Pingresp, Puback, Publish
from taihu.protocols.mqtt.reasons import Reason
from taihu.runtime.edge import sender as module
from taihu.runtime.edge.cut import Cutter
from taihu.runtime.edge.ledger import Ledger, Record
from taihu.runtime.edge.sender import Sender
from taihu.things.batch import KIND_BATCH, Batch, Column, decode_batch, encode_batch
from taihu.things.property import Property

CLOCK = SystemClock()
DEFINITIONS = {"n": Property(name="n")}


class Centre:
    """A server that says what it is told to say of each bundle, by the numbers in it."""

    def __init__(self, says: Callable[[list[int]], int]) -> None:
        self.got: list[list[int]] = []
        self.serving: list[asyncio.Task[Any] | None] = []
        self._says = says

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append(asyncio.current_task())
        with suppress(OSError):
            await self._serve(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        while data := await reader.read(65_536):
            decoder.feed(data)
            for packet in decoder.packets():
                match packet:
                    case Connect():
                        decoder.version = packet.version
                        writer.write(encode(Connack(False, Reason.SUCCESS), 5))
                    case Publish():
                        reason = self._says(numbers(packet.payload))
                        if reason == Reason.MALFORMED_PACKET:
                            writer.write(encode(Disconnect(reason), 5))
                            return
                        if reason == Reason.SUCCESS:
                            self.got.append(numbers(packet.payload))
                        writer.write(encode(Puback(packet.packet_id, reason), 5))
                    case Pingreq():
                        writer.write(encode(Pingresp(), 5))


def numbers(payload: bytes) -> list[int]:
    """The values of a bundle."""
    _, _, batches = msgspec.msgpack.decode(zlib.decompress(payload))
    return [int(value) for data in batches for value in decode_batch(data).columns[0].values()]


def record(number: int) -> bytes:
    column = Column("d", array("d", [number]).tobytes())
    return encode_batch(Batch("plant", "", ("n",), ("pump",), b"", 1, array("q", [number]).tobytes(), b"", (column,)))


@asynccontextmanager
async def at_work(
    folder: Path, centre: Centre, records: int, ledger: Ledger | None = None, *, known: bool = True
) -> AsyncIterator[tuple[Sender, SegmentJournal, dict[int, Any]]]:
    """A sender with so many records in its journal, one number each."""
    journal = SegmentJournal(
        OsFiles(), folder, segment_bytes=1 << 20, retention_bytes=1 << 30, retention_s=1e9, clock=CLOCK
    )
    for number in range(1, records + 1):
        journal.append(KIND_BATCH, record(number))
    journal.commit()
    server = await asyncio.start_server(centre.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    aside: dict[int, Any] = {}
    sender = Sender(
        "plant",
        lambda: Line(Endpoint(host, port), Client("", version=5, clean_start=True), CLOCK),
        Cutter(JournalReader(OsFiles(), folder), lambda project, thing: DEFINITIONS, "plant"),
        ledger or Ledger(),
        CLOCK,
        share=1.0,
        keep=lambda: None,
        put_aside=aside.__setitem__,
        random=Random(1),
    )
    if known:
        sender.durable(records)
    running = asyncio.create_task(sender.run())
    try:
        yield sender, journal, aside
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        server.close()
        await asyncio.gather(*filter(None, centre.serving))
        journal.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_S_MIN", 0.01)
    monkeypatch.setattr(module, "_RETRY_S_MAX", 0.02)
    monkeypatch.setattr(module, "_WINDOW", 10)
    monkeypatch.setattr(module, "_RECORDS_MAX", 5)


def test_what_the_centre_has_is_not_sent_again_whenever_the_journal_is_known(tmp_path: Path) -> None:
    """§5: a sender that starts knows its ledger before it knows how far the journal is."""

    async def run() -> None:
        centre = Centre(lambda _: Reason.SUCCESS)
        ledger = Ledger(Record(done=((1, 30),), sent={"pump": 30}))
        async with at_work(tmp_path, centre, 30, ledger, known=False) as (sender, journal, _):
            await asyncio.sleep(0.1)
            sender.durable(30)
            await until(lambda: sender.connected)
            journal.append(KIND_BATCH, record(31))
            journal.commit()
            sender.durable(31)
            await until(lambda: sender.behind == 0)
        assert centre.got == [[31]]
        assert ledger.sent == {"pump": 31}

    asyncio.run(run())


def test_the_newest_of_what_is_old_goes_first(tmp_path: Path) -> None:
    async def run() -> None:
        centre = Centre(lambda _: Reason.SUCCESS)
        async with at_work(tmp_path, centre, 30) as (sender, _, _):
            await until(lambda: sender.behind == 0)
        assert [got[0] for got in centre.got] == [21, 26, 11, 16, 1, 6]
        assert sorted(number for got in centre.got for number in got) == list(range(1, 31))
        assert sender.ledger.sent == {"pump": 30}
        assert sender.ledger.keep_from() == 31

    asyncio.run(run())


def test_what_is_new_goes_before_what_is_old(tmp_path: Path) -> None:
    async def run() -> None:
        more: list[Callable[[], None]] = []

        def says(_: list[int]) -> int:
            if more:  # at the first bundle
                more.pop()()
            return Reason.SUCCESS

        centre = Centre(says)
        async with at_work(tmp_path, centre, 30) as (sender, journal, _):

            def come() -> None:
                journal.append(KIND_BATCH, record(31))
                journal.commit()
                sender.durable(31)

            more.append(come)
            await until(lambda: sender.behind == 0 and [31] in centre.got)
        assert centre.got[1] == [31]

    asyncio.run(run())


@pytest.mark.parametrize("no", [Reason.PAYLOAD_FORMAT_INVALID, Reason.MALFORMED_PACKET])
def test_a_record_that_the_centre_chokes_on_is_found_and_set_aside(tmp_path: Path, no: Reason) -> None:
    """It is not tried for ever, and all others arrive, each once."""

    async def run() -> None:
        centre = Centre(lambda found: no if 17 in found else Reason.SUCCESS)
        async with at_work(tmp_path, centre, 30) as (sender, _, aside):
            await until(lambda: sender.behind == 0)
        assert list(aside) == sender.ledger.aside == [17]
        assert sorted(number for got in centre.got for number in got) == [*range(1, 17), *range(18, 31)]
        assert sender.ledger.sent == {"pump": 29}

    asyncio.run(run())


def test_a_centre_that_is_busy_loses_nothing(tmp_path: Path) -> None:
    """A no that passes is no reason to set anything aside."""
    answers = iter([Reason.QUOTA_EXCEEDED] * 5)

    async def run() -> None:
        centre = Centre(lambda _: next(answers, Reason.SUCCESS))
        async with at_work(tmp_path, centre, 12) as (sender, _, aside):
            await until(lambda: sender.behind == 0)
        assert not aside
        assert sorted(number for got in centre.got for number in got) == list(range(1, 13))

    asyncio.run(run())
