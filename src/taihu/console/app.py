"""The console's process: NiceGUI's server, one client of the node's API and one poller for all sessions."""

from pathlib import Path

from taihu.kernel.clock import SystemClock
from taihu.kernel.errors import ConfigError

_FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="15" fill="#0e6f7c"/>'
    '<g fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round"><path d="M6 14c3.3-2.6 6.7-2.6 10 0s6.7 '
    '2.6 10 0"/><path d="M8 20c2.7-2.2 5.3-2.2 8 0s5.3 2.2 8 0"/></g></svg>'
)
_RESENT_MESSAGES_MAX = 20  # each session keeps so many for a browser that reconnects; it is told all anew each second


def main(api_url: str, token_file: Path, host: str, port: int) -> None:
    """Serve the console on `host`:`port` until a signal, reading the node at `api_url` with the token in `token_file`.

    Raises:
        ConfigError: the token file cannot be read.
    """
    try:
        token = token_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The console's token cannot be read: {error}.", "Name a file that holds a token.") from None
    from nicegui import Event, app, background_tasks, ui  # 0.6 s and 50 MB: this process alone pays for it

    from taihu.console.client import NodeClient
    from taihu.console.pages import Console
    from taihu.console.poller import Poller, Snapshot

    client = NodeClient(api_url, token)
    updated = Event[[Snapshot]]()
    poller = Poller(client, SystemClock(), updated.emit)
    Console(poller, updated).mount()
    app.on_startup(lambda: background_tasks.create(poller.run(), name="poller"))
    app.on_shutdown(client.close)
    ui.run(
        host=host,
        port=port,
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
    )
