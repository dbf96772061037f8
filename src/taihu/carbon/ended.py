"""When a meter was not there any more: after its account's `until`, and before the next one's `since` (§3)."""

import msgspec
import numpy as np

from taihu.carbon.ledger import Ledger
from taihu.kernel.arrays import Flags
from taihu.kernel.clock import HOUR_NS


class _Span(msgspec.Struct, frozen=True):
    """From when until when an account holds (UTC ns)."""

    start: int
    end: int


class _Remembered(msgspec.Struct, frozen=True):
    parts: list[_Span]


_decode = msgspec.json.Decoder(_Remembered).decode


def ended(ledger: Ledger, project: str, meter: str, start: int, count: int, as_of: int) -> Flags:
    """Which of `count` hours from `start` (UTC ns) begin when a meter had an account before, and has none.

    None of them where the ledger remembers no account.
    """
    text = ledger.accounts(project, meter, as_of)
    gone = np.zeros(count, np.bool_)
    if not text:
        return gone
    spans = sorted(_decode(text).parts, key=lambda one: one.start)
    for place, span in enumerate(spans):
        after = min((one.start for one in spans[place + 1 :]), default=start + count * HOUR_NS)
        gone[_place(span.end, start, count) : _place(after, start, count)] = True
    return gone


def _place(at: int, start: int, count: int) -> int:
    """The first of the hours that begins at a moment or after it."""
    return min(max(0, -(-(at - start) // HOUR_NS)), count)
