"""`deploysim init`: schemas of what it writes, and a project for logs that are there."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from deploysim_assets.cli.commands import main
from deploysim_assets.project import ProjectError
from deploysim_assets.project.file import load_project
from deploysim_assets.project.json_schema import FOLDER, SCHEMAS
from deploysim_assets_tests.support import environment


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEPLOYSIM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def _line(number: int, **more: Any) -> str:
    line = {
        "conversation_id": f"c{number}", "user_id": f"u{number % 3}", "language": "en",
        "started_at": f"2026-05-{1 + number % 28:02}T10:00:00Z", "training_allowed": True,
        "messages": [
            {"role": "user", "content": "Where is my order?"},
            {"role": "assistant", "content": "On its way, word for word."},
        ],
    }  # fmt: skip
    return json.dumps(line | more)


def _logs(folder: Path, lines: list[str]) -> None:
    folder.mkdir()
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n")


def _init(*options: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["init", *options])
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_shipped_schemas_are_those_of_the_models(name: str) -> None:
    shipped = json.loads((FOLDER / name).read_text())
    assert shipped == json.loads(json.dumps(SCHEMAS[name]())), (
        "run python -m deploysim_assets.project.json_schema"
    )
    jsonschema.Draft202012Validator.check_schema(shipped)


@pytest.mark.parametrize("file", ["deploysim.yaml", "behaviors.yaml"])
def test_what_init_writes_names_its_schema_and_holds_to_it(home: Path, file: str) -> None:
    _init()
    first, *_ = (home / file).read_text().splitlines()
    found = re.fullmatch(r"# yaml-language-server: \$schema=file://(/.*)", first)
    assert found
    schema = json.loads(Path(found[1]).read_text())
    content = yaml.safe_load((home / file).read_text())
    jsonschema.validate(content, schema)
    assert load_project(home).self_replay, "the first interval is as wide as the prior without it"
    wrong = content | {"relases": []} if isinstance(content, dict) else [{"nmae": "x"}]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


@pytest.mark.parametrize(
    ("place", "mend"),
    [
        ({"relases": []}, "relases: there is no such setting -> did you mean 'releases'?"),
        ({"sampling": {"max_prefix": 3}}, "did you mean 'max_prefixes'?"),
        ({"prices": {"m": {"promt": 1}}}, "did you mean 'prompt'?"),
        ({"endpoint": {"base_url": "http://x", "budget": {"tokns": 1}}}, "did you mean 'tokens'?"),
        ({"judge": {"model": "j", "zzz": 1}}, "there are: api, api_key_env"),
        ({"behaviors": [{"name": "a", "definition": "d", "aplies_to": {}}]}, "'applies_to'"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(
    home: Path, place: dict[str, Any], mend: str
) -> None:
    _init()
    path = home / "deploysim.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | place))
    with pytest.raises(ProjectError, match=re.escape(mend)):
        load_project(home)


def test_a_project_for_logs_says_what_they_hold_and_loads(home: Path, tmp_path: Path) -> None:
    _logs(tmp_path / "logs [old]", [*(_line(i) for i in range(9)), "{}"])
    said = _init("--from", "logs [old]", "--candidate", "next one", "--prices", "2.5", "10",
                 "--level", "0")  # fmt: skip
    assert "format   openai_chat" in said
    assert "9 conversations of 3 users, 9 user turns with a reply; 1 rejected" in said
    assert "language 9 en" in said and "consent  9 yes" in said
    assert re.search(r"cost     \d+\.\d\d in money for a first forecast of 9 prefixes", said)
    assert "word for word" not in said
    project = load_project(home)
    old, new = project.releases
    assert (old.model_version, new.model_version) == ("model-1", "next-one")
    assert new.candidate and new.candidate.model == "next one"
    assert project.self_replay and project.self_replay.max_prefixes == 9
    assert project.deidentification.min_level == 0
    assert set(project.prices) == {"model-1", "next one", "judge-model"}
    status = json.loads(CliRunner().invoke(main, ["status", "--json"]).stdout)
    assert [r["next"] for r in status["releases"]] == [
        "deploysim backfill model-1",
        "deploysim forecast next-one",
    ]
    assert CliRunner().invoke(main, ["plan", "--json"]).exit_code == 0
    assert "is there already" in _init("--from", "logs [old]", code=64)


def test_several_models_become_releases_in_order_of_time(home: Path, tmp_path: Path) -> None:
    lines = [_line(i, model="late/b", started_at="2026-06-01T00:00:00Z") for i in range(5)]
    lines += [_line(10 + i, model="early: a", started_at="2026-05-01T00:00:00Z") for i in range(5)]
    _logs(tmp_path / "logs", lines)
    _init("--from", "logs")
    early, late = load_project(home).releases
    assert (early.model_version, early.predecessor) == ("early-a", None)
    assert early.logs.model_names == ("early: a",)
    assert (late.model_version, late.predecessor) == ("late-b", "early-a")
    assert late.asked_as.model == "late/b"


def test_names_of_others_obey_no_terminal_and_break_no_yaml(home: Path, tmp_path: Path) -> None:
    name = 'a"b: {x}\x1b[31m\u2028 #\x85'
    _logs(tmp_path / "logs", [_line(i, model=name, surface="\x1b]0;x\x07") for i in range(5)])
    assert "\x1b" not in _init("--from", "logs")
    [first, _] = load_project(home).releases
    assert first.logs.model_names == (name,)


def test_a_wrong_option_leaves_no_project_behind(home: Path, tmp_path: Path) -> None:
    _logs(tmp_path / "logs", [_line(i) for i in range(5)])
    assert "base_url" in _init("--from", "logs", "--base-url", "no address", code=64)
    assert not (home / "deploysim.yaml").exists()
    _init("--from", "logs")


def test_without_consent_it_says_what_is_missing_and_invents_none(
    home: Path, tmp_path: Path
) -> None:
    _logs(tmp_path / "logs", [_line(i, training_allowed=None) for i in range(5)])
    said = _init("--from", "logs")
    assert "nothing may be used before you write down why" in said
    assert load_project(home).release("model-1").logs.consent_basis is None


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([json.dumps({"conversation_id": "c", "started_at": None,
                      "messages": [{"role": "user", "content": "hi"}]})], "nothing to ask"),
        (["not json"], "no known format"),
    ],
)  # fmt: skip
def test_logs_that_hold_nothing_to_ask_write_no_project(
    home: Path, tmp_path: Path, lines: list[str], why: str
) -> None:
    _logs(tmp_path / "logs", lines)
    said = _init("--from", "logs", code=64)
    assert why in said or "format" in said
    assert not (home / "deploysim.yaml").exists()


def test_what_only_reads_loads_no_dagster_and_no_statistics(home: Path) -> None:
    _init()
    for arguments, absent in (
        (["--help"], ("pydantic", "polars", "rich", "dagster")),
        (["status"], ("dagster", "scipy", "openai", "aiohttp", "matplotlib")),
        (["gate", "model-2"], ("dagster", "scipy", "openai", "aiohttp", "matplotlib")),
        (["report", "model-2"], ("dagster", "scipy", "openai", "aiohttp", "matplotlib")),
    ):
        code = (
            "import sys\nfrom deploysim_assets.cli.commands import main\n"
            f"try: main({arguments})\nexcept SystemExit: pass\n"
            f"sys.exit(','.join(m for m in {absent} if m in sys.modules) or None)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(home), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stderr}"


def test_logs_with_tools_get_an_agents_section_and_are_said_to_have_them(home: Path) -> None:
    call = {"id": "1", "function": {"name": "look_up", "arguments": "{}"}}
    work = [
        {"role": "user", "content": "Where is my order?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "On its way", "tool_call_id": "1"},
        {"role": "assistant", "content": "On its way."},
    ]
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
    _logs(
        home.parent / "logs",
        [_line(0), _line(1, messages=work), _line(2, messages=work, tools=[tool])],
    )
    said = _init("--from", "logs")
    assert "conversations with tools: 1 told from their calls, 1 declared" in said
    assert load_project(home).agents is not None
    looked = CliRunner().invoke(main, ["import", "--dry-run", "logs"]).output
    assert "1 with tools, 1 with tools told from their calls" in looked
    assert looked.count("tools: look_up") == 2
    assert "tools: look_up (told from their calls)" in looked


def test_logs_without_tools_get_none(home: Path) -> None:
    _logs(home.parent / "logs", [_line(n) for n in range(3)])
    assert "conversations with tools" not in _init("--from", "logs")
    assert load_project(home).agents is None
