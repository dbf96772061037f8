"""The worker's answers about plans: what controllers decided last, why, and what they have saved."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from taihu.kernel.clock import HOUR_NS, Clock
from taihu.kernel.flexible import SchedulerConfig
from taihu.kernel.sections import ControllerConfig, Site
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.decisions import Decisions, Errors, ExpectedHour, Saved
from taihu.things.deletion import Deletion

_BRIEF = ("controller", "mode", "reason", "guard", "at", "binding", "why", "content_kwh", "currency", "notes")
_STAGES_BRIEF = 1
_DAY_HOURS = 24


Configs = dict[str, ControllerConfig | SchedulerConfig]
Planned = tuple[str, tuple[ControllerConfig, ...], tuple[SchedulerConfig, ...]]


class PlanDesk:
    """Reads what the pilot writes. Without controllers there is no file, and every answer is empty."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._clock = clock
        self._path, self._keep = Paths(site.data).decisions, site.limits.decisions_per_controller_max
        self._thread = ThreadPoolExecutor(1, "plans")
        self._configs: dict[str, Configs] = {}
        self._store = Decisions(self._path, self._keep) if self._path.exists() else None
        self.configure([(project.name, project.controllers, project.schedulers) for project in site.projects])

    def configure(self, projects: Sequence[Planned]) -> None:
        """From now on these are the controllers and schedulers, by project."""
        self._configs = {
            name: {one.name: one for one in controllers} | {one.name: one for one in schedulers}
            for name, controllers, schedulers in projects
            if controllers or schedulers
        }
        if self._configs and self._store is None:
            self._store = Decisions(self._path, self._keep)

    async def answer(self, body: Mapping[str, Any]) -> Any:
        """What is asked of `body["projects"]`: the last `body["limit"]` decisions, or what is brief of the last."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, body)

    def deleted(self, deletion: Deletion) -> None:
        """What was decided in a project that is removed goes with it."""
        if self._store is not None and deletion.removes and not deletion.thing:
            self._thread.submit(self._store.forget, deletion.project).result()

    def close(self) -> None:
        """Finish what is asked, and close."""
        self._thread.shutdown()
        if self._store is not None:
            self._store.close()

    def _answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        plans = [
            plan
            for project in body["projects"]
            for plan in self._of(project, body["controller"], body["limit"], brief=body["brief"])
        ]
        now = self._clock.now_ns()
        outlook = self._outlook(body["projects"], body["controller"], now)
        return {"now": now, "plans": plans, "saved": _together([one["saved"] for one in plans]), "outlook": outlook}

    def _outlook(self, projects: list[str], only: str, now: int) -> list[dict[str, Any]]:
        """What the day before was, and the day ahead is, expected to be, of all the controllers together.

        An hour that one of them says nothing of is left out.
        """
        first = now // HOUR_NS * HOUR_NS
        span = (first - _DAY_HOURS * HOUR_NS, first + _DAY_HOURS * HOUR_NS)
        hours: dict[int, list[ExpectedHour]] = {}
        for project in projects:
            for name in self._configs.get(project, {}):
                if self._store is not None and only in ("", name):
                    for one in self._store.outlook(project, name, *span):
                        hours.setdefault(one.start, []).append(one)
        whole = max((len(found) for found in hours.values()), default=0)
        return [_sum(found) for _, found in sorted(hours.items()) if len(found) == whole]

    def _of(self, project: str, only: str, limit: int, *, brief: bool) -> list[dict[str, Any]]:
        found = []
        for name, config in self._configs.get(project, {}).items():
            if self._store is None or only not in ("", name):
                continue
            saved = self._store.saved(project, name, Errors(config.meter_error, config.factor_error))
            plans = self._store.last(project, name, limit)
            if brief:
                plans = [
                    {key: plan[key] for key in _BRIEF if key in plan} | {"stages": plan["stages"][:_STAGES_BRIEF]}
                    for plan in plans[:1]
                ]
            else:
                plans = [plan | {"battery": _battery(config), "inputs": _inputs(config)} for plan in plans]
            guard, waits = self._store.reported(project, name), self._store.waits(project, name)
            if guard:
                guard["currency"] = plans[0].get("currency", "") if plans and config.cost_weight == 1 else ""
            found.append({
                "project": project, "controller": name, "decisions": plans, "saved": _shown(saved), "guard": guard,
                "waits": waits,
            })  # fmt: skip
        return found


def _sum(hours: list[ExpectedHour]) -> dict[str, Any]:
    """One hour of several controllers: medians add; errors are taken as independent, so their squares do."""
    net = sum(one.net_kwh for one in hours)
    down = sum((one.net_kwh - one.low_kwh) ** 2 for one in hours) ** 0.5
    up = sum((one.high_kwh - one.net_kwh) ** 2 for one in hours) ** 0.5
    came = [one.came_kwh for one in hours]
    return {
        "start": hours[0].start, "net_kwh": net, "low_kwh": net - down, "high_kwh": net + up, "controllers": len(hours),
        "came_kwh": None if None in came else sum(kwh for kwh in came if kwh is not None),
    }  # fmt: skip


def _battery(config: ControllerConfig | SchedulerConfig) -> str:
    """The thing of the one battery that a console may draw a plan of."""
    if isinstance(config, ControllerConfig):
        return config.battery
    return config.batteries[0].thing if len(config.batteries) == 1 else ""


def _inputs(config: ControllerConfig | SchedulerConfig) -> dict[str, str]:
    names = ("net", "load", "generation", "price", "intensity", "shadow")
    found = {name: getattr(config, name, "") for name in names} | {"intensity": config.signal}
    if isinstance(config, SchedulerConfig):
        found["base"] = config.base
        found["price"] = config.buys.property or config.buys.file
        found |= {one.name: one.energy_path for one in config.solars}
    return {name: path for name, path in found.items() if path}


def _shown(saved: Saved) -> dict[str, Any]:
    return dict(msgspec.to_builtins(saved)) | {"error_kg": saved.error_kg}


def _together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """All of them: meters err each on its own, the factor for all alike."""
    meter = sum(one["meter_kg"] ** 2 for one in parts) ** 0.5
    kg = sum(one["kg"] for one in parts)
    factor = max((one["factor_kg"] / abs(one["kg"]) for one in parts if one["kg"]), default=0.0) * abs(kg)
    return {
        "kg": kg, "meter_kg": meter, "factor_kg": factor, "error_kg": (meter**2 + factor**2) ** 0.5,
        "estimated": any(one["estimated"] for one in parts), "hours": max((one["hours"] for one in parts), default=0),
        "since": min((one["since"] for one in parts if one["since"]), default=0),
    }  # fmt: skip
