"""BACnet/IP: objects found and read, changes subscribed to, commanded with a priority."""
