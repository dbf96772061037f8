"""What the broker counts; what a limit refuses is counted here (§6)."""

import msgspec


class Counters(msgspec.Struct):
    """Totals since the start, but for `connected`, the clients connected now."""

    connected: int = 0
    connections: int = 0
    connects_refused: int = 0
    takeovers: int = 0
    protocol_errors: int = 0
    keep_alive_timeouts: int = 0
    connect_timeouts: int = 0
    publishes_received: int = 0
    publishes_sent: int = 0
    publishes_refused: int = 0
    subscriptions_refused: int = 0
    dropped_slow: int = 0
    dropped_queue_full: int = 0
    dropped_too_large: int = 0
    dropped_expired: int = 0
    dropped_lost: int = 0
    spilled_bytes: int = 0
    retained_refused: int = 0
    sessions_expired: int = 0
    sessions_refused: int = 0
    wills_published: int = 0
    quota_disconnects: int = 0
