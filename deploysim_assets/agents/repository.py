"""Affordance: the repository at the prefix's commit, read only. Commands are answered from git's
objects; nothing is run."""

import functools
from pathlib import Path
from typing import Any, cast

from deploysim_assets.agents.calls import canonical
from deploysim_assets.agents.command_lines import FILES, Line, line_of, parse
from deploysim_assets.agents.file_commands import COMMANDS, Printed, Where
from deploysim_assets.agents.git_commands import git
from deploysim_assets.agents.git_tree import MissingError, NotAnswered, Tree, open_store
from deploysim_assets.agents.moment import Call, Example, Moment, Result, Scrub
from deploysim_assets.agents.trajectory import world_of
from deploysim_assets.project import Agents

LONGEST = 100_000
"""Characters of an answer; what is longer is cut, and says so."""
_PATHS = ("path", "file_path", "filepath", "file", "filename", "target_file", "directory", "dir")
_PATTERNS = ("pattern", "query", "regex", "search_term", "text", "glob")
_READ = frozenset("read_file view_file open_file get_file get_file_contents read view open".split())
_LIST = frozenset("list_dir list_directory list_files dir".split())
_SEARCH = frozenset("grep_search search_files search_code search_file_content ripgrep rg".split())
_NAMES = frozenset("find_files glob file_search find_by_name glob_search".split())


class Repository:
    """Answers reads of files and of history as they were at the prefix's commit, as long as nothing
    was written since; behind a write they are examples."""

    name = "repository"

    def __init__(self, path: Path, settings: Agents, scrub: Scrub) -> None:
        self._settings, self._scrub = settings, scrub
        self._store = open_store(path)
        self._tree = functools.lru_cache(maxsize=64)(self._opened)

    def _opened(self, commit: str) -> Tree | None:
        """The tree of a commit; None where the repository has no such commit."""
        sha = commit.strip().lower().encode()
        if len(sha) != 40 or sha.strip(b"0123456789abcdef") or sha not in self._store:
            return None
        found: Any = self._store[sha]
        root = self._settings.repository_root
        return Tree(self._store, sha, root) if found.type_name == b"commit" else None

    def look(self, moment: Moment) -> Result | list[Example]:
        """What the call would have shown at the commit."""
        commit = moment.prefix["commit"]
        line = _line(moment)
        tree = self._tree(commit) if commit and line is not None else None
        if tree is None or line is None:
            return []
        try:
            printed = _printed(line, tree)
        except (NotAnswered, RecursionError, KeyError):  # KeyError: an object that is not there
            return []
        said = self._scrub(_cut(printed.text), moment.prefix)
        changed = bool(world_of(moment, self._settings).so_far(moment.steps).after)
        if changed or not printed.exact:
            return [Example(moment.call, said, self.name)]
        return Result(said, self.name, printed.missed and self._has_surrogates(moment))

    def _has_surrogates(self, moment: Moment) -> bool:
        """Whether something in the arguments looks as identifiers do: nobody maps it back."""
        said = canonical(moment.call)
        return self._scrub(said, moment.prefix) != said


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n[output cut at {LONGEST:,} characters]\n"


def _printed(line: Line, tree: Tree) -> Printed:
    folder = ""
    if line.folder is not None:
        try:
            found = tree.find(line.folder)
        except MissingError:  # each shell says it in its own way
            raise NotAnswered from None
        if found.kind != "folder":
            raise NotAnswered
        folder = found.path
    where, printed = Where(tree, folder), Printed("")
    for words in line.pipe:
        run = git if words[0] == "git" else COMMANDS.get(words[0])
        if run is None or any("\0" in word for word in words):
            raise NotAnswered
        one = run(words[1:], where)
        printed = Printed(one.text, printed.missed or one.missed, printed.exact and one.exact)
        if printed.missed and len(line.pipe) > 1:  # errors do not go through a pipe
            raise NotAnswered
        where = Where(tree, folder, printed.text)
    return printed


def _line(moment: Moment) -> Line | None:
    """The command line that a call amounts to; None where it is none that could be answered."""
    said = line_of(moment.call)
    if said is not None:
        return parse(said)
    words = _as_words(moment.call, moment.arguments)
    return Line(None, [words]) if words else None


def _as_words(call: Call, arguments: dict[str, Any]) -> list[str] | None:
    """A call of a tool of its own as the command that does the same; None where an argument is not
    understood."""
    name = call.name.rpartition("__")[2].rpartition(".")[2].lower()
    kind, _, rest = name.partition("_")
    if kind == "git" and rest in ("log", "show", "diff", "status"):
        return _git_words(rest, arguments)
    given = dict(arguments)
    path = _take(given, _PATHS)
    pattern = _take(given, _PATTERNS)
    if given or any(said is not None and said.startswith("-") for said in (path, pattern)):
        return None
    if name in _READ or name in ("cat", "head", "tail", "wc"):
        command = name if name in FILES else "cat"
        return [command, path] if path and pattern is None else None
    if name in _LIST or name == "ls":
        return ["ls", path or "."] if pattern is None else None
    if name in _SEARCH or name == "grep":
        return ["grep", "-rnE", "-e", pattern, path or "."] if pattern else None
    if name in _NAMES or name == "find":
        return ["find", path or ".", "-name", pattern] if pattern else None
    return None


def _take(given: dict[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        if isinstance(given.get(name), str):
            return cast("str", given.pop(name))
    return None


def _git_words(command: str, arguments: dict[str, Any]) -> list[str] | None:
    given = dict(arguments)
    words = ["git", command]
    counts = [n for n in ("max_count", "n", "limit") if isinstance(given.get(n), int)]
    if counts and command == "log":
        words.append(f"-n{given.pop(counts[0])}")
    for name in ("revision", "commit", "ref", "target"):
        said = given.get(name)
        if isinstance(said, str) and not said.startswith("-"):
            words.append(given.pop(name))
    return None if given else words
