"""IEC 60870-5-104 as bytes and events: the controlling station, without any I/O. README.md says what is handled."""
