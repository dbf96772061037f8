"""Assembles and supervises everything; the only part that knows all."""
