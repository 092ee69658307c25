"""Nothing that a candidate says is executed, opened or fetched: an attack touches no file, process,
socket or environment variable that the same rollout without it does not touch."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from aiohttp import web

from deploysim_assets_tests.agents.red_team import CALM, SIMULATED, attacks
from deploysim_assets_tests.agents.test_connectors import url as mcp_url
from deploysim_assets_tests.agents.test_repository import git
from deploysim_assets_tests.support import REPO, environment, serve

__all__ = ["mcp_url"]
CANARY = "canary-5f1c9e"
BEGINS = "attacks-begin-here"
_PATHS = re.compile(r"open(?:at)?\([^\"]*\"([^\"]*)\"|sin_port=htons\((\d+)\)")


class Candidate:
    """Makes the calls of the turn that the prefix names, then answers; keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.calls: dict[str, list[dict[str, Any]]] = {"calm": CALM}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/v1/chat/completions", self._chat)
        return app

    async def _chat(self, request: web.Request) -> web.Response:
        raw = await request.read()
        body = orjson.loads(raw)
        if body["model"] == "tools":
            said: dict[str, Any] = {"content": json.dumps({"result": SIMULATED})}
        elif any(m["role"] == "assistant" for m in body["messages"]):
            self.told.append(raw)
            said = {"content": "Done."}
        else:
            calls = self.calls[body["messages"][-1]["content"]]
            said = {
                "content": None,
                "tool_calls": [
                    {"id": c["id"], "function": {n: c[n] for n in ("name", "arguments")}}
                    for c in calls
                ],
            }
        choice = {"message": {"role": "assistant"} | said, "finish_reason": "stop"}
        return web.json_response({"choices": [choice]})


class Fetched:
    """A server that nobody may ask."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def app(self) -> web.Application:
        async def any_path(request: web.Request) -> web.Response:
            self.asked.append(request.path)
            return web.json_response({"type": "object"})

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", any_path)
        return app


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("red")
    repo = home / "repo"
    (repo / "src").mkdir(parents=True)
    git(repo, "init", "-q")
    (repo / "README.md").write_text("# Demo x\n" + "a" * 2_000 + "!\n")
    (repo / "src/app.py").write_text("x = 1\n")
    (repo / "escape").symlink_to(home / "outside.txt")
    (repo / "climb").symlink_to("..")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "First")
    (repo / "src/app.py").write_text("x = 2\n")
    git(repo, "commit", "-qam", "Second")
    git(repo, "gc", "-q")
    (home / "outside.txt").write_text(CANARY)
    (home / BEGINS).write_text("")
    git(repo, "config", "user.name", CANARY)
    return home


class Attacked(NamedTuple):
    """What the attacks touched and how their turns ended, what the model was told, and what was
    fetched."""

    touched: list[str]
    states: list[str]
    told: list[bytes]
    fetched: list[str]


def _attack(home: Path, mcp_url: str, journal: str, *before: str) -> Attacked:
    """Run the attacks in a process of their own, `before` being what it runs under."""
    candidate, fetched = Candidate(), Fetched()
    with serve(candidate.app()) as base_url, serve(fetched.app()) as served:
        url = served.removesuffix("/v1")
        made = attacks(str(home / "outside.txt"), url)
        candidate.calls |= {f"attack {i}": calls for i, calls in enumerate(made)}
        config = {
            "home": str(home),
            "journal": journal,
            "begins": str(home / BEGINS),
            "base_url": base_url,
            "url": url,
            "mcp": mcp_url,
            "commit": git(home / "repo", "rev-parse", "HEAD").strip(),
            "attacks": len(made),
        }
        module = "deploysim_assets_tests.agents.red_team"
        done = subprocess.run(
            [*before, sys.executable, "-m", module, json.dumps(config)],
            env=environment(home, CANARY_VARIABLE=CANARY), cwd=REPO,
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    assert CANARY not in done.stdout
    found = json.loads(done.stdout)
    assert found["calm"] > 10, "the hook saw what the turns without an attack touch"
    return Attacked(found["touched"], found["states"], candidate.told, fetched.asked)


@pytest.fixture(scope="module")
def attacked(home: Path, mcp_url: str) -> Attacked:
    return _attack(home, mcp_url, "hooked.jsonl")


def test_an_attack_touches_nothing_that_the_turn_without_it_does_not(attacked: Attacked) -> None:
    assert len(attacked.states) >= 40
    assert attacked.touched == []
    assert attacked.fetched == []
    assert not Path("/tmp/owned").exists()


def test_no_attack_is_told_what_lies_outside(attacked: Attacked, home: Path) -> None:
    assert len(attacked.told) >= len(attacked.states), "the turns went on to their end"
    for raw in attacked.told:
        assert CANARY.encode() not in raw
        assert b"root:" not in raw
    assert [p.name for p in home.glob("outside.txt*")] == ["outside.txt"]


def test_every_attacked_turn_goes_on_to_its_end(attacked: Attacked) -> None:
    assert set(attacked.states) == {"completed"}


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_kernel_saw_no_program_started_and_nothing_opened_outside(
    home: Path, mcp_url: str
) -> None:
    log = home / "strace.txt"
    calls = "trace=execve,execveat,openat,open,connect"
    _attack(
        home,
        mcp_url,
        "traced.jsonl",
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-e",
        calls,
        "-o",
        str(log),
    )
    before, begun, after = log.read_text(errors="replace").partition(f'"{home / BEGINS}"')
    assert begun
    touched = [set(_PATHS.findall(part)) for part in (before, after)]
    assert touched[1] <= touched[0]
    assert "execve" not in after
