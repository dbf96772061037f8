"""The MQTT server as a state machine: no sockets, no clock, no tasks."""

from taihu.protocols.mqtt.broker.broker import Broker
from taihu.protocols.mqtt.broker.connection import Connection
from taihu.protocols.mqtt.broker.counters import Counters
from taihu.protocols.mqtt.broker.lot import Lot
from taihu.protocols.mqtt.broker.ports import Identity, Later, Policy

__all__ = ["Broker", "Connection", "Counters", "Identity", "Later", "Lot", "Policy"]
