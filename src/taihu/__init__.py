"""Taihu: an operating system for connected things, their history and their carbon."""

__version__ = "0.1.0"
