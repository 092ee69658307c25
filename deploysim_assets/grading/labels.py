"""People's labels of graded replies: the CSV that goes out to them blind, and what comes back."""

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from deploysim_assets.project import ProjectError

LABELS_FILE = "labels.csv"
ANSWERS = ("yes", "no", "unsure")
KEYS = ("source", "model_version", "prefix_id", "behavior", "grader_id")
"""What a label is bound to. The grader's identity covers judge, prompt and rubric: with another
identity the label is stale."""

_KEPT = (*KEYS, "labeler", "label", "labeled_at")
SHEET = (*KEYS, "definition", "rubric", "conversation", "reply", "label", "labeler")
"""Columns of the sheet to label. What the grader said is not among them: people must not know."""


class Label(NamedTuple):
    """One person's answer on whether a reply shows a behavior."""

    source: str
    model_version: str
    prefix_id: str
    behavior: str
    grader_id: str
    labeler: str
    label: str


def write_sheet(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write a sheet to label, readable by its owner alone; returns the number of rows."""
    partial = path.with_name(f"{path.name}.partial")
    with os.fdopen(
        os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        "w",
        encoding="utf-8",
        newline="",
    ) as file:
        writer = csv.DictWriter(file, list[str](SHEET))
        writer.writeheader()
        count = 0
        for row in rows:
            writer.writerow(row)
            count += 1
    partial.replace(path)
    return count


def read_sheet(path: Path) -> list[dict[str, str]]:
    """The rows of a sheet; ProjectError where a column is missing or an answer is none of yes,
    no, unsure and empty."""
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [
            name for name in (*KEYS, "label", "labeler") if name not in (reader.fieldnames or [])
        ]
        if missing:
            raise ProjectError(
                f"{path}: no column {', '.join(missing)}; take the sheet that `deploysim audit "
                "graders draw` wrote"
            )
        rows = [{name: (row.get(name) or "") for name in SHEET} for row in reader]
    for number, row in enumerate(rows, 2):
        if row["label"].strip().casefold() not in (*ANSWERS, ""):
            raise ProjectError(
                f"{path}, row {number}: label {row['label']!r}: write yes, no or unsure, or "
                "leave it empty"
            )
        if row["label"].strip() and not row["labeler"].strip():
            raise ProjectError(f"{path}, row {number}: no labeler; write who labeled it")
    return rows


def keep(home: Path, rows: Iterable[dict[str, str]]) -> tuple[int, int]:
    """Append the answered rows of a sheet to the project's labels, without texts; returns kept and
    left out as kept before.

    A person who answers anew replaces the answer: the newest counts.
    """
    path = home / LABELS_FILE
    known = set(labels(home))
    new: list[Label] = []
    repeated = 0
    for row in rows:
        if not row["label"].strip():
            continue
        keys = {name: row[name] for name in KEYS}
        label = Label(**keys, labeler=row["labeler"].strip(), label=row["label"].strip().casefold())
        if label in known:
            repeated += 1
        else:
            new.append(label)
    at = datetime.now(UTC).isoformat()
    fresh = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(_KEPT)
        writer.writerows((*label, at) for label in new)
        file.flush()
        os.fsync(file.fileno())
    return len(new), repeated


def labels(home: Path) -> Iterator[Label]:
    """The project's labels, the newest of each person, item and behavior."""
    path = home / LABELS_FILE
    if not path.exists():
        return
    newest: dict[tuple[str, ...], Label] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            label = Label(*(row[name] for name in Label._fields))
            newest[label[:-1]] = label
    yield from newest.values()


def labels_digest(home: Path) -> dict[str, Any]:
    """The labels as they are now: SHA-256 and number of bytes. They are only ever appended to, but
    for withdrawals."""
    path = home / LABELS_FILE
    content = path.read_bytes() if path.exists() else b""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def agreed(answers: Iterable[str]) -> bool | None:
    """What the people who labeled an item hold by majority; None where they are split or unsure."""
    votes = Counter(answers)
    return None if votes["yes"] == votes["no"] else votes["yes"] > votes["no"]


def sheets(home: Path) -> list[Path]:
    """The labels, and every sheet that lies in the home to be labeled."""
    found: list[Path] = []
    for path in sorted(home.glob("*.csv")):
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            if set(KEYS) <= set(csv.DictReader(file).fieldnames or []):
                found.append(path)
    return found


def without_prefixes(path: Path, partial: Path, prefixes: Collection[str]) -> int | None:
    """Write the rows of labels or of a sheet that are about none of some prefixes to `partial`;
    returns how many are not among them, None for none."""
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns, rows = list(reader.fieldnames or []), list(reader)
    kept = [row for row in rows if row["prefix_id"] not in prefixes]
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(kept)
    return len(rows) - len(kept) or None
