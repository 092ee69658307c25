"""All journals of a home at once: what an audit looks answers up in, and what a withdrawal takes
answers out of."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import orjson

from deploysim_assets.storage.journal import BATCHES, JOURNALS, lines


def journal_files(home: Path, asset: str | None = None) -> list[Path]:
    """Every journal (of an asset), those set aside included, without the lists of batches."""
    folder = home / JOURNALS / asset if asset else home / JOURNALS
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith("."))
    return [p for p in found if not _is_batches(p) and p.suffix in (".jsonl", ".replaced")]


def batch_files(home: Path) -> list[Path]:
    """Every list of batches, those set aside included."""
    found = (p for p in sorted((home / JOURNALS).rglob("*")) if p.is_file())
    return [p for p in found if _is_batches(p) and p.suffix in (".jsonl", ".replaced")]


def journals_with_batches(home: Path) -> list[Path]:
    """The journals in use that have a list of batches beside them."""
    lists = sorted((home / JOURNALS).rglob(f"*{BATCHES}"))
    return [f.with_name(f.name.removesuffix(BATCHES) + ".jsonl") for f in lists]


def _is_batches(path: Path) -> bool:
    return BATCHES.removesuffix(".jsonl") in path.name


def answer_digests(home: Path, asset: str) -> Iterator[tuple[str, str]]:
    """Request key and SHA-256 of every answer that the journals of an asset hold."""
    for path in journal_files(home, asset):
        for body in lines(path):
            yield orjson.loads(body)["key"], hashlib.sha256(body).hexdigest()
