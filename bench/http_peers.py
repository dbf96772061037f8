"""What others make of the same requests: a bare Starlette on uvicorn, and VictoriaMetrics for line protocol."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.peers import Peer, find, folder, free_port, running

_HELLO = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def hello(request):
    return JSONResponse({"value": 1.25})

app = Starlette(routes=[Route("/", hello)])
uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False)
"""


@contextmanager
def starlette() -> Iterator[Peer]:
    """An application of one route that answers a constant to anybody."""
    with folder() as place, ExitStack() as stack:
        port = free_port()
        pid = stack.enter_context(running([sys.executable, "-c", _HELLO, str(port)], port, place))
        yield Peer("Starlette", "one route, a constant, no token", port, {"peer": pid})


@contextmanager
def victoria() -> Iterator[Peer]:
    """VictoriaMetrics, single node."""
    program = find("victoria-metrics")
    with folder() as place, ExitStack() as stack:
        port = free_port()
        command = [program, f"-storageDataPath={place}", f"-httpListenAddr=127.0.0.1:{port}"]
        pid = stack.enter_context(running(command, port, place))
        yield Peer("VictoriaMetrics", "no sync before the answer, no token, no types", port, {"peer": pid})
