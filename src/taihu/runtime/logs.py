"""The log: one event a line on stderr, as text for people or as JSON for programs, and never a secret."""

import json
import logging
import re
import sys
from collections.abc import Callable

from taihu.kernel.clock import NS_PER_S, format_iso
from taihu.kernel.sections import LogConfig

REDACTED = "[secret]"
_MS_PER_S = 1_000
_DEFAULT = LogConfig()
_OWN = frozenset(vars(logging.makeLogRecord({})))
_SECRETS = re.compile(
    r"(?<![\w-])[\w-]{43}(?![\w-])"  # a token: 256 bits as base64url
    r"|(?i:(?<=bearer )|(?<=basic ))[^\s\"',]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.ASCII | re.DOTALL,
)


class EventFormatter(logging.Formatter):
    """One line for each event; as JSON with the ids that came as `extra`, which the text tells in its own words.

    Line breaks and other control characters, which strangers may put into names, are shown and not obeyed. What looks
    like a token, a bearer's credential or a private key is replaced. Only a traceback, as text, has lines of its own.
    """

    def __init__(self, process: str, *, as_json: bool) -> None:
        super().__init__()
        self._process = process
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        when = format_iso(round(record.created * _MS_PER_S) * (NS_PER_S // _MS_PER_S))
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        message = record.getMessage()
        if self._as_json:
            event = {name: value for name, value in vars(record).items() if name not in _OWN}
            event |= {"time": when, "level": record.levelname.lower(), "process": self._process}
            event |= {"logger": record.name, "event": message} | ({"trace": trace} if trace else {})
            return redact(_printable(json.dumps(event, ensure_ascii=False, default=str), _as_json))
        lines = [f"{when} {self._process:<7} {record.levelname:<7} {message}"]
        lines += [f"    {line}" for line in trace.splitlines()]
        return redact("\n".join(_printable(line, _as_text) for line in lines))


def start_logging(name: str, config: LogConfig = _DEFAULT) -> None:
    """Write the process's log to stderr, in the form and from the level that the site asks for."""
    logging.getLogger().handlers = [logging.StreamHandler(sys.stderr)]
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    set_logging(name, config)


def set_logging(name: str, config: LogConfig) -> None:
    """Change form and level of a log that was started."""
    root = logging.getLogger()
    root.setLevel(config.level.upper())
    for handler in root.handlers:
        handler.setFormatter(EventFormatter(name, as_json=config.format == "json"))


def redact(text: str) -> str:
    """`text` without secrets.

    >>> redact("Authorization: Bearer abc.def")
    'Authorization: Bearer [secret]'
    """
    return _SECRETS.sub(REDACTED, text)


def _printable(line: str, escape: Callable[[str], str]) -> str:
    return line if line.isprintable() else "".join(each if each.isprintable() else escape(each) for each in line)


def _as_text(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _as_json(character: str) -> str:
    return json.dumps(character)[1:-1]
