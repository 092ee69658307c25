"""What answers the calls of a project's rollouts: put together from its settings, and scrubbed as
the prefix's own conversation was."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deploysim_assets.agents.moment import Uncleared
from deploysim_assets.assets.rolling_out import Turns, columns_for, scrub_of
from deploysim_assets.deidentify.keys import load_keys
from deploysim_assets.deidentify.scrub import MAX_MESSAGE_BYTES, Scrubber
from deploysim_assets.endpoint.progress import Progress
from deploysim_assets.project import Agents, Candidate, Project, ProjectError
from deploysim_assets.storage.tables import Lake
from deploysim_assets_tests.agents.turns import message, prefix, tool

MAIL = "maria.silva@corp.example"


def project(home: Path, **more: Any) -> Project:
    load_keys(home, may_create=True)
    return Project.model_validate(
        {
            "home": home,
            "releases": [{"model_version": "m", "logs": {"format": "openai_chat", "path": "x"}}],
            "endpoint": {"base_url": "http://127.0.0.1:9/v1"},
            "deidentification": {"min_level": 0},
            "behaviors": [{"name": "b", "definition": "d", "grader": "rule",
                           "rule": {"part": "reply", "regex": "x"}}],
        }
        | more
    )  # fmt: skip


def turns(home: Path, agents: Agents | None) -> Turns:
    made = project(home)
    lake = Lake(home / "lake")
    return Turns(made, lake, agents, Candidate(model="m"), 7, ("m", None))


def test_an_answer_from_outside_gets_the_surrogates_of_its_conversation(tmp_path: Path) -> None:
    made = project(tmp_path)
    of = prefix([])
    scrubber = Scrubber(
        load_keys(tmp_path, may_create=False).surrogates, made.deidentification.at(tmp_path)
    )
    said = scrubber.scrub(
        [message("user", f"Write to {MAIL}.")],
        of["conversation_key"], of["language"], of["user_key"],
    ).messages[0]["content"]  # fmt: skip
    surrogate = said.removeprefix("Write to ").removesuffix(".")
    scrub = scrub_of(made)
    assert MAIL not in said
    assert scrub(f"From: {MAIL}", of) == f"From: {surrogate}"
    elsewhere: Mapping[str, Any] = of | {"conversation_key": "00" * 16}
    assert scrub(f"From: {MAIL}", elsewhere) != f"From: {surrogate}"


def test_what_cannot_be_cleared_is_an_error_without_its_text(tmp_path: Path) -> None:
    scrub = scrub_of(project(tmp_path))
    with pytest.raises(Uncleared) as wrong:
        scrub(f"{MAIL} " * (MAX_MESSAGE_BYTES // 20), prefix([]))
    assert MAIL not in str(wrong.value)


def test_only_agents_of_a_project_that_replays_them_are_rolled_out(tmp_path: Path) -> None:
    chat, agent = prefix([]), prefix([tool("read_mail")])
    settings = Agents.model_validate({"affordances": ["recorded"]})
    with_agents, without = turns(tmp_path, settings), turns(tmp_path, None)
    plain = without.first_request(chat)
    assert with_agents.first_request(chat) == plain == without.first_request(agent)
    assert "tools" in with_agents.first_request(agent)
    assert without.stats() == {}
    assert columns_for(None) == ["prefix_id", "messages"]


def test_what_is_not_there_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    nothing = Agents.model_validate({"repository": "no-repo", "affordances": ["repository"]})
    with pytest.raises(ProjectError, match=r"agents\.repository: .*no-repo"):
        turns(tmp_path, nothing)
    no_function = Agents.model_validate({"functions": {"t": "no.such:f"}})
    with pytest.raises(ProjectError, match=r"agents\.functions\.t"):
        turns(tmp_path, no_function)


def test_progress_tells_turns_and_steps() -> None:
    chat = str(Progress(5, 10, 2, 0, 0.0, 1.0))
    assert chat.startswith("5 of 10 requests")
    agents = str(Progress(5, 10, 2, 0, 0.0, 1.0, "", {"steps": 42}))
    assert agents.startswith("5 of 10 turns (42 steps)")
