"""Controllers and schedulers that wait, or could not see all that they should."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import msgspec

from taihu.runtime.doctor.case import Case, State
from taihu.runtime.doctor.finding import Finding, note, warning

_TOLD_MAX = 300


def plans(case: Case) -> Iterator[Finding]:
    """Those of the site that plan nothing new, as they said themselves, and what the last plans of the others stand in
    for; nothing where the node does not run.
    """
    path = case.paths.decisions
    if case.state is not State.RUNNING or not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            found = database.execute("SELECT project, controller, why FROM waiting WHERE why != ''").fetchall()
            last = database.execute("SELECT project, controller, body, max(at) FROM decision GROUP BY 1, 2").fetchall()
    except sqlite3.DatabaseError:
        return  # the pilot makes it anew
    named = {(project.name, one.name) for project in case.site.projects for one in project.controllers}
    named |= {(project.name, one.name) for project in case.site.projects for one in project.schedulers}
    for project, name, why in sorted(found):
        if (project, name) in named:
            what = f"{project}/{name} waits: {why}"
            remedy = f"taihu plan show {project} says when it no longer does."
            yield warning(
                "plans", what, "It plans nothing new; if it drives, then by its last plan, for a day at most.", remedy
            )
    waiting = {(project, name) for project, name, _ in found}
    for project, name, body, _ in sorted(last):
        said = "; ".join(msgspec.json.decode(body)["notes"]) if (project, name) in named - waiting else ""
        if said:
            what = f"{project}/{name}: {said[:_TOLD_MAX]}"
            yield note("plans", what, "So its last plan says.", f"taihu plan show {project} --why shows the plan.")
