"""The demo clock's file: where the clock stands, so that all processes agree and a restart goes on."""

from pathlib import Path

import msgspec

from taihu.kernel.clock import NS_PER_S, ScaledClock, machine_ns
from taihu.kernel.errors import ConfigError
from taihu.kernel.files import Files, write_atomic

SAVE_PERIOD_S = 1.0


class ClockState(msgspec.Struct, frozen=True):
    """At machine time `anchor_ns` the demo clock showed `origin_ns`; `clean` after an orderly stop."""

    origin_ns: int
    speed: float
    anchor_ns: int
    clean: bool = False


def start_clock(files: Files, path: Path, start_ns: int, speed: float) -> ScaledClock:
    """Start the demo clock at `start_ns`, or where it stood when it last ran; never earlier than it ever showed."""
    try:
        state = _read(files, path)
    except FileNotFoundError:
        origin = start_ns
    else:
        unsaved_s = 0.0 if state.clean else 2 * SAVE_PERIOD_S
        origin = state.origin_ns + int(unsaved_s * state.speed * NS_PER_S)
    clock = ScaledClock(origin, speed, machine_ns())
    save_clock(files, path, clock, clean=False)
    return clock


def read_clock(files: Files, path: Path) -> ScaledClock:
    """The clock that the supervisor started."""
    try:
        state = _read(files, path)
    except FileNotFoundError:
        raise ConfigError("The demo clock was not started.", "Start the site with: taihu run") from None
    return ScaledClock(state.origin_ns, state.speed, state.anchor_ns)


def save_clock(files: Files, path: Path, clock: ScaledClock, *, clean: bool) -> None:
    """Note where the clock stands now."""
    now = machine_ns()
    origin = clock.origin_ns + int((now - clock.anchor_ns) * clock.speed)
    write_atomic(files, path, msgspec.json.encode(ClockState(origin, clock.speed, now, clean)))


def _read(files: Files, path: Path) -> ClockState:
    try:
        return msgspec.json.decode(files.read(path), type=ClockState)
    except msgspec.DecodeError:
        raise ConfigError(f"{path} is damaged.", "Delete it; the demo clock starts anew.", str(path)) from None
