"""A session as a browser holds it: the name of its cookie, its secret's mark, and the proof that a page was ours."""

from base64 import urlsafe_b64encode

from taihu.kernel.ids import token_hash

COOKIE = "taihu_session"
SECRET_MARK = "session."  # noqa: S105 - no token has a point in it


def csrf_token(secret: str) -> str:
    """What a page sends beside the session's cookie when it changes something; another site cannot know it."""
    return urlsafe_b64encode(token_hash("csrf " + secret)).decode().rstrip("=")
