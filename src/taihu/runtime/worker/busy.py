"""The worker has enough to do."""

from taihu.kernel.errors import TransientError


class WorkerBusy(TransientError):
    """As many questions wait as may: ask again later."""

    code = "busy"
