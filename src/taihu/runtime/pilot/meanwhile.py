"""The reflex goes on while something else takes its time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

_TURN_S = 0.05  # of the machine's time, at least between turns


async def meanwhile(work: Coroutine[Any, Any, None], every_s: float, turn: Callable[[], Awaitable[None]]) -> None:
    """Do the work, and give a turn every so many seconds of the machine's time until it is done.

    What either raises is raised, and ends the work.
    """
    working = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({working}, timeout=max(_TURN_S, every_s)))[0]:
            await turn()
        await working
    finally:
        working.cancel()
