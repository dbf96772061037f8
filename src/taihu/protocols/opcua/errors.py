"""What a peer's bytes can be: not OPC UA Binary."""

from taihu.kernel.errors import RemoteError


class OpcuaError(RemoteError):
    """The peer sent bytes that OPC UA Part 6 does not allow."""

    code = "opcua"
