"""Regular expressions and JSON paths of rules, matched in time linear in the text: a pattern that a
user writes meets text that others write."""

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import re2  # pyright: ignore[reportMissingTypeStubs]

ENGINE, OLD_ENGINE = "re2", "re"
"""What a rule is matched by is part of its identity: re2 reads \\d, \\w and \\b as ASCII and $ as
the very end of the text. Rules registered before it was asked for keep `re`."""


class PatternError(ValueError):
    """A pattern or path that the engine cannot take; the message says why and how to mend it."""


class Paths(Protocol):
    """A compiled JSON path."""

    def findall(self, data: Any) -> list[object]: ...


class Matcher(NamedTuple):
    """How an engine searches a text for a pattern, and compiles a JSON path."""

    search: Callable[[str, str], object]
    path: Callable[[str], Paths]


@functools.cache
def compiled(pattern: str) -> Any:
    """The pattern for re2; PatternError for what re2 cannot express,
    re.error for what is no pattern."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as wrong:  # pyright: ignore[reportUnknownVariableType]
        re.compile(pattern)  # what is no pattern at all is said as such
        why = _said(wrong)
        raise PatternError(
            f"re2 cannot match it in linear time ({why}); lookarounds, backreferences and "
            "possessive quantifiers have no place in a rule: say it with all/any/not of several "
            "patterns"
        ) from wrong


def _said(wrong: Any) -> str:
    said: bytes | str = wrong.args[0]
    return said.decode(errors="replace") if isinstance(said, bytes) else said


def _literal(pattern: object) -> str:
    if not isinstance(pattern, str):
        raise PatternError("the pattern of match() and search() must stand in the path as a text")
    return pattern


@functools.cache
def _environment() -> Any:
    from jsonpath import JSONPathEnvironment
    from jsonpath.filter import RegexLiteral, StringLiteral
    from jsonpath.function_extensions import ExpressionType, FilterFunction
    from jsonpath.parse import Parser

    class Linear(FilterFunction):
        def __init__(self, method: str) -> None:
            self._method = method

        @property
        def arg_types(self) -> list[ExpressionType]:
            return [ExpressionType.VALUE, ExpressionType.VALUE]

        @property
        def return_type(self) -> ExpressionType:
            return ExpressionType.LOGICAL

        def __call__(self, value: object, pattern: object) -> bool:
            found = compiled(_literal(pattern))
            return isinstance(value, str) and bool(getattr(found, self._method)(value))

    class LinearParser(Parser):
        def parse_regex(self, stream: Any) -> Any:
            literal: Any = super().parse_regex(stream)
            flags = "".join(
                name
                for flag, name in ((re.IGNORECASE, "i"), (re.MULTILINE, "m"), (re.DOTALL, "s"))
                if literal.value.flags & flag
            )
            pattern = literal.value.pattern
            return RegexLiteral(value=compiled(f"(?{flags}){pattern}" if flags else pattern))

    class LinearPaths(JSONPathEnvironment):
        parser_class = LinearParser

        def setup_function_extensions(self) -> None:
            super().setup_function_extensions()
            self.function_extensions |= {"match": Linear("fullmatch"), "search": Linear("search")}

        def validate_function_extension_signature(self, token: Any, args: list[Any]) -> list[Any]:
            checked = super().validate_function_extension_signature(token, args)
            if token.value in ("match", "search"):
                # a pattern out of the graded data would be one that nobody looked at
                literal = args[1].value if isinstance(args[1], StringLiteral) else None
                compiled(_literal(literal))
            return checked

    return LinearPaths()


@functools.cache
def _path(path: str) -> Paths:
    return _environment().compile(path)


@functools.cache
def _old_path(path: str) -> Paths:
    import jsonpath

    return jsonpath.compile(path)


def grows_with_the_list(path: str) -> bool:
    """Whether what the path finds in a list it finds, as it was, in every longer list that begins
    with it: it goes from each item alone, never by the end of the list, its length or another item.
    False where that cannot be told."""
    from jsonpath import JSONPath
    from jsonpath.filter import BaseExpression, FilterContextPath, RootFilterQuery
    from jsonpath.selectors import (
        Filter,
        IndexSelector,
        JSONPathSelector,
        NameSelector,
        WildcardSelector,
    )

    def within(expression: BaseExpression) -> bool:
        outside = isinstance(expression, RootFilterQuery | FilterContextPath)
        return not outside and all(map(within, expression.children()))

    def told(selector: JSONPathSelector) -> bool:
        if isinstance(selector, Filter):
            return within(selector.expression)
        if isinstance(selector, IndexSelector):
            return selector.index >= 0
        return isinstance(selector, NameSelector | WildcardSelector)

    found: object = LINEAR.path(path)
    if not isinstance(found, JSONPath) or found.pseudo_root or not found.segments:
        return False
    return all(told(selector) for segment in found.segments for selector in segment.selectors)


def _search(pattern: str, text: str) -> bool:
    return bool(compiled(pattern).search(text))


LINEAR = Matcher(_search, _path)
BACKTRACKING = Matcher(re.search, _old_path)
"""What registered rules are matched by, in a process that can be ended."""


def checked_pattern(pattern: str, engine: str) -> None:
    """PatternError where the engine does not take the pattern."""
    try:
        if engine == ENGINE:
            compiled(pattern)
        else:
            re.compile(pattern)
    except re.error as wrong:
        raise PatternError(f"not a regular expression: {wrong}") from wrong


def checked_path(path: str, engine: str) -> None:
    """PatternError where the path is none, or holds a pattern that the engine does not take."""
    from jsonpath import JSONPathError

    try:
        (LINEAR if engine == ENGINE else BACKTRACKING).path(path)
    except (JSONPathError, re.error) as wrong:
        raise PatternError(f"not a JSON path: {wrong}") from wrong
