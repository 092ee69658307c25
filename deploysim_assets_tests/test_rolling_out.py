"""What answers the calls of a project's rollouts: put together from its settings, and scrubbed as
the prefix's own conversation was."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from deploysim_assets.agents.moment import Result, Uncleared
from deploysim_assets.agents.recorded import Recorded
from deploysim_assets.assets.rolling_out import Turns, columns_for, scrub_of
from deploysim_assets.deidentify.keys import Keys, load_keys
from deploysim_assets.deidentify.scrub import MAX_MESSAGE_BYTES, Scrubber
from deploysim_assets.endpoint.progress import Progress
from deploysim_assets.project import Agents, Candidate, Deidentification, Project, ProjectError
from deploysim_assets.storage.tables import Lake
from deploysim_assets_tests.agents.turns import (
    call,
    called,
    message,
    moment,
    prefix,
    result,
    tool,
)

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


def test_surrogates_of_each_run_agree_within_a_table() -> None:
    """`surrogate_key: run`: what a call names and its result says stay the same person, the same
    call is answered by the recording, and nothing is shared with another run's table."""
    calls = [call("find_mail", "1", sender=MAIL)]
    logged = [
        message("user", f"What did {MAIL} write?"),
        called(*calls),
        result("1", f"From {MAIL}: all is well."),
        message("assistant", f"{MAIL} is well."),
    ]
    names: list[str] = []
    for _ in range(2):
        keys = Keys(b"i" * 32, secrets.token_bytes(32))
        policy = Deidentification(min_level=0, surrogate_key="run")
        said = Scrubber(keys.surrogates, policy).scrub(logged, "cd" * 16, "en", "ef" * 16).messages
        arguments = json.loads(said[1]["tool_calls"][0]["arguments"])
        assert said[2]["content"] == f"From {arguments['sender']}: all is well."
        names.append(arguments["sender"])
        of = prefix([tool("find_mail", True, sender="string")], messages=said[:1], steps=said[1:3])
        asked = call("find_mail", "x", sender=arguments["sender"])
        found = Recorded(Agents()).look(moment(of, asked))
        assert isinstance(found, Result) and found.content == said[2]["content"]
    assert MAIL not in names and len(set(names)) == 2


@pytest.mark.parametrize("policy", [{"surrogate_key": "run"}, {"replacement": "placeholders"}])
def test_nothing_is_read_outside_where_it_could_not_get_the_conversation_s_surrogates(
    tmp_path: Path, policy: dict[str, str]
) -> None:
    connector = {"name": "c", "url": "http://127.0.0.1:9/mcp", "allow": ["t"]}
    given = {"deidentification": {"min_level": 0} | policy}
    project(tmp_path, agents={}, **given)
    project(tmp_path, agents={"connectors": [connector], "affordances": ["recorded"]}, **given)
    for outside in ({"connectors": [connector]}, {"repository": "product.git"}):
        with pytest.raises(ValidationError, match="surrogates of the conversation that asks"):
            project(tmp_path, agents=outside, **given)


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
