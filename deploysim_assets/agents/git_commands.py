"""git log, show, diff and status over the objects of a repository, as git prints."""

import io
import re
import time
from collections.abc import Sequence
from typing import Any, cast

from deploysim_assets.agents.extras import extra
from deploysim_assets.agents.file_commands import Asked, Printed, Where, options
from deploysim_assets.agents.git_tree import MissingError, NotAnswered, Tree

_SHORT = 7
_MOST = 10_000


def git(words: list[str], where: Where) -> Printed:
    """What `git` prints with these words; NotAnswered for what its objects do not tell."""
    words = [word for word in words if word != "--no-pager"]
    if not words or words[0] not in _COMMANDS:
        raise NotAnswered
    return _COMMANDS[words[0]](words[1:], where)


def _header(commit: Any) -> str:
    at = commit.author_time + commit.author_timezone
    sign, zone = ("-" if commit.author_timezone < 0 else "+"), abs(commit.author_timezone) // 60
    moment = time.gmtime(at)
    said = time.strftime("%a %b %-d %H:%M:%S %Y", moment)
    merged = ""
    if len(commit.parents) > 1:
        merged = f"Merge: {' '.join(p.decode()[:_SHORT] for p in commit.parents)}\n"
    message = commit.message.decode("utf-8", "replace").strip("\n")
    body = "".join(f"    {line}\n" for line in message.split("\n"))
    return (
        f"commit {commit.id.decode()}\n{merged}Author: {commit.author.decode('utf-8', 'replace')}\n"
        f"Date:   {said} {sign}{zone // 60:02d}{zone % 60:02d}\n\n{body}"
    )


def _subject(commit: Any) -> str:
    paragraph = commit.message.decode("utf-8", "replace").strip("\n").split("\n\n")[0]
    return " ".join(paragraph.split("\n"))


def _log(words: list[str], where: Where) -> Printed:
    words = [f"-n{word[1:]}" if re.fullmatch(r"-\d+", word) else word for word in words]
    asked = options(words, "", "n", "oneline max-count= no-decorate no-color")
    tree = where.tree
    revision = asked.words[0] if asked.words else "HEAD"
    if len(asked.words) > 1:
        raise NotAnswered
    start = tree.named(revision)
    count = asked.number("n", asked.number("max-count", _MOST))
    if start == tree.commit:
        shas = tree.history()[:count]
    else:
        shas = Tree(tree.store, start, None).history()[:count]
    commits = [tree.store[sha] for sha in shas]
    if "oneline" in asked.options:
        return Printed("".join(f"{c.id.decode()[:_SHORT]} {_subject(c)}\n" for c in commits))
    return Printed("\n".join(map(_header, commits)))


def _patch(tree: Tree, old: bytes | None, new: bytes) -> str:
    out = io.BytesIO()
    extra("dulwich.patch", "agents.repository").write_tree_diff(out, tree.store, old, new)
    return out.getvalue().decode("utf-8", "replace")


def _names(tree: Tree, old: bytes | None, new: bytes, *, status: bool) -> str:
    lines: list[str] = []
    for paths, _, _ in tree.store.tree_changes(old, new):
        old_path, new_path = cast("tuple[bytes | None, bytes | None]", paths)
        letter = "A" if old_path is None else "D" if new_path is None else "M"
        path = (new_path or old_path or b"").decode("utf-8", "replace")
        lines.append(f"{letter}\t{path}\n" if status else f"{path}\n")
    return "".join(lines)


def _changes(tree: Tree, asked: Asked, old: bytes | None, new: bytes) -> str:
    if "name-only" in asked.options:
        return _names(tree, old, new, status=False)
    if "name-status" in asked.options:
        return _names(tree, old, new, status=True)
    return _patch(tree, old, new)


def _show(words: list[str], where: Where) -> Printed:
    asked = options(words, "", "", "name-only name-status no-color")
    tree = where.tree
    if len(asked.words) > 1:
        raise NotAnswered
    revision, has_path, path = (asked.words[0] if asked.words else "HEAD").partition(":")
    commit = tree.store[tree.named(revision or "HEAD")]
    if has_path:
        return _shown_file(Tree(tree.store, commit.id, None), revision, path, where)
    if len(commit.parents) > 1:
        raise NotAnswered
    old = tree.store[commit.parents[0]].tree if commit.parents else None
    return Printed(f"{_header(commit)}\n{_changes(tree, asked, old, commit.tree)}")


def _shown_file(tree: Tree, revision: str, path: str, where: Where) -> Printed:
    if path.startswith(("./", "../")):
        path = f"{where.folder}/{path}"
    try:
        entry = tree.find(path, follow=False)
    except MissingError:
        return Printed(f"fatal: path '{path}' does not exist in '{revision}'\n", missed=True)
    if entry.kind != "file":
        raise NotAnswered
    try:
        return Printed(tree.blob(entry.sha).decode())
    except UnicodeDecodeError:
        raise NotAnswered from None


def _diff(words: list[str], where: Where) -> Printed:
    asked = options(words, "", "", "name-only name-status cached staged no-color")
    tree, revisions = where.tree, list(asked.words)
    if len(revisions) == 1 and ".." in revisions[0]:
        if "..." in revisions[0]:
            raise NotAnswered
        revisions = [part or "HEAD" for part in revisions[0].split("..")]
    if len(revisions) > 2:
        raise NotAnswered
    if not revisions:  # nothing was changed since the commit
        return Printed("")
    old, new = (tree.store[tree.named(r)].tree for r in [*revisions, "HEAD"][:2])
    return Printed(_changes(tree, asked, old, new))


def _status(words: list[str], where: Where) -> Printed:
    asked = options(words, "sb", "", "short porcelain branch")
    has: Sequence[str] = [*asked.options]
    if asked.words or {"b", "branch"} & set(has):
        raise NotAnswered
    if {"s", "short", "porcelain"} & set(has):
        return Printed("")
    # git's objects do not tell which branch was checked out
    head = where.tree.commit.decode()[:_SHORT]
    said = f"HEAD detached at {head}\nnothing to commit, working tree clean\n"
    return Printed(said, exact=False)


_COMMANDS = {"log": _log, "show": _show, "diff": _diff, "status": _status}
