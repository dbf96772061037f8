"""An HTTP request as a source of the pipeline."""

import asyncio


class Request:
    """Readings to make durable and somebody who awaits `done`; without readings, whatever the group holds."""

    def __init__(self, *readings: tuple[object, bytes]) -> None:
        self._readings = list(readings)
        self.done = asyncio.Event()
        self.room = asyncio.Event()

    def take(self) -> list[tuple[object, bytes]]:
        readings, self._readings = self._readings, []
        return readings

    def committed(self) -> None:
        self.done.set()

    def resume(self) -> None:
        self.room.set()
