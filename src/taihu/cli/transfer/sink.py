"""Where an import's rows go: to the node in batches, durable when answered (§4); refusals go to a report."""

import csv
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from taihu.cli.client import NodeAway, NodeClient
from taihu.cli.transfer.rows import Line, Refused, Row
from taihu.kernel.errors import RefusedError, RemoteError

_PAUSES_S = (1, 2, 4, 8, 15, 30, 30, 30, 30, 30)  # while the node is away or has too much to do
_JSON, _LINES = "application/json", "text/x-line-protocol"


class Report:
    """What was refused, with its place and reason: a CSV file that is made when there is something to say."""

    def __init__(self, path: Path, count: int = 0) -> None:
        self.path = path
        self.count = count

    def add(self, refused: Sequence[Refused]) -> None:
        """Write down refusals."""
        if not refused:
            return
        fresh = not self.path.exists()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(("where", "thing", "property", "reason"))
            writer.writerows((one.where, one.thing, one.property, one.reason) for one in refused)
        self.count += len(refused)


class Place(msgspec.Struct, kw_only=True):
    """How far an import has come, for the next one to go on: all rows up to `number` are durable or refused."""

    source: str
    project: str
    size: int
    number: int = 0
    accepted: int = 0
    refused: int = 0
    skipped: int = 0

    def same(self, other: "Place") -> bool:
        """Whether both are of the same import."""
        return (self.source, self.project, self.size) == (other.source, other.project, other.size)


class Sink:
    """Sends rows. What the node refuses of a batch is found by halving it, as its answer names no rows."""

    def __init__(self, node: NodeClient, project: str, report: Report) -> None:
        self._node = node
        self._project = project
        self._report = report

    def send(self, rows: Sequence[Row | Line]) -> int:
        """Make rows durable; returns how many the node took of them.

        NodeAway when it does not answer for minutes: what was sent before stays.
        """
        if not rows:
            return 0
        answer = self._post(rows)
        if not answer.get("refusals") and not answer["refused"]:
            return int(answer["accepted"])
        if len(rows) > 1:
            half = len(rows) // 2
            return self.send(rows[:half]) + self.send(rows[half:])
        (row,) = rows
        self._report.add([_refusal(row, text) for text in answer["refused"]])
        return int(answer["accepted"])

    def _post(self, rows: Sequence[Row | Line]) -> dict[str, Any]:
        kind, body = encode(rows)
        path = ("projects", self._project, "readings")
        for pause_s in (*_PAUSES_S, 0):
            try:
                with self._node.exchange("POST", path, body, kind, good=(400,)) as answer:
                    data = answer.read()
            except NodeAway:
                if not pause_s:
                    raise
                threading.Event().wait(pause_s)
            else:
                return _answer(data)
        raise AssertionError("the last try raises or returns")


def encode(rows: Sequence[Row | Line]) -> tuple[str, bytes]:
    """The content type and body of a request."""
    lines = [row.data for row in rows if isinstance(row, Line)]
    if lines:
        return _LINES, b"\n".join(lines)
    body: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if isinstance(row, Row):
            body.setdefault(row.thing, []).append({"ts": row.observed_at, "values": row.values})
    return _JSON, msgspec.json.encode(body)


def read_place(path: Path, wanted: Place) -> Place:
    """Where an interrupted import of the same source stopped; the beginning otherwise."""
    with suppress(OSError, msgspec.DecodeError):
        found = msgspec.json.decode(path.read_bytes(), type=Place)
        if found.same(wanted):
            return found
    return wanted


def _answer(data: bytes) -> dict[str, Any]:
    """The report of a request; a refusal of all of it is one too."""
    try:
        answer = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError:
        raise RemoteError("The answer is not one of a Taihu node.", "Correct TAIHU_URL.") from None
    if "accepted" in answer:
        return answer
    if "title" in answer:
        raise RefusedError(str(answer["title"]), str(answer.get("detail", "")))
    raise RemoteError("The answer is not one of a Taihu node.", "Correct TAIHU_URL.")


def _refusal(row: Row | Line, text: str) -> Refused:
    """The node's sentence begins with the thing, and the property if it is of one."""
    where, _, reason = text.partition(": ")
    if isinstance(row, Line) or not where.startswith(row.thing):
        return Refused(row.number, row.where, "", "", text)
    return Refused(row.number, row.where, row.thing, where.removeprefix(row.thing).lstrip("/"), reason)
