"""The console's process: NiceGUI's server, and clients of the node's API for whoever looks at its pages."""

from pathlib import Path
from typing import Any

import msgspec

from taihu.kernel.clock import SystemClock
from taihu.kernel.errors import ConfigError

_FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="15" fill="#0e6f7c"/>'
    '<g fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round"><path d="M6 14c3.3-2.6 6.7-2.6 10 0s6.7 '
    '2.6 10 0"/><path d="M8 20c2.7-2.2 5.3-2.2 8 0s5.3 2.2 8 0"/></g></svg>'
)
_RESENT_MESSAGES_MAX = 20  # each session keeps so many for a browser that reconnects; it is told all anew each second


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve the pages.

    Args:
        api: the address of the node's HTTP API.
        token: a file with what the pages read by while nobody can sign in; None where somebody must.
        relay: a file with the console's own token, by which people sign in here; None where nobody does.
        address: where people find the pages; with https, at a proxy or here, cookies go over TLS alone.
        certificate: files of certificate and key, to serve over TLS.
    """

    api: str
    host: str
    port: int
    token: Path | None = None
    relay: Path | None = None
    address: str = ""
    certificate: tuple[Path, Path] | None = None


def main(options: Options) -> None:
    """Serve the console until a signal.

    Raises:
        ConfigError: a token file cannot be read.
    """
    token, relay = _secret(options.token), _secret(options.relay)
    from nicegui import app, ui  # 0.6 s and 50 MB: this process alone pays for it

    from taihu.console.account import Accounts
    from taihu.console.account_page import AccountPage
    from taihu.console.pages import Console
    from taihu.console.people_page import PeoplePage
    from taihu.console.signing import Signing
    from taihu.console.visits import Visits

    clock = SystemClock()
    accounts = Accounts(options.api, relay)
    Console(Visits(options.api, token, accounts, clock, asks=bool(relay)), asks=bool(relay)).mount()
    if relay:
        Signing(accounts, clock, options.address).mount()
        AccountPage(accounts, clock).mount()
        PeoplePage(accounts, clock, options.address).mount()
    app.on_shutdown(accounts.close)
    tls: dict[str, Any] = {}
    if options.certificate is not None:
        tls = {"ssl_certfile": str(options.certificate[0]), "ssl_keyfile": str(options.certificate[1])}
    ui.run(
        host=options.host,
        port=options.port,
        title="Taihu",
        favicon=_FAVICON,
        dark=None,
        show=False,
        reload=False,
        tailwind=False,
        binding_refresh_interval=None,
        message_history_length=_RESENT_MESSAGES_MAX,
        show_welcome_message=False,
        uvicorn_logging_level="warning",
        **tls,
    )


def _secret(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The console's token cannot be read: {error}.", "Name a file that holds a token.") from None
