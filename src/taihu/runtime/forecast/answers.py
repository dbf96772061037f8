"""The answers to questions about forecasts: one of now or of then, the models, and how they did."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from taihu.insight.forecast.candidate import LEVELS
from taihu.insight.forecast.judge import judge
from taihu.insight.forecast.store import Key
from taihu.insight.forecast.trained import HORIZON_DAYS_MAX, Forecast, ForecastRefused, candidates, readers
from taihu.kernel.clock import DAY_NS, NS_PER_S
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.limits import Limits
from taihu.runtime.forecast.kept import Kept
from taihu.runtime.forecast.service import ForecastDesk
from taihu.runtime.forecast.steps import EVERY_S, last_end

Body = Mapping[str, Any]
_ASKED_MAX = 64
_ENDED_STEPS = 3  # that a regressor lacks before it is said
_NOTHING = (np.nan,) * len(LEVELS)
_NAMES = tuple(f"q{level * 100:.0f}" if level != 0.5 else "median" for level in LEVELS)


class ForecastAnswers:
    """What the link may ask of a desk."""

    def __init__(self, desk: ForecastDesk, limits: Limits) -> None:
        self._desk = desk
        self._limits = limits
        self._asked = 0

    async def answer(self, body: Body) -> dict[str, Any]:
        """Answer the question `body["ask"]`."""
        if self._asked >= _ASKED_MAX:
            raise LimitError(f"{self._asked} questions about forecasts wait.", "Try again in a moment.")
        self._asked += 1
        try:
            match body["ask"]:
                case "forecast":
                    return await self._forecast(body)
                case "models":
                    models, beyond = self._models(body["project"]), self._desk.left_out[body["project"]]
                    return {"models": models, "left_out": beyond, "forecasters": _forecasters()}
                case "outlook":
                    return await asyncio.to_thread(self._outlook, body)
                case "errors":
                    return await asyncio.to_thread(self._errors, body)
        finally:
            self._asked -= 1
        raise RefusedError(f"There is no question {body['ask']!r} about forecasts.", "See docs/http.md.")

    async def _forecast(self, body: Body) -> dict[str, Any]:
        wanted = self._wanted(body)
        summary = self._desk.summaries.get(wanted.key)
        if body["at"] is None:
            made = await self._desk.made(wanted)
        else:
            found = await asyncio.to_thread(self._desk.store.newest, wanted.key, body["at"])
            if found is None:
                raise ForecastRefused("No forecast was kept from then.", "Keep it forecast: docs/forecasts.md.")
            made = found
        return {
            "issued_at": made.start_ns,
            "step_s": made.step_s,
            "model": made.model,
            "trained_at": summary.trained_at if summary else None,
            "kept": any(one.key == wanted.key for one in self._desk.kept(wanted.key.project)),
            "values": _rows(made, wanted.horizon),
        }

    def _wanted(self, body: Body) -> Kept:
        """The series that is asked for: as it is kept, if it is, else as the question says."""
        every = body["every"]
        kept = self._desk.kept(body["project"])
        same = [one for one in kept if (one.key.thing, one.key.property) == (body["thing"], body["property"])]
        if not every:
            every = same[0].every if same else ("15m" if 0 < (body["horizon_s"] or 0) < EVERY_S["1h"] else "1h")
        if every not in EVERY_S:
            raise ForecastRefused(f"There are no steps of {every[:20]!r}.", f"Ask for {' or '.join(EVERY_S)}.")
        key = Key(body["project"], body["thing"], body["property"], EVERY_S[every])
        found = next((one for one in same if one.key == key), None)
        horizon = -(-(body["horizon_s"] or 0) // key.step_s)  # all that is asked for, in whole steps
        horizon = horizon or (found.horizon if found else 86_400 // key.step_s)
        if not 1 <= horizon <= HORIZON_DAYS_MAX * 86_400 // key.step_s:
            raise ForecastRefused("That horizon is none.", f"Ask for {every} to {HORIZON_DAYS_MAX}d.")
        return msgspec.structs.replace(found, horizon=horizon) if found else Kept(key, every, horizon)

    def _models(self, project: str) -> list[dict[str, Any]]:
        found = []
        for kept in self._desk.kept(project):
            summary = self._desk.summaries.get(kept.key)
            entry: dict[str, Any] = {
                "thing": kept.key.thing,
                "property": kept.key.property,
                "step_s": kept.key.step_s,
                "horizon": kept.horizon,
                "regressors": len(kept.regressors),
                "lacking": self._lacking(kept),
                "model": summary.champion if summary else None,
                "trained_at": summary.trained_at if summary else None,
                "known": summary.known if summary else None,
                "thorough": not summary.quick if summary else False,
                "candidates": msgspec.to_builtins(summary.errors) if summary else {},
            }
            found.append(entry)
        return found

    def _lacking(self, kept: Kept) -> dict[str, int]:
        """Regressors that ended, with how many steps they lack: nobody knows any more what the series went by."""
        project, step_s = kept.key.project, kept.key.step_s
        lack = self._desk.reading.lacking
        found = {
            f"{one.thing}/{one.property}": lack.get(Key(project, one.thing, one.property, step_s), 0)
            for one in kept.regressors
        }
        return {name: steps for name, steps in found.items() if steps >= _ENDED_STEPS}

    def _outlook(self, body: Body) -> dict[str, Any]:
        """The day before as it was expected when each step began, and as it came, and the day ahead."""
        wanted = self._wanted({**body, "horizon_s": None})
        key, step_ns = wanted.key, wanted.key.step_s * NS_PER_S
        now = last_end(body["now"], wanted.every)
        start, end = now - DAY_NS, now + min(DAY_NS, wanted.horizon * step_ns)
        steps: dict[int, list[float]] = {}
        for one in self._desk.store.issued(key, start - wanted.horizon * step_ns, now + 1):
            for place, column in enumerate(one.quantiles.T.tolist()):
                steps[one.start_ns + place * step_ns] = column
        came = self._desk.reading.steps(key, wanted.every, start, now).tolist()
        summary = self._desk.summaries.get(key)
        rows = []
        for place, at in enumerate(range(start, end, step_ns)):
            seen = came[place] if place < len(came) else np.nan
            rows.append(_row(at, step_ns, steps.get(at, _NOTHING)) | {"came": _known(seen)})
        return {
            "step_s": key.step_s,
            "model": summary.champion if summary else None,
            "errors": msgspec.to_builtins(summary.errors[summary.champion]) if summary else None,
            "values": rows,
        }

    def _errors(self, body: Body) -> dict[str, Any]:
        wanted = self._wanted({**body, "horizon_s": None})
        key = wanted.key
        issued = self._desk.store.issued(key, body["start"], body["end"])
        cells = sum(one.quantiles.size for one in issued)
        if cells > len(LEVELS) * self._limits.query_rows_max:
            raise LimitError("These are too many forecasts to judge at once.", "Ask for a shorter time.")
        rows = []
        if issued:
            step_ns = key.step_s * NS_PER_S
            start = issued[0].start_ns - DAY_NS
            end = max(one.start_ns + one.quantiles.shape[1] * step_ns for one in issued)
            values = self._desk.reading.steps(key, wanted.every, start, end)
            rows = [msgspec.to_builtins(one) for one in judge(issued, start, values)]
        return {"issued": len(issued), "step_s": key.step_s, "leads": rows}


def _rows(made: Forecast, horizon: int) -> list[dict[str, Any]]:
    """One row a step; what is not known is None (§3)."""
    step_ns = made.step_s * NS_PER_S
    rows = []
    for place, column in enumerate(made.quantiles[:, :horizon].T.tolist()):
        rows.append(_row(made.start_ns + place * step_ns, step_ns, column))
    return rows


def _row(start: int, step_ns: int, quantiles: Sequence[float]) -> dict[str, Any]:
    known = {name: _known(value) for name, value in zip(_NAMES, quantiles, strict=True)}
    return {"start": start, "end": start + step_ns} | known


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _forecasters() -> list[dict[str, Any]]:
    """Who may compete: from how many days of history on, of which a third is forecast, and whether it is installed."""
    pool = readers()
    here = candidates()
    return [{"name": name, "days": 1.5 * one.days_min, "installed": name in here} for name, one in pool.items()]
