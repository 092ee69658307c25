"""How far a simulated result of a call agrees with the recorded result of the same call."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

_DEEPEST = 100


class _NoJsonError(ValueError):
    pass


def _constant(name: str) -> Any:
    raise _NoJsonError(name)  # NaN and its like are no JSON, and equal to nothing


def _parsed(text: str) -> Any:
    """The JSON value of a text, a number or string alone included; _NoJsonError for others."""
    try:
        return json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError) as wrong:
        raise _NoJsonError from wrong


def _leaves(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """(path, value) of everything in a JSON value that holds nothing; a number is equal to
    itself however it is written, and to no string or truth value."""
    if depth > _DEEPEST:
        raise _NoJsonError("too deep")
    if isinstance(value, dict) and value:
        for name, inner in cast("dict[str, Any]", value).items():
            yield from _leaves(inner, f"{path}/{json.dumps(name)}", depth + 1)
    elif isinstance(value, list) and value:
        for place, inner in enumerate(cast("list[Any]", value)):
            yield from _leaves(inner, f"{path}/{place}", depth + 1)
    elif isinstance(value, float) and value.is_integer():
        yield path, json.dumps(int(value))
    else:
        yield path, json.dumps(value)


def _fields(text: str) -> tuple[bool, Counter[tuple[str, str]]]:
    """Whether a text is JSON, and its fields: leaves by path, or the lines of a text that is
    none."""
    try:
        return True, Counter(_leaves(_parsed(text)))
    except _NoJsonError:
        lines = (" ".join(line.split()) for line in text.splitlines())
        return False, Counter(("", line) for line in lines if line)


class Agreement(NamedTuple):
    """`exact`: the same text. `json_equal`: the same JSON value, however it is written; of texts
    that are no JSON the same lines up to blanks. `fields`: the share of the fields of both that
    they have in common with the same value (leaves by path; of plain text its lines), 0 to 1."""

    exact: bool
    json_equal: bool
    fields: float


def agreement(simulated: str, recorded: str) -> Agreement:
    """How far two results of one call agree."""
    if simulated == recorded:
        return Agreement(True, True, 1.0)
    (first_json, first), (second_json, second) = _fields(simulated), _fields(recorded)
    if first_json != second_json:
        return Agreement(False, False, 0.0)
    union = (first | second).total()
    share = (first & second).total() / union if union else 1.0
    # the lines of a text stand in an order, which a count of them does not know
    equal = first == second and (first_json or simulated.split() == recorded.split())
    return Agreement(False, equal, share)


class Agreed(NamedTuple):
    """Agreement over some calls: how many, and how many or how much of them agreed."""

    calls: int = 0
    exact: int = 0
    json_equal: int = 0
    fields: float = 0.0

    def plus(self, one: Agreement) -> "Agreed":
        """With one more call."""
        return Agreed(
            self.calls + 1,
            self.exact + one.exact,
            self.json_equal + one.json_equal,
            self.fields + one.fields,
        )

    def with_all(self, others: "Agreed") -> "Agreed":
        """Both together."""
        return Agreed(
            self.calls + others.calls,
            self.exact + others.exact,
            self.json_equal + others.json_equal,
            self.fields + others.fields,
        )


def counted(found: Iterable[Agreement]) -> Agreed:
    """Agreement over calls."""
    total = Agreed()
    for one in found:
        total = total.plus(one)
    return total


class Answered(NamedTuple):
    """A call of a turn with the result that it got; `source` is one of schema.RESULT_SOURCES."""

    tool: str
    arguments: str
    content: str
    source: str | None


def answered(turn: Mapping[str, Any]) -> list[Answered]:
    """The calls of a turn (schema.REPLY) that got a result, in their order. Results are told from
    each other by the id of their call, and where there is none by their order."""
    found: list[Answered] = []
    waiting: list[Mapping[str, Any]] = []
    for step in turn.get("steps") or ():
        if step["role"] == "assistant":
            waiting = list(step["tool_calls"] or ())
        elif waiting:
            wanted = step["tool_call_id"]
            place = next((i for i, c in enumerate(waiting) if wanted and c["id"] == wanted), 0)
            call = waiting.pop(place)
            found.append(
                Answered(call["name"], call["arguments"], step["content"] or "", step["source"])
            )
    return found


def same_call(arguments: str) -> str:
    """The arguments of a call in one form, so that equal ones are equal texts."""
    try:
        return json.dumps(_parsed(arguments), sort_keys=True)
    except _NoJsonError:
        return arguments.strip()


def compared(
    simulated: Mapping[str, Any], recorded: Mapping[str, Any]
) -> list[tuple[Answered, Agreement]]:
    """The results of a simulated turn whose call the recorded turn made too: the n-th time of a
    call with the n-th time there."""
    known: dict[tuple[str, str], list[str]] = {}
    for one in answered(recorded):
        known.setdefault((one.tool, same_call(one.arguments)), []).append(one.content)
    found: list[tuple[Answered, Agreement]] = []
    for one in answered(simulated):
        if results := known.get((one.tool, same_call(one.arguments))):
            content = results.pop(0)
            found.append((one, agreement(one.content, content)))
    return found
