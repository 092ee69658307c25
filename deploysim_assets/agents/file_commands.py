"""ls, cat, head, tail, wc, find and grep over the files of a commit, as GNU's programs print."""

import fnmatch
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from deploysim_assets.agents.git_tree import Entry, MissingError, NotAnswered, Tree

_MOST_BYTES = 100_000_000
_LONGEST_PATTERN = 500


class Printed(NamedTuple):
    """What a command prints. `missed`: a path that it names is not there; `exact`: the program
    would print just that."""

    text: str
    missed: bool = False
    exact: bool = True


class Where(NamedTuple):
    """Where a command runs: the tree, the folder in it, and what comes through the pipe."""

    tree: Tree
    folder: str = ""
    piped: str | None = None


class Asked(NamedTuple):
    """The options of a command, each with its value ("" for a flag), and its other words."""

    options: dict[str, str]
    words: list[str]

    def number(self, name: str, default: int) -> int:
        """An option's number; NotAnswered where it is none."""
        said = self.options.get(name)
        if said is None:
            return default
        if not said.isascii() or not said.isdecimal() or len(said) > 9:
            raise NotAnswered
        return int(said)


def options(words: Sequence[str], flags: str, valued: str = "", long: str = "") -> Asked:
    """A command's options as getopt reads them; NotAnswered for one that is not listed. `long`
    names options in full, those with a value with `=`."""
    found: dict[str, str] = {}
    rest: list[str] = []
    todo = list(words)
    named = {name.rstrip("="): name.endswith("=") for name in long.split()}
    while todo:
        word = todo.pop(0)
        if word == "--":
            return Asked(found, rest + todo)
        if word.startswith("--"):
            name, has, value = word[2:].partition("=")
            if name not in named or named[name] != bool(has):
                raise NotAnswered
            found[name] = value
        elif word.startswith("-") and len(word) > 1:
            _letters(word, todo, flags, valued, found)
        else:
            rest.append(word)
    return Asked(found, rest)


def _letters(word: str, todo: list[str], flags: str, valued: str, found: dict[str, str]) -> None:
    for i, letter in enumerate(word[1:], 2):
        if letter in valued:
            if not word[i:] and not todo:
                raise NotAnswered
            found[letter] = word[i:] or todo.pop(0)
            return
        if letter not in flags:
            raise NotAnswered
        found[letter] = ""


class _Input(NamedTuple):
    """A file's text, or what a command says of a path that is none."""

    path: str
    text: str | None
    error: str = ""


def _text(tree: Tree, entry: Entry) -> str:
    """A file's text; NotAnswered for one that is no text."""
    data = tree.blob(entry.sha)
    try:
        if b"\0" not in data:
            return data.decode()
    except UnicodeDecodeError:
        pass
    raise NotAnswered


def _inputs(command: str, where: Where, paths: Sequence[str]) -> list[_Input]:
    if not paths:
        if where.piped is None:
            raise NotAnswered
        return [_Input("", where.piped)]
    found: list[_Input] = []
    for path in paths:
        if path == "-":
            raise NotAnswered
        try:
            entry = where.tree.find(path, where.folder)
        except MissingError:
            said = f"{command}: {path}: No such file or directory\n"
            found.append(_Input(path, None, said))
            continue
        if entry.kind == "file":
            found.append(_Input(path, _text(where.tree, entry)))
        else:
            found.append(_Input(path, None, f"{command}: {path}: Is a directory\n"))
    return found


def _missed(inputs: list[_Input]) -> bool:
    return any(one.text is None and "No such" in one.error for one in inputs)


def _cat(words: list[str], where: Where) -> Printed:
    asked = options(words, "n", long="number")
    inputs = _inputs("cat", where, asked.words)
    numbered = bool(asked.options)
    parts: list[str] = []
    number = 0
    for one in inputs:
        text = one.error if one.text is None else one.text
        if numbered and one.text is not None:
            lines = text.splitlines(keepends=True)
            text = "".join(f"{i:6d}\t{line}" for i, line in enumerate(lines, number + 1))
            number += len(lines)
        parts.append(text)
    return Printed("".join(parts), _missed(inputs))


def _ends(command: str, words: list[str], where: Where) -> Printed:
    """head and tail."""
    words = [f"-n{word[1:]}" if re.fullmatch(r"-\d+", word) else word for word in words]
    asked = options(words, "q", "nc", "lines= bytes= quiet")
    said = asked.options.get("n", asked.options.get("lines"))
    of_bytes = asked.options.get("c", asked.options.get("bytes"))
    if said is not None and of_bytes is not None:
        raise NotAnswered
    amount = of_bytes if of_bytes is not None else said if said is not None else "10"
    from_start = command == "tail" and amount.startswith("+")
    if not re.fullmatch(r"\d{1,9}", amount.removeprefix("+") if from_start else amount):
        raise NotAnswered
    count = int(amount.removeprefix("+"))
    inputs = _inputs(command, where, asked.words)
    several = len(inputs) > 1 and not {"q", "quiet"} & asked.options.keys()
    parts: list[str] = []
    for one in inputs:
        if one.text is None:
            parts.append(
                f"{command}: cannot open '{one.path}' for reading: No such file or directory\n"
                if "No such" in one.error
                else f"{command}: error reading '{one.path}': Is a directory\n"
            )
            continue
        if several:
            parts.append(f"{chr(10) if parts else ''}==> {one.path} <==\n")
        if of_bytes is not None:
            data = one.text.encode()
            kept = _kept(data, command, count, from_start=from_start)
            parts.append(kept.decode(errors="replace"))
        else:
            lines = one.text.splitlines(keepends=True)
            parts += _kept(lines, command, count, from_start=from_start)
    return Printed("".join(parts), _missed(inputs))


def _kept(all_of: Any, command: str, count: int, *, from_start: bool) -> Any:
    if command == "head":
        return all_of[:count]
    if from_start:
        return all_of[max(count - 1, 0) :]
    return all_of[max(len(all_of) - count, 0) :]


def _wc(words: list[str], where: Where) -> Printed:
    asked = options(words, "lwcm", long="lines words bytes chars")
    chosen = {name[0] if name != "chars" else "m" for name in asked.options} or {"l", "w", "c"}
    inputs = _inputs("wc", where, asked.words)
    rows: list[tuple[list[int], str]] = []
    errors: list[str] = []
    for one in inputs:
        if one.text is None:
            errors.append(one.error)
            if "directory\n" in one.error and "Is a" in one.error:
                raise NotAnswered
            continue
        counts = {
            "l": one.text.count("\n"),
            "w": len(one.text.split()),
            "m": len(one.text),
            "c": len(one.text.encode()),
        }
        rows.append(([n for name, n in counts.items() if name in chosen], one.path))
    if len(inputs) > 1:
        sums = [sum(column) for column in zip(*(r for r, _ in rows), strict=True)]
        rows.append((sums, "total"))
    alone = len(chosen) == 1 and len(inputs) == 1
    size = sum(len((one.text or "").encode()) for one in inputs)
    width = 1 if alone else 7 if not asked.words else len(str(size))
    lines = [
        f"{' '.join(f'{n:{width}d}' for n in counts)}{f' {path}' if path else ''}\n"
        for counts, path in rows
    ]
    return Printed("".join(errors + lines), _missed(inputs))


def _ls(words: list[str], where: Where) -> Printed:
    asked = options(words, "aA1RFplhd", long="all almost-all recursive")
    has = asked.options.keys()
    hidden = bool({"a", "A", "all", "almost-all"} & has)
    dots = bool({"a", "all"} & has)
    recursive = bool({"R", "recursive"} & has)
    if "d" in has and (recursive or not asked.words):
        raise NotAnswered
    tree = where.tree
    files: list[str] = []
    folders: list[tuple[str, Entry]] = []
    errors: list[str] = []
    for path in asked.words or ["."]:
        try:
            entry = tree.find(path, where.folder)
        except MissingError:
            errors.append(f"ls: cannot access '{path}': No such file or directory\n")
            continue
        if entry.kind == "module" and "d" not in has:
            raise NotAnswered
        if entry.kind != "folder" or "d" in has:
            files.append(path + (_mark(entry, has) if "d" not in has else ""))
        else:
            folders.append((path, entry))
    parts = ["".join(f"{name}\n" for name in sorted(files))] if files else []
    headed = recursive or len(asked.words) > 1
    todo = sorted(folders, key=lambda f: f[0])
    while todo:
        path, entry = todo.pop(0)
        children = tree.children(entry.path)
        names = sorted(n for n in children if hidden or not n.startswith("."))
        found = {n: tree.find(posixpath.join(entry.path, n), follow=False) for n in names}
        shown = [".", ".."] if dots else []
        shown += [f".git{'/' if {'F', 'p'} & has else ''}"] if hidden and not entry.path else []
        shown += [n + _mark(found[n], has) for n in names]
        head = f"{path}:\n" if headed else ""
        parts.append(head + "".join(f"{name}\n" for name in shown))
        if recursive:
            below = [(posixpath.join(path, n), e) for n, e in found.items() if e.kind == "folder"]
            todo = below + todo
    # -l shows owners and times, of which git's objects say nothing
    return Printed("".join(errors) + "\n".join(parts), bool(errors), exact="l" not in has)


def _mark(entry: Entry, has: Any) -> str:
    if not {"F", "p"} & has:
        return ""
    if entry.kind == "folder":
        return "/"
    return "@" if entry.is_link and "F" in has else ""


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
    missed = False
    exact = True
    for path in paths or ["."]:
        try:
            top = where.tree.find(path, where.folder, follow=False)
        except MissingError:
            lines.append(f"find: '{path}': No such file or directory")
            missed = True
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
    return Printed("".join(f"{line}\n" for line in lines), missed, exact)


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
    inputs = list(_below(asked, where, rest)) if recursive else _inputs("grep", where, rest)
    named = "h" not in has and ("H" in has or recursive or len(rest) > 1)
    parts = [
        one.error if one.text is None else _found(asked, matches, one.path if named else "", one)
        for one in inputs
    ]
    return Printed("".join(parts), _missed(inputs))


def _below(asked: Asked, where: Where, paths: list[str]) -> Iterator[_Input]:
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
            yield _Input(path, None, f"grep: {path}: No such file or directory\n")
            continue
        below = [top] if top.kind == "file" else where.tree.walk(top.path)
        for entry in below:
            inner = entry.path[len(top.path) :].lstrip("/") if top.kind == "folder" else ""
            if entry.kind != "file" or entry.is_link or _left_out(inner or path, fits):
                continue
            data = where.tree.blob(entry.sha)
            read += len(data)
            if read > _MOST_BYTES:
                raise NotAnswered
            if b"\0" not in data:
                yield _Input(
                    posixpath.join(path, inner) if inner else path, data.decode(errors="replace")
                )


def _left_out(path: str, fits: Mapping[str, Callable[[str], bool]]) -> bool:
    *folders, name = path.split("/")
    if "include" in fits and not fits["include"](name):
        return True
    if "exclude" in fits and fits["exclude"](name):
        return True
    return "exclude-dir" in fits and any(map(fits["exclude-dir"], folders))


def _found(asked: Asked, matches: Callable[[str], bool], name: str, one: _Input) -> str:
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


COMMANDS: Mapping[str, Callable[[list[str], Where], Printed]] = {
    "ls": _ls,
    "cat": _cat,
    "head": lambda words, where: _ends("head", words, where),
    "tail": lambda words, where: _ends("tail", words, where),
    "wc": _wc,
    "find": _find,
    "grep": _grep,
}
