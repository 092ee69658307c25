"""A project that replays agents: turns are rolled out over real HTTP, from logs to completions, and
a rerun asks nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiohttp import web

from deploysim_assets.cli.pricing import costs_of
from deploysim_assets.project.file import load_project
from deploysim_assets.storage import ledger
from deploysim_assets.storage.journal import journal_file, lines
from deploysim_assets_tests.support import environment, lake, rows, serve

COUNT = 12
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"id": {"type": "integer"}}},
        },
    }
    for name in ("read_mail", "delete_mail")
]


def _call(name: str, key: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": key, "type": "function", "function": function}


def logged(i: int) -> dict[str, Any]:
    """Every third conversation is chat; the others read a mail in their only turn."""
    said: list[dict[str, Any]] = [{"role": "user", "content": f"What does mail {i} say?"}]
    chat = i % 3 == 0
    if not chat:
        said += [
            {"role": "assistant", "content": None, "tool_calls": [_call("read_mail", "a", id=i)]},
            {"role": "tool", "tool_call_id": "a", "content": f"Meet at {i}."},
        ]
    said.append({"role": "assistant", "content": f"It says {i}."})
    tools = {} if chat else {"tools": TOOLS}
    return {
        "conversation_id": f"c{i}",
        "user_id": f"u{i}",
        "training_allowed": True,
        "started_at": f"2026-01-{i + 1:02d}T00:00:00Z",
        "messages": said,
    } | tools


class Server:
    """A candidate that reads, then at some prefixes deletes, then answers; and the tools' model."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def chat(self, request: web.Request) -> web.Response:
        return web.json_response(self.answer(orjson.loads(await request.read())))

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        self.bodies.append(body)
        if body["model"] == "tools":
            return self._said(content=json.dumps({"result": "Deleted."}))
        done = sum(m["role"] == "assistant" for m in body["messages"])
        number = int("".join(filter(str.isdigit, body["messages"][0]["content"])))
        if "tools" not in body or done == 2 or (done == 1 and number % 2):
            return self._said(content=f"It says {number}.")
        name = ("read_mail", "delete_mail")[done]
        return self._said(content=None, tool_calls=[_call(name, f"x{done}", id=number)])

    @staticmethod
    def _said(**message: Any) -> dict[str, Any]:
        choice = {"message": {"role": "assistant"} | message, "finish_reason": "stop"}
        return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self.chat)
        return app


def _logs(model: str) -> dict[str, str]:
    return {"format": "openai_chat", "path": f"logs/{model}.jsonl"}


def project(base_url: str, **more: Any) -> dict[str, Any]:
    return {
        "releases": [
            {"model_version": "m1", "logs": _logs("m1")},
            {"model_version": "m2", "predecessor": "m1", "logs": _logs("m2")},
        ],
        "endpoint": {"base_url": base_url, "max_concurrency": 4},
        "deidentification": {"min_level": 0},
        "behaviors": [
            {
                "name": "deletes",
                "definition": "It deletes a mail.",
                "grader": "rule",
                "rule": {"part": "reply", "regex": "delet"},
            }
        ],
    } | more


_SCRIPT = """
import dagster as dg
from deploysim_assets.definitions import defs
def make(key, *assets):
    chosen = [a for a in defs.assets if isinstance(a, dg.AssetsDefinition)
              and a.key.to_user_string() in assets]
    assert dg.materialize(chosen, partition_key=key, resources=defs.resources).success
make("m1", "raw_logs", "deidentified_prefixes")
make("m2", "preregistration", "candidate_completions")
make("m2", "candidate_completions")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Server]:
    home = tmp_path_factory.mktemp("agents")
    (home / "logs").mkdir()
    said = [json.dumps(logged(i)) for i in range(COUNT)]
    (home / "logs" / "m1.jsonl").write_text("\n".join(said) + "\n")
    server = Server()
    with serve(server.app()) as base_url:
        agents = {"simulator": {"model": "tools"}}
        settings = project(base_url, agents=agents)
        (home / "deploysim.yaml").write_text(yaml.safe_dump(settings))
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT], env=environment(home), cwd=home,
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    return home, server


def test_agents_are_rolled_out_and_chats_are_asked_once(made: tuple[Path, Server]) -> None:
    home, _ = made
    found = rows(home, "candidate_completions", "m2")
    assert {row["status"] for row in found} == {"completed"}
    steps = sorted(len(row["message"]["steps"]) for row in found)
    assert steps == [0] * 4 + [2] * 4 + [4] * 4
    sources = {s["source"] for row in found for s in row["message"]["steps"]}
    assert sources == {None, "recorded", "model"}
    stats = lake(home).stats("candidate_completions", "m2")["agents"]
    assert stats["rollouts"] == {"completed": 8}
    assert stats["turns"] == {"calls": 12, "steps": 20, "surrogate_misses": 0}
    assert stats["results_by_source"] == {"model": 4, "recorded": 8}


def test_each_row_names_all_answers_that_it_was_made_from(made: tuple[Path, Server]) -> None:
    home, _ = made
    journal = journal_file(home, "candidate_completions", "m2")
    kept = {row["key"]: row for row in map(orjson.loads, lines(journal))}
    named = rows_of_answers(home)
    assert {row["key"] for row in named} == set(kept)
    for row in named:
        assert kept[row["key"]]["about"] == row["prefix_id"]
    spent = sum(row["prompt_tokens"] for row in rows(home, "candidate_completions", "m2"))
    assert spent == sum(row["prompt_tokens"] for row in kept.values())


def rows_of_answers(home: Path) -> list[dict[str, Any]]:
    return list(lake(home).rows("candidate_completions", "m2", table="answers"))


def test_only_agents_are_sent_tools(made: tuple[Path, Server]) -> None:
    _, server = made
    mine = [b for b in server.bodies if b["model"] == "m2"]
    assert len(mine) == 4 + 20
    assert sum("tools" in b for b in mine) == 20


def test_the_registration_says_how_turns_are_replayed(made: tuple[Path, Server]) -> None:
    home, _ = made
    record = ledger.latest(home, "registration", "m2")
    assert record is not None
    assert record.body["agents"]["simulator"] == {"model": "tools", "params": {}}


def test_the_plan_counts_steps_and_simulated_results(made: tuple[Path, Server]) -> None:
    home, _ = made
    project = load_project(home)
    said = [one.what for one in costs_of(project, project.releases[-1], 100)]
    assert said[:2] == [
        "turns of the candidate (2.0 steps each)",  # 24 steps at 12 prefixes
        "simulated results in turns of the candidate (0.3 each)",
    ]


def test_making_the_table_again_asked_nothing(made: tuple[Path, Server]) -> None:
    home, server = made
    asked = lake(home).stats("candidate_completions", "m2")["asked"]
    assert asked == 4 + 20 + 4 == len(server.bodies), "the second run found all in the journal"
