"""Live tools: only what the project allows, what the server calls read-only and what nothing calls
a write; its answers are scrubbed before they are kept, and are not asked for again."""

import contextlib
import gzip
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from deploysim_assets.agents.connectors import Connectors
from deploysim_assets.agents.moment import Uncleared
from deploysim_assets.agents.rollout import Rollout, follow_up, rolled_out
from deploysim_assets.agents.simulator import ToolSimulator
from deploysim_assets.endpoint.client import Outcome, ask_all
from deploysim_assets.endpoint.errors import EndpointError
from deploysim_assets.project import Agents, Candidate, Endpoint
from deploysim_assets.storage.journal import lines, open_journal
from deploysim_assets_tests.agents.turns import call, prefix, tool
from deploysim_assets_tests.support import free_port, get_json, serve, stop, wait_for

ALLOWED = [
    "weather", "get_calls", "get_unmarked", "delete_everything", "get_destructive", "get_huge",
    "get_slow", "get_failing", "get_absent",
]  # fmt: skip


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    port = free_port()
    module = "deploysim_assets_tests.agents.mcp_server"
    process = subprocess.Popen([sys.executable, "-m", module, str(port)], start_new_session=True)

    def answers() -> bool:
        try:
            get_json(f"http://127.0.0.1:{port}/nothing")
        except OSError as wrong:
            return getattr(wrong, "code", None) == 404
        return True

    try:
        wait_for(answers, 60, "the MCP server", 0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        stop(process)


def app(*steps: list[dict[str, Any]]) -> web.Application:
    """A model that makes the given calls step by step, then answers."""

    async def chat(request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        done = sum(m["role"] == "assistant" for m in body["messages"])
        calls = [
            {"id": c["id"], "function": {n: c[n] for n in ("name", "arguments")}}
            for c in (steps[done] if done < len(steps) else [])
        ]  # fmt: skip
        message = {"role": "assistant", "content": None if calls else "Done.", "tool_calls": calls}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})

    made = web.Application()
    made.router.add_post("/v1/chat/completions", chat)
    return made


def scrub(text: str, of: Mapping[str, Any]) -> str:
    if "Atlantis" in text:
        raise Uncleared
    return text.replace("ann@example.org", "zoe@example.org")


class Ran:
    """One rollout through the real client, with a journal."""

    def __init__(
        self, folder: Path, connector: dict[str, Any], *steps: list[dict[str, Any]]
    ) -> None:
        settings = Agents.model_validate(
            {
                "connectors": [{"name": "live", "allow": ALLOWED} | connector],
                "affordances": ["connector"],
            }
        )
        self.connectors = Connectors(settings, scrub)
        simulator = ToolSimulator(settings, [self.connectors])
        declared = [
            tool(n, None, **({} if "city" not in c["arguments"] else {"city": "string"}))
            for step in steps
            for c in step
            for n in [c["name"]]
        ]
        of = prefix(list({t["name"]: t for t in declared}.values()))

        def made() -> Rollout:
            return Rollout(of, Candidate(model="m"), 7, simulator, lambda *_: 0.0)

        with serve(app(*steps)) as base, open_journal(folder / "j.jsonl") as journal:
            endpoint = Endpoint(base_url=base, max_concurrency=2)
            self.outcome: Outcome = ask_all(lambda: [made().first()], endpoint, journal, follow_up)
            self.row = rolled_out(made(), journal, self.outcome.failures)
        self.kept = [orjson.loads(line) for line in lines(folder / "j.jsonl")]

    @property
    def results(self) -> list[str]:
        steps = (self.row["message"] or {}).get("steps") or ()
        return [s["content"] for s in steps if s["role"] == "tool"]


def test_an_allowed_read_is_answered_scrubbed_and_kept(url: str, tmp_path: Path) -> None:
    steps = [call("weather", "a", city="Rome")], [call("live__weather", "b", city="Oslo")]
    ran = Ran(tmp_path, {"url": url}, *steps)
    assert ran.row["status"] == "completed"
    assert ran.results == ["Sun in Rome, says zoe@example.org", "Sun in Oslo, says zoe@example.org"]
    assert {s["source"] for s in ran.row["message"]["steps"]} == {None, "connector"}
    assert all(row["about"] == "ab" * 16 for row in ran.kept)
    assert b"ann@example.org" not in (tmp_path / "j.jsonl").read_bytes()
    live = [row for row in ran.kept if "connector" in row]
    assert [(r["tool"], r["outcome"], "model" in r, "prompt_tokens" in r) for r in live] == [
        ("weather", "answered", False, False)
    ] * 2
    again = Ran(tmp_path, {"url": "http://127.0.0.1:9/mcp"}, *steps)
    assert again.row == ran.row and again.outcome.asked == 0, "nothing is asked for again"


def test_a_local_server_is_started_and_ended_with_the_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploysim_assets_tests.agents.mcp_server"]
    ran = Ran(tmp_path, {"command": command}, [call("weather", "a", city="Rome")])
    assert ran.results == ["Sun in Rome, says zoe@example.org"]


@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        (call("get_unmarked", "a", city="x"), "not read-only"),
        (call("get_destructive", "a", city="x"), "not read-only"),
        (call("delete_everything", "a", city="x"), None),
        (call("get_absent", "a"), "no such tool"),
        (call("weather", "a"), "other arguments"),
        (call("weather", "a", city=3), "other arguments"),
        (call("get_huge", "a"), "too large"),
        (call("weather", "a", city="Atlantis"), "uncleared"),
        (call("get_elsewhere", "a", city="x"), None),
    ],
)
def test_whatever_else_is_not_answered(
    url: str, tmp_path: Path, what: dict[str, Any], outcome: str | None
) -> None:
    if outcome == "other arguments":  # the prefix's tool takes any; the server's own schema decides
        what = what | {"name": "live.weather"}
    ran = Ran(tmp_path, {"url": url}, [what])
    if outcome == "other arguments":
        assert ran.row["status"] in ("unanswerable", "completed")
        assert ran.results == [] or ran.results[0].startswith("Error: invalid arguments")
        return
    assert ran.row["status"] == "unanswerable"
    live = [row["outcome"] for row in ran.kept if "connector" in row]
    assert live == ([outcome] if outcome else [])
    assert not any("Atlantis" in str(row) for row in ran.kept if "connector" in row)


def test_what_a_tool_says_went_wrong_is_its_result(url: str, tmp_path: Path) -> None:
    ran = Ran(tmp_path, {"url": url}, [call("get_failing", "a")])
    assert ran.results == ["Error executing tool get_failing"]
    assert ran.connectors.stats() == {"live: error": 1}


def test_a_slow_tool_is_not_waited_for_beyond_its_limit(url: str, tmp_path: Path) -> None:
    ran = Ran(tmp_path, {"url": url, "timeout_seconds": 0.5}, [call("get_slow", "a")])
    assert ran.row["status"] == "unanswerable"
    assert ran.connectors.stats() == {"live: timed out": 1}


def test_a_server_that_is_away_fails_the_turn_which_the_next_run_asks_again(
    url: str, tmp_path: Path
) -> None:
    steps = [call("weather", "a", city="Rome")]
    away = Ran(tmp_path, {"url": "http://127.0.0.1:9/mcp"}, steps)
    assert away.row["status"] == "failed" and "live" in away.row["error"]
    assert Ran(tmp_path, {"url": url}, steps).row["status"] == "completed"


def test_nothing_was_called_that_may_write(url: str, tmp_path: Path) -> None:
    ran = Ran(tmp_path, {"url": url}, [call("get_calls", "a")])
    assert set(ran.results[0].split(",")) <= {"weather"}


def test_a_server_that_stays_away_ends_the_run(tmp_path: Path) -> None:
    calls = [call("get_unmarked", str(i), city=f"c{i}") for i in range(30)]
    with pytest.raises(EndpointError, match=r"agents\.connectors: live: cannot be reached"):
        Ran(tmp_path, {"url": "http://127.0.0.1:9/mcp"}, calls)


class Endless:
    """An MCP server whose one tool answers without end, or with a small answer that unpacks to a
    big one."""

    def __init__(self, kind: str) -> None:
        self.kind, self.sent = kind, 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        if "id" not in body:
            return web.Response(status=202)
        results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "endless", "version": "1"},
            },
            "tools/list": {
                "tools": [
                    {
                        "name": "get_huge",
                        "inputSchema": {"type": "object"},
                        "annotations": {"readOnlyHint": True},
                    }
                ]
            },
        }
        told = {"jsonrpc": "2.0", "id": body["id"]}
        if (result := results.get(body["method"])) is not None:
            return web.json_response(told | {"result": result})
        if body["method"] != "tools/call":
            error = {"code": -32601, "message": "no such method"}
            return web.json_response(told | {"error": error})
        streamed = self.kind == "stream"
        made = web.StreamResponse(
            headers={"content-type": "text/event-stream" if streamed else "application/json"}
        )
        if self.kind == "gzip":
            text = [{"type": "text", "text": "x" * 50_000_000}]
            packed = gzip.compress(orjson.dumps(told | {"result": {"content": text}}), 1)
            made.headers["content-encoding"] = "gzip"
            await made.prepare(request)
            await made.write(packed)
            return made
        await made.prepare(request)
        with contextlib.suppress(ConnectionError):
            await made.write(b"data: " if streamed else b'{"x": "')
            while self.sent < 200_000_000:
                await made.write(b"x" * 65_536)
                self.sent += 65_536
        return made


@pytest.mark.parametrize("kind", ["json", "stream", "gzip"])
def test_of_an_endless_answer_no_more_is_read_than_the_limit(kind: str, tmp_path: Path) -> None:
    server, made = Endless(kind), web.Application()
    made.router.add_post("/v1/mcp", server.answer)
    with serve(made) as base:
        ran = Ran(tmp_path, {"url": f"{base}/mcp", "max_bytes": 1_000}, [call("get_huge", "a")])
    assert ran.row["status"] == "unanswerable"
    assert ran.connectors.stats() == {"live: too large": 1}
    assert server.sent < 60_000_000, "beside what sockets buffer"
