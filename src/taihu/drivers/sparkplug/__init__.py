"""Sparkplug B edge nodes and devices as things, over any MQTT server."""
