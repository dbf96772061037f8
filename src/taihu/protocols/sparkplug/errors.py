"""The one error of this protocol."""

from taihu.kernel.errors import RemoteError


class SparkplugError(RemoteError):
    """What was sent is no Sparkplug B: refuse the message, and go on with the next."""

    code = "sparkplug"
