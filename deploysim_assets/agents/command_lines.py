"""Command lines that only read: what of a shell's language is understood, and nothing else is."""

import re
import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from deploysim_assets.agents.calls import parsed
from deploysim_assets.agents.moment import Call

SHELLS = frozenset(
    "bash shell sh zsh terminal cmd exec run command run_command execute_command exec_command "
    "execute_bash run_bash bash_command run_shell execute_shell shell_command local_shell "
    "run_terminal_cmd run_in_terminal".split()
)
"""Names of tools that take a command line."""
_LINE = ("command", "cmd", "line", "script", "code", "input", "commands")
_BESIDE = frozenset("timeout timeout_ms description explanation is_background restart".split())
"""Arguments beside the line that do not change what it prints."""

FILES = frozenset("ls cat head tail wc find grep".split())
GIT = frozenset("log show diff status".split())
_ACTS = re.compile(r"-(?:exec|execdir|ok|okdir|delete|fprint|fprint0|fprintf|fls)")
_WRAPPED = (("bash", "-c"), ("bash", "-lc"), ("sh", "-c"), ("sh", "-lc"))


class Line(NamedTuple):
    """A command line: the folder that it changes to first, and the words of the commands of its
    pipe."""

    folder: str | None
    pipe: list[list[str]]


def line_of(call: Call) -> str | list[str] | None:
    """What a call of a shell's tool runs: a line, or words; None where it is no such call, or says
    more than that."""
    if call.name.rpartition(".")[2].rpartition("__")[2].lower() not in SHELLS:
        return None
    try:
        arguments = parsed(call.arguments)
    except (ValueError, RecursionError):
        return None
    said = [name for name in arguments if name not in _BESIDE]
    if len(said) != 1 or said[0] not in _LINE:
        return None
    value: Any = arguments[said[0]]
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(v, str) for v in cast("list[Any]", value)):
        words = cast("list[str]", value)
        return words[2] if len(words) == 3 and tuple(words[:2]) in _WRAPPED else words
    return None


def parse(line: str | Sequence[str]) -> Line | None:
    """A line as commands and a pipe between them, perhaps behind `cd FOLDER &&`; None where it
    holds anything else that a shell would act on."""
    if not isinstance(line, str):
        return Line(None, [list(line)]) if line else None
    parts = _split(line.strip())
    if parts is None:
        return None
    try:
        words = [shlex.split(part) for part, _ in parts]
    except ValueError:
        return None
    joints = [joint for _, joint in parts[:-1]]
    folder = None
    if joints[:1] == ["&&"] and len(words[0]) == 2 and words[0][0] == "cd":
        folder = words[0][1]
        words, joints = words[1:], joints[1:]
    if any(joint != "|" for joint in joints) or not all(words):
        return None
    return Line(folder, words)


def _split(line: str) -> list[tuple[str, str]] | None:
    """The parts between a line's unquoted `|` and `&&`, each with what follows it; None where
    something unquoted is special in another way, or expands in double quotes."""
    parts: list[tuple[str, str]] = []
    start = i = 0
    quote = ""
    while i < len(line):
        at = line[i]
        if quote:
            if at == quote:
                quote = ""
            elif quote == '"' and at in "$`!":
                return None
            elif quote == '"' and at == "\\":
                i += 1
        elif at in "'\"":
            quote = at
        elif at == "\\":
            if line[i + 1 : i + 2] in ("", "\n"):
                return None
            i += 1
        elif at == "|" and line[i + 1 : i + 2] not in ("|", "&"):
            parts.append((line[start:i], "|"))
            start = i + 1
        elif line[i : i + 2] == "&&":
            parts.append((line[start:i], "&&"))
            i += 1
            start = i + 1
        elif at in ";&<>()$`{}*?[]!\n\r\0|" or (at in "~#" and line[i - 1 : i] in ("", " ", "\t")):
            return None
        i += 1
    return None if quote else [*parts, (line[start:], "")]


def only_reads(call: Call) -> bool:
    """Whether a call runs a command line of which every command is known to change nothing."""
    said = line_of(call)
    line = parse(said) if said is not None else None
    return line is not None and all(map(_reads, line.pipe))


def _reads(words: list[str]) -> bool:
    if words[0] == "git":
        writes = any(word.startswith("--output") or word == "-o" for word in words)
        return len(words) > 1 and words[1] in GIT and not writes
    return words[0] in FILES and not any(map(_ACTS.fullmatch, words))
