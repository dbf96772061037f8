"""The process that children are copies of: it has loaded what they need and has never seen a question.

Starting Python and DuckDB takes some 200 ms, a copy of this process a few. Its database is empty and it has one thread;
it ends when its parent does.
"""

import gc
import os
import signal
import socket
import sys
from contextlib import suppress

import duckdb
import msgspec

from taihu.history.sql.channel import receive, send, take_descriptors
from taihu.history.sql.child import open_database, run

_CHANNEL, _OUT = 10, 1


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Make a child; its channel and the pipe for its answer follow. The answer is its process id."""


class End(msgspec.Struct, frozen=True, tag=True):
    """End a child. The answer is its exit status, the negative number of a signal."""

    pid: int


Order = Begin | End


def serve(orders: socket.socket) -> None:
    """Make and end children until the parent is gone."""
    database = open_database()
    gc.freeze()
    while True:
        try:
            order = msgspec.msgpack.decode(receive(orders), type=Order)
            if isinstance(order, End):
                with suppress(ProcessLookupError):
                    os.kill(order.pid, signal.SIGKILL)
                send(orders, os.waitstatus_to_exitcode(os.waitpid(order.pid, 0)[1]))
            else:
                _begin(orders, database)
        except (EOFError, OSError):
            return


def _begin(orders: socket.socket, database: duckdb.DuckDBPyConnection) -> None:
    out = os.dup(_OUT)
    take_descriptors(orders, (_CHANNEL, _OUT))
    pid = os.fork()
    if pid:
        os.close(_CHANNEL)
        os.dup2(out, _OUT)
        os.close(out)
        send(orders, pid)
        return
    status = 1
    with suppress(BaseException):
        os.close(out)
        orders.close()
        run(socket.socket(fileno=_CHANNEL), database)
        status = 0
    os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
