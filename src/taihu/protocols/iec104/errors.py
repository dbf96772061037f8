"""The one error of this protocol."""

from taihu.kernel.errors import RemoteError


class Iec104Error(RemoteError):
    """The other station breaks IEC 60870-5-104: close the connection, and connect again."""

    code = "iec104"
