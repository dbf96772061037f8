"""The MQTT door: sockets, TLS and WebSocket around `protocols.mqtt.broker`."""

from taihu.doors.mqtt.door import MqttDoor
from taihu.doors.mqtt.ports import Pipeline, Sleeper, Source

__all__ = ["MqttDoor", "Pipeline", "Sleeper", "Source"]
