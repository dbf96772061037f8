"""MQTT sessions survive `kill -9`: subscriptions, queued and retained messages, half-done handshakes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.faults.peers import Peer, run
from tests.faults.support import LiveNode

from taihu.protocols.mqtt.packets import Puback, Pubcomp

FOREVER = {"session_expiry_interval": 86_400}


@pytest.mark.parametrize("how", ["kill", "kill after a snapshot", "stop"])
def test_sessions_survive_a_restart(tmp_path: Path, how: str) -> None:
    """§4: what was acknowledged to a publisher reaches the subscriber, once for QoS 2, in order."""
    limits = {"snapshot_s": 0.1 if "snapshot" in how else 3_600, "journal_segment_bytes": 10_000}
    node = LiveNode(tmp_path / "site", ["pump"], limits)
    node.start()
    try:
        run(before_and_after(node, how))
    finally:
        node.stop()


async def before_and_after(node: LiveNode, how: str) -> None:
    away: dict[str, Any] = {"version": 5, "clean_start": False, "properties": FOREVER}
    listener = Peer(node, "listener", **away)
    await listener.connect()
    await listener.subscribe("news/+", qos=2)
    gone = Peer(node, "gone", version=5, properties=FOREVER)
    await gone.connect()
    await gone.subscribe("news/+", qos=2)
    await gone.unsubscribe("news/+")
    listener.drop()
    speaker = Peer(node, "speaker", clean_start=False)
    await speaker.connect()
    for number in range(100):
        qos = 1 + number % 2
        speaker.publish(f"news/{qos}", b"%d" % number, qos=qos)
        await speaker.wait_for(Puback if qos == 1 else Pubcomp)
    for number in range(5):
        speaker.publish(f"board/{number}", b"kept", qos=1, retain=True)
        await speaker.wait_for(Puback)
    speaker.publish("board/0", b"", qos=1, retain=True)
    await speaker.wait_for(Puback)
    if "snapshot" in how:
        await asyncio.sleep(0.5)
    if how == "stop":
        await asyncio.to_thread(node.stop)
    else:
        await asyncio.to_thread(node.kill, "worker", "ingest")
    for peer in (speaker, gone):
        peer.drop()
    await asyncio.to_thread(node.start)

    assert (await listener.connect()).session_present
    messages = await listener.messages(100)
    for qos in (1, 2):
        numbers = [int(message.payload) for message in messages if message.topic == f"news/{qos}"]
        assert numbers == list(range(qos - 1, 100, 2)), f"QoS {qos}: {numbers}"
    await speaker.connect()
    speaker.publish("news/1", b"fresh", qos=1)
    assert (await listener.messages(1))[0].payload == b"fresh", "the subscription is gone"
    reader = Peer(node, "reader")
    await reader.connect()
    await reader.subscribe("board/#", qos=1)
    kept = await reader.messages(4)
    assert sorted(message.topic for message in kept) == [f"board/{number}" for number in range(1, 5)]
    assert all(message.retain for message in kept)
    for peer in (listener, speaker, reader):
        peer.drop()


def test_messages_in_flight_at_the_kill_arrive(tmp_path: Path) -> None:
    """What a subscriber had received and not acknowledged comes again, marked as a duplicate."""
    node = LiveNode(tmp_path / "site", ["pump"])
    node.start()

    async def body() -> None:
        listener = Peer(node, "listener", clean_start=False)
        await listener.connect()
        await listener.subscribe("news", qos=1)
        speaker = Peer(node, "speaker")
        await speaker.connect()
        listener.mute = True
        for number in range(10):
            speaker.publish("news", b"%d" % number, qos=1)
            await speaker.wait_for(Puback)
        await listener.messages(10)
        await asyncio.to_thread(node.kill, "ingest", "worker")
        listener.drop()
        speaker.drop()
        listener.mute = False
        await asyncio.to_thread(node.start)
        assert (await listener.connect()).session_present
        again = await listener.messages(10)
        assert [int(message.payload) for message in again] == list(range(10))
        assert all(message.dup for message in again)
        listener.drop()

    try:
        run(body())
    finally:
        node.stop()
