"""Queries, flushes and merges run beside the writer; every answer is a whole prefix of what was applied."""

import threading
from typing import Any

from taihu.kernel.limits import Limits

S = 1_000_000_000
T0 = 1_700_000_000 * S
RECORDS = 300


def test_every_answer_is_a_prefix_of_what_was_applied(open_history: Any, make_batch: Any) -> None:
    """§4: nothing is missing and nothing is there twice, at whatever moment one asks."""
    history = open_history(limits=Limits(flush_rows=20))
    done = threading.Event()
    failures: list[BaseException] = []

    def guarded(work: Any) -> threading.Thread:
        def run() -> None:
            try:
                while not done.is_set():
                    work()
            except BaseException as error:  # noqa: BLE001 (handed to the main thread)
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def ask() -> None:
        before = history.applied
        values = history.read_columns("p", "a", "power").values
        after = history.applied
        assert list(values) == [n / 4 for n in range(1, len(values) + 1)]
        assert before <= len(values) <= after
        total = history.aggregate("p", "power").get("a")
        assert total is None or total.total == sum(n / 4 for n in range(1, total.count + 1))

    def keep() -> None:
        if history.due():
            history.flush()
        history.maintain()

    threads = [guarded(ask), guarded(ask), guarded(keep)]
    for position in range(1, RECORDS + 1):
        history.apply(position, make_batch([("a", T0 + position * S, [position / 4])]))
        if position % 50 == 0:
            history.flush()
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(history.read("p", "a", "power")) == RECORDS
    history.close()
