"""Certificates of things: the node's own authority, what it is asked to sign, and others that a site believes."""

from importlib.util import find_spec

from taihu.kernel.errors import RefusedError

if find_spec("cryptography") is None:
    raise RefusedError("Certificates need the package cryptography:", "pip install 'taihu[certificates]'")
