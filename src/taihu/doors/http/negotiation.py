"""Which form of an answer a client wants (RFC 9110, 12.5.1)."""

from collections.abc import Mapping

from starlette.requests import Request

from taihu.doors.http.answers import Problem, bad_request


def form_of(request: Request, forms: Mapping[str, str]) -> str:
    """The name of the form asked for by `format=`, else by Accept; the first one where nothing is said.

    `forms` maps names to media types. Raises Problem: 400 for an unknown `format`, 406 when Accept names none of them.
    """
    named = request.query_params.get("format")
    if named:
        if named not in forms:
            raise bad_request(f"format={named[:40]!r} is not one of {', '.join(forms)}.")
        return named
    accepted = request.headers.get("accept", "")
    found = preferred(accepted, list(forms.values()))
    if not found:
        raise Problem(
            406, "not-acceptable", f"There is no {accepted[:80]!r} of it.", f"Take {', '.join(forms.values())}."
        )
    return next(name for name, media in forms.items() if media == found)


def preferred(accept: str, offers: list[str]) -> str:
    """The media type among `offers` that an Accept header likes most, the first of equals; empty for none of them.

    >>> preferred("text/csv, */*;q=0.1", ["application/json", "text/csv"]), preferred("", ["application/json"])
    ('text/csv', 'application/json')
    """
    likes = [_like(part) for part in accept.lower().split(",") if part.strip()] or [("*/*", 1.0)]
    best, most = "", 0.0
    for offer in offers:
        fitting = [(len(kind), weight) for kind, weight in likes if _fits(kind, offer)]
        weight = max(fitting)[1] if fitting else 0.0  # the longer kind says it more exactly
        if weight > most:
            best, most = offer, weight
    return best


def _like(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    weight = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
    try:
        return kind, float(weight)
    except ValueError:
        return kind, 0.0


def _fits(kind: str, offer: str) -> bool:
    return kind in (offer, "*/*") or (kind.endswith("/*") and offer.startswith(kind[:-1]))
