"""The files of a repository at a commit, read from git's objects. No process is started, nothing is
checked out, and no path leads out of the tree."""

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from deploysim_assets.agents.extras import extra
from deploysim_assets.project import ProjectError

_MOST_LINKS = 40
_LARGEST = 10_000_000
_MOST_ANCESTORS = 100_000


class NotAnswered(Exception):
    """What a repository's objects do not tell."""


class MissingError(Exception):
    """A path that is not in the tree; the argument is the path as it was asked for."""


class Entry(NamedTuple):
    """What lies at a path of the tree: `kind` is file, folder or module."""

    path: str
    kind: str
    sha: bytes
    is_link: bool = False


class Tree:
    """One commit's files. `root` is where the agent's tools saw the repository, for absolute
    paths."""

    def __init__(self, store: Any, commit: bytes, root: str | None) -> None:
        self.store, self.commit, self._root = store, commit, root
        self._folders: dict[str, dict[str, tuple[int, bytes]]] = {}
        self._top: bytes = store[commit].tree
        self._order: list[bytes] | None = None

    def children(self, path: str) -> dict[str, tuple[int, bytes]]:
        """Mode and id of what a folder of the tree (a path without links) holds, by name."""
        if path not in self._folders:
            sha = self._top if not path else self._raw(path)[1]
            self._folders[path] = {
                item.path.decode("utf-8", "replace"): (item.mode, item.sha)
                for item in self.store[sha].items()
            }
        return self._folders[path]

    def _raw(self, path: str) -> tuple[int, bytes]:
        folder, _, name = path.rpartition("/")
        return self.children(folder)[name]

    def inside(self, path: str, folder: str = "") -> str:
        """A path as said, relative to the tree's top; NotAnswered where it lies elsewhere."""
        if path.startswith("/"):
            if self._root is None or not (path.rstrip("/") + "/").startswith(self._root + "/"):
                raise NotAnswered
            return path.removeprefix(self._root).lstrip("/")
        return posixpath.join(folder, path)

    def find(self, path: str, folder: str = "", *, follow: bool = True) -> Entry:
        """What lies at a path, links followed within the tree. MissingError where nothing does;
        NotAnswered where it leads out of the tree."""
        parts = [*reversed(self.inside(path, folder).split("/"))]
        at: list[str] = []
        links = 0
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not at:
                    raise NotAnswered
                at.pop()
                continue
            if part == ".git" and not at:  # it is there, and not among its objects
                raise NotAnswered
            found = self._child("/".join(at), part, path)
            if _is_link(found[0]) and (parts or follow):
                links += 1
                if links > _MOST_LINKS:
                    raise MissingError(path)
                target = self.blob(found[1]).decode("utf-8", "replace")
                if target.startswith("/"):
                    target = self.inside(target)
                    at = []
                parts += reversed(target.split("/"))
                continue
            at.append(part)
        whole = "/".join(at)
        if not whole:
            return Entry("", "folder", self._top)
        mode, sha = self._raw(whole)
        return Entry(whole, _kind(mode), sha, _is_link(mode))

    def _child(self, folder: str, name: str, asked: str) -> tuple[int, bytes]:
        kind = _kind(self._raw(folder)[0]) if folder else "folder"
        if kind == "module":
            raise NotAnswered
        if kind != "folder":
            raise MissingError(asked)
        found = self.children(folder).get(name)
        if found is None:
            raise MissingError(asked)
        return found

    def walk(self, path: str) -> Iterator[Entry]:
        """Everything below a folder of the tree, by name, folders before what they hold."""
        for name, (mode, sha) in sorted(self.children(path).items()):
            entry = Entry(posixpath.join(path, name), _kind(mode), sha, _is_link(mode))
            yield entry
            if entry.kind == "folder":
                yield from self.walk(entry.path)

    def blob(self, sha: bytes) -> bytes:
        """A file's bytes; NotAnswered for a very large one."""
        data: bytes = self.store[sha].data
        if len(data) > _LARGEST:
            raise NotAnswered
        return data

    def history(self) -> list[bytes]:
        """The commit and all before it, latest first: nothing later can be named."""
        if self._order is None:
            walk = extra("dulwich.walk", "agents.repository")
            walker = walk.Walker(self.store, [self.commit], max_entries=_MOST_ANCESTORS)
            self._order = [entry.commit.id for entry in walker]
        return self._order

    def named(self, revision: str) -> bytes:
        """The commit that a revision names: HEAD, or the start of an ancestor's id, with ~N and
        ^. NotAnswered for anything else."""
        base, back = revision, 0
        while True:
            if base.endswith("^"):
                base, back = base[:-1], back + 1
            elif (head := base.rpartition("~"))[1] and (head[2] or "1").isdecimal():
                base, back = head[0], back + int((head[2] or "1")[:6])
            else:
                break
        if base in ("HEAD", "@"):
            sha = self.commit
        else:
            start = base.lower().encode()
            fits = [s for s in self.history() if s.startswith(start)]
            if len(start) < 4 or len(fits) != 1:
                raise NotAnswered
            sha = fits[0]
        for _ in range(back):
            parents = self.store[sha].parents
            if not parents:
                raise NotAnswered
            sha = parents[0]
        return sha


def _is_link(mode: int) -> bool:
    return mode & 0o170000 == 0o120000


def _kind(mode: int) -> str:
    kinds = {0o040000: "folder", 0o160000: "module"}
    return kinds.get(mode & 0o170000, "file")


def open_store(path: Path) -> Any:
    """The object store of a bare or plain repository. Its configuration, hooks and working files
    are not read. ProjectError where there is none."""
    store = extra("dulwich.object_store", "agents.repository")
    for objects in (path / ".git" / "objects", path / "objects"):
        if objects.is_dir():
            return store.DiskObjectStore(objects)
    raise ProjectError(f"deploysim.yaml: agents.repository: {path}: no git repository")
