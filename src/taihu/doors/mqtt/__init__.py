"""The MQTT door: sockets, TLS and WebSocket around `protocols.mqtt.broker`."""

from taihu.doors.mqtt.door import MqttDoor
from taihu.doors.mqtt.ports import Pipeline, Source

__all__ = ["MqttDoor", "Pipeline", "Source"]
