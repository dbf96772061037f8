"""Reading JSON documents that others wrote: bounded, and every fault said with its JSON pointer."""

import math
from collections.abc import Callable, Collection, Iterator
from typing import Any, NoReturn, TypeVar

import msgspec

from taihu.kernel.errors import RemoteError
from taihu.kernel.limits import Limits

Json = dict[str, Any]
T = TypeVar("T")


class DescriptionError(RemoteError):
    """A Thing Description or Thing Model that cannot be used.

    Args:
        pointer: where the fault is, as a JSON pointer (RFC 6901); empty for the whole document.
        message: what is wrong.
        remedy: what to write instead.
    """

    code = "description"

    def __init__(self, pointer: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.pointer = pointer

    def __str__(self) -> str:
        return f"{_shown(self.pointer) or 'the document'}: {super().__str__()}"


def read_document(document: bytes | str | Json, limits: Limits) -> Json:
    """The object that `document` is, within the limits of size, depth and items; raises DescriptionError."""
    if isinstance(document, (bytes, str)):
        if len(document) > limits.description_bytes_max:
            raise DescriptionError("", f"it has {len(document)} bytes.", f"At most {limits.description_bytes_max} do.")
        try:
            document = msgspec.json.decode(document)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise DescriptionError("", f"it is not JSON: {error}.", "Write one JSON object in UTF-8.") from None
        except RecursionError:
            raise DescriptionError("", "it is nested too deeply.", _depth_remedy(limits)) from None
    check_bounds(document, limits)
    checked: Json = Node(document).object().value
    return checked


def check_bounds(document: Any, limits: Limits) -> int:
    """How many values a document holds; raises DescriptionError for more than the limits allow, and for non-JSON."""
    count = 0
    level = [document]
    for _ in range(limits.description_depth_max + 1):
        below: list[Any] = []
        for item in level:
            if type(item) is dict:
                if not all(type(key) is str for key in item):
                    raise DescriptionError("", "an object has a key that is not a string.", "Write JSON.")
                below += item.values()
            elif type(item) is list:
                below += item
            elif type(item) not in _SCALARS:
                raise DescriptionError("", f"{type(item).__name__} is not a JSON type.", "Write JSON.")
            if count + len(below) > limits.description_items_max:
                raise DescriptionError("", "it holds too many values.", f"At most {limits.description_items_max} do.")
        count += len(below)
        if not below:
            return count
        level = below
    raise DescriptionError("", "it is nested too deeply.", _depth_remedy(limits))


def merge_patch(base: Any, patch: Any) -> Any:
    """JSON Merge Patch (RFC 7396): objects merge, null removes, anything else replaces.

    >>> merge_patch({"a": 1, "b": {"c": 2}}, {"a": None, "b": {"d": 3}})
    {'b': {'c': 2, 'd': 3}}
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def join(pointer: str, key: str) -> str:
    """The JSON pointer of a member."""
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"


class Node:
    """A value in a document and where it is; its readers return what they say or raise DescriptionError."""

    __slots__ = ("pointer", "value")

    def __init__(self, value: Any, pointer: str = "") -> None:
        self.value = value
        self.pointer = pointer

    def fail(self, message: str, remedy: str = "") -> NoReturn:
        """Raise the one error, here."""
        raise DescriptionError(self.pointer, message, remedy)

    def has(self, key: str) -> bool:
        """Whether this object has the member."""
        return key in self.value

    def get(self, key: str) -> "Node | None":
        """A member of this object, or None."""
        return Node(self.value[key], join(self.pointer, key)) if key in self.value else None

    def need(self, key: str, remedy: str) -> "Node":
        """A member that must be there."""
        if key not in self.value:
            self.fail(f"{key!r} is missing.", remedy)
        return Node(self.value[key], join(self.pointer, key))

    def object(self) -> "Node":
        """This node, which must be an object."""
        return self._typed(dict, "an object {...}")

    def array(self) -> "Node":
        """This node, which must be an array."""
        return self._typed(list, "an array [...]")

    def string(self) -> str:
        """A string, perhaps empty."""
        value: str = self._typed(str, "a string").value
        return value

    def text(self) -> str:
        """A string with something in it."""
        value = self.string()
        if not value:
            self.fail("the string is empty.", "Write a value, or leave the member out.")
        return value

    def flag(self) -> bool:
        """True or false."""
        value: bool = self._typed(bool, "true or false").value
        return value

    def number(self) -> float:
        """A finite number."""
        value = self.value
        if type(value) is not int and type(value) is not float:
            self._typed(float, "a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.fail("the number is too large.", "Write a number that fits 64-bit floating point.")
        return number

    def positive(self) -> float:
        """A finite number above zero."""
        number = self.number()
        if number <= 0:
            self.fail(f"{number:g} is not above zero.", "Write a number above zero.")
        return number

    def choice(self, allowed: Collection[str]) -> str:
        """One of the strings allowed."""
        value = self.text()
        if value not in allowed:
            self.fail(f"{_shown(value)!r} is not known here.", f"Write one of {', '.join(sorted(allowed))}.")
        return value

    def texts(self) -> tuple[str, ...]:
        """A string, or an array of them with at least one."""
        if isinstance(self.value, str):
            return (self.text(),)
        nodes = list(self.array().items())
        if not nodes:
            self.fail("the array is empty.", "Leave the member out, or write at least one string.")
        return tuple(node.text() for node in nodes)

    def items(self) -> Iterator["Node"]:
        """The items of this array."""
        for index, item in enumerate(self.value):
            yield Node(item, f"{self.pointer}/{index}")

    def members(self) -> Iterator[tuple[str, "Node"]]:
        """The members of this object."""
        for key, item in self.value.items():
            yield key, Node(item, join(self.pointer, key))

    def optional(self, key: str, read: "Callable[[Node], T]", default: T) -> T:
        """What `read` makes of a member, or the default when it is absent."""
        node = self.get(key)
        return default if node is None else read(node)

    def _typed(self, wanted: type, name: str) -> "Node":
        if type(self.value) is not wanted:
            if isinstance(self.value, str) and "{{" in self.value:
                self.fail(f"the placeholder {_shown(self.value)!r} has no value.", f"Fill it with {name}.")
            self.fail(f"{_type_name(self.value)} where {name} belongs.", f"Write {name}.")
        return self


_SCALARS = frozenset((str, int, float, bool, type(None)))
_TYPE_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}
_SHOWN_MAX = 120


def _type_name(value: Any) -> str:
    return _TYPE_NAMES.get(type(value), "null")


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."


def _depth_remedy(limits: Limits) -> str:
    return f"At most {limits.description_depth_max} levels are read."
