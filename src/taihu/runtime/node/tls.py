"""TLS of the doors: contexts made of the site's files, and replaced while connections live on."""

import ssl
from pathlib import Path
from typing import Any

from taihu.kernel.errors import ConfigError, LocalError
from taihu.kernel.sections import Listener, Site

_VERIFY = {"optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_PROTOCOLS = {"mqtt": ["mqtt"], "http": ["http/1.1"]}


class LiveContext(ssl.SSLContext):
    """What a listener is given: stands for the newest context, so that connections from now on are made by that.

    Connections there are go on as they were made. Sessions are not resumed across a change: the keys of their tickets
    are the context's.
    """

    def __new__(cls, *_: Any) -> "LiveContext":
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, current: ssl.SSLContext) -> None:
        self.current = current

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """See `ssl.SSLContext.wrap_bio`: what event loops make each connection with."""
        return self.current.wrap_bio(*arguments, **named)

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        raise LocalError("A live context makes no blocking sockets.")


def make_context(site: Site, section: str, authorities: str) -> ssl.SSLContext:
    """The context of the section's listener, which believes clients that the PEM `authorities` vouch for.

    Raises:
        ConfigError: a file cannot be used, or certificates are required and there is no authority.
    """
    listener: Listener = getattr(site, section)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_PROTOCOLS[section])
    _load_chain(context, site.path(listener.certificate), site.path(listener.key), section)
    if listener.client_certificates == "off":
        return context
    if authorities:
        context.load_verify_locations(cadata=authorities)
        context.verify_mode = _VERIFY[listener.client_certificates]
    elif listener.client_certificates == "required":
        raise ConfigError(
            "client_certificates is required, and no authority is known.",
            f"Make one: taihu ca init --site {site.folder}; or set [ca] trusted.",
            f"[{section}]",
        )
    return context


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path, section: str) -> None:
    try:
        context.load_cert_chain(certificate, key, _no_passphrase)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        said = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        remedy = "Name PEM files that belong together; the key without a passphrase."
        raise ConfigError(
            f"{certificate.name} and {key.name} cannot be used: {said}.", remedy, f"[{section}]"
        ) from None


def _no_passphrase() -> str:
    raise ValueError("the key asks for a passphrase")
