"""A thread that does one thing at a time, whose outcome can be seen before the event loop gets around to telling it.

An event loop with a thousand readable sockets serves them all before it runs what a thread asked for; who is being
served can look here first.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue

_STOP = None


class Committer:
    """Runs `job` on a thread of its own each time it is started, then calls `tell` there."""

    def __init__(self, job: Callable[[], object], tell: Callable[[], None]) -> None:
        self.ended = False
        self.error: BaseException | None = None
        self._job = job
        self._tell = tell
        self._orders: SimpleQueue[bool | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Run the job once; `ended` is True when it is done, and `error` says how."""
        self.ended = False
        self._orders.put(True)

    def close(self) -> None:
        """Wait for what was started and end the thread."""
        self._orders.put(_STOP)
        self._thread.join()

    def _run(self) -> None:
        while self._orders.get() is not _STOP:
            try:
                self._job()
            except BaseException as error:  # noqa: BLE001 - handed over whole: the event loop judges it
                self.error = error
            else:
                self.error = None
            self.ended = True
            self._tell()
