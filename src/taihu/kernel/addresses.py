"""What an address of a listener says about who can reach it."""

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address_family(host: str) -> socket.AddressFamily:
    """IPv6 for such an address, else IPv4."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET
