"""What evidence costs: manifests against the time of a corpus run, the speed at which an audit
hashes, and how long a long ledger takes to open.

python -m deploysim_assets.benchmarks.evidence [--conversations 200000] [--megabytes 2000]
[--records 10000]
"""

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from functools import wraps
from pathlib import Path
from typing import Any

import yaml

from deploysim_assets.benchmarks.corpus import write_logs
from deploysim_assets.report.tables import console, rich_table
from deploysim_assets.storage import disk, ledger
from deploysim_assets.storage.signing import PAYLOAD_TYPE
from deploysim_assets.storage.statements import canonical, digest, statement

_BODY = 4_000


def write_ledger(home: Path, records: int) -> None:
    """A ledger of so many records, each with a body of some KB, as `ledger.append` writes them:
    one after the other it would force each to disk."""
    import base64

    (home / ledger.LEDGER).mkdir(parents=True)
    previous = "0" * 64
    for seq in range(1, records + 1):
        rows = [{"behavior": f"behavior {i}", "rate": i / seq, "p95_high": i} for i in range(64)]
        body = {"rows": rows, "seq": seq}
        said = {
            "seq": seq,
            "at": "2026-01-01T00:00:00+00:00",
            "kind": "forecast",
            "model_version": "m",
            "body": body,
            "previous": previous,
        }
        payload = statement({f"lake/a/run={seq}": digest(body)}, ledger.RECORD_TYPE, said)
        bare: dict[str, Any] = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [],
        }
        content = canonical(bare | {"sha256": digest(bare)})
        ledger.record_path(home, seq).write_bytes(content)
        previous = hashlib.sha256(payload).hexdigest()


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def opening(home: Path, records: int) -> tuple[float, float]:
    """Seconds to read and verify a ledger, and to read it again in the same process."""
    write_ledger(home, records)
    first = _seconds(lambda: ledger.read(home))
    assert len(ledger.read(home)) == records
    return first, _seconds(lambda: ledger.read(home))


def hashing(folder: Path, megabytes: int) -> tuple[float, float]:
    """MB hashed per second by one core, and by an audit's way through many files."""
    paths = [folder / f"{i}.bin" for i in range(16)]
    block = os.urandom(1 << 20)
    for path in paths:
        path.write_bytes(block * (megabytes // 16))
    size = sum(path.stat().st_size for path in paths) / 1e6
    alone = _seconds(lambda: [disk.sha256(path) for path in paths])
    together = _seconds(lambda: disk.sha256_of_all(paths))
    return size / alone, size / together


class _Clock:
    """Adds up the time that functions take."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = False

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return function(*args, **kwargs)
            self._inside = True
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - begun
                self._inside = False

        return timed


@contextlib.contextmanager
def _timed_manifests(clock: _Clock) -> Generator[None]:
    """Time all that is done for evidence alone: hashing files, hashing logs and counting their
    lines, forcing to disk, and writing manifests down."""
    from deploysim_assets.logs import conversations
    from deploysim_assets.storage import tables

    places: list[tuple[Any, str]] = [
        (tables.Lake, "_manifest_of"),
        (disk, "force"),
        (disk, "create"),
        (conversations, "facts"),
    ]
    before = [getattr(owner, name) for owner, name in places]
    for owner, name in places:
        setattr(owner, name, clock.of(getattr(owner, name)))
    try:
        yield
    finally:
        for (owner, name), function in zip(places, before, strict=True):
            setattr(owner, name, function)


def _run_corpus(home: Path) -> None:
    """Materialize a corpus in this process, and print the seconds of it all and of evidence."""
    import dagster as dg

    from deploysim_assets.definitions import defs

    assets = [
        asset
        for asset in defs.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        and asset.key.to_user_string() in ("log_files", "raw_logs", "deidentified_prefixes")
    ]
    clock = _Clock()
    with dg.DagsterInstance.ephemeral() as instance, _timed_manifests(clock):
        begun = time.perf_counter()
        done = dg.materialize(
            assets,
            partition_key="m",
            instance=instance,
            resources=defs.resources,
            selection=["raw_logs", "deidentified_prefixes"],
        )
        assert done.success
        seconds = time.perf_counter() - begun
    (home / "seconds.json").write_text(json.dumps([seconds, clock.seconds]))


def corpus(home: Path, conversations: int) -> tuple[float, float]:
    """Seconds of a corpus run with everything in it, and how many of them went into evidence."""
    write_logs(home / "logs.jsonl", conversations)
    rule = {"grader": "rule", "rule": {"part": "reply", "regex": "x"}}
    config = {
        "releases": [
            {"model_version": "m", "logs": {"format": "openai_chat", "path": "logs.jsonl"}}
        ],
        "endpoint": {"base_url": "http://127.0.0.1:1/v1"},
        "behaviors": [{"name": "b", "definition": "d", **rule}],
        "sampling": {"max_prefixes": conversations},
        "deidentification": {"min_level": 0},
    }
    (home / "deploysim.yaml").write_text(yaml.safe_dump(config))
    here = {"DEPLOYSIM_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", __spec__.name, "--corpus", str(home)]
    subprocess.run(command, env=os.environ | here, check=True, capture_output=True)  # noqa: S603
    seconds, evidence = json.loads((home / "seconds.json").read_text())
    return seconds, evidence


def main() -> None:
    """Print the table; exit code 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--conversations", type=int, default=200_000)
    parser.add_argument("--megabytes", type=int, default=2_000)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.corpus:
        _run_corpus(asked.corpus)
        return
    with tempfile.TemporaryDirectory() as folder:
        first, again = opening(Path(folder), asked.records)
    with tempfile.TemporaryDirectory() as folder:
        alone, together = hashing(Path(folder), asked.megabytes)
    with tempfile.TemporaryDirectory() as folder:
        whole, evidence = corpus(Path(folder), asked.conversations)
    share = evidence / (whole - evidence)
    rows = [
        ["ledger", f"{asked.records:,} records open in {first:.2f} s, again in {again:.3f} s"],
        [
            "hashing",
            f"{alone:,.0f} MB/s by one core, {together:,.0f} MB/s by {os.cpu_count()} cores "
            f"({together / alone:.2f} times)",
        ],
        [
            "manifests",
            f"{evidence:.2f} s of a corpus run of {whole:,.1f} s ({asked.conversations:,} "
            f"conversations): {share:.2%} on top of the rest",
        ],
    ]
    console().print(rich_table("Evidence", ("", ""), rows))
    sys.exit(first >= 1 or alone <= 500 or share >= 0.05)


if __name__ == "__main__":
    main()
