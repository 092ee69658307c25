"""An OpenAI-compatible server for the synthetic worlds: their releases as candidates, chat and
agents, the judge, and the simulator of tools.

`python -m deploysim_assets.synthetic.server --seed 1` prints the port that it listens on, on
127.0.0.1 alone, and ends with its standard input, so that it cannot outlive the process that
started it.
"""

import argparse
import asyncio
import sys
import uuid
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from deploysim_assets.synthetic.agent_server import agent_message, judge_agents, pick_real, simulate
from deploysim_assets.synthetic.agent_world import RELEASES as AGENTS
from deploysim_assets.synthetic.agent_world import SIMULATOR, normal_errors
from deploysim_assets.synthetic.replies import explore, judge, reply
from deploysim_assets.synthetic.world import RELEASES


def _shown(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The document that the judge is to look at: alone, or in the second of three lines."""
    content: str = messages[1]["content"]
    return orjson.loads(content if content.startswith("{") else content.split("\n")[1])


def answer(body: dict[str, Any], seed: int) -> dict[str, Any] | None:
    """The message that answers a chat request, or None for an unknown model."""
    messages = body["messages"]
    if body["model"] == "judge":
        names = body["response_format"]["json_schema"]["schema"]["required"]
        if names == ["findings"]:
            return {
                "role": "assistant",
                "content": orjson.dumps({"findings": explore(_shown(messages))}).decode(),
            }
        shown = _shown(messages)
        if names == ["real"]:
            picked = pick_real(shown)
            return {"role": "assistant", "content": orjson.dumps(picked).decode()}
        verdicts = judge(shown, names) | judge_agents(shown, names)
        return {"role": "assistant", "content": orjson.dumps(verdicts).decode()}
    if body["model"] == SIMULATOR:
        result = simulate(orjson.loads(messages[1]["content"]))
        return {"role": "assistant", "content": orjson.dumps(result).decode()}
    if body["model"] in AGENTS:
        return agent_message(body, seed, normal_errors(seed))
    if body["model"] not in RELEASES:
        return None
    last_user = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    return {
        "role": "assistant",
        **reply(
            body["model"],
            last_user,
            (len(messages), last_user, body.get("seed")),
            seed,
            simulated=True,
        ),
    }


def _completion(message: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    sent = sum(len(m.get("content") or "") for m in body["messages"]) // 4
    said: str = message["content"] or ""
    written = (len(said) + sum(map(len, map(str, message.get("tool_calls") or ())))) // 4
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex[:12]}",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
                "message": message,
            }
        ],
        "usage": {
            "prompt_tokens": sent,
            "completion_tokens": written,
            "total_tokens": sent + written,
        },
    }


def application(answering: Callable[[dict[str, Any]], dict[str, Any] | None]) -> web.Application:
    """A chat API whose messages a function writes; None is for a model that it does not know."""

    async def chat(request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        message = answering(body)
        if message is None:
            error = {"message": f"unknown model {body['model']}", "type": "invalid_request_error"}
            return web.Response(
                status=404, body=orjson.dumps({"error": error}), content_type="application/json"
            )
        return web.Response(
            body=orjson.dumps(_completion(message, body)), content_type="application/json"
        )

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/chat/completions", chat)
    return app


async def _serve(seed: int) -> None:
    runner = web.AppRunner(application(lambda body: answer(body, seed)), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(_serve(parser.parse_args().seed))


if __name__ == "__main__":
    main()
