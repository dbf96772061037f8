"""The durable, ordered log."""
