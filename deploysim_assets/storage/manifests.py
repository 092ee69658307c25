"""The manifest of a table version: its files by digest, the manifests of what it was made from, and
by whom, when, with which configuration, code and libraries. Written once and never changed."""

import getpass
import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel, Field, ValidationError

from deploysim_assets.project.installed import code, version_of
from deploysim_assets.storage.statements import parsed, statement

MANIFEST = "_MANIFEST.json"
MANIFEST_TYPE = "urn:deploysim:table-version:v1"
FORMAT = 2
"""The format number of what is written today: replies with steps, prefixes and conversations with
tools. A table of a lower number is read in today's columns."""

UPGRADED_FORMAT = 0
"""The format number of a manifest that `deploysim upgrade` wrote beside an older table."""
_LIBRARIES = (
    "dagster", "duckdb", "faker", "gliner", "google-re2", "numpy", "onnxruntime", "openai",
    "orjson", "phonenumbers", "polars", "presidio-analyzer", "presidio-anonymizer", "pyarrow",
    "pydantic", "python-jsonpath", "scipy", "spacy", "tokenizers", "torch", "transformers",
    "zstandard",
)  # fmt: skip


class Run(NamedTuple):
    """Who makes a table, and with what part of the project's files (as content)."""

    id: str = ""
    launched_by: str = ""
    settings: Mapping[str, Any] = {}


class Input(NamedTuple):
    """A table version that another one was made from, by the digest of its manifest."""

    asset: str
    partition: str | None
    version: str
    manifest: str


class _Named(BaseModel):
    name: str
    bytes: int
    rows: int | None


class _Log(BaseModel):
    file: str
    sha256: str
    bytes: int


class _Head(BaseModel):
    records: int
    hash: str


class _Made(BaseModel):
    id: str
    launched_by: str
    at: datetime


class _Said(BaseModel):
    """What every manifest must say, so that those who read it need not ask again."""

    format: int
    asset: str
    partition: str | None
    version: str
    content: str
    files: list[_Named]
    inputs: list[Input]
    log_files: list[_Log]
    ledger: _Head | None
    run: _Made
    settings: dict[str, Any]
    code: dict[str, Any]
    libraries: dict[str, Any]
    schema_: dict[str, dict[str, Any]] = Field(alias="schema")


class Manifest(NamedTuple):
    """A manifest as read: where it lies, its digest, the digests of the version's files by name
    (relative to the home), and what else it says."""

    path: Path
    digest: str
    files: dict[str, str]
    predicate: dict[str, Any]

    @property
    def asset(self) -> str:
        return self.predicate["asset"]

    @property
    def partition(self) -> str | None:
        return self.predicate["partition"]

    @property
    def version(self) -> str:
        return self.predicate["version"]

    @property
    def inputs(self) -> list[Input]:
        """What the version was made from."""
        return [Input(**found) for found in self.predicate["inputs"]]

    @property
    def made_at(self) -> datetime:
        return datetime.fromisoformat(self.predicate["run"]["at"])


def user() -> str:
    """Who this process belongs to; a container may know no name, then the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@cache
def libraries() -> dict[str, str]:
    """The versions of the libraries that shape results, as installed here."""
    found = {name: version_of(name) for name in _LIBRARIES}
    return {name: version for name, version in found.items() if version is not None}


def predicate(
    asset: str, partition: str | None, version: str, run: Run, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What a manifest says beside its files' digests."""
    who = {"id": run.id, "launched_by": run.launched_by or user()}
    return {
        "format": FORMAT,
        "asset": asset,
        "partition": partition,
        "version": version,
        "settings": dict(run.settings),
        "code": code(),
        "libraries": libraries(),
        "run": who | {"at": datetime.now(UTC).isoformat()},
        **facts,
    }


def written(files: Mapping[str, str], said: Mapping[str, Any]) -> bytes:
    """A manifest's bytes."""
    return statement(files, MANIFEST_TYPE, said)


def read(path: Path) -> Manifest:
    """A manifest from its file; FileNotFoundError where there is none, ValueError where it is not
    whole."""
    content = path.read_bytes()
    try:
        files, said = parsed(content, MANIFEST_TYPE)
        _Said.model_validate(said)
    except (orjson.JSONDecodeError, ValidationError) as wrong:
        raise ValueError("not whole") from wrong
    return Manifest(path, hashlib.sha256(content).hexdigest(), files, said)
