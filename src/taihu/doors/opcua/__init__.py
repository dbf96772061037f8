"""Our things as an OPC UA server's address space, over asyncua."""
