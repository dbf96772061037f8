"""What is found at an address: descriptions, OpenAPI, the families, plain JSON; and node-wot's things."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from tests.drivers.conformance import Collected, Peer, free_port
from tests.drivers.http.test_driver import PEER, driver_at, following, found

from taihu.drivers.described import plan_of
from taihu.drivers.files import ConnectionFile, read_connection, write_connection
from taihu.drivers.http import inferred, openapi
from taihu.drivers.port import Connection, DeviceRefused, Plan, Result
from taihu.kernel.limits import DEFAULT
from taihu.things.definition import check_definition
from taihu.things.property import DataType, Kind

NODE_WOT = Path(__file__).parents[2] / "peers" / "node-wot" / "serve.js"
MODULES = os.environ.get("TAIHU_NODE_WOT", "")


def found_at(family: str, *paths: str) -> list[Plan]:
    peer = Peer(PEER, *([family] if family else []))

    async def body() -> list[Plan]:
        return [await found(driver_at(peer.port, path)) for path in paths]

    try:
        plans = asyncio.run(body())
    finally:
        peer.stop()
    for plan in plans:
        kept(plan)
        for thing in plan.things:
            for point in thing.points:
                check_definition(point.definition)
    return plans


def kept(plan: Plan) -> None:
    """A plan is the same when it was written to a connection's file and read again."""
    connection = Connection(name="peer", url="http://127.0.0.1/")
    with TemporaryDirectory() as folder:
        path = write_connection(
            Path(folder), ConnectionFile(project="home", driver="http", connection=connection, plan=plan)
        )
        assert read_connection(path).plan.things == plan.things


def shown(plan: Plan) -> dict[str, tuple[str | None, Kind, bool]]:
    (thing,) = plan.things
    return {
        one.definition.name: (one.definition.unit, one.definition.kind, one.definition.writable) for one in thing.points
    }


def test_descriptions_openapi_and_plain_json_are_understood() -> None:
    td, linked, described, api, plain = found_at("", "/td", "/page", "/", "/openapi.json", "/status")
    assert td == linked
    (thing,) = td.things
    assert shown(td) == {
        "setpoint": ("Cel", Kind.GAUGE, True),
        "temperature": ("Cel", Kind.GAUGE, False),
        "level": (None, Kind.GAUGE, False),
    }
    level, temperature = thing.point("level"), thing.point("temperature")
    assert level and temperature
    assert (level.where, temperature.where) == ({"observe": "/events"}, {"href": "/temperature"})
    assert [action.name for action in thing.actions] == ["reset"]
    assert any("far has no form" in note for note in td.notes)
    assert described == api
    assert shown(api) == {
        "status.temperature": ("Cel", Kind.GAUGE, False),
        "status.pump.running": (None, Kind.STATE, False),
        "status.pump.name": (None, Kind.STATE, False),
        "setpoint": (None, Kind.GAUGE, True),
    }
    assert any("/item needs parameters" in note for note in api.notes)
    assert set(shown(plain)) == {"temperature", "pump.running", "pump.name", "list.0", "list.1"}
    assert all(one.definition.inferred for one in plain.things[0].points)


def test_families_have_units_kinds_and_switches_that_work() -> None:
    expected = {
        "shelly1": {"relays.0.ison": (None, Kind.STATE, True), "meters.0.power": ("W", Kind.GAUGE, False),
                    "meters.0.total": ("W.h", Kind.COUNTER, False), "temperature": ("Cel", Kind.GAUGE, False)},
        "shelly2": {"switch:0.output": (None, Kind.STATE, True), "switch:0.apower": ("W", Kind.GAUGE, False),
                    "switch:0.aenergy.total": ("W.h", Kind.COUNTER, False),
                    "switch:0.voltage": ("V", Kind.GAUGE, False),
                    "switch:0.temperature.tC": ("Cel", Kind.GAUGE, False)},
        "tasmota": {"POWER": (None, Kind.STATE, True), "ENERGY.Total": ("kW.h", Kind.COUNTER, False),
                    "ENERGY.Power": ("W", Kind.GAUGE, False), "AM2301.Temperature": ("[degF]", Kind.GAUGE, False),
                    "AM2301.Humidity": ("%", Kind.GAUGE, False)},
    }  # fmt: skip
    for family, wanted in expected.items():
        peer = Peer(PEER, family)

        async def body(port: int, switch: str) -> tuple[Plan, Collected]:
            plan = await found(driver_at(port))
            (thing,) = plan.things
            point = thing.point(switch)
            assert point and point.definition.data_type is DataType.BOOLEAN
            driver = driver_at(port)
            out = Collected()
            task = asyncio.create_task(driver.run(plan, out))
            while switch not in out.newest().get("peer", {}):
                await asyncio.sleep(0.01)
            assert out.newest()["peer"][switch] is False
            assert (await driver.write("peer", point, True)).result is Result.DONE
            while out.newest()["peer"][switch] is not True:
                await asyncio.sleep(0.01)
            task.cancel()
            await driver.close()
            return plan, out

        try:
            plan, out = asyncio.run(body(peer.port, next(iter(wanted))))
        finally:
            peer.stop()
        assert wanted.items() <= shown(plan).items(), family
        assert not {name for name in shown(plan) if "tF" in name or "unixtime" in name}, family
        if family == "shelly1":
            assert out.newest()["peer"]["meters.0.total"] == 100.0  # 6,000 watt-minutes


def test_hostile_documents_are_bounded_and_told_13() -> None:
    ref = {"$ref": "#/components/schemas/A"}
    schemas = {"A": {"type": "object", "properties": {f"p{n}": ref for n in range(50)}, "allOf": [ref, ref]}}
    get = {"responses": {"200": {"content": {"application/json": {"schema": ref}}}}}
    document: dict[str, Any] = {"openapi": "3.0.0", "paths": {"/a": {"get": get}}, "components": {"schemas": schemas}}
    assert openapi.plan_of("n", document, DEFAULT).things[0].points == ()
    wide = {f"p{number}": number for number in range(5_000)}
    thing, notes = inferred.thing_of("n", "", inferred.PLAIN, {"/": wide}, DEFAULT)
    assert len(thing.points) == DEFAULT.properties_per_thing_max
    assert notes
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    assert inferred.thing_of("n", "", inferred.PLAIN, {"/": deep}, DEFAULT)[0].points == ()
    with pytest.raises(DeviceRefused):
        plan_of({"@context": "other", "title": "x"}, "/", lambda href, base: href, DEFAULT)


@pytest.mark.skipif(
    not MODULES or shutil.which("node") is None,
    reason="node-wot is not installed: TAIHU_NODE_WOT names no folder with its node_modules, or there is no node",
)
def test_a_thing_that_node_wot_serves_is_read_written_and_invoked() -> None:
    port = free_port()
    environment = os.environ | {"NODE_PATH": str(Path(MODULES) / "node_modules")}
    process = subprocess.Popen(
        ["node", str(NODE_WOT), str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert process.stdout is not None

    async def body() -> None:
        plan = await found(driver_at(port, "/counter"))
        (thing,) = plan.things
        assert shown(plan) == {"count": (None, Kind.GAUGE, True), "temperature": ("Cel", Kind.GAUGE, False)}
        driver = driver_at(port)
        count = thing.point("count")
        assert count
        out = Collected()
        task = asyncio.create_task(driver.run(plan, out))
        while not out.rows:
            await asyncio.sleep(0.01)
        assert (await driver.write("counter", count, 41)).result is Result.DONE
        assert await driver.invoke("counter", thing.actions[0], None) == (Result.DONE, 42)
        task.cancel()
        await driver.close()
        seen = await following(driver_at(port), plan, lambda out: out.newest().get("counter"))
        assert seen.newest()["counter"] == {"count": 42, "temperature": 21.5}

    try:
        assert process.stdout.readline().strip() == "ready"
        asyncio.run(body())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
