"""Our things as a Sparkplug B edge node, over any MQTT server."""
