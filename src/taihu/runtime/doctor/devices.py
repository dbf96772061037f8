"""Devices that need a hand: clocks that are wrong, and messages that are refused again and again."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from taihu.kernel.clock import HOUR_NS, NS_PER_S
from taihu.runtime.doctor.case import Case
from taihu.runtime.doctor.finding import Finding, note, warning
from taihu.things.batch import FLAG_STAMPED, Batch

_AHEAD_NS = 5 * NS_PER_S
_BEHIND_NS = HOUR_NS
_ROWS_MIN = 3
_TOLD_MAX = 20
_REFUSALS_MIN = 10


def skews(batches: Sequence[Batch]) -> Iterator[Finding]:
    """Things whose own times differ from those at which their readings arrived."""
    ahead: dict[tuple[str, str], int] = {}
    behind: dict[tuple[str, str], list[int]] = {}
    for batch in batches:
        for row, observed in enumerate(array("q", batch.observed)):
            if batch.flags and batch.flags[row] & FLAG_STAMPED:
                continue
            key = (batch.project, batch.things[_index(batch, row)])
            delay = batch.received_at - observed
            ahead[key] = min(ahead.get(key, 0), delay)
            behind.setdefault(key, []).append(delay)
    for (project, thing), delay in sorted(ahead.items(), key=lambda each: each[1])[:_TOLD_MAX]:
        if -delay > _AHEAD_NS:
            yield warning(
                "device-clock",
                f"The clock of {project}/{thing} is {-delay / NS_PER_S:,.0f} s ahead.",
                "Its readings are stored in the future, where newer ones of a right clock do not replace them; beyond "
                "future_tolerance_s they are refused.",
                "Set the device's clock (NTP), or let it send no time: then the node stamps its readings.",
            )
    late = {key: min(delays) for key, delays in behind.items() if len(delays) >= _ROWS_MIN}
    for (project, thing), delay in sorted(late.items(), key=lambda each: -each[1])[:_TOLD_MAX]:
        if delay > _BEHIND_NS:
            yield note(
                "device-clock",
                f"All the newest readings of {project}/{thing} are at least {delay / 3_600 / NS_PER_S:,.1f} h old when "
                "they arrive.",
                "Its clock is behind, or its zone is taken for UTC, or it delivers what it had stored.",
                "Compare the device's clock with: date -u",
            )


def quarantine(case: Case) -> Iterator[Finding]:
    """Things whose messages are refused, the worst first."""
    if case.status is None or not case.status["refused"]:
        return
    found: list[tuple[int, str]] = []
    for project in (case.ask("/api/v1/projects") or {"projects": []})["projects"]:
        if not project.get("refused"):
            continue
        name = quote(project["name"], safe="")
        answer = case.ask(f"/api/v1/projects/{name}/quarantine") or {"refused": []}
        reasons: dict[str, Counter[str]] = {}
        for entry in answer["refused"]:
            reasons.setdefault(entry["thing"], Counter())[entry["reason"]] += 1
        for thing, counted in reasons.items():
            reason, count = counted.most_common(1)[0]
            words = f"{project['name']}/{thing or '(no thing)'}: {reason[:200]}"
            found.append((counted.total(), f"{words} ({count} of the last {counted.total()} refusals)"))
    for count, words in sorted(found, reverse=True)[:_TOLD_MAX]:
        told = warning if count >= _REFUSALS_MIN else note
        yield told(
            "quarantine",
            words,
            "What is refused is not stored: the device believes to be heard and is not.",
            "Mend the device or its mapping; watch with: taihu tail " + words.partition("/")[0],
        )


def _index(batch: Batch, row: int) -> int:
    if not batch.thing_of:
        return 0
    return int.from_bytes(batch.thing_of[4 * row : 4 * row + 4], "little")
