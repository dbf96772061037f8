"""Payload mappings: how a message becomes readings."""

from taihu.things.mapping.errors import PayloadError

__all__ = ["PayloadError"]
