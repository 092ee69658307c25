"""Who may import whom: the rooms of the design hold."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "deploysim_assets"
ROOMS = {
    "storage", "evidence", "logs", "deidentify", "endpoint", "grading", "agents", "forecast",
    "report", "synthetic",
}  # fmt: skip
SHARED_BY_ROOMS = {"schema", "project", "behaviors", "shards"}
EXCEPTIONS = {
    "grading": {"endpoint", "storage"},
    "agents": {"endpoint", "storage"},
    "endpoint": {"storage"},
    "evidence": {"storage"},
}
HEAVY = {
    "great_expectations",
    "presidio_analyzer",
    "presidio_anonymizer",
    "spacy",
    "matplotlib",
    "scipy",
    "sklearn",
    "openai",
    "pandas",
}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_no_dagster_no_assets_and_no_other_room(room: str) -> None:
    assert _files(room)
    allowed = {room} | SHARED_BY_ROOMS | EXCEPTIONS.get(room, set())
    for path in _files(room):
        for name in _imports(path):
            assert not name.split(".")[0].startswith("dagster"), f"{path} imports dagster"
            parts = name.split(".")
            if parts[0] == "deploysim_assets" and len(parts) > 1:
                assert parts[1] in allowed, f"{path} imports {name}"


@pytest.mark.parametrize(
    ("below", "above"), [("checks", {"assets", "release_checks"}), ("assets", {"release_checks"})]
)
def test_checks_of_corpora_lie_below_the_assets_and_those_of_releases_above(
    below: str, above: set[str]
) -> None:
    assert _files(below)
    for path in _files(below):
        for name in _imports(path):
            assert name.removeprefix("deploysim_assets.").split(".")[0] not in above, (
                f"{path} imports {name}"
            )


def test_the_statistics_import_nothing_of_ours_and_no_frames() -> None:
    for path in _files("forecast"):
        for name in _imports(path):
            assert name.split(".")[0] not in {"polars", "duckdb", "dagster", "pandas"}, (
                f"{path} imports {name}"
            )
            assert not name.startswith("deploysim_assets") or name.startswith(
                "deploysim_assets.forecast"
            ), f"{path} imports {name}"


def test_only_the_definitions_know_the_whole_graph() -> None:
    assert len((PACKAGE / "definitions.py").read_text().splitlines()) < 80


_HELD = {"lake", "ledger", "journal", "locks", "ledger.jsonl", "withdrawn.json"}
_HELD_NAMES = {
    "JOURNALS", "LEDGER", "LEDGER_FILE", "LOCKS", "WITHDRAWALS_FILE", "PLAN_FILE", "LAST_AUDIT",
    "MANIFEST", "POINTER", "STATS",
}  # fmt: skip
_EXEMPT = {"storage", "synthetic", "benchmarks"}


def _paths_into_storage(tree: ast.AST) -> Iterator[int]:
    """Lines that make a path to what storage/ holds, other than to say it in a sentence."""
    spoken = {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, ast.FormattedValue)
        for inside in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div):
            continue
        right = node.right
        said = right.value if isinstance(right, ast.Constant) else None
        name = getattr(right, "id", None) or getattr(right, "attr", None)
        if (said in _HELD or name in _HELD_NAMES) and id(node) not in spoken:
            yield node.lineno


def test_storage_alone_makes_paths_to_what_it_holds() -> None:
    assert list(_paths_into_storage(ast.parse('home / "journal"')))
    assert list(_paths_into_storage(ast.parse("home / ledger.LEDGER")))
    assert not list(_paths_into_storage(ast.parse('f"{home / ledger.LEDGER}: no record"')))
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in _EXEMPT
        for line in _paths_into_storage(ast.parse(path.read_text()))
    ]
    assert not found


_OPENS = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "glob", "rglob",
          "iterdir", "unlink", "rename", "scan_parquet"}  # fmt: skip


def test_the_walks_over_the_evidence_open_nothing_themselves() -> None:
    for path in _files("evidence"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
                assert name not in _OPENS, f"{path}:{node.lineno} calls {name}"
