"""Simulated devices, files and faults, from a seed."""
