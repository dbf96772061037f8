"""A controlled station for the tests, in a process of its own: the PyPI package c104. `python peer.py PORT [FOLDER]`.

With a folder it speaks TLS (IEC 62351-3): with `server.pem`, to who shows `client.pem`.
"""

import sys
import threading
from typing import Any


def main() -> None:
    import c104

    tls: Any = None
    if len(sys.argv) > 2:
        tls = c104.TransportSecurity(validate=True, only_known=True)
        tls.set_certificate(cert=f"{sys.argv[2]}/server.pem", key=f"{sys.argv[2]}/server.key")
        tls.set_ca_certificate(cert=f"{sys.argv[2]}/client.pem")
        tls.add_allowed_remote_certificate(cert=f"{sys.argv[2]}/client.pem")
    server: Any = c104.Server(ip="127.0.0.1", port=int(sys.argv[1]), tick_rate_ms=50, transport_security=tls)
    station: Any = server.add_station(common_address=7)

    def add(address: int, kind: Any, value: Any) -> Any:
        point = station.add_point(io_address=address, type=kind)
        point.value = value
        return point

    add(11, c104.Type.M_ME_NC_1, 230.5)
    add(12, c104.Type.M_SP_NA_1, True)
    add(13, c104.Type.M_ME_NB_1, c104.Int16(-42))
    add(14, c104.Type.M_ME_TF_1, 12.5)
    add(16, c104.Type.M_ME_NC_1, 1.0).quality = c104.Quality.Invalid
    add(17, c104.Type.M_ME_NC_1, 2.0).quality = c104.Quality.Substituted
    setpoint = add(15, c104.Type.M_ME_NC_1, 5.0)

    def on_set(point: c104.Point, previous_info: c104.Information, message: c104.IncomingMessage) -> c104.ResponseState:
        setpoint.value = point.value
        setpoint.transmit(cause=c104.Cot.SPONTANEOUS)
        return c104.ResponseState.SUCCESS

    def on_no(point: c104.Point, previous_info: c104.Information, message: c104.IncomingMessage) -> c104.ResponseState:
        return c104.ResponseState.FAILURE

    for address, answer in ((20, on_set), (21, on_no)):
        command = station.add_point(io_address=address, type=c104.Type.C_SE_NC_1, command_mode=c104.CommandMode.DIRECT)
        command.on_receive(callable=answer)
    server.start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
