"""The MQTT clients people have: mosquitto_pub and mosquitto_sub, paho, aiomqtt, gmqtt, in both versions."""

import asyncio
import queue
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import aiomqtt
import gmqtt
import paho.mqtt.client as paho
import pytest
from tests.interop.support import Site, wait_for
from tests.waiting import WAIT_S

TELEMETRY = "v1/devices/me/telemetry"
VERSIONS = pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
BOTH = pytest.mark.parametrize("version", [4, 5])


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done
    return done.stdout + done.stderr


def pub(site: Site, *arguments: str) -> str:
    return run([tool("mosquitto_pub"), "-p", str(site.mqtt_port), *arguments])


def test_the_command_of_the_manual(site: Site) -> None:
    """`mosquitto_pub -p PORT -u TOKEN -t v1/devices/me/telemetry -m '{"power_kw": 3.2}'`, and nothing else."""
    pub(site, "-u", site.tokens["plant/press"], "-t", "v1/devices/me/telemetry", "-m", '{"power_kw": 3.2}')
    assert site.wait_value("plant/press", "power_kw", 3.2)["unit"] is None


@VERSIONS
def test_mosquitto_pub_at_every_qos(site: Site, version: str) -> None:
    token = site.tokens["plant/press"]
    for qos in (0, 1, 2):
        payload = f'{{"qos{qos}": {qos + 10}, "version": "{version}"}}'
        pub(site, "-V", version, "-q", str(qos), "-u", token, "-t", TELEMETRY, "-m", payload)
        site.wait_value("plant/press", f"qos{qos}", qos + 10)
    site.wait_value("plant/press", "version", version)
    pub(site, "-V", version, "-u", "anything", "-P", token, "-t", "taihu/plant/press/torque", "-m", "8.5")
    site.wait_value("plant/press", "torque", 8.5)


def test_a_wrong_token_is_told(site: Site) -> None:
    for version in ("mqttv311", "mqttv5"):
        command = [tool("mosquitto_pub"), "-p", str(site.mqtt_port), "-V", version, "-u", "wrong", "-t", "t", "-m", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert done.returncode != 0 and "bad user name or password" in done.stderr.lower()


@VERSIONS
def test_mosquitto_sub_with_an_operators_token(site: Site, version: str) -> None:
    """What things send on their named topics, and the free topics; retained, so that it need not be there first."""
    retained = [("plant/meter", "taihu/plant/meter/power", "11.5"), ("plant/press", "chat/all", "hello")]
    for thing, topic, payload in retained:
        pub(site, "-V", version, "-u", site.tokens[thing], "-t", topic, "-q", "1", "-r", "-m", payload)
    command = [tool("mosquitto_sub"), "-p", str(site.mqtt_port), "-V", version, "-u", site.tokens["plant"]]
    command += ["-t", "taihu/plant/#", "-t", "chat/#", "-q", "1", "-C", "2", "-W", "10", "-F", "%t %p %q %r"]
    said = run(command)
    assert sorted(said.split("\n")) == ["", "chat/all hello 1 1", "taihu/plant/meter/power 11.5 1 1"]
    for thing, topic, _ in retained:
        pub(site, "-u", site.tokens[thing], "-t", topic, "-q", "1", "-r", "-n")


@BOTH
def test_paho(site: Site, version: int) -> None:
    messages: queue.Queue[Any] = queue.Queue()
    ready: queue.Queue[Any] = queue.Queue()
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2, f"paho-{version}", protocol=paho.MQTTProtocolVersion(version)
    )
    client.username_pw_set(site.tokens["plant/press"])
    client.on_subscribe = lambda client, data, mid, reasons, properties: ready.put([each.value for each in reasons])
    client.on_message = lambda client, data, message: messages.put((message.topic, message.payload))
    client.connect("127.0.0.1", site.mqtt_port)
    client.loop_start()
    try:
        wait_for(client.is_connected, "paho is connected")
        client.subscribe([("taihu/plant/press/#", 1), ("chat/paho", 2), ("secret/x", 1)])
        assert ready.get(timeout=WAIT_S) == [1, 2, 0x80]
        for qos in (0, 1, 2):
            client.publish(TELEMETRY, b'{"paho%d": %d}' % (version, qos), qos).wait_for_publish(WAIT_S)
            site.wait_value("plant/press", f"paho{version}", qos)
        client.publish("taihu/plant/press", b'{"speed": 7}', 1).wait_for_publish(WAIT_S)
        assert messages.get(timeout=WAIT_S) == ("taihu/plant/press", b'{"speed": 7}')
    finally:
        client.disconnect()
        client.loop_stop()


@BOTH
def test_aiomqtt(site: Site, version: int) -> None:
    async def run() -> None:
        async with aiomqtt.Client(
            "127.0.0.1",
            site.mqtt_port,
            username=site.tokens["plant/press"],
            protocol=aiomqtt.ProtocolVersion(version),
        ) as client:
            await client.subscribe("chat/#", qos=1)
            await client.publish("chat/aio", b"hello", qos=1)
            await client.publish(TELEMETRY, b'{"aiomqtt": %d}' % version, qos=2)
            async with asyncio.timeout(WAIT_S):
                message = await anext(aiter(client.messages))
            assert (str(message.topic), message.payload) == ("chat/aio", b"hello")

    asyncio.run(run())
    site.wait_value("plant/press", "aiomqtt", version)


@BOTH
def test_gmqtt(site: Site, version: int) -> None:
    async def run() -> None:
        client = gmqtt.Client(f"gmqtt-{version}")
        client.set_auth_credentials(site.tokens["plant/press"], None)
        got: asyncio.Queue[bytes] = asyncio.Queue()
        ready = asyncio.Event()

        def take(client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
            got.put_nowait(payload)
            return 0

        client.on_message = take
        client.on_subscribe = lambda client, mid, qos, properties: ready.set()
        async with asyncio.timeout(WAIT_S):
            await client.connect("127.0.0.1", site.mqtt_port, version=version)
            client.subscribe("chat/gmqtt", qos=1)
            await ready.wait()
            client.publish("chat/gmqtt", b"hello", qos=1)
            assert await got.get() == b"hello"
            client.publish(TELEMETRY, {"gmqtt": version}, qos=1)
            await client.disconnect()

    asyncio.run(run())
    site.wait_value("plant/press", "gmqtt", version)
