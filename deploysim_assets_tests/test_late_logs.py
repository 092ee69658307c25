"""Late logs: what is taken over from the version before is, byte for byte, what would be made from
nothing, and nobody who withdrew comes back with it."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deploysim_assets.assets import cleaned_before
from deploysim_assets.assets.deidentified_prefixes import clean_release
from deploysim_assets.assets.raw_logs import read_release
from deploysim_assets.assets.registry_lines import registry_line
from deploysim_assets.benchmarks.forget_kills import withdraw
from deploysim_assets.deidentify import prefixes
from deploysim_assets.deidentify.earlier import cleaned_with
from deploysim_assets.deidentify.keys import Keys, load_keys
from deploysim_assets.deidentify.scrub import Scrubber
from deploysim_assets.logs import conversations
from deploysim_assets.project import ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets.storage import earlier, manifests, tables
from deploysim_assets.storage.manifests import Run
from deploysim_assets.storage.tables import Lake

MADE = ("raw_logs", "deidentified_prefixes")
FILES = ("a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl", "e.jsonl")


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of many files, and one scrubber for all of them."""
    monkeypatch.setattr(tables, "ROWS_PER_FILE", 6)
    monkeypatch.setattr(earlier, "ROWS_PER_FILE", 6)
    monkeypatch.setattr(tables, "_BATCH", 2)
    monkeypatch.setattr(cleaned_before, "_BATCH", 3)
    monkeypatch.setattr(prefixes, "CHUNK", 10_000)
    known: dict[str, Scrubber] = {}

    def one(key: bytes, policy: Any) -> Scrubber:
        name = repr((key, policy))
        if name not in known:
            known[name] = Scrubber(key, policy)
        return known[name]

    monkeypatch.setattr(prefixes, "Scrubber", one)


def _config(home: Path, **more: Any) -> None:
    config = {
        "releases": [
            {"model_version": "m", "logs": {"format": "openai_chat", "path": "logs/*.jsonl"}}
        ],
        "endpoint": {"base_url": "http://127.0.0.1:1/v1"},
        "behaviors": [
            {
                "name": "b", "definition": "d", "grader": "rule",
                "rule": {"part": "reply", "regex": "x"},
            }
        ],
        "deidentification": {"min_level": 0},
    }  # fmt: skip
    (home / "deploysim.yaml").write_text(yaml.safe_dump(config | more))


def _line(number: int, state: int = 0) -> str:
    turns = 1 + number % 3
    said = [f"Write to jo.{number}@lindenhof.de, {state}", f"Noted, {number}."]
    if number % 7 == 3:
        said[0] = "x" * 400_000  # too long a message: quarantined
    line = {
        "conversation_id": f"c{number}",
        "user_id": f"u{number % 5}",
        "started_at": f"2026-05-{1 + number % 28:02}T10:00:00Z",
        "training_allowed": number % 11 != 5,
        "surface": ("web", "app")[number % 2],
        "messages": [
            {"role": role, "content": text}
            for _ in range(turns)
            for role, text in zip(("user", "assistant"), said, strict=True)
        ],
    }
    return json.dumps(line)


def _home(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    _config(folder)
    load_keys(folder, may_create=True)
    return folder


def _view(home: Path, **settings: Any) -> Lake:
    line = registry_line(load_project(home), "m")
    return Lake.of(home).during(Run("run", "test", {"release": line, **settings}))


def _make(home: Path, keys: Keys | None = None) -> dict[str, dict[str, Any]]:
    """Both tables; what is said beside them."""
    project = load_project(home)
    keys = keys or load_keys(home, may_create=False)
    policy = project.deidentification.at(home)
    said = {"raw_logs": read_release(_view(home), project, "m")}
    with_what = project.part("deidentification") | {"cleaned_with": cleaned_with(keys, policy)}
    lake = _view(home, **with_what)
    return said | {"deidentified_prefixes": clean_release(lake, project, "m", keys, policy)}


def _content(home: Path) -> dict[str, Any]:
    found = {}
    for asset in MADE:
        manifest = Lake.of(home).manifest(asset, "m")
        assert manifest is not None
        stats = Lake.of(home).stats(asset, "m")
        del stats["reused"]
        stats.pop("raw_logs_version", None)
        found[asset] = (manifest.predicate["content"], manifest.predicate["log_files"], stats)
    return found


def _from_nothing(home: Path) -> dict[str, Any]:
    other = home.with_name(f"{home.name}-from-nothing")
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(home, other, ignore=shutil.ignore_patterns("lake"))
    (other / "ledger").exists() and shutil.rmtree(other / "ledger")
    _make(other)
    return _content(other)


STEPS = ("add", "change", "remove", "grow", "repeat", "policy", "seed", "fewer", "code", "kill",
         "forget", "strata")  # fmt: skip


def _change(home: Path, step: str, draw: random.Random, patch: Callable[..., None]) -> None:
    """One thing that happens to a home between two makings."""
    there = sorted((home / "logs").iterdir())
    any_file = draw.choice(there)
    number = draw.randrange(10_000)
    if step == "add":
        lines = [_line(number + i) for i in range(draw.randrange(1, 9))]
        (home / "logs" / draw.choice(FILES)).write_text("\n".join(lines) + "\n")
    elif step == "change":
        lines = any_file.read_text().splitlines()
        lines[draw.randrange(len(lines))] = _line(number, 1)
        any_file.write_text("\n".join(lines) + "\n")
    elif step == "remove" and len(there) > 1:
        any_file.unlink()
    elif step == "grow":
        with any_file.open("a") as out:
            out.write(_line(number) + "\nbroken\n")
    elif step == "repeat":  # a conversation that stands in another file, too
        with any_file.open("a") as out:
            out.write(draw.choice(draw.choice(there).read_text().splitlines()) + "\n")
    elif step == "policy":
        _config(home, deidentification={"min_level": 0, "profile": draw.choice(("chat", "strict"))})
    elif step == "seed":
        _config(home, sampling={"seed": draw.randrange(5), "max_prefixes": 12})
    elif step == "fewer":
        _config(home, sampling={"max_prefixes": draw.choice((5, 15)), "max_per_user": 3})
    elif step == "strata":
        design = {"by": "surface", "shares": {"web": 0.5, "app": 0.5}}
        _config(home, sampling={"max_prefixes": 10, "strata": design})
    elif step == "code":
        patch({"files": str(number)})
    elif step == "kill":
        lake = _view(home)
        with pytest.raises(KeyboardInterrupt), lake.new_version("raw_logs", "m", {}) as version:
            version.page("page", "half")
            raise KeyboardInterrupt
    elif step == "forget" and Lake.of(home).current("raw_logs", "m"):
        withdraw(home, f"u{draw.randrange(5)}")


@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=5), st.integers(0, 2**32))
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.generate],  # a failing case is small as it is
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_happens_in_between_the_tables_are_those_made_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[str], seed: int
) -> None:
    home, draw = _home(tmp_path / "home"), random.Random(seed)
    for name in FILES[:3]:
        (home / "logs" / name).write_text(
            "\n".join(_line(draw.randrange(10_000)) for _ in range(7)) + "\n"
        )
    _make(home)
    for step in steps:
        _change(home, step, draw, lambda said: monkeypatch.setattr(manifests, "code", lambda: said))
        _make(home)
        assert _content(home) == _from_nothing(home), (steps, step)
