"""A meter for the tests, in a process of its own: the PyPI package dlt645. `python peer.py PORT`."""

import sys
import threading


def main() -> None:
    from dlt645 import MeterServerService

    meter = MeterServerService.new_tcp_server(ip="127.0.0.1", port=int(sys.argv[1]), timeout=30)
    meter.set_address("129078563412")  # as it stands on the line: the lowest octet of 123456789012 first
    meter.set_00(0x00010000, 1234.56)
    meter.set_00(0x00020000, 7.5)
    meter.set_02(0x02010100, 230.1)
    meter.set_02(0x02020100, 4.321)
    meter.set_02(0x02030000, -1.2345)
    meter.set_02(0x02800002, 49.98)
    assert meter.start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
