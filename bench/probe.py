"""Asks a node for /healthz again and again until stdin ends, and prints the longest wait in seconds.

`python -m bench.probe HOST PORT`: a process of its own, so that what the benchmark does meanwhile is not measured.
"""

import http.client
import select
import sys
import time

PERIOD_S = 0.01


def main(host: str, port: int) -> None:
    """Ask until nobody listens any more."""
    connection = http.client.HTTPConnection(host, port, timeout=120)
    longest = 0.0
    while True:
        began = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        longest = max(longest, time.perf_counter() - began)
        if select.select([sys.stdin], [], [], PERIOD_S)[0]:
            break
    connection.close()
    print(longest)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
