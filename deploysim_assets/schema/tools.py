"""Tools of a turn: which calls it made, whether they read or write, and which prefixes are replayed
call by call."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

ToolKind = Literal["none", "read", "write"]
TOOL_KINDS: tuple[ToolKind, ...] = ("none", "read", "write")

READING = frozenset(
    """
    get list read search find view show lookup look query fetch describe retrieve inspect browse
    count check calculate compute compare summarize preview explain validate verify locate scan
    download think ls cat head tail wc grep pwd tree stat diff log status blame
    """.split()
)
"""Verbs of a tool that leaves everything as it was. A name reads that begins with one, or, without
a word that may write, ends with one (`web_search`, `git_log`)."""

_SURELY_WRITING = frozenset(
    "create delete remove replace overwrite insert upsert modify edit write send update".split()
)
"""Write wherever they stand in a name: `get_or_create_user`. Others are as often nouns behind a
reading verb: `get_order_details`."""

_MAY_WRITE = _SURELY_WRITING | frozenset(
    """
    add append apply approve archive assign attach block book buy call cancel change charge clear
    clone close commit confirm connect convert copy deactivate deploy disable drop email enable
    exchange exec execute export forward grant import install invite invoke kill launch lock make
    mark merge move notify open order patch pay pop post print publish purchase push put refund
    register reject rename reply request reschedule reserve reset restart restore return revoke rm
    run save schedule set share ship sign start stop submit subscribe transfer trigger unlock
    unsubscribe upload vote withdraw
    """.split()
)
_JOINED = frozenset("and or then".split())
"""Behind a reading verb: another verb follows (`read_and_forward`)."""

_ACTS = (["check", "in"], ["check", "out"])

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_OWNER = re.compile(r"^.*(?:__|[./:])(?=.)")


@lru_cache(maxsize=10_000)
def _reads(name: str) -> bool:
    """Whether a name is a reading tool's; what a server or module puts before it (`github__`,
    `files.`) says nothing."""
    words = [word.lower() for word in _WORDS.findall(_OWNER.sub("", name[:200]))]
    if not words or words[:2] in _ACTS or not _SURELY_WRITING.isdisjoint(words):
        return False
    if words[0] in READING:
        return _JOINED.isdisjoint(words[1:2]) or _MAY_WRITE.isdisjoint(words[1:])
    return words[-1] in READING and _MAY_WRITE.isdisjoint(words)


def is_read_only(name: str, declared: bool | None = None) -> bool:
    """Whether a tool only reads: as its settings or its definition declare it, else by the verb of
    its name; a name that says nothing is one of a tool that writes."""
    return _reads(name) if declared is None else declared


def declared_read_only(tools: Iterable[Mapping[str, Any]] | None) -> dict[str, bool]:
    """What definitions (schema.TOOL) say of themselves, by name."""
    return {t["name"]: t["read_only"] for t in tools or () if t.get("read_only") is not None}


def turn_messages(reply: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The messages of a turn (schema.REPLY) in order: its steps, and the last as one of the
    model."""
    return [*(reply.get("steps") or ()), {"role": "assistant", **reply}]


def turn_calls(reply: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every tool call of a turn (schema.REPLY), in order."""
    for message in turn_messages(reply):
        yield from message.get("tool_calls") or ()


def tool_kind(names: Iterable[str], declared: Mapping[str, bool]) -> ToolKind:
    """What a turn did with tools, by the names that it called: write where any call may have
    written, read where all only read, none without a call."""
    reads = [is_read_only(name, declared.get(name)) for name in names]
    return "none" if not reads else "read" if all(reads) else "write"


def is_agentic(prefix: Mapping[str, Any]) -> bool:
    """Whether a prefix is replayed call by call where the project replays agents: its conversation
    declares tools, or its real turn called one."""
    return bool(prefix["tools"]) or any(turn_calls(prefix["production_completion"]))
