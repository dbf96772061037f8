"""Payload mappings: how a message becomes readings."""
