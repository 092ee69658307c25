"""ls, cat, head, tail and wc over the files of a commit, as GNU's programs print."""

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from deploysim_assets.agents.git_tree import Entry, MissingError, NotAnswered, Tree

MOST_BYTES = 100_000_000


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


Command = Callable[[list[str], Where], Printed]
"""What a program prints for its words."""


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


class Input(NamedTuple):
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


def inputs_of(command: str, where: Where, paths: Sequence[str]) -> list[Input]:
    if not paths:
        if where.piped is None:
            raise NotAnswered
        return [Input("", where.piped)]
    found: list[Input] = []
    for path in paths:
        if path == "-" or sum(len(one.text or "") for one in found) > MOST_BYTES:
            raise NotAnswered
        try:
            entry = where.tree.find(path, where.folder)
        except MissingError:
            said = f"{command}: {path}: No such file or directory\n"
            found.append(Input(path, None, said))
            continue
        if entry.kind == "file":
            found.append(Input(path, _text(where.tree, entry)))
        else:
            found.append(Input(path, None, f"{command}: {path}: Is a directory\n"))
    return found


def missed(inputs: list[Input]) -> bool:
    return any(one.text is None and "No such" in one.error for one in inputs)


def _cat(words: list[str], where: Where) -> Printed:
    asked = options(words, "n", long="number")
    inputs = inputs_of("cat", where, asked.words)
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
    return Printed("".join(parts), missed(inputs))


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
    inputs = inputs_of(command, where, asked.words)
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
    return Printed("".join(parts), missed(inputs))


def _kept(all_of: Any, command: str, count: int, *, from_start: bool) -> Any:
    if command == "head":
        return all_of[:count]
    if from_start:
        return all_of[max(count - 1, 0) :]
    return all_of[max(len(all_of) - count, 0) :]


def _wc(words: list[str], where: Where) -> Printed:
    asked = options(words, "lwcm", long="lines words bytes chars")
    chosen = {name[0] if name != "chars" else "m" for name in asked.options} or {"l", "w", "c"}
    inputs = inputs_of("wc", where, asked.words)
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
    return Printed("".join(errors + lines), missed(inputs))


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


COMMANDS: Mapping[str, Command] = {
    "ls": _ls,
    "cat": _cat,
    "head": lambda words, where: _ends("head", words, where),
    "tail": lambda words, where: _ends("tail", words, where),
    "wc": _wc,
}
