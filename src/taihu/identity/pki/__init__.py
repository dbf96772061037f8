"""Certificates of things: the node's own authority, what it is asked to sign, and others that a site believes."""
