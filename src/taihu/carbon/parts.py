"""What a meter counted over time: each of its accounts, from when and until when it holds (§10).

An account holds from its `since` until its `until`, or until the next one of the same name. One that was changed
without a date holds for what is not accounted yet: what is, keeps the account that it had, and is restated by that. So
the ledger remembers all parts, and where dates say otherwise what they touch is accounted again.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from taihu.carbon.accounts import Account
from taihu.carbon.ledger import NOW
from taihu.history.calendar import edges, parse_step, parse_zone
from taihu.kernel.sections import AccountConfig


class Part(msgspec.Struct, frozen=True):
    """One account, from `start` (UTC ns, 0 for its first reading) until `end` (NOW when open)."""

    start: int
    end: int
    account: AccountConfig


class Memory(msgspec.Struct, frozen=True):
    """All parts of a meter, and the accounts as they were written last, which count since `begin`."""

    begin: int
    written: list[AccountConfig]
    parts: list[Part]


def remember(before: Memory | None, accounts: Sequence[Account], done: int) -> Memory:
    """What is to be remembered of a meter's accounts as they are written now; its hours are accounted up to `done`."""
    ordered = sorted(accounts, key=lambda one: one.start)
    written = [one.config for one in ordered]
    if before is not None and before.written == written:
        return before
    begin = _begin(before, ordered[0], done)
    starts = [begin, *(max(begin, _aligned(one)) for one in ordered[1:])]
    ends = [*starts[1:], NOW]
    old = before.parts if before else []
    parts = [msgspec.structs.replace(one, end=min(one.end, begin)) for one in old if one.start < begin]
    parts += [Part(start, min(end, one.end), one.config) for one, start, end in zip(ordered, starts, ends, strict=True)]
    return Memory(begin, written, [one for one in parts if one.start < one.end])


def changed_from(before: Sequence[Part], now: Sequence[Part], done: int) -> int | None:
    """From when on accounted hours are of another account than they were; None when none is."""
    moments = sorted({at for one in (*before, *now) for at in (one.start, one.end) if at < done})
    for at in moments:
        old, new = part_at(before, at), part_at(now, at)
        if old is not None and new is not None and _alike(old.account) != _alike(new.account):
            return at
    first = before[0].start if before else 0
    return now[0].start if now and now[0].start < first else None


def recall(text: bytes) -> Memory | None:
    """What was remembered; None when another release remembered what this one does not know."""
    try:
        return _decoder.decode(text) if text else None
    except msgspec.ValidationError:
        return None


def part_at(parts: Sequence[Part], at: int) -> Part | None:
    """The part that holds at a moment."""
    return next((one for one in parts if one.start <= at < one.end), None)


_decoder = msgspec.json.Decoder(Memory)


def _begin(before: Memory | None, first: Account, done: int) -> int:
    """From when on the accounts count that are written now."""
    if before is None or not before.parts or not done:
        return first.start
    if not first.start:
        same = _alike(before.written[0]) == _alike(first.config)
        return min(before.begin, done) if same else done
    if any(one.account.every != first.config.every and one.end > first.start for one in before.parts):
        return max(done, first.start)  # intervals of another length would lie over those that are there
    return first.start if first.start <= before.parts[0].start else _aligned(first)


def _aligned(account: Account) -> int:
    """The first interval that begins at or after an account's `since`."""
    step, zone = parse_step(account.config.every), parse_zone(account.timezone)
    found = edges(account.start, account.start + 1, step, zone)
    return int(found[np.searchsorted(found, account.start)])


def _alike(config: AccountConfig) -> AccountConfig:
    """An account without what changes no row."""
    return msgspec.structs.replace(config, since=None, until=None, certificates=False)
