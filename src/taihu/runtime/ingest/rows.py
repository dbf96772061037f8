"""Rows as the decoder makes them: a type for each form of payload, so that a message costs one C call.

A row has a field `f0`, `f1`, ... for each key of its payload, in the order of the first payload of that form.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from taihu.things.mapping.lots import Value

_Value = Value | None
_FORMS_MAX = 1_024

decode_flat = msgspec.json.Decoder(dict[str, _Value]).decode
"""The keys and values of a JSON object without objects or arrays in it; raises one of `UNDECODABLE`."""

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@lru_cache(_FORMS_MAX)
def row_decoder(keys: tuple[str, ...]) -> Callable[[bytes], Any] | None:
    """What makes a row of a payload with just these keys and refuses all others; None for keys it cannot express."""
    names = [f"f{place}" for place in range(len(keys))]
    try:
        form = msgspec.defstruct(
            "Row",
            [(name, _Value) for name in names],
            rename=dict(zip(names, keys, strict=True)),
            forbid_unknown_fields=True,
            gc=False,
        )
    except ValueError:
        return None
    return msgspec.json.Decoder(form).decode


@lru_cache(_FORMS_MAX)
def row_maker(width: int) -> Callable[..., Any]:
    """What makes a row of `width` values."""
    return msgspec.defstruct("Row", [(f"f{place}", _Value) for place in range(width)], gc=False)


def columns_of(rows: Sequence[Any], width: int) -> list[list[Any]]:
    """The rows' values, column by column."""
    return [list(map(attrgetter(f"f{place}"), rows)) for place in range(width)]
