"""Pure protocol code: bytes to events and back, no I/O, no clock; `now` is passed in."""
