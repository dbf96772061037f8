"""Decisions: what flexible assets do next, from what is known until now."""
