"""Sparkplug B 3.0 without I/O: payloads, topics, and the two roles. The README says what it handles."""
