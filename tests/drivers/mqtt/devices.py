"""Devices of five conventions on a broker, by the paho client. `python devices.py PORT`."""

import json
import sys
from typing import Any

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage

LAMP = {
    "friendly_name": "lamp",
    "definition": {
        "exposes": [
            {"type": "light", "features": [
                {"type": "binary", "name": "state", "property": "state", "label": "State", "access": 7,
                 "value_on": "ON", "value_off": "OFF"},
                {"type": "numeric", "name": "brightness", "property": "brightness", "access": 7}]},
            {"type": "numeric", "name": "power", "property": "power", "label": "Power", "unit": "W", "access": 1},
        ]
    },
}  # fmt: skip
BASE = {"dev": {"ids": ["ha1"], "name": "Boiler"}, "avty_t": "boiler/status", "~": "boiler"}
RETAINED: dict[str, Any] = {
    "zigbee2mqtt/bridge/devices": [LAMP, {"friendly_name": "Coordinator", "definition": None}],
    "zigbee2mqtt/lamp": {"state": "ON", "brightness": 100, "power": 7.5, "last_seen": "now"},
    "zigbee2mqtt/lamp/availability": {"state": "online"},
    "homie/meter/$state": "ready",
    "homie/meter/mains/power": "12.5",
    "homie/meter/mains/power/$unit": "kW",
    "homie/meter/mains/power/$datatype": "float",
    "homie/meter/mains/limit": "30",
    "homie/meter/mains/limit/$settable": "true",
    "homie/meter/mains/limit/$unit": "A",
    "homie/meter/mains/$properties": "power,limit",
    "tele/plug/LWT": "Online",
    "tele/plug/SENSOR": {"Time": "2026-01-01T00:00:00", "ENERGY": {"Power": 55, "Total": 1.5}, "TempUnit": "C"},
    "tele/plug/STATE": {"Time": "2026-01-01T00:00:00", "POWER": "OFF", "Uptime": "1T"},
    "homeassistant/sensor/b1/temp/config": BASE | {"name": "Temperature", "stat_t": "~/state", "unit_of_meas": "°C",
                                                   "val_tpl": "{{ value_json.water['temp'] | round(1) }}"},
    "homeassistant/switch/b1/pump/config": BASE | {"name": "Pump", "stat_t": "~/pump", "cmd_t": "~/pump/set"},
    "homeassistant/sensor/b1/odd/config": BASE | {"stat_t": "~/odd", "val_tpl": "{% if value > 3 %}x{% endif %}"},
    "boiler/status": "online",
    "boiler/state": {"water": {"temp": 61.5}},
    "boiler/pump": "OFF",
    "v1/gateway/telemetry": {"Chiller": [{"ts": 1_767_571_200_000, "values": {"load": 0.5}}]},
    "v1/gateway/attributes": {"Chiller": {"setpoint": 7}},
}  # fmt: skip


def answer(client: Client, _: object, message: MQTTMessage) -> None:
    topic, text = message.topic, message.payload.decode()
    if topic == "zigbee2mqtt/lamp/set":
        client.publish("zigbee2mqtt/lamp", json.dumps(RETAINED["zigbee2mqtt/lamp"] | json.loads(text)), 1, True)
    elif topic == "cmnd/plug/POWER":
        client.publish("stat/plug/POWER", text, 1)
    elif topic == "homie/meter/mains/limit/set" and text != "13":  # the value it keeps to itself
        client.publish("homie/meter/mains/limit", text, 1, True)
    elif topic == "boiler/pump/set":
        client.publish("boiler/pump", text, 1, True)
    elif topic == "v1/gateway/attributes" and "device" in (body := json.loads(text)):
        client.publish("v1/gateway/attributes", json.dumps({body["device"]: body["data"]}), 1, True)


def main() -> None:
    client = Client(CallbackAPIVersion.VERSION2, "devices")
    client.on_message = answer
    client.connect("127.0.0.1", int(sys.argv[1]))
    client.loop_start()
    for topic in ("+/+/set", "cmnd/#", "homie/+/+/+/set", "v1/gateway/attributes"):
        client.subscribe(topic, 1)
    for topic, content in RETAINED.items():
        text = content if isinstance(content, str) else json.dumps(content)
        client.publish(topic, text, 1, retain=True).wait_for_publish()
    print("ready", flush=True)
    for line in sys.stdin:
        topic, text = line.strip().split(" ", 1)
        client.publish(topic, text, 1).wait_for_publish()
        print("said", flush=True)


if __name__ == "__main__":
    main()
