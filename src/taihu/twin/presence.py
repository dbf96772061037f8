"""Online, late or silent: judged by how often a thing means to report, declared or learnt."""

from enum import StrEnum

import msgspec

from taihu.kernel.clock import MINUTE_NS, NS_PER_S

_LATE_PERIODS = 2.0
_SILENT_PERIODS = 5.0
_LEARN_WEIGHT = 0.2
_LEARNT_S_MIN = 10.0  # two messages in a row say nothing of how often a thing means to report
_SET_BACK_NS = MINUTE_NS  # the clock was set back: what is heard from now on counts


class State(StrEnum):
    """Whether a thing is heard as often as it means to be."""

    NEVER = "never"
    ONLINE = "online"
    LATE = "late"
    SILENT = "silent"


class Presence(msgspec.Struct, array_like=True, gc=False):
    """When a thing was last heard (UTC ns), how often it reports (seconds, 0 when unknown) and its open connections."""

    heard_at: int = 0
    period_s: float = 0.0
    connections: int = 0

    def heard(self, at: int, times: int = 1) -> None:
        """Note that things arrived at so many times, the last `at`; the usual gap is learnt as a moving average."""
        gap = at - self.heard_at
        if gap <= 0:
            if gap < -_SET_BACK_NS:
                self.heard_at = at
            return
        if self.heard_at:
            weight = 1.0 - (1.0 - _LEARN_WEIGHT) ** times if self.period_s else 1.0
            self.period_s += (gap / times / NS_PER_S - self.period_s) * weight
        self.heard_at = at

    def state(self, now_ns: int, declared_s: float | None = None) -> State:
        """Late after 2 periods without a word, silent after 5; the declared period counts before the learnt one."""
        if not self.heard_at:
            return State.NEVER
        period = declared_s or (self.period_s and max(self.period_s, _LEARNT_S_MIN))
        age = (now_ns - self.heard_at) / NS_PER_S
        if not period or age <= _LATE_PERIODS * period:
            return State.ONLINE
        return State.LATE if age <= _SILENT_PERIODS * period else State.SILENT
