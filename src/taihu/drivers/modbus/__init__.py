"""Modbus TCP and RTU over TCP; SunSpec devices are found by themselves."""
