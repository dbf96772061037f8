"""The directory: projects, things, models, tokens and grants, answered from memory and written through to the store."""

from collections.abc import Callable
from pathlib import Path

from taihu.identity.auditing import AuditLog
from taihu.identity.certificates import Certificates
from taihu.identity.grants import Grants
from taihu.identity.passwords import Passwords
from taihu.identity.people import People
from taihu.identity.provisioning import Provisioning
from taihu.identity.removals import Removals
from taihu.kernel.clock import Clock
from taihu.kernel.ids import new_token
from taihu.kernel.limits import DEFAULT, Limits


class Directory(Removals, Provisioning, Grants, People, Certificates, AuditLog):
    """Who and what a node serves.

    Reading (`taihu.identity.lookups`, and `principal`) never blocks: call it on the event loop. Writing blocks for a
    disk sync: call it from a thread. Memory changes after the sync, by single assignments, so that a reader sees a
    change whole or not at all. What is inferred from traffic, what a gateway adopts and the first use of a token are
    in memory at once and stored by `flush`; a crash before it loses nothing that the next message does not bring again.

    Args:
        path: the store, such as `data/metadata.db`; created when absent.
        limits: the node's; a project's own values take their place.
        read_only: for another process beside the writer; `refresh` shows it what changed.
        machine: the machine's own clock, where `clock` is a demo clock: sessions go by it.
        make_token: where secrets come from.

    Raises:
        StoreBusy: another process writes this store: ask it, or stop it.
        NewerStore: a newer release wrote it.
        DamagedError: it is no sound store.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        limits: Limits = DEFAULT,
        *,
        read_only: bool = False,
        machine: Clock | None = None,
        make_token: Callable[[], str] = new_token,
    ) -> None:
        super().__init__(path, clock, limits, read_only=read_only, machine=machine or clock, make_token=make_token)
        self.passwords = Passwords(limits)
