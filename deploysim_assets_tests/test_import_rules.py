"""Who may import whom: the rooms of the design hold."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "deploysim_assets"
ROOMS = {
    "storage", "evidence", "logs", "deidentify", "endpoint", "grading", "forecast", "report",
    "synthetic",
}  # fmt: skip
SHARED_BY_ROOMS = {"schema", "project", "behaviors"}
EXCEPTIONS = {"grading": {"endpoint", "storage"}, "endpoint": {"storage"}, "evidence": {"storage"}}
HEAVY = {
    "great_expectations",
    "presidio_analyzer",
    "presidio_anonymizer",
    "spacy",
    "matplotlib",
    "scipy",
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
