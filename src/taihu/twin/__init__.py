"""Newest values, presence and desired values."""
