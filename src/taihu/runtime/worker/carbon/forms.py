"""The forms in which the carbon ledger answers."""

from collections.abc import Mapping
from typing import Any

import msgspec

from taihu.carbon.words import Language

Body = Mapping[str, Any]
Answer = dict[str, Any]  # "type", a media type, and "body", bytes

FORMS = {"json": "application/json", "csv": "text/csv", "html": "text/html", "pdf": "application/pdf"}
_encode = msgspec.json.Encoder(enc_hook=str).encode


def formed(form: str, body: bytes) -> Answer:
    """An answer in one of the forms."""
    return {"type": FORMS[form], "body": body}


def json_answer(body: Any) -> Answer:
    """An answer as JSON."""
    return formed("json", _encode(body))


def language_of(body: Body) -> Language:
    """The language that is asked for."""
    return "zh" if body["language"] == "zh" else "en"
