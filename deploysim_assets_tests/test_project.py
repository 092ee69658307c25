"""deploysim.yaml: every mistake gets one clear error that names file, key, what is wrong and the
mend."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploysim_assets.behaviors import AppliesTo
from deploysim_assets.project import Project, ProjectError
from deploysim_assets.project.file import home_folder, home_place, load_project

BEHAVIORS: list[dict[str, Any]] = [
    {"name": "harassment", "definition": "Insults the user.", "grader": "judge"}
]


def _config() -> dict[str, Any]:
    return {
        "releases": [
            {
                "model_version": "a",
                "predecessor": None,
                "logs": {"format": "openai_chat", "path": "logs/a/*.jsonl"},
            },
            {
                "model_version": "b",
                "predecessor": "a",
                "logs": {"format": "openai_chat", "path": "logs/b/*.jsonl"},
                "candidate": {"model": "b"},
            },
        ],
        "endpoint": {"base_url": "http://127.0.0.1:1/v1"},
        "judge": {"model": "judge"},
        "behaviors": "behaviors.yaml",
    }


def _load(home: Path, config: dict[str, Any] | str, behaviors: Any = None) -> Project:
    text = config if isinstance(config, str) else yaml.safe_dump(config)
    (home / "deploysim.yaml").write_text(text)
    (home / "behaviors.yaml").write_text(
        yaml.safe_dump(BEHAVIORS if behaviors is None else behaviors)
    )
    return load_project(home)


def test_the_issues_own_example_is_read(tmp_path: Path) -> None:
    project = _load(
        tmp_path,
        """
releases:                                  # in release order
  - model_version: gpt-4-0314
    predecessor: null
    logs: {format: openai_chat, path: "logs/gpt-4-0314/*.jsonl"}
  - model_version: gpt-4-0613
    predecessor: gpt-4-0314
    logs: {format: openai_chat, path: "logs/gpt-4-0613/*.jsonl"}
    candidate: {model: gpt-4-0613, params: {temperature: 0.1, max_tokens: 800}}
endpoint: {base_url: "http://127.0.0.1:8900/v1", api_key_env: OPENAI_API_KEY, max_concurrency: 32}
judge: {model: judge}
behaviors: behaviors.yaml
sampling: {max_prefixes: 20000, seed: 7}
deidentification: {min_level: 0}
""",
    )
    assert project.predecessor("gpt-4-0613") == "gpt-4-0314"
    assert project.candidates_of("gpt-4-0314") == ["gpt-4-0613"]
    assert project.release("gpt-4-0613").asked_as.params == {"temperature": 0.1, "max_tokens": 800}
    with pytest.raises(ValueError, match="frozen"):
        project.sampling.seed = 8  # type: ignore[misc]


def _set(path: str, value: Any) -> dict[str, Any]:
    config = _config()
    at: Any = config
    *parents, last = path.split(".")
    for part in parents:
        at = at[int(part) if part.isdigit() else part]
    if value is KeyError:
        del at[last]
    else:
        at[int(last) if last.isdigit() else last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("endpoint", KeyError, "endpoint: Field required -> add the key"),
        ("releases.0.logs", KeyError, "releases[0].logs: Field required -> add the key"),
        ("judge", KeyError, "judge: missing, but behavior 'harassment' has grader: judge"),
        (
            "releases.1.predecessor",
            "z",
            "releases[1].predecessor: 'z' is no release of this file; name one of ['a', 'b']",
        ),
        ("releases.0.predecessor", "b", "predecessors form a cycle (a -> b -> a)"),
        ("releases.1.predecessor", "b", "predecessors form a cycle (b -> b)"),
        ("releases.1.model_version", "a", "releases[1].model_version: 'a' stands twice"),
        ("releases.0.model_version", "a/b", "releases[0].model_version"),
        (
            "releases.0.candidate",
            {"model": "a"},
            "releases[0].candidate: a candidate needs a predecessor",
        ),
        ("endpoint.base_url", "127.0.0.1", "endpoint.base_url"),
        (
            "endpoint.max_concurency",
            3,
            "endpoint.max_concurency: there is no such setting -> did you mean 'max_concurrency'?",
        ),
        ("sampling", {"max_prefixes": 0}, "sampling.max_prefixes"),
        ("deidentification", {"min_level": 3}, "deidentification.min_level"),
        ("releases", [], "releases: Tuple should have at least 1 item"),
    ],
)
def test_a_wrong_key_is_named_with_its_mend(
    tmp_path: Path, path: str, value: Any, said: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        _load(tmp_path, _set(path, value))
    assert said in str(caught.value)
    assert str(tmp_path / "deploysim.yaml") in str(caught.value)


def test_releases_out_of_order_are_refused(tmp_path: Path) -> None:
    config = _config()
    config["releases"] = [config["releases"][1], config["releases"][0]]
    with pytest.raises(ProjectError, match="comes later; list releases in release order"):
        _load(tmp_path, config)


@pytest.mark.parametrize(
    ("behavior", "said"),
    [
        (
            {"name": "x", "definition": "d", "grader": "rule"},
            "a `rule` is required with grader: rule",
        ),
        (
            {
                "name": "x",
                "definition": "d",
                "grader": "judge",
                "rule": {"part": "reply", "regex": "a"},
            },
            "a `rule` is required with grader: rule",
        ),
        (
            {
                "name": "x",
                "definition": "d",
                "grader": "rule",
                "rule": {"part": "reply", "regex": "("},
            },
            "not a regular expression",
        ),
        (
            {
                "name": "x",
                "definition": "d",
                "grader": "rule",
                "rule": {"part": "reply", "json_path": "$[["},
            },
            "not a JSON path",
        ),
        (
            {"name": "x", "definition": "d", "grader": "rule", "rule": {"part": "reply"}},
            "`part` goes with regex or json_path",
        ),
        (
            {"name": "x", "definition": "d", "grader": "rule", "rule": {"all": []}},
            "all/any need at least one condition",
        ),
        (
            {
                "name": "x",
                "definition": "d",
                "grader": "rule",
                "rule": {"part": "reply", "regex": "a", "not": {"part": "reply", "regex": "b"}},
            },
            "exactly one of",
        ),
        ({"name": "status", "definition": "d"}, "is the name of a column"),
        ({"name": "x y", "definition": "d"}, "behaviors[0].name"),
    ],
)
def test_a_wrong_behavior_names_the_behaviors_file(
    tmp_path: Path, behavior: dict[str, Any], said: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        _load(tmp_path, _config(), [behavior])
    assert said in str(caught.value)
    assert str(tmp_path / "behaviors.yaml") in str(caught.value) or "behaviors[0]" in str(
        caught.value
    )


def test_two_behaviors_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="'HARASSMENT' stands twice"):
        _load(tmp_path, _config(), [*BEHAVIORS, {"name": "HARASSMENT", "definition": "d"}])


@pytest.mark.parametrize("name", ["Status", "WEIGHT", "live_flags", "shown"])
def test_a_behavior_that_would_be_counted_under_another_name_is_refused(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ProjectError, match=f"'{name}' is the name of a column"):
        _load(tmp_path, _config(), [*BEHAVIORS, {"name": name, "definition": "d"}])


def test_yaml_that_does_not_parse_or_repeats_a_key_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"deploysim\.yaml, line 2"):
        _load(tmp_path, "releases:\n  - {model_version: a, predecessor: [}\n")
    with pytest.raises(ProjectError, match="key 'endpoint' stands twice"):
        _load(tmp_path, yaml.safe_dump(_config()) + "endpoint: {base_url: 'http://x/v1'}\n")


def test_a_missing_file_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="deploysim init"):
        load_project(tmp_path)
    (tmp_path / "deploysim.yaml").write_text(yaml.safe_dump(_config()))
    with pytest.raises(ProjectError, match=r"behaviors\.yaml: there is no such file"):
        load_project(tmp_path)


def test_applies_to_takes_one_value_or_several() -> None:
    row = {"surface": "web", "language": None, "stratum": "web"}
    assert AppliesTo().covers(row)
    assert AppliesTo.model_validate({"surface": "web"}).covers(row)
    assert not AppliesTo.model_validate({"surface": ["api", "cli"]}).covers(row)
    assert not AppliesTo.model_validate({"language": "en"}).covers(row), (
        "an unknown language is not English"
    )


def test_the_environment_names_the_home_before_a_file_does_and_a_file_before_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEPLOYSIM_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "deploysim.yaml"
    assert home_place() == (".", "the current folder")
    config.write_text("releases: []\n# storage\n")
    assert home_place() == (".", "the current folder")
    config.write_text("storage: {url: s3://team/deploysim}\n")
    assert home_place() == ("s3://team/deploysim", f"storage.url of {config}")
    with pytest.raises(ProjectError, match=r"storage.url of .*: s3://... is a bucket, and this"):
        home_folder()
    for named in (str(tmp_path / "there"), "there"):
        config.write_text(f"storage: {{url: {named}}}\n")
        assert home_folder() == tmp_path / "there"
    monkeypatch.setenv("DEPLOYSIM_HOME", str(tmp_path / "said"))
    assert home_folder() == tmp_path / "said"
    assert home_place().named_by == "DEPLOYSIM_HOME"
    monkeypatch.setenv("DEPLOYSIM_HOME", "")
    for wrong in ("storage: s3://x/y", "storage: {uri: s3://x/y}", "storage: {url: ''}"):
        config.write_text(f"{wrong}\n")
        with pytest.raises(ProjectError, match=r"deploysim.yaml: storage: .*; write `storage: "):
            home_place()
