"""A question that takes longer than its asker waits is stopped, and the store answers the next one (§6)."""

import threading
from typing import Any

import pytest
from tests.waiting import WAIT_S

from taihu.kernel.errors import LimitError

S = 1_000_000_000
T0 = 1_700_000_000 * S
_ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range * b.range % 7 = 3"


def test_a_long_query_is_interrupted(open_history: Any, make_batch: Any) -> None:
    history = open_history()
    history.apply(1, make_batch([("a", T0, [1.5])]))
    history.flush()
    with pytest.raises(LimitError, match="query_timeout_s"), history.within(0.01):
        cursor = history._store.cursor()
        try:
            cursor.execute(_ENDLESS).fetchall()
        finally:
            cursor.close()
    with history.within(60):
        assert [reading.value for reading in history.read("p", "a", "power")] == [1.5]
    history.close()


def test_a_question_that_waited_too_long_is_not_begun(open_history: Any, make_batch: Any) -> None:
    history = open_history()
    history.apply(1, make_batch([("a", T0, [1.5])]))
    history.flush()
    with pytest.raises(LimitError), history.within(0):
        history.read("p", "a", "power")
    assert len(history.read("p", "a", "power")) == 1
    history.close()


def test_who_watches_goes_when_nothing_is_asked(open_history: Any, make_batch: Any) -> None:
    history, others = open_history(), set(threading.enumerate())
    history.apply(1, make_batch([("a", T0, [1.5])]))
    history.flush()
    with history.within(60):
        history.read("p", "a", "power")
        watching = [one for one in threading.enumerate() if one.name == "deadline" and one not in others]
    assert len(watching) == 1
    watching[0].join(WAIT_S)
    assert not watching[0].is_alive()
    history.close()
