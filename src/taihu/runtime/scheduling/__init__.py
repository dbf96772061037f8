"""Flexible loads behind one meter: what is expected of them, seen, planned, and told."""
