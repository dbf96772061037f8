"""Where a node keeps what it stores, below its data folder."""

from pathlib import Path


class Paths:
    """The files and folders of one data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.journal = data / "journal"
        self.history = data / "history"
        self.carbon = data / "carbon.sqlite"
        self.forecasts = data / "forecasts.sqlite"
        self.decisions = data / "decisions.sqlite"
        self.pilot_tokens = data / "pilot-tokens.json"
        self.metadata = data / "metadata.db"
        self.twin = data / "twin.snapshot"
        self.broker = data / "broker.snapshot"
        self.spool = data / "spool"
        self.aside = data / "aside"
        self.upstream = data / "upstream.json"
        self.edge_tokens = data / "edge-tokens.json"
        self.clock = data / "clock.json"
        self.command_log = data / "commands.sqlite"
        self.control = data / "control.snapshot"
        self.control_key = data / "control.key"
        self.field = data / "field.json"
        self.opcua = data / "opcua.json"
        self.field_tokens = data / "field-tokens.json"
        self.node = data / "node.json"
        self.admin_token = data / "admin.token"
        self.console_token = data / "console.token"
        self.lock = data / "node.lock"
        self.ca = data / "ca"
        self.running = data / "site.running.toml"
