"""The MQTT door's part of a group commit: one lot of the broker's, and the acknowledgements for it."""

from taihu.protocols.mqtt.broker import Broker


class Share:
    """A `Source` of the group commit that stands for all MQTT clients with something in `lot`.

    `size` and `senders` are how much of the lot the group commit was told of.
    """

    __slots__ = ("_broker", "lot", "senders", "size")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.lot = broker.lot
        self.size = 0
        self.senders = 0

    def close(self) -> None:
        """Let nothing more into the lot."""
        if self._broker.lot is self.lot:
            self._broker.take_lot()

    def take(self) -> list[tuple[object, bytes]]:
        self.close()
        return self.lot.readings

    def committed(self) -> None:
        """Acknowledge, straight to the socket where it has room: the second hot loop of the door."""
        for connection, data, _ in self._broker.committed(self.lot):
            client = connection.shell
            if client is None:
                continue
            send = client.send
            if send is None:
                client.acknowledge(data)
                continue
            try:
                sent = send(data)
            except OSError:
                sent = 0
            if sent != len(data):
                client.wire.write(data[sent:])
