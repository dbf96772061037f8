"""The client against mosquitto: both versions, every QoS, over a small blocking shell."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from tests.ports import free_port
from tests.waiting import WAIT_S

from taihu.protocols.mqtt.client import Client, State
from taihu.protocols.mqtt.packets import (
    Connack,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Suback,
    Subscription,
    Unsuback,
    Will,
)

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (Debian package mosquitto)")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("mosquitto")
    number = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {number} 127.0.0.1\nallow_anonymous true\n")
    broker = subprocess.Popen([str(MOSQUITTO), "-c", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert broker.stdout is not None
    try:
        for line in broker.stdout:
            if b"running" in line:
                break
        yield number
    finally:
        broker.terminate()
        broker.communicate()


class Shell:
    """Owns the socket of one connection of a client."""

    def __init__(self, client: Client, port: int) -> None:
        self.client = client
        self.seen: list[Packet] = []
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        client.connect(now=0.0)
        connack = self.wait(Connack)
        assert isinstance(connack, Connack)
        assert connack.reason == 0
        self.connack = connack

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.socket.close()
        self.client.connection_lost()

    def wait(self, kind: type[Packet], packet_id: int = 0) -> Any:
        """The next packet of a kind, and of that identifier if given; what comes before it stays in `seen`."""
        while True:
            for packet in self.seen:
                if isinstance(packet, kind) and packet_id in (0, getattr(packet, "packet_id", 0)):
                    self.seen.remove(packet)
                    return packet
            self.socket.sendall(self.client.take_output())
            data = self.socket.recv(65_536)
            assert data, "the broker closed the connection"
            self.seen += self.client.receive(data, now=0.0)
            self.socket.sendall(self.client.take_output())

    def leave(self) -> None:
        self.client.disconnect()
        self.socket.sendall(self.client.take_output())


@pytest.mark.parametrize("version", [4, 5])
def test_messages_of_every_qos_come_back(port: int, version: int) -> None:
    with Shell(Client(f"all-{version}", version=version), port) as shell:
        client = shell.client
        request = client.subscribe([Subscription(f"qos{version}/#", qos=2), Subscription("other/+", qos=1)])
        assert shell.wait(Suback) == Suback(request, (2, 1))
        for qos in (0, 1, 2):
            sent = [client.publish(f"qos{version}/{number}", bytes(number * 40), qos=qos) for number in range(40)]
            for packet_id in sent if qos else ():
                shell.wait(Puback if qos == 1 else Pubcomp, packet_id)
            for number in range(40):
                message = shell.wait(Publish)
                assert (message.topic, message.payload) == (f"qos{version}/{number}", bytes(number * 40))
                assert message.qos == qos
        request = client.unsubscribe([f"qos{version}/#"])
        assert shell.wait(Unsuback).packet_id == request
        assert shell.seen == []
        shell.leave()


def test_properties_survive_the_broker(port: int) -> None:
    properties = {
        "payload_format_indicator": 1,
        "content_type": "application/json",
        "response_topic": "answers/7",
        "correlation_data": b"\0\xff",
        "user_property": [("unit", "kW"), ("unit", "kWh"), ("ä", "")],
    }
    greeting = {"session_expiry_interval": 60, "receive_maximum": 10, "topic_alias_maximum": 5}
    with Shell(Client("", version=5, properties=greeting), port) as shell:
        assert shell.client.client_id == shell.connack.properties["assigned_client_identifier"]
        shell.client.subscribe([Subscription("p/#", retain_as_published=True)], {"subscription_identifier": [300]})
        shell.wait(Suback)
        shell.client.publish("p/1", b"{}", qos=1, properties=properties)
        message = shell.wait(Publish)
        wanted = properties | {"subscription_identifier": [300]}
        assert {name: message.properties[name] for name in wanted} == wanted
        shell.leave()


@pytest.mark.parametrize("version", [4, 5])
def test_a_session_goes_on_after_the_connection_broke(port: int, version: int) -> None:
    """§4: what was not acknowledged on the broken connection is sent on the next, and arrives once at QoS 2."""
    properties = {"session_expiry_interval": 60} if version == 5 else {}
    client = Client(f"lasting-{version}", version=version, clean_start=False, properties=properties)
    watcher = Client(f"watcher-{version}", version=version)
    with Shell(watcher, port) as watch:
        watcher.subscribe([Subscription(f"broken{version}", qos=2)])
        watch.wait(Suback)
        with Shell(client, port) as shell:
            assert not shell.connack.session_present
            sent = [client.publish(f"broken{version}", bytes((number,)), qos=2) for number in range(3)]
            shell.socket.sendall(client.take_output())
        assert client.state is State.CLOSED
        with Shell(client, port) as shell:
            assert shell.connack.session_present
            for packet_id in sent:
                shell.wait(Pubcomp, packet_id)
            client.publish(f"broken{version}", b"last", qos=2)
            shell.wait(Pubcomp)
            shell.leave()
        assert [watch.wait(Publish).payload for _ in range(4)] == [b"\0", b"\1", b"\2", b"last"]
        watch.leave()


@pytest.mark.parametrize("version", [4, 5])
def test_a_will_and_a_retained_message(port: int, version: int) -> None:
    will = Will(f"gone/{version}", b"lost", qos=1, retain=True)
    with Shell(Client(f"watch-{version}", version=version), port) as watch:
        watch.client.subscribe([Subscription(f"gone/{version}", qos=1)])
        watch.wait(Suback)
        with Shell(Client(f"dying-{version}", version=version, will=will), port):
            pass
        assert watch.wait(Publish).payload == b"lost"
        watch.client.unsubscribe([f"gone/{version}"])
        watch.wait(Unsuback)
        watch.client.subscribe([Subscription(f"gone/{version}/#", qos=1)])
        message = watch.wait(Publish)
        assert (message.payload, message.retain) == (b"lost", True)
        watch.leave()


def test_keep_alive_is_answered(port: int) -> None:
    with Shell(Client("pinging", keep_alive=10), port) as shell:
        for now in (10.0, 20.0, 30.0):
            shell.client.handle_timer(now)
            shell.client.subscribe([Subscription("x")])
            shell.wait(Suback)
        shell.leave()
