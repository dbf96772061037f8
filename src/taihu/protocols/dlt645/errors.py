"""The one error of this protocol."""

from taihu.kernel.errors import RemoteError


class Dlt645Error(RemoteError):
    """What came on the line is no frame of DL/T 645-2007, or not the one asked for."""

    code = "dlt645"
