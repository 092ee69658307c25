"""The files below a folder as objects."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from deploysim_assets.storage import disk
from deploysim_assets.storage.locks import SWAP, swapping
from deploysim_assets.storage.objects import Changed, Found, Held, State, StoreError, checked


class Folder:
    """The files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.where = root, str(root)

    def _path(self, name: str) -> Path:
        return self.root / checked(name)

    def get(self, name: str) -> Held:
        """See Objects."""
        path = self._path(name)
        try:
            content = disk.read(path)
        except (IsADirectoryError, NotADirectoryError):
            raise FileNotFoundError(name) from None
        return Held(content, _digest_of(content))

    def get_range(self, name: str, start: int, size: int) -> bytes:
        """See Objects."""
        with self._path(name).open("rb") as file:
            file.seek(start)
            found = file.read(size)
        if not found:
            raise StoreError(f"{self._path(name)}: has no byte {start}")
        return found

    def size(self, name: str) -> int:
        """See Objects."""
        return self._path(name).stat().st_size

    def create(self, name: str, content: bytes) -> State:
        """See Objects."""
        disk.create(self._path(name), content)
        return _digest_of(content)

    def swap(self, name: str, content: bytes, state: State) -> State:
        """See Objects."""
        path = self._path(name)
        with swapping(self.root):
            try:
                now = self.get(name).state
            except FileNotFoundError:
                raise Changed(name) from None
            if now != state:
                raise Changed(name)
            disk.replace(path, content)
        return _digest_of(content)

    def send(self, name: str, blocks: Iterable[bytes], mode: int = 0o644) -> None:
        """See Objects."""
        disk.replace_by(self._path(name), blocks, mode)

    def list(self, below: str = "") -> list[Found]:
        """See Objects."""
        found: list[Found] = []
        for folder, _, names in os.walk(self.root / below):
            for name in names:
                path = Path(folder, name)
                named = path.relative_to(self.root).as_posix()
                partial = name.startswith(".") and name.endswith(".partial")
                if path.is_file() and not partial and named != SWAP:
                    found.append(Found(named, path.stat().st_size))
        return sorted(found)

    def delete(self, name: str) -> None:
        """See Objects."""
        self._path(name).unlink(missing_ok=True)


def _digest_of(content: bytes) -> State:
    return {"sha256": hashlib.sha256(content).hexdigest()}
