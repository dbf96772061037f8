"""Devices behind another MQTT broker as things, by the conventions that they keep."""
