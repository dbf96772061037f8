"""The OPC UA process: our things as a server's address space."""
