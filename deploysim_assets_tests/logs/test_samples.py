"""A small hand-made sample of each format: all tell the same dialog, and nothing said is lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploysim_assets.benchmarks import log_samples as told
from deploysim_assets.benchmarks.log_samples import SAMPLES
from deploysim_assets.logs import READERS, reader
from deploysim_assets.logs.conversation import Conversation, Reject
from deploysim_assets.logs.conversations import Read, items
from deploysim_assets.logs.detect import detect
from deploysim_assets.logs.files import log_files
from deploysim_assets.project import ProjectError
from deploysim_assets_tests.support import deploysim

WITHOUT_TOOLS = {"lmsys", "wildchat"}
WITHOUT_THOUGHTS = {"sharegpt", *WITHOUT_TOOLS}
WITHOUT_REASONS = {
    "agent_trajectories",
    "openai_agents",
    "sharegpt",
    "swe_agent",
    "tau_bench",
    *WITHOUT_TOOLS,
}
WITHOUT_USERS = {
    "agent_trajectories", "inspect", "lmsys", "sharegpt", "swe_agent", "tau_bench",
}  # fmt: skip
IDS = {
    "agent_trajectories": ["run-1"],
    "helicone": ["thread-9"],
    "inspect": ["e1/q1/1", "e1/q2/1", "e2/q1/1"],
    "langfuse": ["lf2", "thread-9"],
    "langsmith": ["thread-9"],
    "litellm": ["thread-9"],
    "lmsys": ["l1"],
    "mlflow": ["thread-9"],
    "openai_agents": ["thread-9"],
    "openai_batch": ["b1", "b2"],
    "openai_chat": ["c1", "c2"],
    "openinference": ["c" * 32, "thread-9"],
    "otel_genai": ["c" * 32, "d" * 32, "thread-9"],
    "sharegpt": ["dump.json:2", "s1"],
    "swe_agent": ["run.traj:1"],
    "tau_bench": ["results.json:1"],
    "wildchat": ["h1", "train-0.parquet:2"],
}
DECLARING = {
    "agent_trajectories": {"run-1"},
    "inspect": {"e1/q1/1", "e1/q2/1", "e2/q1/1"},
    "langfuse": {"lf2", "thread-9"},
    "openai_agents": {"thread-9"},
    "openai_batch": {"b1", "b2"},
    "openai_chat": {"c1", "c2"},
    "openinference": {"thread-9"},
    "otel_genai": {"thread-9"},
}
"""The conversations whose log has the definition of the tool."""
WITH_COMMIT = {
    "agent_trajectories": {"run-1"},
    "inspect": {"e1/q1/1", "e1/q2/1", "e2/q1/1"},
    "openai_agents": {"thread-9"},
    "openai_chat": {"c1", "c2"},
    "otel_genai": {"thread-9"},
    "swe_agent": {"run.traj:1"},
}
REJECTED = {
    "helicone": {"the request was not answered: its status is an error's"},
    "litellm": {"a call of another kind than chat"},
    "openai_batch": {"the request was not answered: an error"},
    "tau_bench": {"traj: List should have at least 1 item after validation, not 0"},
}


def written(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in SAMPLES[name]().items():
        (folder / file).write_bytes(content)
    return folder


def read(folder: Path, name: str) -> tuple[list[Conversation], list[Reject]]:
    found: list[Read] = list(items(log_files(folder, "*"), reader(name)))
    return (
        [f.item for f in found if isinstance(f.item, Conversation)],
        [f.item for f in found if isinstance(f.item, Reject)],
    )


def test_every_format_has_a_sample() -> None:
    assert SAMPLES.keys() == READERS.keys() == IDS.keys()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_nothing_said_is_lost(tmp_path: Path, name: str) -> None:
    found, rejects = read(written(tmp_path, name), name)
    assert sorted(c.conversation_id for c in found) == IDS[name]
    assert {r.reason for r in rejects} == REJECTED.get(name, set())
    short = name in WITHOUT_TOOLS or name == "openinference"
    for c in found:
        said = [(m.role, m.content or None) for m in c.messages]
        if short and len(said) == 2:  # the data sets of chats, and a span printed by the SDK
            assert said == [("user", told.ASKED), ("assistant", told.REPLY)]
            continue
        said[1] = (said[1][0], (said[1][1] or "").partition("\n")[0])
        assert said[:5] == [
            ("system", told.SYSTEM),
            ("user", told.ASKED),
            ("assistant", None),
            ("tool", told.RAIN),
            ("assistant", told.REPLY),
        ]
        calls = c.messages[2].tool_calls
        assert calls is not None
        assert (calls[0].name, json.loads(calls[0].arguments)) == (told.NAME, told.ARGUMENTS)
        if name != "sharegpt":
            assert calls[0].id == c.messages[3].tool_call_id == told.CALL_ID
        events = name == "otel_genai" and c.conversation_id.startswith("d")
        thought = None if name in WITHOUT_THOUGHTS or events else told.THOUGHT
        assert c.messages[2].reasoning == thought
        reason = None if name in WITHOUT_REASONS else "stop"
        assert c.messages[4].finish_reason == reason
    if name not in WITHOUT_USERS:
        assert told.USER in {c.user_id for c in found}
    if name not in {"sharegpt", "swe_agent", "tau_bench"}:
        assert {c.reported_model for c in found} <= {told.MODEL, None}
        assert told.MODEL in {c.reported_model for c in found}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_tools_are_as_declared_or_told_from_the_calls(tmp_path: Path, name: str) -> None:
    found, _ = read(written(tmp_path, name), name)
    declaring = {c.conversation_id for c in found if c.tools and not c.tools_inferred}
    assert declaring == DECLARING.get(name, set())
    assert {c.conversation_id for c in found if c.commit} == WITH_COMMIT.get(name, set())
    assert {c.commit for c in found} <= {told.COMMIT, None}
    for c in found:
        calls = any(m.tool_calls for m in c.messages)
        assert (c.tools is not None) == calls
        if not calls:
            assert c.tools_inferred is None
            continue
        assert c.tools is not None
        [tool] = c.tools
        schema = json.loads(tool.parameters or "")
        assert tool.name == told.NAME
        assert schema["properties"] == {"city": {"type": "string"}}
        if c.conversation_id in declaring:
            assert (tool.description, schema) == (told.ABOUT, told.SCHEMA)
            assert tool.read_only is (True if name == "agent_trajectories" else None)
        else:
            assert tool.description is None
            assert c.tools_inferred is True


def test_what_came_after_the_first_answer_is_kept_too(tmp_path: Path) -> None:
    (found,), _ = read(written(tmp_path, "tau_bench"), "tau_bench")
    assert [m.content for m in found.messages[5:]] == [told.FOLLOW_UP, told.CLOSING]


def test_an_image_is_a_placeholder_with_its_digest(tmp_path: Path) -> None:
    found, _ = read(written(tmp_path, "openai_chat"), "openai_chat")
    shown = (found[1].messages[1].content or "").partition("\n")[2]
    assert shown == "[image_url image/png sha256:4c4b6a3be1314ab8]"
    assert [c.has_attachments for c in found] == [False, True]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_auto_names_what_it_saw_and_why(tmp_path: Path, name: str) -> None:
    seen = detect(log_files(written(tmp_path, name), "*"))
    assert seen.format == name
    assert "`" in seen.why or name == "inspect"


def test_auto_says_so_where_it_knows_nothing_or_two_things(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"my-secret-key": 1}\n')
    with pytest.raises(ProjectError, match="of no format that is known") as wrong:
        detect(log_files(tmp_path, "*"))
    assert "my-secret-key" not in str(wrong.value)
    (tmp_path / "a.jsonl").write_text('{"traj": []}\n{"history": []}\n')
    with pytest.raises(ProjectError, match="looks like"):
        detect(log_files(tmp_path, "*"))


def test_auto_says_what_to_do_with_utf_16_as_powershell_writes_it(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"my-secret-key": 1}\n', encoding="utf-16")
    with pytest.raises(ProjectError, match="UTF-8") as wrong:
        detect(log_files(tmp_path, "*"))
    assert "my-secret-key" not in str(wrong.value)


def test_attributes_in_objects_are_read_as_those_with_dotted_names(tmp_path: Path) -> None:
    dotted = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "m",
        "llm.input_messages": [{"message": {"role": "user", "content": "hello"}}],
        "llm.output_messages": [{"message": {"role": "assistant", "content": "hi"}}],
    }
    nested = {
        "openinference": {"span": {"kind": "LLM"}},
        "llm": {name.partition(".")[2]: v for name, v in dotted.items() if name.startswith("llm")},
    }
    found: list[list[Any]] = []
    for name, attributes in (("dotted", dotted), ("nested", nested)):
        span = {"context": {"trace_id": "t", "span_id": "s"}, "attributes": attributes,
                "start_time": "2026-03-01T10:00:00+00:00"}  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.json").write_text(json.dumps([span]))
        assert detect(log_files(tmp_path / name, "*")).format == "openinference"
        conversations, rejects = read(tmp_path / name, "openinference")
        assert rejects == []
        found.append([c.model_dump() for c in conversations])
    assert found[0] == found[1]
    assert [m["content"] for m in found[0][0]["messages"]] == ["hello", "hi"]
    assert found[0][0]["reported_model"] == "m"


def test_a_run_whose_model_only_its_answer_names(tmp_path: Path) -> None:
    run = {
        "id": "r", "run_type": "llm", "start_time": "2026-03-01T10:00:00",
        "inputs": {"messages": [{"role": "user", "content": "q"}]},
        "outputs": {"model": "m-1", "choices": [{"message": {"content": "a"}}]},
    }  # fmt: skip
    (tmp_path / "a.jsonl").write_text(json.dumps(run))
    [conversation], rejects = read(tmp_path, "langsmith")
    assert (conversation.reported_model, rejects) == ("m-1", [])


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_sample_imported_is_the_same_conversation(tmp_path: Path, name: str) -> None:
    from deploysim_assets.logs.conversations import import_into

    files = log_files(written(tmp_path / "in", name), "*")
    import_into(tmp_path / "out" / "imported.jsonl", files, reader(name), lambda _: None)
    before, _ = read(tmp_path / "in", name)
    after, rejects = read(tmp_path / "out", "openai_chat")
    assert rejects == []
    kept = [[c.model_dump(exclude={"line", "source"}) for c in side] for side in (before, after)]
    assert kept[0] == kept[1]
    assert all("imported_from" in json.loads(c.source or "") for c in after)


def test_calls_of_a_conversation_may_lie_in_several_files(tmp_path: Path) -> None:
    """Hourly exports: the last, longest trace wins wherever it lies."""
    lines = SAMPLES["helicone"]()["output.jsonl"].splitlines()
    for number, line in enumerate(lines):
        (tmp_path / f"{number}.jsonl").write_bytes(line)
    found, _ = read(tmp_path, "helicone")
    assert [(c.conversation_id, len(c.messages)) for c in found] == [("thread-9", 5)]


def test_calls_of_a_session_that_share_no_history_are_conversations_of_their_own(
    tmp_path: Path,
) -> None:
    first, second = (
        {"request_id": f"q{n}", "request_created_at": f"2026-05-01T10:0{n}:00Z",
         "request_properties": {"Helicone-Session-Id": "s"},
         "request_body": {"messages": [{"role": "user", "content": f"question {n}"}]},
         "response_body": {"choices": [{"message": {"role": "assistant", "content": "yes"}}]}}
        for n in range(2)
    )  # fmt: skip
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(second)}\n{json.dumps(first)}\n")
    found, _ = read(tmp_path, "helicone")
    assert {c.conversation_id: c.messages[0].content for c in found} == {
        "s/q0": "question 0",
        "s": "question 1",
    }


def test_import_takes_both_spellings_and_auto(tmp_path: Path) -> None:
    deploysim(tmp_path, "init")
    written(tmp_path / "in", "langfuse")
    spelled = (
        ("auto", "in/*"),
        ("--format", "auto", "in/*"),
        ("in/*",),
        ("langfuse", "in/*"),
        ("in/*", "--format", "langfuse"),
    )
    outputs = []
    for words in spelled:
        done = deploysim(tmp_path, "import", *words, "--model-version", "model-1")
        assert ("format: langfuse (" in done.stdout) == ("langfuse" not in words)
        outputs.append([p.read_bytes() for p in sorted((tmp_path / "logs/model-1").glob("*"))])
    assert len(outputs[0]) == 1
    assert all(o == outputs[0] for o in outputs), "the same import replaces the same file"
    two = deploysim(
        tmp_path, "import", "langfuse", "in/*", "--format", "auto", "--model-version", "model-1",
        check=False,
    )  # fmt: skip
    assert "two formats" in two.stderr


def test_import_takes_folders_and_names_that_look_like_patterns(tmp_path: Path) -> None:
    home = tmp_path / "a [home]"
    home.mkdir()
    deploysim(home, "init")
    written(home / "in" / "deeper", "sharegpt")
    (home / "in" / "deeper" / "dump.json").rename(home / "in" / "deeper" / "dump [1].json")
    for path in ("in", "in/deeper/dump [1].json"):
        done = deploysim(home, "import", path, "--model-version", "model-1")
        assert "2 conversations written" in done.stdout
    _, rejects = read(home / "logs" / "model-1", "openai_chat")
    assert rejects == []
    assert len(log_files(home, "logs/model-1/*.jsonl")) == 2


def test_a_dry_run_shows_what_would_come_and_no_identifier(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Write to jane@corp.example.net \x1b[31m"},
             {"from": "gpt", "value": "Sent to jane@corp.example.net."}]  # fmt: skip
    records = [{"id": f"s{n}", "conversations": turns} for n in range(5)]
    (tmp_path / "dump.json").write_text(json.dumps([*records, {"conversations": []}]))
    done = deploysim(tmp_path, "import", "--dry-run", "dump.json")
    assert "format: sharegpt (" in done.stdout
    assert "5 conversations, 1 rejected; nothing was written" in done.stdout
    assert "1 x conversations: List should have at least 1 item" in done.stdout
    assert "jane@corp" not in done.stdout
    assert done.stdout.count("assistant: Sent to ") == 3
    assert "\x1b" not in done.stdout
    assert {p.name for p in tmp_path.iterdir()} <= {"dump.json"}
