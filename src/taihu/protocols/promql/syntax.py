"""A subset of PromQL, parsed; pure, and any text gives an expression or PromqlError (§13).

Handled: instant and range selectors with all four matchers and `offset`, the functions in FUNCTIONS over range
selectors, `sum avg min max count` with `by` or `without`, arithmetic and comparison in which at most one side is of
series. Refused by name: everything else, such as subqueries, `@`, vector matching, `and or unless`, other functions.
"""

import re
from typing import NamedTuple

from taihu.kernel.errors import RemoteError

FUNCTIONS = (
    "rate", "increase", "delta", "avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time",
    "last_over_time",
)  # fmt: skip
AGGREGATES = ("sum", "avg", "min", "max", "count")
COMPARISONS = ("==", "!=", ">=", "<=", ">", "<")
DEPTH_MAX = 32
TEXT_MAX = 16_384
_PRECEDENCE = {**dict.fromkeys(COMPARISONS, 1), "+": 2, "-": 2, "*": 3, "/": 3, "%": 3, "^": 4}
_UNITS_NS = {
    "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9, "w": 7 * 86_400 * 10**9,
    "y": 365 * 86_400 * 10**9,
}  # fmt: skip
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")
_PART = re.compile(r"([0-9]+)(ms|[smhdwy])")
_BLANK = re.compile(r"(?:\s|#[^\n]*(?:\n|\Z))*")
_TOKEN = re.compile(
    r"""(?:
    (?P<duration>(?:[0-9]+(?:ms|[smhdwy]))+)(?![\w.])
    |(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w.])
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
    |(?P<mark>=~|!~|==|!=|>=|<=|[-+*/%^<>=(){}\[\],:@])
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class PromqlError(RemoteError):
    """A query is no PromQL, or of a part of it that is not answered; the message says which."""

    code = "promql"


class Matcher(NamedTuple):
    """One condition on a label: `op` is =, !=, =~ or !~; regular expressions match the whole value."""

    label: str
    op: str
    value: str


class Number(NamedTuple):
    """A scalar."""

    value: float


class Selector(NamedTuple):
    """Series by their labels; with a `range_ns` their readings of that time, else the newest one."""

    matchers: tuple[Matcher, ...]
    range_ns: int = 0
    offset_ns: int = 0


class Call(NamedTuple):
    """A function over a range selector."""

    function: str
    selector: Selector


class Aggregate(NamedTuple):
    """One value for each group of series: those alike in `labels`, or in all others when `without`."""

    operator: str
    expression: "Expression"
    labels: tuple[str, ...]
    without: bool


class Binary(NamedTuple):
    """Arithmetic or comparison; `as_bool` makes a comparison 0 or 1, else it picks."""

    operator: str
    left: "Expression"
    right: "Expression"
    as_bool: bool


class Negation(NamedTuple):
    """The negative."""

    expression: "Expression"


Expression = Number | Selector | Call | Aggregate | Binary | Negation


def parse(text: str) -> Expression:
    """The expression of a query; raises PromqlError.

    >>> parse('rate(energy_kwh{site="hq"}[5m])').function
    'rate'
    """
    if len(text) > TEXT_MAX:
        raise PromqlError(f"The query has more than {TEXT_MAX} characters.", "Ask a shorter one.")
    parser = _Parser(text)
    found = parser.expression(0)
    if parser.kind:
        raise parser.unexpected()
    return found


def selectors(expression: Expression) -> list[Selector]:
    """The selectors of an expression, from left to right."""
    match expression:
        case Selector():
            return [expression]
        case Call():
            return [expression.selector]
        case Aggregate() | Negation():
            return selectors(expression.expression)
        case Binary():
            return selectors(expression.left) + selectors(expression.right)
    return []


def is_scalar(expression: Expression) -> bool:
    """Whether it gives one number and no series."""
    match expression:
        case Number():
            return True
        case Negation():
            return is_scalar(expression.expression)
        case Binary():
            return is_scalar(expression.left) and is_scalar(expression.right)
    return False


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as 1h30m; raises PromqlError.

    >>> parse_duration("1m30s")
    90000000000
    """
    if not _DURATION.fullmatch(text) or len(text) > 64:
        raise PromqlError(f"{text[:40]!r} is no duration.", "Write one such as 5m or 1h30m.")
    total = sum(int(count) * _UNITS_NS[unit] for count, unit in _PART.findall(text))
    if not 0 < total < 100 * _UNITS_NS["y"]:
        raise PromqlError(f"{text[:40]!r} is not a duration that can be asked for.", "Write one such as 5m.")
    return total


class _Parser:
    """Recursive descent over tokens; `kind` is empty at the end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = 0
        self._depth = 0
        self.kind = ""
        self.value = ""
        self.advance()

    def advance(self) -> str:
        """The token at hand; the next one comes to hand."""
        taken, blank = self.value, _BLANK.match(self._text, self._end)
        assert blank is not None  # it matches nothing, too
        place = blank.end()
        found = _TOKEN.match(self._text, place)
        if found is None:
            if place < len(self._text):
                rest = self._text[place : place + 20]
                raise PromqlError(f"parse error: unexpected character at {rest!r}.", "Write PromQL.")
            self._end, self.kind, self.value = place, "", ""
            return taken
        self._end = found.end()
        self.kind = found.lastgroup or ""
        self.value = found[self.kind]
        return taken

    def unexpected(self) -> PromqlError:
        """The token at hand cannot stand here."""
        what = repr(self.value[:40]) if self.kind else "end of input"
        return PromqlError(f"parse error: unexpected {what}.", "docs/grafana.md has what of PromQL is answered.")

    def take(self, mark: str) -> None:
        """Pass `mark`, which must be at hand."""
        if self.value != mark or self.kind not in ("mark", "name"):
            raise self.unexpected()
        self.advance()

    def at(self, *marks: str) -> bool:
        """Whether one of `marks` is at hand."""
        return self.kind == "mark" and self.value in marks

    def expression(self, level: int) -> Expression:
        """An expression whose operators bind more than `level`."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise PromqlError(f"The query is nested deeper than {DEPTH_MAX} levels.", "Ask a simpler one.")
        left = self._unary()
        while self.kind == "mark" and _PRECEDENCE.get(self.value, 0) > level:
            operator = self.advance()
            as_bool = self.kind == "name" and self.value == "bool" and operator in COMPARISONS
            if as_bool:
                self.advance()
            binding = _PRECEDENCE[operator]
            right = self.expression(binding - 1 if operator == "^" else binding)
            left = _binary(operator, left, right, as_bool)
        if self.kind == "name" and self.value in ("and", "or", "unless"):
            raise _refused(f"the operator {self.value}")
        self._depth -= 1
        return left

    def _unary(self) -> Expression:
        if self.at("+"):
            self.advance()
            return self.expression(3)
        if self.at("-"):
            self.advance()
            operand = self.expression(3)
            return Number(-operand.value) if isinstance(operand, Number) else Negation(_no_range(operand))
        return self._primary()

    def _primary(self) -> Expression:
        if self.kind == "number":
            return Number(float(self.advance()))
        if self.at("("):
            self.advance()
            found = self.expression(0)
            self.take(")")
            return self._no_more(found)
        if self.at("{"):
            return self._selector("")
        if self.kind == "name":
            name = self.advance()
            if name.lower() in ("inf", "nan"):
                return Number(float(name))
            if name in AGGREGATES and (self.at("(") or self.value in ("by", "without")):
                return self._no_more(self._aggregate(name))
            if self.at("("):
                return self._no_more(self._call(name))
            return self._selector(name)
        raise _refused("text") if self.kind == "text" else self.unexpected()

    def _no_more(self, found: Expression) -> Expression:
        if self.at("["):
            raise _refused("a subquery")
        if self.at("@") or (self.kind == "name" and self.value == "offset"):
            raise _refused(f"{self.value} after anything but a selector")
        return found

    def _call(self, name: str) -> Expression:
        if name not in FUNCTIONS:
            raise _refused(f"the function {name[:40]}")
        self.take("(")
        argument = self.expression(0)
        self.take(")")
        if not isinstance(argument, Selector) or not argument.range_ns:
            raise PromqlError(f"parse error: {name} is of a range selector.", f"Write {name}(metric[5m]).")
        return Call(name, argument)

    def _aggregate(self, name: str) -> Expression:
        labels, without, told = self._grouping()
        self.take("(")
        expression = _no_range(self.expression(0))
        self.take(")")
        if not told:
            labels, without, _ = self._grouping()
        if is_scalar(expression):
            raise PromqlError(f"parse error: {name} is of series.", f"Write {name}(metric).")
        return Aggregate(name, expression, labels, without)

    def _grouping(self) -> tuple[tuple[str, ...], bool, bool]:
        if self.kind != "name" or self.value not in ("by", "without"):
            return (), False, False
        without = self.advance() == "without"
        self.take("(")
        labels: list[str] = []
        while not self.at(")"):
            if self.kind != "name":
                raise self.unexpected()
            labels.append(self.advance())
            if not self.at(")"):
                self.take(",")
        self.advance()
        return tuple(labels), without, True

    def _selector(self, name: str) -> Expression:
        matchers = [Matcher("__name__", "=", name)] if name else []
        if self.at("{"):
            self.advance()
            while not self.at("}"):
                matchers.append(self._matcher())
                if not self.at("}"):
                    self.take(",")
            self.advance()
        if all(_matches_empty(matcher) for matcher in matchers):
            raise PromqlError("parse error: a selector needs a matcher that is not empty.", "Name a metric.")
        range_ns = offset_ns = 0
        if self.at("["):
            self.advance()
            range_ns = self._duration()
            if self.value.startswith(":"):
                raise _refused("a subquery")
            self.take("]")
        if self.kind == "name" and self.value == "offset":
            self.advance()
            sign = -1 if self.at("-") else 1
            if sign < 0:
                self.advance()
            offset_ns = sign * self._duration()
        if self.at("@"):
            raise _refused("the modifier @")
        return Selector(tuple(matchers), range_ns, offset_ns)

    def _duration(self) -> int:
        if self.kind != "duration":
            raise self.unexpected()
        return parse_duration(self.advance())

    def _matcher(self) -> Matcher:
        if self.kind != "name":
            raise self.unexpected()
        label = self.advance()
        if not self.at("=", "!=", "=~", "!~"):
            raise self.unexpected()
        op = self.advance()
        if self.kind != "text":
            raise self.unexpected()
        value = _unquoted(self.advance())
        if op in ("=~", "!~"):
            check_regex(value)
        return Matcher(label, op, value)


def check_regex(text: str) -> None:
    """Raise PromqlError unless `text` is a regular expression that takes no more than a moment on any name.

    Groups are not repeated, and at most two parts are: `.*pump.*` and `a|b|c` are what panels ask for.
    """
    plain = re.sub(r"\\.", "", text).replace("(?:", "(")
    if len(text) > 8_192 or _COSTLY.search(text) or len(re.findall(r"[*+?{]", plain)) > 2:
        raise PromqlError(f"{text[:40]!r} repeats more than is answered here.", "Write a plainer expression.")
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise PromqlError(f"parse error: {text[:40]!r} is no regular expression: {error}.", "Correct it.") from None


_COSTLY = re.compile(r"\)[*+?{]|\\[1-9]|\(\?(?!:)")


def _matches_empty(matcher: Matcher) -> bool:
    match matcher.op:
        case "=":
            return not matcher.value
        case "!=":
            return bool(matcher.value)
        case "=~":
            return re.fullmatch(matcher.value, "") is not None
    return re.fullmatch(matcher.value, "") is None


def _unquoted(token: str) -> str:
    if token[0] == "`":
        return token[1:-1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), token[1:-1])


def _binary(operator: str, left: Expression, right: Expression, as_bool: bool) -> Expression:
    if not is_scalar(left) and not is_scalar(right):
        raise _refused(f"{operator} between series")
    if operator in COMPARISONS and is_scalar(left) and is_scalar(right) and not as_bool:
        raise PromqlError("parse error: comparisons between scalars must use bool.", "Write 1 == bool 1.")
    return Binary(operator, _no_range(left), _no_range(right), as_bool)


def _no_range(expression: Expression) -> Expression:
    if isinstance(expression, Selector) and expression.range_ns:
        raise PromqlError("parse error: a range selector stands in a function.", "Write rate(metric[5m]).")
    return expression


def _refused(what: str) -> PromqlError:
    return PromqlError(f"{what} is not answered here.", "docs/grafana.md has what of PromQL is answered.")
