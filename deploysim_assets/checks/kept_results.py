"""Results that the same code always gives on the same libraries, in the user's cache folder."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from pydantic import TypeAdapter

from deploysim_assets.storage import disk

_PACKAGE = Path(__file__).parent.parent


def cache_folder() -> Path:
    """XDG_CACHE_HOME/deploysim, by default ~/.cache/deploysim."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "deploysim"


@cache
def code_digest(room: str, libraries: tuple[str, ...]) -> str:
    """Digest of a room's files, the Python that runs them, and the versions of libraries."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted((_PACKAGE / room).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0")
            digest.update(path.read_bytes())
    for library in libraries:
        digest.update(f"{library} {metadata.version(library)}\n".encode())
    return digest.hexdigest()


def kept(
    name: str, key: Iterable[str], make: Callable[[], list[int]], keep: Callable[[list[int]], bool]
) -> list[int]:
    """Some counts, from the cache where they were made by the same `key` before; only what `keep`
    says is good is kept. Where nothing can be read or written they are made."""
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()
    path = cache_folder() / f"{name}-{digest[:32]}.json"
    with contextlib.suppress(OSError, ValueError):
        return TypeAdapter(list[int]).validate_json(path.read_bytes(), strict=True)
    made = make()
    if keep(made):
        with contextlib.suppress(OSError):
            disk.replace(path, json.dumps(made).encode())
    return made
