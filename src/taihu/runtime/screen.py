"""A terminal that several processes write to: what they say runs upwards, above a picture that stays at the bottom."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

_DRAIN_S = 2.0


@contextmanager
def shared_screen() -> Iterator[Console]:
    """A console for the picture, on what stderr is; each line that this process or a child writes there goes above it.

    A line that went past the picture would be wiped away with it. Where stderr is no terminal it is left alone.
    """
    if not sys.stderr.isatty():
        yield Console(stderr=True)
        return
    terminal = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)  # children inherit it
    os.close(writing)
    with os.fdopen(terminal, "w", encoding="utf-8") as file:
        console = Console(file=file)
        teller = threading.Thread(target=_tell, args=(reading, console), daemon=True)
        teller.start()
        try:
            yield console
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            teller.join(_DRAIN_S)  # the pipe ends with the last child that has it


def _tell(reading: int, console: Console) -> None:
    with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            console.print(line.rstrip("\n"), markup=False, highlight=False, emoji=False, soft_wrap=True)
