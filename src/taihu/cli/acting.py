"""Who sends readings and gives commands. A node's owner does neither in its projects, but may let somebody."""

from collections.abc import Iterator
from contextlib import contextmanager

from taihu.cli.client import NodeClient
from taihu.kernel.clock import DAY_NS


@contextmanager
def operator(node: NodeClient, project: str, label: str) -> Iterator[NodeClient]:
    """The node for whoever may; for its owner with an operator's token of a day, revoked at the end."""
    if not node.owner:
        yield node
        return
    now = node.get("node")["now"]
    wanted = {"project": project, "kind": "operator", "label": label, "expires_at": now + DAY_NS}
    issued = node.post("admin", "token-issue", body=wanted)
    try:
        yield NodeClient(node.url, issued["token"])
    finally:
        node.post("admin", "token-revoke", body={"project": project, "id": issued["id"]})
