"""Drivers: we call the device. Each is an I/O shell around a pure protocol or a well-kept library."""
