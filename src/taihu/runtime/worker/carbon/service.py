"""The worker's carbon: keeps the ledger in step with the history, and answers questions about it."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from taihu.carbon.accountant import Accountant
from taihu.carbon.accounts import Account, on_grids
from taihu.carbon.driven import Driven
from taihu.carbon.factors import load_factors
from taihu.carbon.ledger import Ledger
from taihu.carbon.meters import Sources
from taihu.history.history import History
from taihu.identity.directory import Directory
from taihu.identity.principal import CredentialKind, Principal
from taihu.kernel.clock import Clock
from taihu.kernel.errors import TaihuError
from taihu.kernel.sections import AccountConfig, Site
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.decisions import Decisions
from taihu.runtime.questions import Definitions
from taihu.runtime.worker.carbon.answers import CarbonAnswers
from taihu.runtime.worker.carbon.forms import Answer, Body
from taihu.things.batch import Batch
from taihu.things.deletion import Deletion

log = logging.getLogger("taihu.carbon")

_REST_S = 1.0


class CarbonDesk:
    """One site's accounts. Without any there is no ledger, and nothing is done."""

    def __init__(
        self, site: Site, history: History, directory: Directory, definitions: Definitions, clock: Clock
    ) -> None:
        self._site = site
        self._history = history
        self._directory = directory
        self._definitions = definitions
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "carbon")
        self._accountant: Accountant | None = None
        self._decisions: Decisions | None = None
        self._answers = CarbonAnswers(site, history, directory, clock)
        self._use({project.name: project.accounts for project in site.projects})

    def see(self, batch: Batch) -> None:
        """A batch goes to the history: what it changes of intervals accounted already is marked, durably."""
        if self._accountant is not None:
            self._accountant.see(batch)

    def deleted(self, deletion: Deletion) -> None:
        """What a removed project accounted goes with it; other figures stand when their readings are deleted."""
        if self._accountant is not None and deletion.removes and not deletion.thing:
            self._accountant.forget(deletion.project)

    def configure(self, accounts: dict[str, list[AccountConfig]]) -> None:
        """Go by these accounts, and by the factors as their file has them now."""
        self._thread.submit(self._reconfigure, accounts)

    async def run(self) -> None:
        """Account what is over, until cancelled. What cannot be read or written now is tried again."""
        loop = asyncio.get_running_loop()
        stalled = False
        while True:
            more = False
            try:
                more = await loop.run_in_executor(self._thread, self._step)
                stalled = False
            except (TaihuError, OSError) as error:
                if not stalled:
                    log.error("the ledger does not go on: %s", error)
                stalled = True
            await asyncio.sleep(0 if more else _REST_S)

    async def answer(self, body: Body) -> Answer:
        """Answer the question `body["ask"]`."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._answers.answer, body, self._accountant
        )

    async def stop(self) -> None:
        """Finish the step in hand: after it, nothing is asked of the history any more."""
        await asyncio.to_thread(self._thread.shutdown)

    def close(self) -> None:
        """Close the ledger; the history takes no more batches by then."""
        if self._decisions is not None:
            self._decisions.close()
        if self._accountant is not None:
            self._accountant.ledger.close()

    def _step(self) -> bool:
        return self._accountant is not None and self._accountant.step()

    def _reconfigure(self, accounts: dict[str, list[AccountConfig]]) -> None:
        try:
            self._use(accounts)
        except (TaihuError, OSError) as error:
            log.error("the accounts stay as they were: %s", error)

    def _use(self, configs: Mapping[str, Sequence[AccountConfig]]) -> None:
        site = self._site
        factors = load_factors(site.path(site.carbon.factors) if site.carbon.factors else None, site.carbon.gwp)
        zones = {project.name: site.timezone_of(project) for project in site.projects}
        accounts = [
            Account(project, "UTC" if config.avoided else zones.get(project, site.site.timezone), config)
            for project, found in configs.items()
            for config in on_grids(found)
        ]
        self._answers.factors = factors
        if self._accountant is not None:
            self._accountant.use(accounts, factors)
        elif accounts:
            ledger = Ledger(Paths(site.data).carbon)
            sources = Sources(self._definitions.of, self._may_read, self._parent, self._driven)
            self._accountant = Accountant(
                accounts, ledger, factors, self._history, sources, self._clock, site.carbon.settle_s
            )

    def _driven(self, project: str, controller: str, start: int, limit: int) -> list[Driven]:
        """What the pilot keeps; nothing until it is there."""
        if self._decisions is None and (path := Paths(self._site.data).decisions).exists():
            self._decisions = Decisions(path, self._site.limits.decisions_per_controller_max)
        return self._decisions.driven(project, controller, start, limit) if self._decisions else []

    def _may_read(self, reader: str, project: str, thing: str) -> bool:
        return self._directory.may_read(Principal(reader, CredentialKind.VIEWER), project, thing)

    def _parent(self, project: str, thing: str) -> str:
        found = self._directory.thing(project, thing)
        return found.parent if found else ""
