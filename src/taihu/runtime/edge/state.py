"""What the edge process keeps of its ledgers, for itself, for ingest and for people."""

import logging
import os
from pathlib import Path

import msgspec

from taihu.kernel.sections import Site
from taihu.runtime.edge.ledger import Record

log = logging.getLogger("taihu.edge")

KEYS = "upstream"
"""The keyring's entry with a token of the centre for each project."""
ENVIRONMENT = "TAIHU_UPSTREAM"


class Sent(msgspec.Struct, frozen=True):
    """One project's state, as it is kept and shown."""

    ledger: Record = Record()
    connected: bool = False
    behind: int = 0


class State(msgspec.Struct, frozen=True):
    """What the edge process keeps: by project, and the first journal position that it still needs.

    `node` is what the centre tells this node by, among others of the same projects.
    """

    keep_from: int = 1
    projects: dict[str, Sent] = {}
    node: str = ""


def upstream_of(site: Site) -> str:
    """The centre's address: what `taihu run --upstream` says, else the configuration; empty for none."""
    return os.environ.get(ENVIRONMENT) or site.upstream.url


def read_state(path: Path) -> State:
    """What was kept. Nothing when there is none, or it is damaged: that all is sent again does no harm."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return State()
    except msgspec.DecodeError as error:
        log.error("%s is damaged (%s); everything that the journal holds is sent again", path.name, error)
        return State()
