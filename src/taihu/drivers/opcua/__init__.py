"""OPC UA servers as devices, over asyncua."""
