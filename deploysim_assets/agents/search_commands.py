"""find and grep over the files of a commit, as GNU's programs print."""

import fnmatch
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from deploysim_assets.agents.file_commands import (
    MOST_BYTES,
    Asked,
    Command,
    Input,
    Printed,
    Where,
    inputs_of,
    missed,
    options,
)
from deploysim_assets.agents.git_tree import Entry, MissingError, NotAnswered

_MOST_LINES = 1_000_000
_LONGEST_PATTERN = 500
_Test = Callable[[Entry, str], bool]


def _glob(pattern: str, *, ignore_case: bool) -> Callable[[str], bool]:
    if len(pattern) > _LONGEST_PATTERN:
        raise NotAnswered
    compiled = re.compile(fnmatch.translate(pattern), re.IGNORECASE if ignore_case else 0)
    return lambda text: compiled.match(text) is not None


class _Tests(NamedTuple):
    """What find looks for; `named`: by a name or path."""

    tests: list[_Test]
    least: int
    most: int
    named: bool


def _find_tests(words: list[str]) -> _Tests:
    named = any(word in ("-name", "-iname", "-path", "-ipath", "-wholename") for word in words)
    tests: list[_Test] = []
    depths = {"-maxdepth": 1_000, "-mindepth": 0}
    kinds = {"f": "file", "d": "folder"}
    while words:
        option = words.pop(0)
        if option == "-print" and not words:
            break
        if not words:
            raise NotAnswered
        value = words.pop(0)
        if option in depths and re.fullmatch(r"\d{1,3}", value):
            depths[option] = int(value)
        elif option in ("-name", "-iname"):
            fits = _glob(value, ignore_case=option == "-iname")
            tests.append(lambda e, path, fits=fits: fits(posixpath.basename(path.rstrip("/"))))
        elif option in ("-path", "-ipath", "-wholename"):
            fits = _glob(value, ignore_case=option == "-ipath")
            tests.append(lambda e, path, fits=fits: fits(path))
        elif option == "-type" and value in kinds:
            kind = kinds[value]
            tests.append(lambda e, path, kind=kind: e.kind == kind and not e.is_link)
        elif option == "-type" and value == "l":
            tests.append(lambda e, path: e.is_link)
        else:
            raise NotAnswered
    return _Tests(tests, depths["-mindepth"], depths["-maxdepth"], named)


def _find(words: list[str], where: Where) -> Printed:
    paths: list[str] = []
    words = list(words)
    while words and not words[0].startswith(("-", "(", "!")):
        paths.append(words.pop(0))
    tests, least, most, named = _find_tests(words)
    lines: list[str] = []
    absent = False
    exact = True
    for path in paths or ["."]:
        try:
            top = where.tree.find(path, where.folder, follow=False)
        except MissingError:
            lines.append(f"find: '{path}': No such file or directory")
            absent = True
            continue
        exact = exact and (named or bool(top.path))  # else it goes through .git as well
        every = [(top, path, 0)]
        if top.kind == "folder":
            every += (
                (e, posixpath.join(path, e.path[len(top.path) :].lstrip("/")), _depth(top, e))
                for e in where.tree.walk(top.path)
            )
        lines += (
            shown
            for entry, shown, depth in every
            if least <= depth <= most and all(test(entry, shown) for test in tests)
        )
        if len(lines) > _MOST_LINES:
            raise NotAnswered
    return Printed("".join(f"{line}\n" for line in lines), absent, exact)


def _depth(top: Entry, entry: Entry) -> int:
    return entry.path[len(top.path) :].strip("/").count("/") + 1


def extended(pattern: str) -> str:
    """A basic regular expression as an extended one: there `+ ? | ( ) { }` act only when
    escaped."""
    parts: list[str] = []
    i = 0
    while i < len(pattern):
        at = pattern[i]
        if at == "\\" and i + 1 < len(pattern):
            i += 1
            parts.append(pattern[i] if pattern[i] in "+?|(){}" else f"\\{pattern[i]}")
        elif at == "[":
            end = pattern.find("]", i + 2 if pattern[i + 1 : i + 2] != "^" else i + 3)
            if end < 0:
                raise NotAnswered
            parts.append(pattern[i : end + 1])
            i = end
        else:
            parts.append(f"\\{at}" if at in "+?|(){}" else at)
        i += 1
    return "".join(parts)


def _matcher(asked: Asked, pattern: str) -> Callable[[str], bool]:
    """Whether a line matches, by an engine whose time is linear: candidates write patterns."""
    import re2  # pyright: ignore[reportMissingTypeStubs]

    has = asked.options.keys()
    if len(pattern) > _LONGEST_PATTERN:
        raise NotAnswered
    source: str = pattern if "E" in has else extended(pattern)
    if "F" in has:
        source = re.escape(pattern)
    if re.search(r"\\[1-9<>]", source):
        raise NotAnswered
    if "w" in has:
        source = rf"\b(?:{source})\b"
    if "x" in has:
        source = f"^(?:{source})$"
    settings = re2.Options()
    settings.log_errors = False
    settings.case_sensitive = not {"i", "ignore-case"} & has
    try:
        compiled = re2.compile(source, options=settings)
    except re2.error:
        raise NotAnswered from None
    return lambda line: compiled.search(line) is not None


def _grep(words: list[str], where: Where) -> Printed:
    asked = options(
        words,
        "rRinlcEFwvxHhs",
        "eABCm",
        "include= exclude= exclude-dir= recursive color= "
        "ignore-case line-number files-with-matches",
    )
    has = asked.options.keys()
    rest = list(asked.words)
    if "e" not in has and not rest:
        raise NotAnswered
    matches = _matcher(asked, asked.options["e"] if "e" in has else rest.pop(0))
    recursive = bool({"r", "R", "recursive"} & has)
    inputs = list(_below(asked, where, rest)) if recursive else inputs_of("grep", where, rest)
    named = "h" not in has and ("H" in has or recursive or len(rest) > 1)
    parts = [
        one.error if one.text is None else _found(asked, matches, one.path if named else "", one)
        for one in inputs
    ]
    return Printed("".join(parts), missed(inputs))


def _below(asked: Asked, where: Where, paths: list[str]) -> Iterator[Input]:
    """Every text file below the paths, as `grep -r` goes through them."""
    said: Mapping[str, str] = asked.options
    fits = {
        n: _glob(said[n], ignore_case=False)
        for n in ("include", "exclude", "exclude-dir")
        if n in said
    }
    read = 0
    for path in paths or [""]:
        try:
            top = where.tree.find(path or ".", where.folder)
        except MissingError:
            yield Input(path, None, f"grep: {path}: No such file or directory\n")
            continue
        below = [top] if top.kind == "file" else where.tree.walk(top.path)
        for entry in below:
            inner = entry.path[len(top.path) :].lstrip("/") if top.kind == "folder" else ""
            if entry.kind != "file" or entry.is_link or _left_out(inner or path, fits):
                continue
            data = where.tree.blob(entry.sha)
            read += len(data)
            if read > MOST_BYTES:
                raise NotAnswered
            if b"\0" not in data:
                yield Input(
                    posixpath.join(path, inner) if inner else path, data.decode(errors="replace")
                )


def _left_out(path: str, fits: Mapping[str, Callable[[str], bool]]) -> bool:
    *folders, name = path.split("/")
    if "include" in fits and not fits["include"](name):
        return True
    if "exclude" in fits and fits["exclude"](name):
        return True
    return "exclude-dir" in fits and any(map(fits["exclude-dir"], folders))


def _found(asked: Asked, matches: Callable[[str], bool], name: str, one: Input) -> str:
    """What grep prints of one file."""
    has = asked.options.keys()
    lines = (one.text or "").splitlines()
    hits = [i for i, line in enumerate(lines) if matches(line) != ("v" in has)]
    hits = hits[: asked.number("m", len(lines))]
    if {"l", "files-with-matches"} & has:
        return f"{one.path or '(standard input)'}\n" if hits else ""
    if "c" in has:
        return f"{f'{name}:' if name else ''}{len(hits)}\n"
    around = asked.number("C", 0)
    before, after = asked.number("B", around), asked.number("A", around)
    shown = sorted(
        {j for i in hits for j in range(max(i - before, 0), min(i + after + 1, len(lines)))}
    )
    numbered = bool({"n", "line-number"} & has)
    matched = set(hits)
    parts: list[str] = []
    for k, j in enumerate(shown):
        if (before or after) and k and shown[k - 1] != j - 1:
            parts.append("--\n")
        sign = ":" if j in matched else "-"
        head = f"{name}{sign}" if name else ""
        parts.append(f"{head}{f'{j + 1}{sign}' if numbered else ''}{lines[j]}\n")
    return "".join(parts)


COMMANDS: Mapping[str, Command] = {"find": _find, "grep": _grep}
