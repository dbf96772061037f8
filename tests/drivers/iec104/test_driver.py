"""The IEC 104 driver against c104's station."""

import asyncio
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.drivers.conformance import Collected, Conformance, Peer
from tests.link import Link

from taihu.drivers.iec104.driver import Iec104Driver
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Plan, Point, Reading, Result, ThingPlan
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT
from taihu.protocols.iec104.asdu import Asdu, Cause, Value, encode_asdu
from taihu.things.property import DataType, Kind, Property

pytest.importorskip("c104", reason="c104 is not installed (it is GPL, and used here as a peer alone)")
PEER = Path(__file__).with_name("peer.py")


def point(name: str, address: int, kind: str, command: int | None = None) -> Point:
    data_type = DataType.BOOLEAN if kind == "single" else DataType.NUMBER
    definition = Property(name=name, data_type=data_type, kind=Kind.STATE if kind == "single" else Kind.GAUGE,
                          writable=command is not None)  # fmt: skip
    where: dict[str, Any] = {"address": address, "type": kind} | ({} if command is None else {"command": command})
    return Point(definition=definition, where=where)


class TestIec104(Conformance):
    driver = Iec104Driver
    bad_urls: ClassVar = ("iec104://", "iec104://host/70000", "iec104://host/x", "iec104://host:99999/1")

    def peer(self) -> Peer:
        return Peer(PEER)

    def url(self, port: int) -> str:
        return f"iec104://127.0.0.1:{port}/7"

    def options(self) -> dict[str, Any]:
        return {"answer_s": 1.0, "idle_s": 1.0}

    def plan(self) -> Plan:
        points = (
            point("voltage", 11, "float"),
            point("switch", 12, "single"),
            point("scaled", 13, "scaled"),
            point("timed", 14, "float"),
            point("invalid", 16, "float"),
            point("substituted", 17, "float"),
            point("setpoint", 15, "float", command=20),
            point("locked", 15, "float", command=21),
        )
        return Plan(things=(ThingPlan(name="bay", points=points),))

    def expected(self) -> dict[str, dict[str, Any]]:
        return {
            "bay": {"voltage": 230.5, "switch": True, "scaled": -42, "timed": 12.5, "setpoint": 5.0, "substituted": 2.0}
        }

    def to_write(self) -> tuple[str, str, Any]:
        return "bay", "setpoint", 7.25

    def astray(self, data: bytes) -> bytes:
        """Information frames as if fifty had gone before each."""
        found, place = bytearray(data), 0
        while place + 6 <= len(found):
            if not found[place + 2] & 1:
                number = int.from_bytes(found[place + 2 : place + 4], "little") + 100
                found[place + 2 : place + 4] = number.to_bytes(2, "little")
            place += 2 + found[place + 1]
        return bytes(found)

    def test_a_station_says_no(self, fresh: Any) -> None:
        async def body() -> None:
            async with self.working(fresh.port) as (driver, _, _):
                with pytest.raises(DeviceRefused, match="refuses"):
                    await driver.write("bay", self.point("bay", "locked"), 1.0)
                act = await driver.write("bay", self.point("bay", "setpoint"), 2.0)
                assert act.result in (Result.ACKNOWLEDGED, Result.DONE)
                with pytest.raises(DeviceRefused):
                    await driver.write("bay", self.point("bay", "setpoint"), "much")

        asyncio.run(body())

    def test_what_is_invalid_is_missing_and_what_is_substituted_suspect_3(self, kept: Peer) -> None:
        async def body() -> None:
            driver, out = self.open(kept.port), Collected()
            try:
                await self.running(driver, out)
            finally:
                await driver.close()
            assert "invalid" not in out.newest()["bay"]
            assert out.counts["invalid"] >= 1
            assert {name for row in out.rows if row.suspect for name in row.values} == {"substituted"}

        asyncio.run(body())

    def test_a_confirmation_by_another_station_is_none(self, kept: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
        def of_another(data: bytes) -> bytes:
            """Commands are confirmed in the name of the station whose common address is one more."""
            return data[:10] + bytes([data[10] + 1]) + data[11:] if len(data) > 10 and data[6] == 50 else data

        async def body() -> None:
            driver = self.open(link.port)
            try:
                await self.running(driver, Collected())
                with pytest.raises(DeviceLost, match="confirm"):
                    await driver.write("bay", self.point("bay", "setpoint"), 5.0)
            finally:
                await driver.close()

        monkeypatch.setattr("taihu.drivers.iec104.driver._CONFIRM_S", 0.3)
        link = Link(kept.port, of_another)
        try:
            asyncio.run(body())
        finally:
            link.close()

    def test_an_interrogation_finds_what_there_is(self, fresh: Any) -> None:
        async def body() -> Plan:
            driver = self.open(fresh.port)
            try:
                return await driver.discover()
            finally:
                await driver.close()

        plan = asyncio.run(body())
        (thing,) = plan.things
        assert [one.definition.name for one in thing.points] == [f"o{place}" for place in range(11, 18)]
        assert thing.name == "station-7"

    def test_a_station_is_known_by_its_certificate_and_knows_us_by_ours(self, tmp_path: Path) -> None:
        for name in ("server", "client"):
            made = f"req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {name}.key -out {name}.pem -subj /CN={name}"
            command = ["openssl", *made.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
            subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        peer = Peer(PEER, str(tmp_path))

        def opened(**files: str) -> Iec104Driver:
            options = {name: str(tmp_path / file) for name, file in files.items()}
            connection = Connection(name="peer", url=f"iec104s://127.0.0.1:{peer.port}/7", options=options)
            return Iec104Driver.open(connection, SystemClock(), DEFAULT)

        async def body() -> None:
            driver = opened(ca="server.pem", certificate="client.pem", key="client.key")
            await self.running(driver, Collected())
            await driver.close()
            for stranger in (opened(), opened(ca="server.pem"), opened(ca="client.pem")):
                with pytest.raises(DeviceLost):
                    await stranger.run(self.plan(), Collected())

        try:
            asyncio.run(body())
        finally:
            peer.stop()
        with pytest.raises(DeviceRefused, match="certificate or key"):
            opened(certificate="client.pem", key="server.key")

    def test_a_slow_node_slows_the_station_down_6(self) -> None:
        """Nothing more is confirmed than the window has, so the station waits, as the standard's k says."""

        class Slow(Collected):
            async def readings(self, rows: Sequence[Reading]) -> None:
                await gate.wait()
                await super().readings(rows)

        sent = 0

        async def station(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Tells as much as may be unconfirmed, twelve frames, and more when it is."""
            nonlocal sent
            await reader.readexactly(6)
            writer.write(bytes((0x68, 4, 0x0B, 0, 0, 0)))  # STARTDT con
            confirmed, value = 0, Asdu(type=13, cause=Cause.SPONTANEOUS, station=7, values=(Value(11, 1.5),))
            body = encode_asdu(value)
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while sent < 200:
                    while sent - confirmed < 12:
                        writer.write(bytes((0x68, 4 + len(body))) + (2 * sent).to_bytes(2, "little") + b"\0\0" + body)
                        sent += 1
                    head = await reader.readexactly(6)
                    if head[2] & 3 != 3:
                        confirmed = int.from_bytes(head[4:6], "little") // 2
                    await reader.readexactly(head[1] - 4)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            ended.set()

        async def body() -> None:
            server = await asyncio.start_server(station, "127.0.0.1", 0)
            driver, out = self.open(server.sockets[0].getsockname()[1]), Slow()
            task = asyncio.create_task(driver.run(self.plan(), out))
            await asyncio.sleep(0.3)
            assert 0 < sent <= 24
            gate.set()
            await self.until(task, lambda: len(out.rows) > 100)
            await driver.close()
            await ended.wait()
            server.close()

        gate, ended = asyncio.Event(), asyncio.Event()
        asyncio.run(body())
