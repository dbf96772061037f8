"""Northbound: they call us."""
